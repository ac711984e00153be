//! Whether something becomes worse while a load stays the same, and whether it has come to a steady state.

use super::{
    Interval, mean, median,
    trend::{binned, trend},
};

const SECONDS_AN_HOUR: f64 = 3_600.0;
/// Parts that the time is divided into.
const BINS: usize = 60;
/// Fewer say nothing.
const FEWEST_BINS: usize = 20;
/// The part at the beginning that is left out: caches fill then, and clocks settle.
const WARM_UP: f64 = 0.1;
const CONFIDENCE: f64 = 0.99;

/// An answer to one of these questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Holds,
    Fails,
    Inconclusive,
}

/// The answer, and what it is from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Course {
    pub(crate) answer: Answer,
    /// Percent; where it could be told.
    pub(crate) value: Option<f64>,
    pub(crate) interval: Option<Interval>,
    /// In words.
    pub(crate) why: String,
}

impl Course {
    fn nothing(why: String) -> Self {
        Self { answer: Answer::Inconclusive, value: None, interval: None, why }
    }
}

/// Which way is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorseWay {
    Up,
    Down,
    /// It must stay what it is.
    Both,
}

/// Judges points (s, value): by how many percent of their median they become worse in an hour, and whether that is more than
/// `tolerated`. The slope is Theil and Sen's of medians of parts of the time, its interval Sen's, corrected for neighbours that are alike.
pub(crate) fn drift(points: &[(f64, f64)], worse: WorseWay, tolerated: f64) -> Course {
    let Some((first, last)) = ends(points) else { return Course::nothing("there is no reading".into()) };
    let begin = first + (last - first) * WARM_UP;
    let points: Vec<_> = points.iter().copied().filter(|(time, _)| *time >= begin).collect();
    let bins = binned(&points, BINS);
    if bins.len() < FEWEST_BINS {
        return Course::nothing(format!("{} parts of the time with readings are too few", bins.len()));
    }
    let values: Vec<_> = bins.iter().map(|(_, value)| *value).collect();
    let Some(level) = median(&values).map(f64::abs).filter(|level| *level > 0.0) else {
        return Course::nothing("it is 0 most of the time: there is nothing to take percent of".into());
    };
    let alpha = 1.0 - CONFIDENCE;
    let Some((found, interval)) = trend(&bins).and_then(|found| {
        let interval = found.interval(alpha)?;
        Some((found, interval))
    }) else {
        return Course::nothing("its readings have no trend that could be told".into());
    };
    let percent = |slope: f64| slope / level * SECONDS_AN_HOUR * 100.0;
    let sign = if worse == WorseWay::Down { -1.0 } else { 1.0 };
    let value = percent(found.slope) * sign;
    let (one, other) = (percent(interval.low) * sign, percent(interval.high) * sign);
    let interval = Interval { low: one.min(other), high: one.max(other) };
    let is_clear = found.p < alpha && !(interval.low..=interval.high).contains(&0.0);
    let (is_worse, is_within) = match worse {
        WorseWay::Both => (value.abs() >= tolerated, interval.low > -tolerated && interval.high < tolerated),
        WorseWay::Up | WorseWay::Down => (value >= tolerated, interval.high < tolerated),
    };
    let (answer, why) = if is_within {
        (Answer::Holds, "if it becomes worse then by less than is tolerated")
    } else if is_clear && is_worse {
        (Answer::Fails, "it becomes worse")
    } else {
        (Answer::Inconclusive, "its ups and downs hide whether it becomes worse: a longer run would tell")
    };
    Course { answer, value: Some(value), interval: Some(interval), why: why.into() }
}

/// SNIA's measurement window has five rounds (Solid State Storage Performance Test Specification 2.0.2, 2.1.24).
const ROUNDS: usize = 5;
/// Their greatest mean less the least, as a share of the mean of all.
const MOST_RANGE: f64 = 0.2;
/// The rise or fall of the best line through them over the window, likewise.
const MOST_SLOPE: f64 = 0.1;
/// Readings that a round has to have.
const FEWEST_OF_ROUND: usize = 5;

/// Whether points (s, value) have come to a steady state, in SNIA's sense, in the later half of their time: the five rounds are equal
/// parts of it. The value is how far the rounds' means lie apart, percent.
pub(crate) fn steady(points: &[(f64, f64)]) -> Course {
    let Some((first, last)) = ends(points) else { return Course::nothing("there is no reading".into()) };
    let begin = f64::midpoint(first, last);
    let width = (last - begin) / ROUNDS as f64;
    let mut rounds = vec![Vec::new(); ROUNDS];
    for (time, value) in points.iter().filter(|(time, _)| *time >= begin) {
        let index = if width > 0.0 { ((time - begin) / width) as usize } else { 0 };
        rounds[index.min(ROUNDS - 1)].push(*value);
    }
    let fewest = rounds.iter().map(Vec::len).min().unwrap_or(0);
    if fewest < FEWEST_OF_ROUND {
        return Course::nothing(format!("{fewest} readings of a round are too few"));
    }
    let means: Vec<_> = rounds.iter().filter_map(|round| mean(round)).collect();
    let Some(level) = mean(&means).filter(|level| *level > 0.0) else {
        return Course::nothing("it is 0: there is nothing to take percent of".into());
    };
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let range = (most - least) / level;
    // Least squares through rounds −2 … 2, whose squares' sum is 10.
    let slope: f64 =
        means.iter().zip([-2.0, -1.0, 0.0, 1.0, 2.0]).map(|(mean, at)| mean * at).sum::<f64>() / 10.0;
    let rise = slope.abs() * (ROUNDS - 1) as f64 / level;
    let words = format!(
        "its five rounds lie {:.1} % apart, and the line through them goes {} by {:.1} %",
        range * 100.0,
        if slope < 0.0 { "down" } else { "up" },
        rise * 100.0
    );
    let answer = if range <= MOST_RANGE && rise <= MOST_SLOPE { Answer::Holds } else { Answer::Fails };
    Course { answer, value: Some(range * 100.0), interval: None, why: words }
}

fn ends(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    points.iter().fold(None, |ends: Option<(f64, f64)>, (time, _)| {
        Some(ends.map_or((*time, *time), |(first, last)| (first.min(*time), last.max(*time))))
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::measured::{autoregressive, recorded},
        *,
    };

    /// An hour at one value a second.
    fn hour(noise: &[f64], of_time: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..3_600u32).map(|s| (f64::from(s), of_time(f64::from(s)) + noise[s as usize])).collect()
    }

    #[test]
    fn a_throughput_that_sinks_by_10_percent_in_an_hour_is_found_and_a_steady_one_is_not() {
        for seed in 0..10 {
            let noise = autoregressive(seed, 3_600, 0.8, 3.0);
            let sinking = drift(&hour(&noise, |s| 100.0 - 10.0 * s / 3_600.0), WorseWay::Down, 5.0);
            assert_eq!(sinking.answer, Answer::Fails, "{seed}: {sinking:?}");
            assert!((sinking.value.unwrap() - 10.5).abs() < 3.0, "{sinking:?}");
            let flat = drift(&hour(&noise, |_| 100.0), WorseWay::Down, 5.0);
            assert_eq!(flat.answer, Answer::Holds, "{seed}: {flat:?}");
            let better = drift(&hour(&noise, |s| 100.0 + 10.0 * s / 3_600.0), WorseWay::Down, 5.0);
            assert_eq!(better.answer, Answer::Holds, "{seed}: {better:?}");
            let moved = drift(&hour(&noise, |s| 100.0 + 10.0 * s / 3_600.0), WorseWay::Both, 5.0);
            assert_eq!(moved.answer, Answer::Fails, "{seed}: {moved:?}");
        }
    }

    /// The throughput that a real burner had for eighteen minutes did not drift; with a planted loss it does.
    #[test]
    fn what_was_measured_does_not_drift_and_a_planted_loss_does() {
        let real = recorded("operations_per_s");
        let level = median(&real).unwrap();
        let points = |loss: f64| -> Vec<_> {
            let of = |(s, value): (usize, &f64)| (s as f64, value - level * loss * s as f64 / 3_600.0);
            real.iter().enumerate().map(of).collect()
        };
        let real = drift(&points(0.0), WorseWay::Down, 20.0);
        assert_ne!(real.answer, Answer::Fails, "{real:?}");
        let lossy = drift(&points(0.6), WorseWay::Down, 20.0);
        assert_eq!(lossy.answer, Answer::Fails, "{lossy:?}");
    }

    #[test]
    fn too_little_and_nothing_but_zeros_say_nothing() {
        let few: Vec<_> = (0..10).map(|s| (f64::from(s), 1.0)).collect();
        assert_eq!(drift(&few, WorseWay::Up, 5.0).answer, Answer::Inconclusive);
        let zeros: Vec<_> = (0..1_000).map(|s| (f64::from(s), 0.0)).collect();
        assert_eq!(drift(&zeros, WorseWay::Up, 5.0).answer, Answer::Inconclusive);
        assert_eq!(steady(&zeros).answer, Answer::Inconclusive);
        assert_eq!(steady(&[]).answer, Answer::Inconclusive);
        assert_eq!(steady(&few).answer, Answer::Inconclusive);
    }

    #[test]
    fn a_steady_state_is_snias() {
        let points = |of: &dyn Fn(f64) -> f64| -> Vec<_> {
            (0..600).map(|s| (f64::from(s), of(f64::from(s)))).collect()
        };
        // What it was before the later half does not count.
        let settled = steady(&points(&|s| if s < 200.0 { 500.0 } else { 100.0 + (s % 7.0) }));
        assert_eq!(settled.answer, Answer::Holds, "{settled:?}");
        // 9 % from the first round's middle to the last one's, and 13 %.
        assert_eq!(steady(&points(&|s| 100.0 + s * 0.04)).answer, Answer::Holds);
        let rising = steady(&points(&|s| 100.0 + s * 0.08));
        assert_eq!(rising.answer, Answer::Fails, "{rising:?}");
        // Up and down, with no slope.
        let waves = steady(&points(&|s| if ((s - 300.0) / 60.0) as i64 % 2 == 0 { 80.0 } else { 110.0 }));
        assert_eq!(waves.answer, Answer::Fails, "{waves:?}");
        assert!(waves.value.unwrap() > 20.0);
    }
}
