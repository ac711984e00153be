//! A file of procfs or sysfs, held open and read anew from its beginning at every tick.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use ssts_proto::v1::AbsenceReason;

/// Most of these files fit; larger ones make the buffer grow, once.
const FIRST_BYTES: usize = 4_096;

/// A file that the kernel makes up when it is read.
#[derive(Debug)]
pub(crate) struct KernelFile {
    file: Result<File, AbsenceReason>,
    buffer: Vec<u8>,
}

impl KernelFile {
    /// Opens it. That it can't be is told by every later read.
    pub(crate) fn open(path: impl AsRef<Path>) -> Self {
        let file = File::open(path).map_err(|error| absence(&error));
        Self { file, buffer: Vec::new() }
    }

    /// Its whole content as of now.
    pub(crate) fn read(&mut self) -> Result<&[u8], AbsenceReason> {
        read_whole(self.file.as_ref().map_err(|reason| *reason)?, &mut self.buffer)
    }

    /// Whether it still has a name. A file of sysfs loses it with its device; so does one of a test's tree.
    pub(crate) fn is_there(&self) -> bool {
        self.file.as_ref().is_ok_and(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() > 0))
    }
}

/// A file among very many, which share a buffer, and of which only the first few are held open.
#[derive(Debug)]
pub(crate) struct KernelPath {
    path: PathBuf,
    file: Option<File>,
    was_there: bool,
}

impl KernelPath {
    /// Holds it open where `kept`.
    pub(crate) fn new(path: PathBuf, kept: bool) -> Self {
        let file = if kept { File::open(&path).ok() } else { None };
        Self { was_there: file.is_some() || path.exists(), path, file }
    }

    /// Its whole content as of now. One that was there when it was found and no longer is, is gone.
    pub(crate) fn read<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], AbsenceReason> {
        let opened = match &self.file {
            Some(file) => return read_whole(file, buffer),
            None => File::open(&self.path).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT) if self.was_there => AbsenceReason::Gone,
                _ => absence(&error),
            }),
        };
        read_whole(&opened?, buffer)
    }
}

fn read_whole<'a>(file: &File, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], AbsenceReason> {
    if buffer.is_empty() {
        buffer.resize(FIRST_BYTES, 0);
    }
    let mut length = 0;
    loop {
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => return Ok(&buffer[..length]),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(absence(&error)),
        }
        if length == buffer.len() {
            buffer.resize(length * 2, 0);
        }
    }
}

/// What an error of the kernel means for a reading.
pub(crate) fn absence(error: &io::Error) -> AbsenceReason {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENOSYS) => AbsenceReason::Unsupported,
        Some(libc::EACCES | libc::EPERM) => AbsenceReason::Denied,
        Some(libc::ENODEV | libc::ENXIO) => AbsenceReason::Gone,
        _ => AbsenceReason::ReadFailed,
    }
}

/// Decimal digits at the start of `text`, and what follows them.
pub(crate) fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut value = 0u64;
    for digit in text.get(..digits).filter(|digits| !digits.is_empty())? {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some((value, &text[digits..]))
}

/// Numbers that are divided by anything else.
pub(crate) fn numbers(mut text: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let start = text.iter().position(u8::is_ascii_digit)?;
        let (value, rest) = number(&text[start..])?;
        text = rest;
        Some(value)
    })
}

/// Lines without their ends.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_each_time_however_long() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut kernel_file = KernelFile::open(file.path());
        for content in ["short", &"long".repeat(10_000), ""] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(kernel_file.read(), Ok(content.as_bytes()));
        }
        assert!(kernel_file.is_there());
        std::fs::remove_file(file.path()).unwrap();
        assert!(!kernel_file.is_there());
    }

    #[test]
    fn numbers_that_overflow_are_no_numbers() {
        assert_eq!(number(b"18446744073709551615 x"), Some((u64::MAX, &b" x"[..])));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b"x"), None);
        assert_eq!(numbers(b"a 1 b:22,333").collect::<Vec<_>>(), [1, 22, 333]);
    }
}
