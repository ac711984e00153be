//! A history in one SQLite file: a write-ahead log, so that readers and a writer don't wait for each other, and several
//! `sstsctl` at once.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, Error as SqlError, ErrorCode, OpenFlags, ToSql,
    ffi::SQLITE_IOERR_SHMSIZE,
    params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    Access,
    schema::{SQLITE_APPLICATION_ID, STEPS, latest},
    value::{Row, Value},
};
use crate::error::{Exit, Failure};

/// How long one client waits for another's transaction. Ours take milliseconds.
const WAIT: Duration = Duration::from_secs(10);

/// The open file.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

impl Sqlite {
    /// Opens the file. To read, one that is missing is an empty history, and one that can't be written to is read as it is.
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, Failure> {
        let is_there = fs::symlink_metadata(path).is_ok();
        if !is_there && access == Access::Read {
            return Self::empty();
        }
        if !is_there {
            make(path).map_err(|error| unusable(path, &error.to_string()))?;
        }
        let opened = Self::open_with(path, &path.to_string_lossy(), OpenFlags::SQLITE_OPEN_READ_WRITE);
        match opened.and_then(Self::prepared) {
            Err(_) if access == Access::Read && !is_writable(path) => Self::open_unwritable(path),
            other => other,
        }
    }

    /// A history without runs, nowhere.
    pub(super) fn empty() -> Result<Self, Failure> {
        let path = Path::new("in memory");
        let connection = Connection::open_in_memory().map_err(|error| failure(path, &error))?;
        Self { connection, path: path.to_owned() }.prepared()
    }

    /// From a place where nothing can be written, so that nobody can change it either.
    fn open_unwritable(path: &Path) -> Result<Self, Failure> {
        // As a URI (sqlite.org/uri.html), the characters that would end the path are escaped.
        let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let uri = format!("file:{escaped}?immutable=1");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let mut opened = Self::open_with(path, &uri, flags)?;
        let version = opened.identity()?;
        if version == latest() {
            return Ok(opened);
        }
        Err(Failure::new(
            Exit::Internal,
            format!("the history {} is of version {version}, and can't be written to", path.display()),
            "open it once where it can be written to, or copy it and name the copy with --store",
        ))
    }

    fn open_with(path: &Path, name: &str, flags: OpenFlags) -> Result<Self, Failure> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(name, flags).map_err(|error| failure(path, &error))?;
        let opened = Self { connection, path: path.to_owned() };
        opened.connection.busy_timeout(WAIT).map_err(|error| failure(path, &error))?;
        Ok(opened)
    }

    /// Brings the file to this program's version.
    fn prepared(mut self) -> Result<Self, Failure> {
        if self.identity()? < latest() {
            // Kept in the file; it takes hold only before the first table is made.
            self.batch("PRAGMA auto_vacuum = INCREMENTAL;")?;
            self.batch("BEGIN IMMEDIATE")?;
            // Another client may have done it meanwhile.
            let version = self.identity()?;
            for (step, number) in STEPS.iter().zip(1..).skip(usize::try_from(version).unwrap_or(0)) {
                self.batch(step.sqlite)?;
                self.batch(&format!("PRAGMA user_version = {number};"))?;
            }
            self.batch(&format!("PRAGMA application_id = {SQLITE_APPLICATION_ID};"))?;
            self.batch("COMMIT")?;
        }
        // A power cut may take the latest run; it can't damage the file (sqlite.org/pragma.html#pragma_synchronous).
        self.batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        Ok(self)
    }

    /// The version of its schema, 0 for an empty file.
    fn identity(&mut self) -> Result<i64, Failure> {
        let version = self.number("PRAGMA user_version")?;
        let id = self.number("PRAGMA application_id")?;
        if id != SQLITE_APPLICATION_ID
            && (version != 0 || self.number("SELECT count(*) FROM sqlite_schema")? > 0)
        {
            return Err(Failure::usage(
                format!("{} is an SQLite database, but no history of sstsctl", self.path.display()),
                "name another file with --store",
            ));
        }
        if version > latest() {
            return Err(newer(&self.path.display().to_string(), version));
        }
        Ok(version)
    }

    fn number(&mut self, sql: &str) -> Result<i64, Failure> {
        self.query(sql, &[])?.first_mut().map_or(Ok(0), Row::int)
    }

    fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.connection.execute_batch(sql).map_err(|error| failure(&self.path, &error))
    }

    pub(super) fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, Failure> {
        let changed = self.connection.execute(&numbered(sql), params_from_iter(values));
        changed.map(|rows| rows as u64).map_err(|error| failure(&self.path, &error))
    }

    pub(super) fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Failure> {
        self.rows(sql, values).map_err(|error| failure(&self.path, &error))
    }

    fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, SqlError> {
        let mut statement = self.connection.prepare(&numbered(sql))?;
        let columns = statement.column_count();
        let mut found = statement.query(params_from_iter(values))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let values = (0..columns).map(|column| row.get_ref(column).map(value));
            rows.push(Row::new(values.collect::<Result<_, _>>()?));
        }
        Ok(rows)
    }

    /// Gives the room of what was removed back to the file system.
    pub(super) fn shrink(&mut self) -> Result<(), Failure> {
        // It frees a page for each row that is asked for.
        self.query("PRAGMA incremental_vacuum", &[])?;
        self.batch("PRAGMA wal_checkpoint(TRUNCATE);")
    }
}

/// A store that this program is too old for.
pub(super) fn newer(place: &str, version: i64) -> Failure {
    Failure::usage(
        format!(
            "the history {place} is of version {version}, and this sstsctl knows versions up to {}",
            latest()
        ),
        "use the sstsctl that wrote it, or a newer one; --store names another history",
    )
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value(column: ValueRef<'_>) -> Value {
    match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
    }
}

/// SQLite counts `?1`, `?2`; `$1` would be a name to it.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// Makes the file, for its user alone, and its folder.
fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // Another client was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Whether the file and its folder, which takes the log, can be written to.
fn is_writable(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writable = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
    writable(path) && writable(folder)
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("the history {} can't be used: {why}", path.display()),
        "make it and its folder readable and writable for you, name another with --store, or keep nothing with --store none",
    )
}

fn no_room(path: &Path) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("no room is left for the history {}", path.display()),
        "make room there, make the history smaller with `sstsctl runs prune`, or name another place with --store",
    )
}

fn failure(path: &Path, error: &SqlError) -> Failure {
    let place = path.display();
    // The log's index is extended before it is mapped, so that a full disk is an error and no signal.
    let has_no_index = error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE);
    match error.sqlite_error_code() {
        _ if has_no_index => no_room(path),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Failure::new(
            Exit::Internal,
            format!("the history {place} is damaged, or no SQLite file: {error}"),
            format!(
                "move it away, and restore a copy of it or `sstsctl runs import` an export; \
                 `sqlite3 {place} .recover` saves what can be read"
            ),
        ),
        Some(ErrorCode::DiskFull) => no_room(path),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::new(
            Exit::Internal,
            format!("another program holds the history {place} for more than {} s", WAIT.as_secs()),
            "end it, and try again",
        ),
        _ => unusable(path, &error.to_string()),
    }
}
