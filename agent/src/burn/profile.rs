//! Load as a function of time. Pure: a worker, the daemon and a test get the same answer for the same instant.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssts_proto::v1::{self, profile};

/// A load over the time of a phase, as a share of a core: 0.01 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadProfile {
    /// The same throughout.
    Constant(f64),
    /// A straight line over the whole phase.
    Ramp {
        /// At its beginning.
        from: f64,
        /// At its end.
        to: f64,
    },
}

impl LoadProfile {
    /// Of a message whose bounds were checked; full load where it says nothing.
    pub fn from_message(message: Option<&v1::Profile>) -> Self {
        match message.and_then(|profile| profile.shape.as_ref()) {
            None => Self::Constant(1.0),
            Some(profile::Shape::Constant(constant)) => Self::Constant(constant.load_percent / 100.0),
            Some(profile::Shape::Ramp(ramp)) => {
                Self::Ramp { from: ramp.from_percent / 100.0, to: ramp.to_percent / 100.0 }
            }
        }
    }

    /// The load `elapsed` into a phase that lasts `whole`.
    pub fn at(self, elapsed: Duration, whole: Duration) -> f64 {
        match self {
            Self::Constant(load) => load,
            Self::Ramp { from, to } => {
                let share =
                    (elapsed.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
                from + (to - from) * share
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_a_straight_line_and_stays_at_its_end() {
        let ramp = LoadProfile::Ramp { from: 0.2, to: 0.8 };
        let whole = Duration::from_secs(10);
        for (second, load) in [(0, 0.2), (5, 0.5), (10, 0.8), (11, 0.8)] {
            assert!((ramp.at(Duration::from_secs(second), whole) - load).abs() < 1e-12);
        }
    }
}
