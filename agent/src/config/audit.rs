//! How much of the audit log is kept.

use serde::Deserialize;

use super::ConfigError;

/// How much of the audit log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// A file that is as large is closed, and another one begun.
    pub max_file_bytes: u64,
    /// So many are kept, the newest.
    pub max_files: u32,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { max_file_bytes: 16 << 20, max_files: 64 }
    }
}

impl AuditConfig {
    pub(super) fn check(self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, good: bool, mend| {
            if good { Ok(()) } else { Err(ConfigError::Bounds { key, value, mend }) }
        };
        bounds(
            "audit.max_file_bytes",
            self.max_file_bytes.to_string(),
            (4 << 10..=1 << 30).contains(&self.max_file_bytes),
            "use 4096 bytes to 1 GiB",
        )?;
        bounds(
            "audit.max_files",
            self.max_files.to_string(),
            (2..=10_000).contains(&self.max_files),
            "use 2 to 10000",
        )
    }
}
