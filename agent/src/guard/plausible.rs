//! Whether a temperature can be what its sensor says. A sensor that fell off its bus shows -128 or 255, or jumps.

use std::time::Duration;

use ssts_proto::catalogue::{HOST_NVME_TEMPERATURE, HOST_TEMPERATURE, Metric};

/// No host that computes is as cold, and none as hot, in °C: parts of industrial grade work from -40 to 125, and what sensors
/// show without a bus is -128, -273, 255 or beyond (drivers/hwmon/lm75.h, drivers/thermal/intel).
const COLDEST: f64 = -40.0;
const HOTTEST: f64 = 150.0;
/// By how much a reading may differ from the one before, and how much more for each second between them, in K. A die's
/// own sensors fall by some 30 K within a tenth of a second when its load ends; none falls by 60 K within one.
const STEP: f64 = 20.0;
const STEP_PER_S: f64 = 40.0;

/// Follows one sensor.
#[derive(Debug, Default)]
pub(super) struct Plausible {
    /// The latest reading that could be, and when it was taken.
    latest: Option<(Duration, f64)>,
}

/// Whether readings of a metric are looked at here.
pub(super) fn is_temperature(metric: &Metric) -> bool {
    *metric == HOST_TEMPERATURE || *metric == HOST_NVME_TEMPERATURE
}

impl Plausible {
    /// Whether a reading of `at` can be. A jump to the wrong side of a limit always can.
    pub(super) fn takes(&mut self, at: Duration, celsius: f64, is_beyond: bool) -> bool {
        let is_in_range = celsius > COLDEST && celsius < HOTTEST;
        if !is_in_range {
            return false;
        }
        let may_be = self.latest.is_none_or(|(since, before)| {
            let elapsed = at.saturating_sub(since).as_secs_f64();
            (celsius - before).abs() <= STEP + STEP_PER_S * elapsed
        });
        if may_be || is_beyond {
            self.latest = Some((at, celsius));
        }
        may_be || is_beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_sensor_can_mean_is_no_reading() {
        let mut sensor = Plausible::default();
        let mut takes = |ms, celsius, beyond| sensor.takes(Duration::from_millis(ms), celsius, beyond);
        for celsius in [-40.0, -128.0, -273.0, 150.0, 200.0, 255.0, f64::NAN] {
            assert!(!takes(0, celsius, true), "{celsius}");
        }
        assert!(takes(0, 90.0, false));
        assert!(takes(100, 66.5, false), "the load ended");
        assert!(!takes(200, 20.0, false), "it can't have cooled so fast");
        assert!(!takes(1_000, 0.0, false));
        assert!(takes(1_100, 110.0, true), "hot is believed at once");
        assert!(takes(9_000, 20.0, false), "in eight seconds it can");
    }
}
