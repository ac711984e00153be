//! Runs in a file, from one store to another: lines of JSON, compressed by gzip. `docs/history.md` describes it.
//!
//! The first line says what it is, the last one how many runs there were, so that a file that was cut off is known, and
//! nothing of it is taken.

use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Document, NewRun, RunFilter, Store, document::host_of, edit, now_ns};
use crate::{
    error::{Exit, Failure, Problem},
    json::rfc3339,
};

const FORMAT: &str = "ssts-runs";
const VERSION: u64 = 1;
/// Of one run, unpacked.
const MAX_LINE_BYTES: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u64,
    exported_at: String,
    /// The program, for people.
    by: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    baselines: Vec<String>,
    client_version: String,
    kept_at: jiff::Timestamp,
    /// Where the result is that of one host of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of_host: Option<String>,
    result: Value,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    runs: u64,
}

/// What came of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) runs: u64,
    /// Those that the store did not have.
    pub(crate) added: u64,
}

impl Store {
    /// Writes the runs that are meant, oldest first. How many there were.
    pub(crate) async fn export(&mut self, filter: &RunFilter, to: impl Write) -> Result<u64, Failure> {
        let runs = self.runs(filter).await?;
        let mut file = GzEncoder::new(to, Compression::default());
        let by = concat!("sstsctl ", env!("CARGO_PKG_VERSION")).to_owned();
        let head = Head { format: FORMAT.into(), version: VERSION, exported_at: rfc3339(now_ns()), by };
        write_line(&mut file, &head)?;
        for run in runs.iter().rev() {
            let result = self.result(run).await?;
            let line = Line {
                tags: run.tags.clone(),
                baselines: run.baselines.clone(),
                client_version: run.client_version.clone(),
                kept_at: jiff::Timestamp::from_nanosecond(i128::from(run.kept_at_ns)).unwrap_or_default(),
                of_host: host_of(&run.run_id).map(str::to_owned),
                result: serde_json::from_str(&result)
                    .map_err(|error| super::damaged(format!("run {}: {error}", run.run_id)))?,
            };
            write_line(&mut file, &line)?;
        }
        let count = runs.len() as u64;
        write_line(&mut file, &Tail { runs: count })?;
        file.finish().and_then(|mut to| to.flush()).map_err(|error| unwritable(&error))?;
        Ok(count)
    }

    /// Takes the runs of an export: those that the store has stay as they are. `name` is the file's, for messages.
    ///
    /// # Errors
    /// It is none, is cut off, or holds something else: then nothing was taken.
    pub(crate) async fn import(&mut self, name: &str, file: &[u8]) -> Result<Imported, Failure> {
        let foreign = |problem: Problem| Failure { exit: Exit::Usage, problems: vec![problem] };
        for run in Reader::new(name, file).map_err(foreign)? {
            run.map_err(foreign)?;
        }
        let mut imported = Imported::default();
        for run in Reader::new(name, file).map_err(foreign)? {
            let (run, baselines) = run.map_err(foreign)?;
            imported.runs += 1;
            imported.added += u64::from(self.keep(&run).await?);
            self.add_baselines(&run.document.run_id, &baselines).await?;
        }
        Ok(imported)
    }
}

fn write_line(to: &mut impl Write, line: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string(line)
        .map_err(|error| Failure::new(Exit::Internal, format!("can't write JSON: {error}"), ""))?;
    text.push('\n');
    to.write_all(text.as_bytes()).map_err(|error| unwritable(&error))
}

fn unwritable(error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("the export can't be written: {error}"),
        "make room, or name another file",
    )
}

/// The runs of an export, with the names of baselines that each was.
struct Reader<'a> {
    name: &'a str,
    lines: BufReader<GzDecoder<&'a [u8]>>,
    read: u64,
    is_over: bool,
}

impl<'a> Reader<'a> {
    fn new(name: &'a str, file: &'a [u8]) -> Result<Self, Problem> {
        let mut reader = Self { name, lines: BufReader::new(GzDecoder::new(file)), read: 0, is_over: false };
        let no_export = |why: &str| {
            Problem::new(
                format!("{name} is no export of runs: {why}"),
                "use a file that `sstsctl runs export` wrote",
            )
        };
        let line = match reader.line() {
            Ok(line) => line,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && !file.is_empty() => {
                return Err(reader.torn());
            }
            Err(error) => return Err(no_export(&error.to_string())),
        };
        let head: Head =
            serde_json::from_str(&line).map_err(|_| no_export("its first line does not say so"))?;
        if head.format != FORMAT {
            return Err(no_export(&format!("it is of the format '{}'", head.format)));
        }
        if head.version > VERSION {
            return Err(Problem::new(
                format!(
                    "{name} is an export of version {}, and this sstsctl knows version {VERSION}",
                    head.version
                ),
                format!("import it with a newer sstsctl: it was written by {}", head.by),
            ));
        }
        Ok(reader)
    }

    /// The next line, without its end.
    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        (&mut self.lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(line).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
    }

    fn torn(&self) -> Problem {
        Problem::new(
            format!("{} is cut off after {} runs: nothing was taken", self.name, self.read),
            "copy it again from where it was written, or export anew",
        )
    }

    fn next_run(&mut self) -> Result<Option<(NewRun, Vec<String>)>, Problem> {
        let line = match self.line() {
            Ok(line) => line,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(self.torn()),
            Err(error) => return Err(self.bad(&error.to_string())),
        };
        if let Ok(tail) = serde_json::from_str::<Tail>(&line) {
            return if tail.runs == self.read { self.end() } else { Err(self.bad("runs are missing")) };
        }
        let line: Line = serde_json::from_str(&line).map_err(|error| self.bad(&error.to_string()))?;
        let document = Document::of_value(&line.result).map_err(|problem| self.bad(&problem.message))?;
        for tag in line.tags.iter().chain(&line.baselines) {
            edit::label(tag).map_err(|problem| self.bad(&problem.message))?;
        }
        let document = match &line.of_host {
            Some(host) => document.on_host(host),
            None => document,
        };
        self.read += 1;
        let kept_at_ns = i64::try_from(line.kept_at.as_nanosecond()).unwrap_or(i64::MAX);
        let run = NewRun { document, tags: line.tags, client_version: line.client_version, kept_at_ns };
        Ok(Some((run, line.baselines)))
    }

    /// What follows the last line must be the end, with the right checksum.
    fn end(&mut self) -> Result<Option<(NewRun, Vec<String>)>, Problem> {
        let mut rest = Vec::new();
        match (&mut self.lines).take(1).read_to_end(&mut rest) {
            Ok(0) => Ok(None),
            Ok(_) => Err(self.bad("something follows its last line")),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.torn()),
            Err(error) => Err(self.bad(&error.to_string())),
        }
    }

    fn bad(&self, why: &str) -> Problem {
        Problem::new(
            format!("{} is damaged after {} runs: {why}; nothing was taken", self.name, self.read),
            "copy it again from where it was written, or export anew",
        )
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<(NewRun, Vec<String>), Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.next_run();
        self.is_over = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
