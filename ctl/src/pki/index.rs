//! What an authority has issued: `index.json` in its folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use crate::error::Failure;

const NAME: &str = "index.json";

/// Everything that an authority has to remember.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Index {
    /// Of the authority, as its certificate has it.
    pub(super) authority: String,
    /// Of the newest list of revoked certificates.
    pub(super) list_number: u64,
    pub(super) issued: Vec<Issued>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    /// In hexadecimal.
    pub(crate) serial: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Of a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    /// Of a host: names and addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
    /// In ms.
    pub(crate) valid_for_ms: u64,
    /// Seconds since 1970.
    pub(crate) not_after_s: i64,
    /// Where it was written to.
    pub(crate) folder: PathBuf,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at_s: Option<i64>,
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// An sstsd.
    Host,
    /// An sstsctl.
    Client,
}

impl Kind {
    /// As a word, and as the beginning of its files' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Client => "client",
        }
    }
}

impl Index {
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = Self::path(folder);
        serde_json::from_str(&files::read(&path)?).map_err(|error| {
            Failure::usage(
                format!("{}: {error}", path.display()),
                "put it back from a backup; what it lists can't be revoked without it",
            )
        })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        // It is plain data.
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        files::write(&Self::path(folder), &text, files::PRIVATE)
    }
}
