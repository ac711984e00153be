//! One line of the journal: what was changed, where, what was there before and what was meant to be there. As JSON, with a
//! version; one that is newer than this program is left alone, and told.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use ssts_proto::v1::ReceiptState;

use super::setting::{self, Setting};
use crate::{burn::disk::NamedFile, host::HostRoots};

/// What this program writes, and the newest that it understands.
const VERSION: u32 = 1;

/// What is to be undone, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// Empty where it is of no run.
    #[serde(default)]
    pub(super) run_id: String,
    pub(super) change: Change,
}

/// A change of the host that outlives the process that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Change {
    /// A file that has to have a name. There was none before, and none is to be there after.
    File(NamedFile),
    /// A setting.
    Setting {
        /// Which.
        setting: Setting,
        /// As it was.
        original: String,
        /// As it was to be.
        intended: String,
    },
}

/// What came of undoing one change, seen afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct Undone {
    pub(in crate::run) run_id: String,
    pub(in crate::run) is_setting: bool,
    pub(in crate::run) state: ReceiptState,
    /// What was seen.
    pub(in crate::run) detail: String,
    /// Empty where it is clean.
    pub(in crate::run) mend: String,
}

impl Record {
    pub(super) fn new(run_id: &str, change: Change) -> Self {
        Self { version: VERSION, run_id: run_id.into(), change }
    }

    /// The one in a file. Before they had versions, records were files' alone.
    ///
    /// # Errors
    /// The kernel's; it is torn, or newer than this program.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let bytes = fs::read(path)?;
        match serde_json::from_slice::<Versioned>(&bytes) {
            Ok(Versioned { version }) if version > VERSION => Err(io::Error::other(format!(
                "it is of version {version}, and this sstsd knows {VERSION}: it was written by a newer one"
            ))),
            Ok(_) => Ok(serde_json::from_slice(&bytes)?),
            Err(_) => Ok(Self::new("", Change::File(serde_json::from_slice(&bytes)?))),
        }
    }
}

impl Change {
    /// Makes it undone, and looks whether it is.
    pub(super) fn undo(&self, run_id: &str, roots: &HostRoots) -> Undone {
        let (state, detail, mend) = match self {
            Self::File(file) => undo_file(file),
            Self::Setting { setting, original, intended } => undo_setting(setting, original, intended, roots),
        };
        let is_setting = matches!(self, Self::Setting { .. });
        Undone { run_id: run_id.into(), is_setting, state, detail, mend }
    }
}

impl Undone {
    /// Of a file that nobody has looked for yet.
    pub(super) fn put_off(run_id: &str, file: &NamedFile) -> Self {
        let (device, name) = (file.file_system.device.display(), &file.name);
        Self {
            run_id: run_id.into(),
            is_setting: false,
            state: ReceiptState::Unknown,
            detail: format!("{name} on {device} was not looked for: a burner hangs, and who looks might too"),
            mend: "mend what the burner hangs for, then `sstsctl recover`".into(),
        }
    }
}

fn undo_file(file: &NamedFile) -> (ReceiptState, String, String) {
    let (device, name) = (file.file_system.device.display(), &file.name);
    match file.remove() {
        Ok(true) => {
            (ReceiptState::Clean, format!("{name} on {device} was left and is removed"), String::new())
        }
        Ok(false) => (
            ReceiptState::Clean,
            format!("{name} was looked for on {device} and is not there"),
            String::new(),
        ),
        Err(error) => (
            ReceiptState::Unknown,
            format!("{name} on {device} could not be looked for: {error}"),
            format!("make {device} usable, then `sstsctl recover`"),
        ),
    }
}

/// Puts the original back where the change stands. What somebody else has made of it meanwhile is not ours to overwrite.
fn undo_setting(
    setting: &Setting,
    original: &str,
    intended: &str,
    roots: &HostRoots,
) -> (ReceiptState, String, String) {
    let unknown = |what: &str, error: io::Error| {
        let detail = format!("{setting} {what}: {error}; it was '{original}' and was set to '{intended}'");
        (
            ReceiptState::Unknown,
            detail,
            format!("set it to '{original}' if it is not, then `sstsctl recover`"),
        )
    };
    let now = match setting.read(roots) {
        Ok(now) => now,
        Err(error) => return unknown("can't be read", error),
    };
    if setting::same(&now, original) {
        return (ReceiptState::Clean, format!("{setting} is '{original}', as it was"), String::new());
    }
    if !setting::same(&now, intended) {
        let detail = format!(
            "{setting} is '{now}', neither what it was ('{original}') nor what it was set to ('{intended}'): somebody else changed \
             it, and it is left alone"
        );
        let mend = format!("set it to '{original}', or keep it with `sstsctl recover --force --reason TEXT`");
        return (ReceiptState::Unknown, detail, mend);
    }
    match setting.write(roots, original) {
        Ok(()) => {
            let detail = format!("{setting} is '{original}' again, and was '{intended}' meanwhile");
            (ReceiptState::Clean, detail, String::new())
        }
        Err(error) => {
            let (_, detail, mend) = unknown("could not be set back", error);
            (ReceiptState::Left, detail, mend)
        }
    }
}
