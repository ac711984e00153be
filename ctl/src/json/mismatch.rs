//! A wrong result, as JSON.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{Mismatch, Rerun};

use super::{present, rfc3339};

/// What was computed wrongly, where, and what the host said at that instant. What it does not tell is absent.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Mismatch")]
pub(super) struct MismatchOut {
    /// Index of the worker that found it.
    worker: u32,
    /// RFC 3339.
    at: String,
    /// By the kernel's number.
    core: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    microcode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_khz: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    temperatures: Vec<TemperatureOut>,
    kernel: String,
    isa: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<String>,
    /// Gives the same unit again.
    seed: u64,
    /// Units that the worker had computed before.
    unit: u64,
    /// The first wrong word of 64 bits in the unit's result.
    word: u64,
    /// In hexadecimal digits, as are `got` and `xor`: JSON's numbers end at 53 bits.
    expected: String,
    got: String,
    xor: String,
    /// In the whole result.
    wrong_words: u64,
    wrong_bits: u64,
    /// It was made on purpose.
    injected: bool,
    /// The same unit computed again.
    reruns: Vec<RerunOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Temperature")]
struct TemperatureOut {
    id: String,
    label: String,
    celsius: f64,
}

/// The same unit, again and again for up to 100 ms.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Rerun")]
struct RerunOut {
    /// `same_core`, `sibling`, `other_core`, `other_isa`, or `reference`: the known answer, computed once more.
    placement: String,
    /// Why it was not done; the rest is absent then.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_done: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isa: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatches: Option<u64>,
    /// Mismatches a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// The bounds of the rate's 95 % confidence interval (Wilson's).
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_interval: Option<[f64; 2]>,
}

impl From<&Mismatch> for MismatchOut {
    fn from(found: &Mismatch) -> Self {
        let hex = |word: u64| format!("{word:016x}");
        let temperatures = found.temperatures.iter().map(|reading| TemperatureOut {
            id: reading.id.clone(),
            label: reading.label.clone(),
            celsius: reading.celsius,
        });
        Self {
            worker: found.worker,
            at: rfc3339(found.at_unix_ns),
            core: found.core,
            core_id: found.core_id,
            package_id: found.package_id,
            microcode: present(&found.microcode),
            frequency_khz: found.frequency_khz,
            temperatures: temperatures.collect(),
            kernel: found.kernel.clone(),
            isa: found.isa.clone(),
            precision: present(&found.precision),
            seed: found.seed,
            unit: found.unit,
            word: found.word,
            expected: hex(found.expected),
            got: hex(found.got),
            xor: hex(found.xor),
            wrong_words: found.wrong_words,
            wrong_bits: found.wrong_bits,
            injected: found.injected,
            reruns: found.reruns.iter().map(RerunOut::from).collect(),
        }
    }
}

impl From<&Rerun> for RerunOut {
    fn from(rerun: &Rerun) -> Self {
        let done = rerun.not_done.is_empty();
        Self {
            placement: rerun.placement.clone(),
            not_done: present(&rerun.not_done),
            core: rerun.core,
            isa: present(&rerun.isa),
            units: done.then_some(rerun.units),
            mismatches: done.then_some(rerun.mismatches),
            rate: rerun.rate,
            rate_interval: rerun.rate_low.zip(rerun.rate_high).map(|(low, high)| [low, high]),
        }
    }
}
