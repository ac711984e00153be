//! A team's history in PostgreSQL: the tables of the SQLite one in a schema `ssts`, those that grow with runs partitioned by
//! the month in which runs started.

use std::{collections::HashMap, error::Error as StdError, time::Duration};

use tokio_postgres::{
    Client, Config, Error as SqlError, NoTls, Statement,
    config::{Host, SslMode},
    types::{ToSql, Type},
};

use super::{
    passfile::password,
    schema::{STEPS, latest},
    sqlite::newer,
    tls::Tls,
    value::{Row, Value},
};
use crate::error::{Exit, Failure};

/// Held by who changes tables: "SSTS".
const TABLES_LOCK: i64 = 0x5353_5453;
/// Held, shared, by who puts runs into partitions, and alone by who drops some.
const PARTITIONS_LOCK: i64 = TABLES_LOCK + 1;
/// For one attempt to connect.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Bytes of a statement that may come again.
const LONGEST_PREPARED: usize = 2_000;
const MOST_PREPARED: usize = 64;
/// The tables that have a partition for each month.
const PARTITIONED: [&str; 3] = ["run", "result", "figure"];

/// A connection, and the database as messages name it.
#[derive(Debug)]
pub(super) struct Postgres {
    client: Client,
    place: String,
    /// Statements that the server has read already.
    prepared: HashMap<String, Statement>,
}

/// Where a database is, read from its URL, without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    config: Config,
    /// The certificate authority that signed the server's certificate, where it is none of the system's.
    root_certificate: Option<std::path::PathBuf>,
    shown: String,
}

impl Database {
    /// Of a URL as libpq has them, with `sslrootcert`.
    ///
    /// # Errors
    /// It can't be read, or it holds a password, which every user of the host could see.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut root_certificate = None;
        let mut rest = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.strip_prefix("sslrootcert=") {
                Some(path) => root_certificate = Some(path.into()),
                None => rest.push(part),
            }
        }
        let says_sslmode = rest.iter().any(|part| part.starts_with("sslmode="));
        let shown = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: Config = shown.parse().map_err(|error: SqlError| {
            format!(
                "it is no URL of a PostgreSQL database: {}; write postgres://USER@HOST/DATABASE",
                causes(&error)
            )
        })?;
        if config.get_password().is_some() {
            return Err(
                "a password in it could be read by every user of this host: leave it out, and put it into \
                        PGPASSWORD, or into a file that PGPASSFILE names"
                    .into(),
            );
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("it names no host: write postgres://USER@HOST/DATABASE, or ?host=/run/postgresql for a socket".into());
        }
        let is_near = |host: &Host| match host {
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
            Host::Unix(_) => true,
        };
        // What leaves the host is encrypted unless somebody says otherwise.
        if !says_sslmode && !config.get_hosts().iter().all(is_near) {
            config.ssl_mode(SslMode::Require);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIME);
        }
        config.application_name("sstsctl");
        Ok(Self { config, root_certificate, shown })
    }

    /// As messages name it.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }
}

impl Postgres {
    /// Connects. Nothing is made.
    pub(super) async fn connect(database: &Database) -> Result<Self, Failure> {
        let Database { config, root_certificate, shown } = database;
        let mut config = config.clone();
        if let Some(password) = password(&config)? {
            config.password(password);
        }
        let client = if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) =
                config.connect(NoTls).await.map_err(|error| unreachable(shown, &error))?;
            tokio::spawn(connection);
            client
        } else {
            let tls = Tls::new(root_certificate.as_deref())?;
            let (client, connection) =
                config.connect(tls).await.map_err(|error| unreachable(shown, &error))?;
            tokio::spawn(connection);
            client
        };
        let mut connected = Self { client, place: shown.clone(), prepared: HashMap::new() };
        connected.execute("SET search_path TO ssts", &[]).await?;
        Ok(connected)
    }

    /// The version of its tables, 0 where there are none.
    pub(super) async fn version(&mut self) -> Result<i64, Failure> {
        let table = self.query("SELECT to_regclass('ssts.version')::text", &[]).await?;
        let is_there = table.into_iter().next().map_or(Ok(None), |mut row| row.maybe_text())?.is_some();
        if !is_there {
            return Ok(0);
        }
        let row = self
            .query("SELECT coalesce(max(version), 0)::bigint FROM ssts.version", &[])
            .await?
            .into_iter()
            .next();
        let version = row.map_or(Ok(0), |mut row| row.int())?;
        if version > latest() { Err(newer(&self.place, version)) } else { Ok(version) }
    }

    /// Brings the tables to this program's version, in a transaction; of several clients one does it.
    pub(super) async fn prepare(&mut self) -> Result<(), Failure> {
        if self.version().await? == latest() {
            return Ok(());
        }
        self.batch("BEGIN").await?;
        let migrated = self.migrate().await;
        let end = if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.batch(end).await;
        migrated.and(ended)
    }

    async fn migrate(&mut self) -> Result<(), Failure> {
        self.query("SELECT pg_advisory_xact_lock($1)::text", &[TABLES_LOCK.into()]).await?;
        self.batch("CREATE SCHEMA IF NOT EXISTS ssts; CREATE TABLE IF NOT EXISTS ssts.version (version BIGINT PRIMARY KEY)")
            .await?;
        // Another client may have done it meanwhile.
        let version = self.version().await?;
        for (step, number) in STEPS.iter().zip(1i64..).skip(usize::try_from(version).unwrap_or(0)) {
            self.batch(step.postgres).await?;
            self.execute("INSERT INTO ssts.version (version) VALUES ($1)", &[number.into()]).await?;
        }
        Ok(())
    }

    async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).await.map_err(|error| failure(&self.place, &error))
    }

    /// The statement, read by the server once for as long as the connection is.
    async fn prepared(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await.map_err(|error| failure(&self.place, &error))?;
        // Long ones have as many places as they have values, and do not come again.
        if sql.len() <= LONGEST_PREPARED && self.prepared.len() < MOST_PREPARED {
            self.prepared.insert(sql.to_owned(), statement.clone());
        }
        Ok(statement)
    }

    pub(super) async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, Failure> {
        let statement = self.prepared(sql).await?;
        let changed = self.client.execute(&statement, &parameters(values)).await;
        changed.map_err(|error| failure(&self.place, &error))
    }

    pub(super) async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Failure> {
        let statement = self.prepared(sql).await?;
        let rows = self.client.query(&statement, &parameters(values)).await;
        let rows = rows.map_err(|error| failure(&self.place, &error))?;
        rows.iter().map(|row| read(row).map_err(|error| failure(&self.place, &error))).collect()
    }

    /// Adds figures of a run: as two arrays, for a place for each of thousands of values costs the server more than the values do.
    pub(super) async fn add_figures(&mut self, run_key: i64, figures: &[(i64, f64)]) -> Result<(), Failure> {
        let (series, values): (Vec<i64>, Vec<f64>) = figures.iter().copied().unzip();
        let statement = self
            .prepared(
                "INSERT INTO figure (run_key, series_id, value)
                 SELECT $1::bigint, * FROM unnest($2::bigint[], $3::double precision[]) ON CONFLICT DO NOTHING",
            )
            .await?;
        let added = self.client.execute(&statement, &[&run_key, &series, &values]).await;
        added.map(drop).map_err(|error| failure(&self.place, &error))
    }

    /// Makes the partitions of the month of an instant, where they are not there. In a transaction.
    pub(super) async fn make_room(&mut self, at_ns: i64) -> Result<(), Failure> {
        self.query("SELECT pg_advisory_xact_lock_shared($1)::text", &[PARTITIONS_LOCK.into()]).await?;
        let month = Month::of(at_ns);
        let found = self
            .query("SELECT to_regclass($1)::text", &[format!("ssts.figure_{}", month.name).into()])
            .await?;
        if found.into_iter().next().map_or(Ok(None), |mut row| row.maybe_text())?.is_some() {
            return Ok(());
        }
        self.query("SELECT pg_advisory_xact_lock($1)::text", &[TABLES_LOCK.into()]).await?;
        for table in PARTITIONED {
            let Month { name, from_ns, to_ns } = &month;
            self.batch(&format!(
                "CREATE TABLE IF NOT EXISTS ssts.{table}_{name} PARTITION OF ssts.{table} FOR VALUES FROM ({from_ns}) TO ({to_ns})"
            ))
            .await?;
        }
        Ok(())
    }

    /// Drops the partitions that have no run any more.
    pub(super) async fn shrink(&mut self) -> Result<(), Failure> {
        self.batch("BEGIN").await?;
        let dropped = self.drop_empty().await;
        let end = if dropped.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.batch(end).await;
        dropped.and(ended)
    }

    async fn drop_empty(&mut self) -> Result<(), Failure> {
        self.query("SELECT pg_advisory_xact_lock($1)::text", &[PARTITIONS_LOCK.into()]).await?;
        let sql = "SELECT child.relname::text FROM pg_inherits
                   JOIN pg_class child ON child.oid = inhrelid
                   WHERE inhparent = 'ssts.run'::regclass";
        for mut row in self.query(sql, &[]).await? {
            let name = row.text()?;
            let Some(month) = name.strip_prefix("run_").filter(|month| is_month(month)) else { continue };
            let rows = self.query(&format!("SELECT 1::bigint FROM ssts.{name} LIMIT 1"), &[]).await?;
            if rows.is_empty() {
                for table in PARTITIONED {
                    self.batch(&format!("DROP TABLE IF EXISTS ssts.{table}_{month}")).await?;
                }
            }
        }
        Ok(())
    }
}

/// A month in UTC.
#[derive(Debug, PartialEq, Eq)]
struct Month {
    /// `2026_11`.
    name: String,
    from_ns: i64,
    to_ns: i64,
}

impl Month {
    fn of(at_ns: i64) -> Self {
        let utc = jiff::tz::TimeZone::UTC;
        // Every 64-bit number of nanoseconds is a time that jiff knows, and so are the months about it.
        let at = jiff::Timestamp::from_nanosecond(i128::from(at_ns))
            .unwrap_or_default()
            .to_zoned(utc.clone())
            .date();
        let first = at.first_of_month();
        let ns = |date: jiff::civil::Date| {
            let at = date.to_zoned(utc.clone()).map(|at| at.timestamp().as_nanosecond()).unwrap_or_default();
            i64::try_from(at).unwrap_or(if at < 0 { i64::MIN } else { i64::MAX })
        };
        let next = at.last_of_month().tomorrow().unwrap_or(at);
        Self { name: format!("{:04}_{:02}", at.year(), at.month()), from_ns: ns(first), to_ns: ns(next) }
    }
}

fn is_month(name: &str) -> bool {
    name.len() == 7 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

static NOTHING: Option<String> = None;

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    let parameter = |value| -> &(dyn ToSql + Sync) {
        match value {
            // Only texts may be absent.
            &Value::Null => &NOTHING,
            Value::Int(number) => number,
            Value::Real(number) => number,
            Value::Text(text) => text,
            Value::Bytes(bytes) => bytes,
        }
    };
    values.iter().map(parameter).collect()
}

fn read(row: &tokio_postgres::Row) -> Result<Row, SqlError> {
    let column = |(index, column): (usize, &tokio_postgres::Column)| {
        Ok(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.into(),
            Type::FLOAT8 => row.try_get::<_, Option<f64>>(index)?.into(),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index)?.into(),
            _ => row.try_get::<_, Option<String>>(index)?.into(),
        })
    };
    row.columns().iter().enumerate().map(column).collect::<Result<Vec<Value>, _>>().map(Row::new)
}

fn unreachable(place: &str, error: &SqlError) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("the history {place} can't be reached: {}", causes(error)),
        "see that the server runs and lets you in; a password comes from PGPASSWORD or PGPASSFILE, and ?sslmode=disable \
         does without encryption where the way to the server is safe",
    )
}

fn failure(place: &str, error: &SqlError) -> Failure {
    let mend = match error.as_db_error().map(|error| error.code().code()) {
        // insufficient_privilege
        Some("42501") => {
            "let its administrator grant you what is missing: docs/history.md says what is needed"
        }
        // disk_full
        Some("53100") => "make room on its server, or make the history smaller with `sstsctl runs prune`",
        _ => "see the server's log",
    };
    Failure::new(Exit::Internal, format!("the history {place}: {}", causes(error)), mend)
}

/// The error with what it comes from, which its own text leaves out.
fn causes(error: &SqlError) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_password_is_refused_without_telling_it() {
        let refusal = Database::parse("postgres://me:s3cret@db/ssts").unwrap_err();
        assert!(refusal.contains("PGPASSWORD") && !refusal.contains("s3cret"), "{refusal}");
        let refusal = Database::parse("postgres://db/ssts?password=s3cret").unwrap_err();
        assert!(refusal.contains("PGPASSWORD") && !refusal.contains("s3cret"), "{refusal}");
    }

    #[test]
    fn what_leaves_the_host_is_encrypted_unless_said_otherwise() {
        let mode = |url: &str| Database::parse(url).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://me@db.example/ssts"), SslMode::Require);
        assert_eq!(mode("postgres://me@db.example/ssts?sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("postgres://me@localhost/ssts"), SslMode::Prefer);
        assert_eq!(mode("postgres:///ssts?host=/run/postgresql"), SslMode::Prefer);
    }

    #[test]
    fn bad_urls_are_refused_with_the_mend() {
        for url in ["postgres://", "postgres:///ssts", "postgres://h/d?no_such=1", "postgres://h:port/d"] {
            let refusal = Database::parse(url).unwrap_err();
            assert!(refusal.contains("postgres://USER@HOST/DATABASE"), "{url}: {refusal}");
        }
    }

    #[test]
    fn months_follow_each_other() {
        let november = Month::of(1_795_269_393_686_717_937);
        assert_eq!(november.name, "2026_11");
        let december = Month::of(november.to_ns);
        assert_eq!((december.name.as_str(), december.from_ns), ("2026_12", november.to_ns));
        assert_eq!(Month::of(december.to_ns).name, "2027_01");
        assert_eq!(Month::of(-1).name, "1969_12");
        assert!(Month::of(i64::MAX).to_ns == i64::MAX && Month::of(i64::MIN).from_ns == i64::MIN);
    }
}
