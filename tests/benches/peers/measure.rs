//! Readings that several subjects take.

use std::time::{Duration, Instant};

use serde_json::Value;
use ssts_tests::{Running, outside};

/// What a survivor of its parent's death is given.
pub(crate) const SURVIVAL: Duration = Duration::from_secs(3);

/// Percent of a core, between two instants with the CPU time at each.
pub(crate) fn share(begin: (Instant, Duration), end: (Instant, Duration)) -> f64 {
    100.0 * (end.1.saturating_sub(begin.1)).as_secs_f64() / (end.0 - begin.0).as_secs_f64()
}

/// Milliseconds until it is so. What takes longer than [`SURVIVAL`] counts as that: left out, it would flatter the median.
pub(crate) fn since(begin: Instant, is_so: impl FnMut() -> bool) -> f64 {
    let is_there = outside::within(SURVIVAL, is_so).is_some();
    if is_there { begin.elapsed().as_secs_f64() * 1e3 } else { SURVIVAL.as_secs_f64() * 1e3 }
}

/// Of the one burner of a run that passed.
pub(crate) fn result_of(running: Running) -> Value {
    let outcome = running.outcome();
    outcome.assert_status(0);
    outcome.json()["hosts"][0]["burners"][0].take()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}
