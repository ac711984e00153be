//! A setting of the host that is changed for a while: where it stands, reading it, writing it, comparing it.

use std::{fmt, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::HostRoots;

/// A value of the host's that text is written to: a file of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Setting {
    /// As sysctl(8) names it, such as `net.ipv4.ip_forward`.
    Sysctl {
        /// With dots, or with slashes where a part has a dot in it.
        name: String,
    },
    /// The frequency governor of a core.
    Governor {
        /// The core.
        cpu: u32,
    },
}

impl Setting {
    /// The file that it is.
    ///
    /// # Errors
    /// `InvalidInput` where the name would lead elsewhere.
    pub(super) fn path(&self, roots: &HostRoots) -> io::Result<PathBuf> {
        match self {
            Self::Sysctl { name } => {
                let separator = if name.contains('/') { '/' } else { '.' };
                let parts: Vec<_> = name.split(separator).collect();
                let good = |part: &&str| {
                    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
                    !part.is_empty() && *part != "." && *part != ".." && part.chars().all(plain)
                };
                if !parts.iter().all(good) {
                    let message = format!("'{name}' is no name of a sysctl");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                Ok(roots.proc("sys").join(parts.join("/")))
            }
            Self::Governor { cpu } => {
                Ok(roots.sys(format!("devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")))
            }
        }
    }

    /// What it is now.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn read(&self, roots: &HostRoots) -> io::Result<String> {
        Ok(fs::read_to_string(self.path(roots)?)?.trim_end().to_owned())
    }

    /// Makes it something else, and looks whether the kernel took it.
    ///
    /// # Errors
    /// The kernel's; another value is read back.
    pub(super) fn write(&self, roots: &HostRoots, value: &str) -> io::Result<()> {
        // Not `fs::write`: the file is the kernel's, none is to be made where it has none.
        let mut file = fs::File::options().write(true).truncate(true).open(self.path(roots)?)?;
        // One call: the kernel takes each for a value.
        io::Write::write_all(&mut file, format!("{value}\n").as_bytes())?;
        drop(file);
        let now = self.read(roots)?;
        if same(&now, value) {
            return Ok(());
        }
        Err(io::Error::other(format!("'{value}' was written and '{now}' is read back")))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { name } => write!(f, "sysctl {name}"),
            Self::Governor { cpu } => write!(f, "the governor of core {cpu}"),
        }
    }
}

/// The kernel writes several numbers with tabs between, whatever stood between them when they were set.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Option<PathBuf> {
        Setting::Sysctl { name: name.into() }.path(&HostRoots::default()).ok()
    }

    #[test]
    fn a_sysctl_is_a_file_below_its_folder_and_nothing_else_is_one() {
        assert_eq!(path("vm.swappiness"), Some("/proc/sys/vm/swappiness".into()));
        let with_dot = "net/ipv4/conf/eth0.7/rp_filter";
        assert_eq!(path(with_dot), Some(PathBuf::from("/proc/sys").join(with_dot)));
        for bad in ["", ".", "vm..x", "../../etc/passwd", "/etc/passwd", "vm/../../x", "vm.x y", "vm/x\n"] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_are_compared_by_their_words() {
        assert!(same("4096\t16384\t4194304", "4096 16384 4194304\n"));
        assert!(!same("1", "0") && !same("1 2", "1"));
    }
}
