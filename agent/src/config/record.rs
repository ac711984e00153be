//! How much of what is sampled is kept.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, duration};
use crate::record::{FLIGHT, RecordSettings};

/// How much of what is sampled is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordConfig {
    /// What the telemetry of one run may take on disk, in bytes.
    pub max_run_bytes: u64,
    /// What the telemetry of all runs may take on disk, in bytes.
    pub max_total_bytes: u64,
    /// What the flight recorder may take of memory, in bytes.
    pub flight_bytes: u64,
    /// How much of the flight recorder goes into the record of a run when something went wrong.
    #[serde(deserialize_with = "duration")]
    pub frozen_before: Duration,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            max_run_bytes: 128 << 20,
            max_total_bytes: 1 << 30,
            flight_bytes: 8 << 20,
            frozen_before: Duration::from_secs(60),
        }
    }
}

impl RecordConfig {
    /// What the recorder is told.
    pub fn settings(&self) -> RecordSettings {
        RecordSettings { max_run_bytes: self.max_run_bytes, frozen_before: self.frozen_before }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, good: bool, mend| {
            if good { Ok(()) } else { Err(ConfigError::Bounds { key, value, mend }) }
        };
        let Self { max_run_bytes, max_total_bytes, flight_bytes, frozen_before } = self;
        bounds(
            "record.max_run_bytes",
            max_run_bytes.to_string(),
            (1 << 20..=1 << 40).contains(max_run_bytes),
            "use 1 MiB to 1 TiB",
        )?;
        bounds(
            "record.max_total_bytes",
            max_total_bytes.to_string(),
            (*max_run_bytes..=1 << 44).contains(max_total_bytes),
            "use at least record.max_run_bytes, at most 16 TiB",
        )?;
        bounds(
            "record.flight_bytes",
            flight_bytes.to_string(),
            (1 << 20..=1 << 30).contains(flight_bytes),
            "use 1 MiB to 1 GiB",
        )?;
        bounds(
            "record.frozen_before",
            format!("{frozen_before:?}"),
            (Duration::from_secs(1)..=FLIGHT).contains(frozen_before),
            "use 1s to 10m",
        )
    }
}
