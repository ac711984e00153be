//! Two sides become changes, and each change a judgement.
//!
//! How sure a change is comes from what there is: of several runs a side, from how much runs differ among themselves; of one new run
//! against several, from whether it could be one more of them; of a single run a side, from how much its own windows differ. The
//! last can't know how much runs differ, and so asks for a greater change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use ssts_proto::catalogue::Worse;

use super::{Key, Side};
use crate::stats::{
    Bootstrapped, Center, Interval, Predicted, RankTest, Scale, benjamini_hochberg, bootstrap, least_p,
    median, predict, rank_test,
};

/// Windows a phase has to have for its own noise to be known.
const FEWEST_WINDOWS: usize = 10;
/// Changes of less are let be, where several runs show how much they differ.
const MATERIAL: f64 = 0.02;
/// The same where one run a side can't show it.
const MATERIAL_OF_ONE_RUN: f64 = 0.05;

/// What counts as a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    /// The share of false ones among the changes that are called so, at most; and 1 less the intervals' confidence.
    pub(crate) alpha: f64,
    /// Changes of less are let be, as a share of what was before. Without it 2 %, or 5 % of single runs.
    pub(crate) material: Option<f64>,
    /// Of the bootstrap.
    pub(crate) seed: u64,
}

/// From what it is known how sure a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Mann and Whitney's test on several runs a side.
    Runs,
    /// One new run against the prediction interval of those before.
    OneAgainstRuns,
    /// The stationary bootstrap on windows of one run a side.
    Windows,
    /// There is one number a side, or too few.
    Nothing,
}

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judgement {
    Worse,
    Better,
    /// Which direction is worse is not known of it.
    Changed,
    /// It can't be told.
    Unclear,
    /// If it changed then by less than what counts.
    Same,
}

/// One number before and after.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    /// Median of the runs, or the windows' center.
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// As a share of what was before; absent where that was 0.
    pub(crate) change: Option<f64>,
    /// Where the change lies, on the same scale.
    pub(crate) interval: Option<Interval>,
    /// Two-sided, of this number alone, and corrected for all that were compared.
    pub(crate) p: Option<f64>,
    pub(crate) p_adjusted: Option<f64>,
    pub(crate) judgement: Judgement,
    /// Why it can't be told, or what else there is to say.
    pub(crate) why: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) method: Method,
    /// Changes of less were let be, as a share.
    pub(crate) material: f64,
    /// Worst first.
    pub(crate) changes: Vec<Change>,
    /// Numbers that only one side has.
    pub(crate) one_sided: usize,
    /// What the reader should know of the sides.
    pub(crate) notes: Vec<String>,
}

impl Comparison {
    /// How many were judged so.
    pub(crate) fn count(&self, judgement: Judgement) -> usize {
        self.changes.iter().filter(|change| change.judgement == judgement).count()
    }

    /// Whether anything at all could be told.
    pub(crate) fn tells_something(&self) -> bool {
        self.count(Judgement::Unclear) < self.changes.len()
    }
}

/// What is known of one number.
enum Evidence {
    Runs(RankTest),
    OneAgainstRuns(Predicted),
    Windows(Bootstrapped),
}

impl Evidence {
    fn parts(&self) -> (Scale, f64, f64) {
        match self {
            Self::Runs(test) => (test.scale, test.estimate, test.p),
            Self::OneAgainstRuns(test) => (test.scale, test.estimate, test.p),
            Self::Windows(test) => (test.scale, test.estimate, test.p),
        }
    }

    fn interval(&self, alpha: f64) -> Option<Interval> {
        match self {
            Self::Runs(test) => test.interval(alpha),
            Self::OneAgainstRuns(test) => test.interval(alpha),
            Self::Windows(test) => test.interval(alpha),
        }
    }
}

/// What there is of one number on both sides.
struct Compared {
    key: Key,
    before: f64,
    after: f64,
    evidence: Result<Evidence, String>,
}

/// Compares two sides by the numbers that `is_wanted`.
pub(crate) fn judge(
    before: &Side,
    after: &Side,
    settings: Settings,
    is_wanted: impl Fn(&Key) -> bool,
) -> Comparison {
    let method = method(before, after);
    let material = settings.material.unwrap_or(match method {
        Method::Windows | Method::Nothing => MATERIAL_OF_ONE_RUN,
        Method::Runs | Method::OneAgainstRuns => MATERIAL,
    });
    let (compared, one_sided) = match (&before.runs[..], &after.runs[..]) {
        ([one], [other]) if method == Method::Windows => {
            let windows = of_windows(&one.windows, &other.windows, settings.seed, &is_wanted);
            let (mut all, mut one_sided) = windows;
            // What must not be at all is told as a sum, not by windows.
            let (sums, missing) = of_runs(before, after, Method::Nothing, |key| {
                key.worse() == Some(Worse::Present) && is_wanted(key)
            });
            all.extend(sums);
            one_sided += missing;
            (all, one_sided)
        }
        _ => of_runs(before, after, method, &is_wanted),
    };
    let changes = changes(compared, settings.alpha, material);
    Comparison { method, material, changes, one_sided, notes: notes(before, after) }
}

fn method(before: &Side, after: &Side) -> Method {
    match (&before.runs[..], &after.runs[..]) {
        ([one], [other]) if !one.windows.is_empty() && !other.windows.is_empty() => Method::Windows,
        ([_], [_]) => Method::Nothing,
        (_, [_]) => Method::OneAgainstRuns,
        _ => Method::Runs,
    }
}

type OfWindows = BTreeMap<Key, (Vec<f64>, Center)>;

fn of_windows(
    before: &OfWindows,
    after: &OfWindows,
    seed: u64,
    is_wanted: impl Fn(&Key) -> bool,
) -> (Vec<Compared>, usize) {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).filter(|key| is_wanted(key)).collect();
    let both = |key| Some((key, before.get(key)?, &after.get(key)?.0));
    let both: Vec<_> = keys.iter().copied().filter_map(both).collect();
    let one_sided = keys.len() - both.len();
    // Each is put together anew a thousand times: all cores take part.
    let compare = |(key, (one, center), other): (&Key, &(Vec<f64>, Center), &Vec<f64>)| {
        let (level, new_level) = (center.of(one)?, center.of(other)?);
        let fewest = one.len().min(other.len());
        let evidence = if fewest < FEWEST_WINDOWS {
            Err(format!("{fewest} windows are too few"))
        } else if level != new_level && is_constant(one) && is_constant(other) {
            // Read once for each run, such as a setting: what it would be in the next run is not known.
            Err("it did not vary within either run, so how much runs differ can't be told".into())
        } else {
            bootstrap(one, other, *center, seed)
                .map(Evidence::Windows)
                .ok_or_else(|| "it has no spread".into())
        };
        Some(Compared { key: key.clone(), before: level, after: new_level, evidence })
    };
    (both.into_par_iter().filter_map(compare).collect(), one_sided)
}

fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn of_runs(
    before: &Side,
    after: &Side,
    method: Method,
    is_wanted: impl Fn(&Key) -> bool,
) -> (Vec<Compared>, usize) {
    let mut values: HashMap<&Key, [Vec<f64>; 2]> = HashMap::new();
    for (side, runs) in [&before.runs, &after.runs].into_iter().enumerate() {
        for (key, value) in runs.iter().flat_map(|run| &run.figures) {
            values.entry(key).or_default()[side].push(*value);
        }
    }
    let mut wanted: Vec<_> = values.into_iter().filter(|(key, _)| is_wanted(key)).collect();
    wanted.sort_unstable_by_key(|(key, _)| *key);
    let mut compared = Vec::new();
    let mut one_sided = 0;
    for (key, [one, other]) in wanted {
        let (Some(level), Some(new_level)) = (median(&one), median(&other)) else {
            one_sided += 1;
            continue;
        };
        let evidence = match method {
            Method::OneAgainstRuns => predict(&one, other[0])
                .map(Evidence::OneAgainstRuns)
                .ok_or_else(|| "one run is judged by five or more before".into()),
            Method::Runs if least_p(one.len(), other.len()) > 0.05 => {
                Err(format!("{} and {} runs are too few: use four or more a side", one.len(), other.len()))
            }
            Method::Runs => rank_test(&one, &other).map(Evidence::Runs).ok_or_else(String::new),
            Method::Windows | Method::Nothing => {
                Err("one number a side does not show how much it varies".into())
            }
        };
        compared.push(Compared { key: key.clone(), before: level, after: new_level, evidence });
    }
    (compared, one_sided)
}

/// The correction for many: p-values by Benjamini and Hochberg, and the intervals of those that are called changes at the level that
/// keeps as many of them false at most (Benjamini and Yekutieli, J. Am. Statist. Ass. 100, 2005).
fn changes(compared: Vec<Compared>, alpha: f64, material: f64) -> Vec<Change> {
    let p: Vec<_> = compared
        .iter()
        .filter_map(|it| it.evidence.as_ref().ok())
        .map(|evidence| evidence.parts().2)
        .collect();
    let adjusted = benjamini_hochberg(&p);
    let called = adjusted.iter().filter(|p| **p <= alpha).count();
    let level_of_called = alpha * called as f64 / p.len().max(1) as f64;
    let mut adjusted = adjusted.into_iter();
    let mut changes: Vec<_> = compared
        .into_iter()
        .map(|it| {
            let of_sum = judged_by_presence(&it);
            let evidence = match &it.evidence {
                Ok(evidence) => evidence,
                Err(why) => return without_evidence(&it, of_sum, why),
            };
            let (scale, estimate, p) = evidence.parts();
            let p_adjusted = adjusted.next().unwrap_or(1.0);
            let is_called = p_adjusted <= alpha;
            let share = |value: f64| match scale {
                Scale::Ratio => Some(value.exp_m1()),
                Scale::Difference => (it.before != 0.0).then(|| value / it.before.abs()),
            };
            let on_scale = evidence.interval(if is_called { level_of_called } else { alpha });
            let interval = on_scale.and_then(|interval| {
                Some(Interval { low: share(interval.low)?, high: share(interval.high)? })
            });
            let change = share(estimate);
            let is_material = (it.after - it.before).abs() >= floor(&it.key)
                && change.is_none_or(|change| change.abs() >= material);
            let is_same = interval.is_some_and(|it| it.low > -material && it.high < material)
                || (it.after - it.before).abs() < floor(&it.key);
            let judgement = of_sum.unwrap_or(match (is_called && is_material, is_same || is_called) {
                (true, _) => direction(it.key.worse(), estimate),
                (false, true) => Judgement::Same,
                (false, false) => Judgement::Unclear,
            });
            let why = match judgement {
                Judgement::Unclear => "its noise hides a change of what counts".to_owned(),
                _ => String::new(),
            };
            Change {
                before: it.before,
                after: it.after,
                change,
                interval,
                p: Some(p),
                p_adjusted: Some(p_adjusted),
                judgement,
                why,
                key: it.key,
            }
        })
        .collect();
    let size = |change: &Change| change.change.map_or(f64::INFINITY, f64::abs);
    changes.sort_by(|one, other| {
        one.judgement.cmp(&other.judgement).then_with(|| size(other).total_cmp(&size(one)))
    });
    changes
}

fn without_evidence(it: &Compared, of_sum: Option<Judgement>, why: &str) -> Change {
    Change {
        key: it.key.clone(),
        before: it.before,
        after: it.after,
        change: (it.before != 0.0).then(|| (it.after - it.before) / it.before.abs()),
        interval: None,
        p: None,
        p_adjusted: None,
        judgement: of_sum.unwrap_or(Judgement::Unclear),
        why: if of_sum.is_some() { String::new() } else { why.to_owned() },
    }
}

/// Of what must not be at all, such as wrong results: no statistics are needed to see that there was none and is some.
fn judged_by_presence(it: &Compared) -> Option<Judgement> {
    if it.key.worse() != Some(Worse::Present) {
        return None;
    }
    match (it.before > 0.0, it.after > 0.0) {
        (false, false) => Some(Judgement::Same),
        (false, true) => Some(Judgement::Worse),
        (true, false) => Some(Judgement::Better),
        (true, true) => None,
    }
}

fn direction(worse: Option<Worse>, estimate: f64) -> Judgement {
    match (worse, estimate > 0.0) {
        (None, _) => Judgement::Changed,
        (Some(Worse::Rising | Worse::Present), true) | (Some(Worse::Falling), false) => Judgement::Worse,
        (Some(Worse::Rising | Worse::Present), false) | (Some(Worse::Falling), true) => Judgement::Better,
    }
}

/// Differences below it mean nothing, however sure they are and however many times what was next to nothing before: a hundredth of the
/// time, one event a second on the host, one degree.
fn floor(key: &Key) -> f64 {
    match &*key.unit {
        "s/s" => 0.01,
        "Cel" => 1.0,
        "1/s" if key.metric.starts_with("host.") => 1.0,
        _ => 0.0,
    }
}

/// Where the two sides are not of a kind, and where a run did not come to its end.
fn notes(before: &Side, after: &Side) -> Vec<String> {
    let mut notes = Vec::new();
    let both = || before.runs.iter().chain(&after.runs);
    let mut differs = |what: &str, of: fn(&super::SideRun) -> &str| {
        let all: BTreeSet<_> = both().map(of).collect();
        if all.len() > 1 {
            notes.push(format!("{what} differ: {}", all.into_iter().collect::<Vec<_>>().join(", ")));
        }
    };
    differs("scenarios", |run| &run.scenario);
    differs("hosts", |run| &run.host);
    differs("kernels", |run| &run.kernel);
    differs("agents", |run| &run.agent);
    for run in both().filter(|run| matches!(run.verdict.as_str(), "aborted" | "error" | "")) {
        let verdict = if run.verdict.is_empty() { "not over" } else { &run.verdict };
        notes.push(format!("run {} is {verdict}: its numbers are of a part", run.id));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::{
        super::{SideRun, figures},
        *,
    };
    use crate::stats::measured;

    const SETTINGS: Settings = Settings { alpha: 0.05, material: None, seed: 1 };

    fn key(metric: &str, statistic: &str, unit: &str) -> Key {
        Key {
            metric: metric.into(),
            labels: BTreeMap::from([("burner".into(), "0.0".into())]).into(),
            statistic: statistic.into(),
            unit: unit.into(),
        }
    }

    fn side(name: &str, runs: &[&[(Key, f64)]]) -> Side {
        let run = |(index, figures): (usize, &&[(Key, f64)])| SideRun {
            id: format!("{name}{index}"),
            verdict: "pass".into(),
            figures: figures::Figures::from_iter(figures.iter().cloned()),
            ..SideRun::default()
        };
        Side { name: name.into(), runs: runs.iter().enumerate().map(run).collect() }
    }

    fn runs(name: &str, key: &Key, values: &[f64]) -> Side {
        let figures: Vec<_> = values.iter().map(|value| vec![(key.clone(), *value)]).collect();
        side(name, &figures.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn only(comparison: &Comparison) -> &Change {
        assert_eq!(comparison.changes.len(), 1, "{comparison:?}");
        &comparison.changes[0]
    }

    #[test]
    fn what_is_worse_depends_on_the_metric() {
        let before = [100.0, 101.0, 99.0, 102.0, 98.0];
        for (metric, statistic, unit, more) in [
            ("result.operations_per_s", "mean", "1/s", Judgement::Better),
            ("result.latency", "p99", "ns", Judgement::Worse),
        ] {
            let key = key(metric, statistic, unit);
            let compared = |factor: f64| {
                let after = before.map(|value| value * factor);
                let all = judge(&runs("a", &key, &before), &runs("b", &key, &after), SETTINGS, |_| true);
                assert_eq!(all.method, Method::Runs);
                only(&all).clone()
            };
            let change = compared(1.1);
            assert_eq!(change.judgement, more, "{metric}");
            assert!((change.change.unwrap() - 0.1).abs() < 1e-9 && change.interval.unwrap().low > 0.0);
            let fewer = compared(0.9).judgement;
            assert!(fewer != more && matches!(fewer, Judgement::Worse | Judgement::Better));
            assert!(matches!(compared(1.001).judgement, Judgement::Unclear | Judgement::Same));
        }
    }

    #[test]
    fn wrong_results_where_there_were_none_need_no_statistics() {
        let key = key("result.verify_errors", "value", "1");
        let compared = |before: f64, after: f64| {
            let all = judge(&runs("a", &key, &[before]), &runs("b", &key, &[after]), SETTINGS, |_| true);
            only(&all).judgement
        };
        assert_eq!(compared(0.0, 1.0), Judgement::Worse);
        assert_eq!(compared(0.0, 0.0), Judgement::Same);
        assert_eq!(compared(1.0, 0.0), Judgement::Better);
        assert_eq!(compared(1.0, 2.0), Judgement::Unclear);
    }

    #[test]
    fn too_few_runs_are_unclear_and_say_so() {
        let key = key("result.operations_per_s", "mean", "1/s");
        let all =
            judge(&runs("a", &key, &[1.0, 2.0, 3.0]), &runs("b", &key, &[7.0, 8.0, 9.0]), SETTINGS, |_| true);
        let change = only(&all);
        assert_eq!(change.judgement, Judgement::Unclear);
        assert!(change.why.contains("four or more"), "{}", change.why);
        assert!(!all.tells_something());
        let one = judge(&runs("a", &key, &[1.0]), &runs("b", &key, &[7.0]), SETTINGS, |_| true);
        assert_eq!((one.method, only(&one).judgement), (Method::Nothing, Judgement::Unclear));
    }

    #[test]
    fn a_new_run_is_judged_by_those_before() {
        let key = key("result.operations_per_s", "mean", "1/s");
        let before = [100.0, 101.0, 99.0, 102.0, 98.0, 100.5];
        let compared = |after: f64| {
            let all = judge(&runs("a", &key, &before), &runs("b", &key, &[after]), SETTINGS, |_| true);
            assert_eq!(all.method, Method::OneAgainstRuns);
            only(&all).judgement
        };
        assert_eq!(compared(90.0), Judgement::Worse);
        assert_eq!(compared(110.0), Judgement::Better);
        assert_ne!(compared(100.2), Judgement::Worse);
    }

    #[test]
    fn one_change_among_many_metrics_is_called_and_chance_is_not() {
        let keys: Vec<_> = (0..60)
            .map(|n| Key {
                labels: BTreeMap::from([("cpu".into(), n.to_string())]).into(),
                ..key("runqueue.latency", "p99", "ns")
            })
            .collect();
        let mut rng = fastrand::Rng::with_seed(5);
        let mut runs = |name: &str, factor: f64| {
            let mut figures: Vec<Vec<_>> = Vec::new();
            for _ in 0..10 {
                let run = keys.iter().enumerate().map(|(n, key)| {
                    let level = if n == 7 { 1_000.0 * factor } else { 1_000.0 };
                    (key.clone(), level * (1.0 + 0.02 * measured::normal(&mut rng)))
                });
                figures.push(run.collect());
            }
            side(name, &figures.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        let all = judge(&runs("a", 1.0), &runs("b", 1.1), SETTINGS, |_| true);
        let worse: Vec<_> =
            all.changes.iter().filter(|change| change.judgement == Judgement::Worse).collect();
        assert_eq!(worse.len(), 1, "{worse:?}");
        assert_eq!(worse[0].key.labels(), "cpu=7");
        assert_eq!(all.changes[0], *worse[0]);
    }

    #[test]
    fn windows_of_one_run_a_side_tell_what_differs_by_more_than_their_noise() {
        let key = key("result.operations_per_s", "mean", "1/s");
        let with = |name: &str, level: f64, seed: u64| {
            let mut side = side(name, &[&[]]);
            let noise = measured::autoregressive(seed, 120, 0.7, 2.0);
            let values = noise.iter().map(|noise| level + noise).collect();
            side.runs[0].windows.insert(key.clone(), (values, Center::Mean));
            side
        };
        let slower = judge(&with("a", 100.0, 1), &with("b", 90.0, 2), SETTINGS, |_| true);
        assert_eq!((slower.method, only(&slower).judgement), (Method::Windows, Judgement::Worse));
        let same = judge(&with("a", 100.0, 1), &with("b", 100.0, 2), SETTINGS, |_| true);
        assert_eq!(only(&same).judgement, Judgement::Same);
    }

    #[test]
    fn what_is_the_same_all_through_each_run_does_not_tell_how_runs_differ() {
        let key = key("block.latency", "p50", "ns");
        let with = |name: &str, values: [f64; 20]| {
            let mut side = side(name, &[&[]]);
            side.runs[0].windows.insert(key.clone(), (values.to_vec(), Center::Mean));
            side
        };
        let of =
            |before, after| only(&judge(&with("a", before), &with("b", after), SETTINGS, |_| true)).judgement;
        assert_eq!(of([3.0; 20], [4.0; 20]), Judgement::Unclear);
        assert_eq!(of([3.0; 20], [3.0; 20]), Judgement::Same);
    }

    #[test]
    fn next_to_nothing_twice_over_is_no_regression() {
        let key = key("host.pressure.stalled", "mean", "s/s");
        let before = [0.0, 0.0, 0.0, 0.000_1, 0.0, 0.0];
        let after = [0.001, 0.001_2, 0.001_1, 0.000_9, 0.001, 0.001_3];
        let all = judge(&runs("a", &key, &before), &runs("b", &key, &after), SETTINGS, |_| true);
        assert_eq!(only(&all).judgement, Judgement::Same);
    }

    #[test]
    fn sides_that_are_not_of_a_kind_are_told_of() {
        let key = key("result.operations_per_s", "mean", "1/s");
        let mut after = runs("b", &key, &[1.0; 4]);
        after.runs[0].verdict = "aborted".into();
        after.runs[1].scenario = "other".into();
        let all = judge(&runs("a", &key, &[1.0; 4]), &after, SETTINGS, |_| true);
        assert_eq!(all.notes.len(), 2, "{:?}", all.notes);
        assert!(all.notes[1].contains("b0 is aborted"), "{:?}", all.notes);
    }
}
