//! Folders and small files of sysfs, read when the host is looked at, never at a tick.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What a folder holds, by name; nothing where it can't be read.
pub(crate) fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect();
    found.sort_unstable();
    found
}

/// What is named by a prefix and a number, by number.
pub(crate) fn numbered(folder: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<_> = entries(folder)
        .into_iter()
        .filter_map(|(name, path)| Some((name.strip_prefix(prefix)?.parse().ok()?, path)))
        .collect();
    found.sort_unstable();
    found
}

/// The only line of a file, unless it is empty.
pub(crate) fn line(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The only number of a file.
pub(crate) fn number<T: FromStr>(path: &Path) -> Option<T> {
    line(path)?.parse().ok()
}
