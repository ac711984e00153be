//! Since when a worker missed its load, and what the host showed then: from the windows of a run's record.

use ssts_proto::v1::{BurnerOutcome, BurnerResult, Run};

use crate::{compare::Windows, stats::level_shift};

/// What a record is read for.
pub(crate) const METRICS: [&str; 5] = [
    "burner.on_cpu_time",
    "burner.target",
    "host.package.throttled",
    "host.cpu.throttled",
    "host.temperature",
];
/// What was seen so long before or after is taken to belong to it, s.
const BESIDE_S: f64 = 15.0;
/// Of a miss: where more was missed before already, it began with the phase.
const FROM_THE_START: f64 = 0.5;

/// When a worker began to miss its load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Onset {
    phase_index: u32,
    burner_index: u32,
    worker: usize,
    /// Since the run's start, s.
    second: f64,
    /// Slowed for heat then, such as `package 0`.
    throttled: Option<String>,
    /// The hottest sensor then.
    celsius: Option<f64>,
}

/// Whether there is anything to look for in the record.
pub(crate) fn wants_record(run: &Run) -> bool {
    run.burners.iter().any(|burner| burner.outcome() == BurnerOutcome::Missed)
}

/// Of all burners that missed their load.
pub(crate) fn onsets(run: &Run, windows: &Windows) -> Vec<Onset> {
    let whole = windows.whole();
    let find = |metric: &str, burner: &str, worker: usize| {
        whole
            .iter()
            .find(|(key, _)| {
                &*key.metric == metric
                    && key.labels.get("burner").is_some_and(|it| it == burner)
                    && key.labels.get("worker").is_some_and(|it| *it == worker.to_string())
            })
            .map(|(_, series)| series)
    };
    // The latest of any throttled flag, and the hottest sensor, about an instant.
    let near = |metric: &'static str, second: f64| {
        whole.iter().filter(move |(key, _)| &*key.metric == metric).filter_map(move |(key, series)| {
            let most = series
                .iter()
                .filter(|(time, _)| (time - second).abs() <= BESIDE_S)
                .map(|(_, value)| *value)
                .max_by(f64::total_cmp)?;
            Some((key, most))
        })
    };
    let mut all = Vec::new();
    for burner in run.burners.iter().filter(|burner| burner.outcome() == BurnerOutcome::Missed) {
        let name = format!("{}.{}", burner.phase_index, burner.burner_index);
        for worker in 0..burner.loads.len() {
            let (Some(target), Some(achieved)) =
                (find("burner.target", &name, worker), find("burner.on_cpu_time", &name, worker))
            else {
                continue;
            };
            let lacking: Vec<_> = achieved
                .iter()
                .filter_map(|(time, share)| {
                    let (_, asked) = target.iter().find(|(other, _)| (other - time).abs() < 1e-6)?;
                    Some((*time, asked - share))
                })
                .collect();
            let misses: Vec<_> = lacking.iter().map(|(_, miss)| *miss).collect();
            let Some((at, before, after)) = level_shift(&misses) else { continue };
            if after <= 0.0 || before > after * FROM_THE_START {
                continue;
            }
            let second = lacking[at].0;
            let throttled = near("host.package.throttled", second)
                .chain(near("host.cpu.throttled", second))
                .find(|(_, most)| *most > 0.0)
                .map(|(key, _)| {
                    let of = |label: &str| key.labels.get(label).cloned().unwrap_or_default();
                    if &*key.metric == "host.package.throttled" {
                        format!("package {}", of("package"))
                    } else {
                        format!("core {}", of("cpu"))
                    }
                });
            all.push(Onset {
                phase_index: burner.phase_index,
                burner_index: burner.burner_index,
                worker,
                second,
                throttled,
                celsius: near("host.temperature", second).map(|(_, most)| most).max_by(f64::total_cmp),
            });
        }
    }
    all
}

impl Onset {
    /// Whether it is a worker's of this burner.
    pub(super) fn is_of(&self, burner: &BurnerResult, worker: usize) -> bool {
        (self.phase_index, self.burner_index, self.worker)
            == (burner.phase_index, burner.burner_index, worker)
    }

    /// `, from minute 4 on, when package 0 was slowed for heat at 97 °C`.
    pub(super) fn words(&self) -> String {
        let since = if self.second < 120.0 {
            format!(", from second {:.0} on", self.second)
        } else {
            format!(", from minute {:.0} on", (self.second / 60.0).floor())
        };
        let hot = self.celsius.map(|celsius| format!(" at {celsius:.0} °C")).unwrap_or_default();
        match &self.throttled {
            Some(what) => format!("{since}, when {what} was slowed for heat{hot}"),
            None => since,
        }
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::{
        catalogue,
        record::BlockBuilder,
        v1::{Frame, RecordHead, Schema, record_item::Item},
    };

    use super::{
        super::findings::{findings, tests as samples},
        *,
    };
    use crate::telemetry::tests::column;

    /// Ten minutes; from the fourth on the package is slowed for heat, and worker 1 has 49 % of the 60 % that it should.
    fn record(slow_from_s: u32) -> Windows {
        let of_worker = |metric, worker| column(metric, &["r", "0.0", "cpu", worker]);
        let schema = Schema {
            id: 1,
            columns: vec![
                of_worker(&catalogue::BURNER_TARGET, "0"),
                of_worker(&catalogue::BURNER_ON_CPU_TIME, "0"),
                of_worker(&catalogue::BURNER_TARGET, "1"),
                of_worker(&catalogue::BURNER_ON_CPU_TIME, "1"),
                column(&catalogue::HOST_PACKAGE_THROTTLED, &["0", ""]),
                column(&catalogue::HOST_TEMPERATURE, &["hwmon0", "Package", "0", ""]),
            ],
            ..Schema::default()
        };
        let mut windows = Windows::new(METRICS.map(str::to_owned).to_vec());
        windows.take(Item::Head(RecordHead { run_id: "r".into(), ..RecordHead::default() })).unwrap();
        windows.take(Item::Schema(schema)).unwrap();
        let (mut first, mut second) = (0.0, 0.0);
        let mut builder = BlockBuilder::default();
        for time in 0..600u32 {
            let is_slow = time >= slow_from_s;
            first += 0.6;
            second += if is_slow { 0.49 } else { 0.6 };
            let end_ns = u64::from(time) * 1_000_000_000;
            let header = Frame { schema_id: 1, begin_ns: end_ns, end_ns, ..Frame::default() };
            let hot = if is_slow { 97.0 } else { 80.0 };
            let values = [0.6, first, 0.6, second, f64::from(u8::from(is_slow)), hot];
            builder.push(&header, values.into_iter().map(Ok), std::iter::empty());
        }
        windows.take(Item::Block(builder.finish())).unwrap();
        windows
    }

    #[test]
    fn a_load_that_was_missed_from_an_instant_on_is_told_with_what_happened_then() {
        let run = samples::over(vec![samples::missed()]);
        assert!(wants_record(&run));
        let onsets = onsets(&run, &record(250));
        let told: Vec<_> = findings(&run, &onsets).into_iter().map(|finding| finding.text).collect();
        assert_eq!(
            told,
            [
                "core 3 missed its load by 11 points in phase soak (49 % of 60 %), from minute 4 on, when package 0 was \
              slowed for heat at 97 °C"
            ]
        );
    }

    #[test]
    fn a_load_that_was_missed_all_along_has_no_onset() {
        let run = samples::over(vec![samples::missed()]);
        assert_eq!(onsets(&run, &record(0)), []);
        assert_eq!(onsets(&run, &Windows::default()), []);
    }
}
