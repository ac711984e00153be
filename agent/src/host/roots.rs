//! Where `/proc`, `/sys` and tracefs are. Every reader takes them from here, so that a test can hand it a tree of its own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The folders under which the kernel shows itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoots {
    /// A procfs.
    pub proc: PathBuf,
    /// A sysfs.
    pub sys: PathBuf,
    /// A tracefs; it need not be mounted.
    pub tracefs: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
}

impl Default for HostRoots {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            tracefs: "/sys/kernel/tracing".into(),
            dev: "/dev".into(),
        }
    }
}

impl HostRoots {
    /// A path below the procfs.
    pub fn proc(&self, below: impl AsRef<Path>) -> PathBuf {
        self.proc.join(below)
    }

    /// A path below the sysfs.
    pub fn sys(&self, below: impl AsRef<Path>) -> PathBuf {
        self.sys.join(below)
    }

    /// A path below the device nodes.
    pub fn dev(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dev.join(below)
    }

    /// A path below the tracefs.
    pub fn tracefs(&self, below: impl AsRef<Path>) -> PathBuf {
        self.tracefs.join(below)
    }
}
