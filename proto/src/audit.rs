//! The lines of the audit log, as sstsd writes them and sstsctl verifies them: JSON objects, one a line, each with the hash of
//! the line before it and its own.
//!
//! A line is `{"seq":N,...,"prev":"H","hash":"H"}`. Its hash is SHA-256 of all that stands before `,"hash":`. Whoever can write
//! the file can compute a whole new chain: only a hash that was noted elsewhere tells that.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// What stands before the first line.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const HASH_LENGTH: usize = GENESIS.len();
const PREV: &str = ",\"prev\":\"";
const HASH: &str = ",\"hash\":\"";
const END: &str = "\"}";

/// Where a chain has got to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Of the last line; 0 where there is none.
    pub seq: u64,
    /// Of the last line.
    pub hash: String,
}

/// What makes a line part of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number, from 1.
    pub seq: u64,
    /// The hash of the line before it.
    pub prev: String,
    /// Its own.
    pub hash: String,
}

/// Why a line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It does not look like one.
    #[error("it is no line of an audit log")]
    Form,
    /// It was changed.
    #[error("its hash is not that of what stands in it: it was changed")]
    Hash,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

impl Head {
    /// Makes a line, without its end of line, of a JSON object; it is the new head.
    pub fn seal(&mut self, object: &str) -> String {
        let inner = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(object);
        let seq = self.seq + 1;
        let mut line = format!("{{\"seq\":{seq},{inner}{PREV}{}\"", self.hash);
        let hash = sha256(line.as_bytes());
        line.push_str(HASH);
        line.push_str(&hash);
        line.push_str(END);
        *self = Self { seq, hash };
        line
    }
}

impl Link {
    /// Of a line, whose hash is checked.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn of(line: &str) -> Result<Self, LinkError> {
        let (sealed, hash) = split(line, HASH, END).ok_or(LinkError::Form)?;
        if sha256(sealed.as_bytes()) != hash {
            return Err(LinkError::Hash);
        }
        let (body, prev) = split(sealed, PREV, "\"").ok_or(LinkError::Form)?;
        let number = body.strip_prefix("{\"seq\":").and_then(|rest| Some(rest.split_once(',')?.0));
        let seq = number.and_then(|number| number.parse().ok()).ok_or(LinkError::Form)?;
        Ok(Self { seq, prev: prev.to_owned(), hash: hash.to_owned() })
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::with_capacity(HASH_LENGTH), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What stands before `mark HASH end`, and the hash.
fn split<'a>(line: &'a str, mark: &str, end: &str) -> Option<(&'a str, &'a str)> {
    let line = line.strip_suffix(end)?;
    let at = line.len().checked_sub(HASH_LENGTH)?;
    let (before, hash) = line.split_at_checked(at)?;
    Some((before.strip_suffix(mark)?, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn lines_are_chained_and_a_changed_byte_is_seen() {
        let mut head = Head::default();
        let first = head.seal(r#"{"what":"a {brace}"}"#);
        let second = head.seal(r#"{"what":"b"}"#);
        let link = Link::of(&first).unwrap();
        assert_eq!((link.seq, link.prev.as_str()), (1, GENESIS));
        let next = Link::of(&second).unwrap();
        assert_eq!((next.seq, &next.prev), (2, &link.hash));
        assert_eq!(head, Head { seq: 2, hash: next.hash });
        for at in 0..second.len() {
            let mut bytes = second.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Link::of(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn what_is_no_line_is_told() {
        for line in ["", "{}", "\"}", "é\"}", &"x".repeat(200)] {
            assert_eq!(Link::of(line), Err(LinkError::Form), "{line}");
        }
    }
}
