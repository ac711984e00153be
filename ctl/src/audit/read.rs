//! Finds the files of an audit log.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::Failure;

/// One file of the log.
#[derive(Debug)]
pub(crate) struct AuditFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

impl AuditFile {
    /// What is in it.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        fs::read(&self.path).map_err(|error| unreadable(&self.path, &error))
    }
}

/// The oldest first.
pub(crate) fn files(folder: &Path) -> Result<Vec<AuditFile>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("audit-").and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
        found.extend(number.map(|number| AuditFile { number, path: path.clone() }));
    }
    found.sort_by_key(|file| file.number);
    if found.is_empty() {
        return Err(Failure::usage(
            format!("{} holds no audit log", folder.display()),
            "name its folder with --dir: `audit` below the agent's state folder",
        ));
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(
        format!("{}: {error}", path.display()),
        "name the folder with --dir; on the host itself it takes root to read it",
    )
}
