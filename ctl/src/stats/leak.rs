//! Whether memory goes away for good while a load stays the same.

use super::{
    Interval,
    trend::{binned, trend},
};

const SECONDS_A_MINUTE: f64 = 60.0;
const MEBIBYTE: f64 = 1_048_576.0;
/// Parts that the time is divided into: enough for the test's normal distribution, and each long enough that its neighbours are less alike.
const BINS: usize = 60;
/// Fewer say nothing.
const FEWEST_BINS: usize = 20;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LeakTest {
    /// A rise below it is let be: bytes a second, or whatever the points are in.
    pub(crate) tolerated_per_s: f64,
    /// Of the slope's interval and of the test, such as 0.99.
    pub(crate) confidence: f64,
    /// The part at the beginning that is left out: caches and pools fill then.
    pub(crate) warm_up: f64,
    /// A shorter series, warm-up left out, says nothing, s.
    pub(crate) shortest_s: f64,
}

impl Default for LeakTest {
    fn default() -> Self {
        Self {
            tolerated_per_s: MEBIBYTE / 8.0 / SECONDS_A_MINUTE,
            confidence: 0.99,
            warm_up: 0.1,
            shortest_s: 120.0,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leak {
    /// It rises, by more than is tolerated, and went on doing so in the later half.
    Leaking,
    /// If it rises then by less than is tolerated; or it did and has stopped.
    NotLeaking,
    Inconclusive,
}

/// The answer, and what it is from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LeakFinding {
    pub(crate) leak: Leak,
    /// A second, in the points' unit; with where it lies by the test's confidence. Absent where the series is too short.
    pub(crate) slope: Option<(f64, Interval)>,
    /// In words.
    pub(crate) why: String,
}

impl LeakTest {
    /// Judges points (s, bytes, or another unit) of one process, cgroup or host under a load that does not change.
    ///
    /// Points become medians of parts of the time, so that single peaks do not count; then the trend's interval, corrected for neighbours
    /// that are alike, lies above 0 (it leaks), below what is tolerated (it does not), or neither. A step, or a cache that fills, is
    /// no leak: what rises must do so in the later half of the time as well.
    pub(crate) fn judge(&self, points: &[(f64, f64)]) -> LeakFinding {
        let nothing = |why: String| LeakFinding { leak: Leak::Inconclusive, slope: None, why };
        let ends = points.iter().fold(None, |ends: Option<(f64, f64)>, (time, _)| {
            Some(ends.map_or((*time, *time), |(first, last)| (first.min(*time), last.max(*time))))
        });
        let Some((first, last)) = ends else { return nothing("there is no reading".into()) };
        let begin = first + (last - first) * self.warm_up;
        let lasting = last - begin;
        if lasting < self.shortest_s {
            return nothing(format!(
                "{lasting:.0} s after the warm-up are too short, {:.0} s are needed",
                self.shortest_s
            ));
        }
        let points: Vec<_> = points.iter().copied().filter(|(time, _)| *time >= begin).collect();
        let bins = binned(&points, BINS);
        if bins.len() < FEWEST_BINS {
            return nothing(format!("{} parts of the time with readings are too few", bins.len()));
        }
        let (early, late) = bins.split_at(bins.len() / 2);
        let alpha = 1.0 - self.confidence;
        let slope_of = |points: &[(f64, f64)]| {
            let trend = trend(points)?;
            Some((trend.slope, trend.interval(alpha)?, trend.p))
        };
        let (Some((slope, interval, p)), Some((early, ..)), Some((late, late_interval, _))) =
            (slope_of(&bins), slope_of(early), slope_of(late))
        else {
            return nothing("its readings have no trend that could be told".into());
        };
        let tolerated = self.tolerated_per_s;
        let goes_on = early > 0.0 && late > slope / 4.0;
        let (leak, why) = if interval.high < tolerated {
            (Leak::NotLeaking, "if it rises then by less than is tolerated")
        } else if interval.low > 0.0 && p < alpha && slope >= tolerated && goes_on {
            (Leak::Leaking, "it rises, and goes on doing so")
        } else if late_interval.high < tolerated {
            (Leak::NotLeaking, "it rose at first and has stopped")
        } else if interval.low > 0.0 && !goes_on {
            (Leak::Inconclusive, "it rose, and not in both halves of the time")
        } else {
            (Leak::Inconclusive, "its ups and downs hide whether it rises: a longer run would tell")
        };
        LeakFinding { leak, slope: Some((slope, interval)), why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::measured::{autoregressive, resident_noise},
        *,
    };

    const MIB_A_MINUTE: f64 = MEBIBYTE / SECONDS_A_MINUTE;
    const SOAK_S: u32 = 1_200;

    fn soak(noise: impl Fn(usize) -> f64, of_time: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..SOAK_S)
            .map(|s| (f64::from(s), 100.0 * MEBIBYTE + of_time(f64::from(s)) + noise(s as usize)))
            .collect()
    }

    fn judged(points: &[(f64, f64)]) -> Leak {
        LeakTest::default().judge(points).leak
    }

    /// A leak of 1 MiB a minute over 20 minutes, under noise as strong as that in which neighbours are alike.
    #[test]
    fn a_planted_leak_is_found_and_none_is_not() {
        for seed in 0..10 {
            let noise = autoregressive(seed, SOAK_S as usize, 0.95, 0.5 * MEBIBYTE);
            let leaking = LeakTest::default().judge(&soak(|s| noise[s], |s| s * MIB_A_MINUTE));
            assert_eq!(leaking.leak, Leak::Leaking, "{seed}: {leaking:?}");
            let (slope, interval) = leaking.slope.unwrap();
            assert!((slope / MIB_A_MINUTE - 1.0).abs() < 0.3, "{seed}: {slope}");
            assert!(interval.low < slope && slope < interval.high);
            assert_ne!(judged(&soak(|s| noise[s], |_| 0.0)), Leak::Leaking, "{seed}");
        }
    }

    /// The same on what a daemon's resident memory really did.
    #[test]
    fn a_planted_leak_is_found_in_what_was_measured_and_none_is_not() {
        for seed in 0..10 {
            let noise = resident_noise(seed, SOAK_S as usize);
            let leaking = LeakTest::default().judge(&soak(|s| noise[s], |s| s * MIB_A_MINUTE));
            assert_eq!(leaking.leak, Leak::Leaking, "{seed}: {leaking:?}");
            let clean = LeakTest::default().judge(&soak(|s| noise[s], |_| 0.0));
            assert_ne!(clean.leak, Leak::Leaking, "{seed}: {clean:?}");
        }
    }

    #[test]
    fn a_step_and_a_cache_that_fills_are_no_leak() {
        let noise = autoregressive(1, SOAK_S as usize, 0.5, 0.05 * MEBIBYTE);
        let step = soak(|s| noise[s], |s| if s > 700.0 { 30.0 * MEBIBYTE } else { 0.0 });
        assert_ne!(judged(&step), Leak::Leaking);
        let filling = soak(|s| noise[s], |s| 50.0 * MEBIBYTE * (1.0 - (-s / 100.0).exp()));
        assert_eq!(judged(&filling), Leak::NotLeaking);
    }

    #[test]
    fn quiet_memory_does_not_leak_and_a_short_series_says_nothing() {
        let quiet = soak(|_| 0.0, |_| 0.0);
        assert_eq!(judged(&quiet), Leak::NotLeaking);
        let short = LeakTest::default().judge(&quiet[..60]);
        assert_eq!((short.leak, short.slope), (Leak::Inconclusive, None));
        assert!(short.why.contains("too short"), "{}", short.why);
        assert_eq!(judged(&[]), Leak::Inconclusive);
        let sparse: Vec<_> = quiet.iter().step_by(100).copied().collect();
        assert_eq!(judged(&sparse), Leak::Inconclusive);
    }

    #[test]
    fn what_falls_does_not_leak() {
        assert_eq!(judged(&soak(|_| 0.0, |s| -s * MIB_A_MINUTE)), Leak::NotLeaking);
    }
}
