//! The files of the audit log: appended to, synced, and closed when they are large. The chain goes on across them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ssts_proto::audit::{Head, Link, LinkError, sha256};
use tracing::warn;

use super::entry::Entry;
use crate::config::AuditConfig;

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
/// No line is longer: a caller's words are cut to less.
const LONGEST_LINE: u64 = 64 << 10;

/// The files, and where the chain has got to.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    config: AuditConfig,
    /// Unset before the first line, and after a failure: what is there is then looked at anew.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    number: u64,
    bytes: u64,
    head: Head,
}

impl Files {
    pub(super) fn new(folder: PathBuf, config: AuditConfig) -> Self {
        Self { folder, config, open: None }
    }

    /// Appends a line, which is on disk when this returns.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.go_on()?,
        };
        if open.bytes >= self.config.max_file_bytes {
            open = self.next_file(open)?;
        }
        open.write(entry)?;
        self.open = Some(open);
        Ok(())
    }

    /// With the newest file there is. What a crash or a full disk left half written stays; the next line tells of it.
    fn go_on(&self) -> io::Result<Open> {
        let made = DirBuilder::new().mode(0o700).create(&self.folder);
        match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let numbers = numbers(&self.folder)?;
        let Some(number) = numbers.last().copied() else { return self.create(1, Head::default()) };
        let path = self.path(number);
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        let tail = tail(&mut file, bytes)?;
        let (whole, torn) = tail.split_at(end_of_lines(&tail));
        let head = match last_line(whole) {
            Some(line) => head_of(line, &path),
            None => self.head_before(&numbers, number)?,
        };
        let mut open = Open { file, number, bytes, head };
        if !torn.is_empty() {
            let (torn, line_end) = torn.strip_suffix(b"\n").map_or((torn, "\n"), |torn| (torn, ""));
            open.write_after(line_end, &Entry::torn(torn.len() as u64, sha256(torn)))?;
        }
        Ok(open)
    }

    /// At the end of the file before one that has no whole line.
    fn head_before(&self, numbers: &[u64], number: u64) -> io::Result<Head> {
        let Some(before) = numbers.iter().rev().find(|other| **other < number) else {
            return Ok(Head::default());
        };
        let path = self.path(*before);
        let mut file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let tail = tail(&mut file, bytes)?;
        let lines = &tail[..end_of_lines(&tail)];
        Ok(last_line(lines).map_or_else(Head::default, |line| head_of(line, &path)))
    }

    fn next_file(&self, full: Open) -> io::Result<Open> {
        let next = self.create(full.number + 1, full.head)?;
        let numbers = numbers(&self.folder)?;
        let kept = usize::try_from(self.config.max_files).unwrap_or(usize::MAX);
        for number in numbers.iter().take(numbers.len().saturating_sub(kept)) {
            fs::remove_file(self.path(*number))?;
        }
        Ok(next)
    }

    fn create(&self, number: u64, head: Head) -> io::Result<Open> {
        let path = self.path(number);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(Open { file, number, bytes: 0, head })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{PREFIX}{number:06}{SUFFIX}"))
    }
}

impl Open {
    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        self.write_after("", entry)
    }

    fn write_after(&mut self, before: &str, entry: &Entry) -> io::Result<()> {
        let object = serde_json::to_string(entry)?;
        let mut head = self.head.clone();
        let line = format!("{before}{}\n", head.seal(&object));
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // What there was room for is no line. Where it can't be taken away, the next line tells of it.
            let _best_effort = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.file.sync_data()?;
        self.head = head;
        Ok(())
    }
}

/// Where whole lines end: after the last that has the form of one. What a crash cut off has not.
fn end_of_lines(tail: &[u8]) -> usize {
    let mut end = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    while let Some(line) = last_line(&tail[..end]) {
        if Link::of(&String::from_utf8_lossy(line)) != Err(LinkError::Form) {
            break;
        }
        end -= line.len() + 1;
    }
    end
}

/// Without its end of line.
fn last_line(lines: &[u8]) -> Option<&[u8]> {
    let lines = lines.strip_suffix(b"\n")?;
    lines.rsplit(|byte| *byte == b'\n').next()
}

/// Of the last line, even if somebody changed it: whoever verifies the chain is told of it there.
fn head_of(line: &[u8], path: &Path) -> Head {
    let text = String::from_utf8_lossy(line);
    match Link::of(&text) {
        Ok(Link { seq, hash, .. }) => Head { seq, hash },
        Err(error) => {
            warn!(file = %path.display(), "the last line of the audit log is not as it was written: {error}");
            let number = text.strip_prefix("{\"seq\":").and_then(|rest| rest.split_once(',')?.0.parse().ok());
            Head { seq: number.unwrap_or_default(), hash: sha256(line) }
        }
    }
}

/// The end of a file, with at least one whole line where it has any.
fn tail(file: &mut File, bytes: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(bytes.saturating_sub(3 * LONGEST_LINE)))?;
    let mut tail = Vec::new();
    file.take(3 * LONGEST_LINE).read_to_end(&mut tail)?;
    Ok(tail)
}

/// Of the files that are there, from the oldest.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        numbers.extend(name.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Subject;

    fn lines(folder: &Path) -> Vec<String> {
        let of = |number| fs::read_to_string(folder.join(format!("audit-{number:06}.jsonl"))).unwrap();
        numbers(folder)
            .unwrap()
            .into_iter()
            .flat_map(|n| of(n).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn refusal() -> Entry {
        Entry::refused(Subject::default(), "Start", "no role".into())
    }

    #[test]
    fn the_chain_goes_on_over_restarts_and_files_and_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        let config = AuditConfig { max_file_bytes: 1_000, max_files: 3 };
        for _ in 0..4 {
            let mut files = Files::new(folder.clone(), config);
            for _ in 0..5 {
                files.append(&refusal()).unwrap();
            }
        }
        assert_eq!(numbers(&folder).unwrap().len(), 3);
        let links: Vec<_> = lines(&folder).iter().map(|line| Link::of(line).unwrap()).collect();
        assert_eq!(links.last().unwrap().seq, 20);
        assert!(links[0].seq > 1);
        for pair in links.windows(2) {
            assert_eq!((pair[1].seq, &pair[1].prev), (pair[0].seq + 1, &pair[0].hash));
        }
    }

    #[test]
    fn a_torn_line_stays_and_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        Files::new(folder.clone(), AuditConfig::default()).append(&refusal()).unwrap();
        let path = folder.join("audit-000001.jsonl");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":2,\"at").unwrap();
        Files::new(folder.clone(), AuditConfig::default()).append(&refusal()).unwrap();
        let lines = lines(&folder);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[2].contains("\"torn_bytes\":12") && lines[2].contains(&sha256(b"{\"seq\":2,\"at")));
        let [first, torn, last] = [0, 2, 3].map(|at| Link::of(&lines[at]).unwrap());
        assert_eq!((torn.seq, &torn.prev), (2, &first.hash));
        assert_eq!((last.seq, &last.prev), (3, &torn.hash));
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        Files::new(folder.clone(), AuditConfig::default()).append(&refusal()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("audit-000001.jsonl"))), (0o700, 0o600));
    }
}
