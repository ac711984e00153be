//! Whether an audit log is as it was written.

use serde_json::Value;
use ssts_proto::audit::{Head, Link, sha256};

use super::AuditFile;
use crate::error::Failure;

/// Every line is as it was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) lines: u64,
    /// Number of the first line; above 1 where older files are gone.
    pub(crate) first: u64,
    pub(crate) head: Head,
    /// What crashes left half written, as `FILE:LINE`.
    pub(crate) torn: Vec<String>,
    /// Whether the last line of all is one of those.
    pub(crate) torn_end: bool,
    /// Whether the hash that was asked for is that of a line.
    pub(crate) holds: bool,
}

/// The first line that is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// `FILE:LINE`.
    pub(crate) place: String,
    pub(crate) why: String,
}

/// Reads all of it. `wanted` is a hash that must be that of a line.
pub(crate) fn verify(files: &[AuditFile], wanted: Option<&str>) -> Result<Result<Verified, Broken>, Failure> {
    let mut verified = Verified::default();
    for (index, file) in files.iter().enumerate() {
        let bytes = file.bytes()?;
        let name = file.path.display().to_string();
        if index > 0 && file.number != files[index - 1].number + 1 {
            let why = format!("the file before it, number {}, is missing", file.number - 1);
            return Ok(Err(Broken { place: name, why }));
        }
        let is_last = index + 1 == files.len();
        if let Err(broken) = of_file(&bytes, &name, is_last, wanted, &mut verified) {
            return Ok(Err(broken));
        }
    }
    Ok(Ok(verified))
}

fn of_file(
    bytes: &[u8],
    name: &str,
    is_last: bool,
    wanted: Option<&str>,
    verified: &mut Verified,
) -> Result<(), Broken> {
    // What is no line, until the next one that says that it was torn.
    let mut torn: Option<(usize, Vec<u8>)> = None;
    let mut number = 0;
    for raw in bytes.split_inclusive(|byte| *byte == b'\n') {
        number += 1;
        let broken = |at: usize, why: String| Broken { place: format!("{name}:{at}"), why };
        let whole = raw.strip_suffix(b"\n");
        let text = String::from_utf8_lossy(whole.unwrap_or(raw));
        match (whole, Link::of(&text)) {
            (Some(_), Ok(link)) => {
                if let Some((at, left)) = torn.take() {
                    if !tells_of(&text, &left) {
                        return Err(broken(at, "it is no line of an audit log".to_owned()));
                    }
                    verified.torn.push(format!("{name}:{at}"));
                }
                if verified.lines == 0 {
                    verified.first = link.seq;
                } else if link.prev != verified.head.hash || link.seq != verified.head.seq + 1 {
                    let why = format!(
                        "line {} of the log follows line {}: lines were taken out, put in or exchanged",
                        link.seq, verified.head.seq
                    );
                    return Err(broken(number, why));
                }
                verified.lines += 1;
                verified.holds |= wanted == Some(link.hash.as_str());
                verified.head = Head { seq: link.seq, hash: link.hash };
            }
            (Some(_), Err(error @ ssts_proto::audit::LinkError::Hash)) => {
                return Err(broken(number, error.to_string()));
            }
            _ => torn.get_or_insert_with(|| (number, Vec::new())).1.extend_from_slice(raw),
        }
    }
    let Some((at, left)) = torn else { return Ok(()) };
    // At the very end it was being written when the agent died, or is being written.
    if is_last && !left.ends_with(b"\n") {
        verified.torn.push(format!("{name}:{at}"));
        verified.torn_end = true;
        return Ok(());
    }
    Err(Broken { place: format!("{name}:{at}"), why: "it is no line of an audit log".to_owned() })
}

/// Whether a line says that just this stands before it, half written.
fn tells_of(line: &str, left: &[u8]) -> bool {
    let left = left.strip_suffix(b"\n").unwrap_or(left);
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    value["kind"] == "torn"
        && value["torn_bytes"] == u64::try_from(left.len()).unwrap_or(u64::MAX)
        && value["torn_sha256"] == sha256(left)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log(texts: &[&str]) -> (tempfile::TempDir, Vec<AuditFile>) {
        let dir = tempfile::tempdir().unwrap();
        for (index, text) in texts.iter().enumerate() {
            fs::write(dir.path().join(format!("audit-{:06}.jsonl", index + 1)), text).unwrap();
        }
        let files = super::super::files(dir.path()).unwrap();
        (dir, files)
    }

    fn lines(count: usize) -> (Vec<String>, Head) {
        let mut head = Head::default();
        ((0..count).map(|at| head.seal(&format!("{{\"n\":{at}}}")) + "\n").collect(), head)
    }

    fn told(texts: &[&str], wanted: Option<&str>) -> Result<Verified, Broken> {
        let (_dir, files) = log(texts);
        verify(&files, wanted).unwrap()
    }

    #[test]
    fn a_chain_goes_on_across_files_and_holds_what_was_noted() {
        let (lines, head) = lines(4);
        let [one, two] = [lines[..2].concat(), lines[2..].concat()];
        let noted = Link::of(lines[1].trim_end()).unwrap().hash;
        let verified = told(&[&one, &two], Some(&noted)).unwrap();
        assert_eq!((verified.lines, verified.first, &verified.head), (4, 1, &head));
        assert!(verified.holds && verified.torn.is_empty());
        // Older files were deleted, as the configuration says.
        assert_eq!(told(&[&two], Some(&noted)).unwrap().first, 3);
        assert!(!told(&[&two], Some(&noted)).unwrap().holds);
    }

    #[test]
    fn every_changed_byte_is_found_and_its_line_named() {
        let (lines, _) = lines(3);
        let whole = lines.concat();
        for at in 0..whole.len() - 1 {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            let broken = told(&[&changed], None).expect_err(&changed);
            // An end of line that is gone makes one line of two.
            let line = whole[..at].matches('\n').count() + 1;
            assert!(broken.place.ends_with(&format!(":{line}")), "{at}: {broken:?}");
        }
    }

    #[test]
    fn lines_that_were_taken_out_or_exchanged_are_missed() {
        let (lines, _) = lines(3);
        for order in [&[0, 2][..], &[0, 2, 1], &[0, 1, 1, 2]] {
            let text: String = order.iter().map(|at| lines[*at].as_str()).collect();
            assert!(told(&[&text], None).is_err(), "{order:?}");
        }
    }

    #[test]
    fn what_a_crash_tore_is_told_apart() {
        let (lines, mut head) = lines(2);
        let whole = lines.concat();
        let torn = told(&[&format!("{whole}{{\"seq\":3,\"n")], None).unwrap();
        assert!(torn.torn_end && torn.lines == 2 && torn.torn.len() == 1, "{torn:?}");
        let half = "{\"seq\":3,\"n";
        let hash = sha256(half.as_bytes());
        let tells = head
            .seal(&format!("{{\"kind\":\"torn\",\"torn_bytes\":{},\"torn_sha256\":\"{hash}\"}}", half.len()));
        let healed = told(&[&format!("{whole}{half}\n{tells}\n")], None).unwrap();
        assert!(!healed.torn_end && healed.lines == 3 && healed.torn.len() == 1, "{healed:?}");
        // Nobody tells of it, or of another one.
        assert!(told(&[&format!("{half}\n{whole}")], None).is_err());
        assert!(told(&[&format!("{whole}{half}x\n{tells}\n")], None).is_err());
    }
}
