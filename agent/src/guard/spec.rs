//! A guard as it is carried out: its message with every default filled in, its metric found, its labels as patterns.

use std::time::Duration;

use ssts_proto::{
    catalogue::{self, Kind, Metric},
    guards,
    v1::{
        Derating, Guard, GuardAggregate, GuardComparison, GuardMissing, GuardOrigin, GuardReaction, Violation,
    },
    validate::{
        self, DEFAULT_FLOOR_PERCENT, DEFAULT_HOLD_MS, DEFAULT_MAX_PAUSES, DEFAULT_MIN_SAMPLES,
        DEFAULT_RISE_MS, DEFAULT_STEP_PERCENT, Violations,
    },
};

use super::{level::Rule, reaction::Plan};

/// A guard that can be carried out.
#[derive(Debug, Clone)]
pub struct GuardSpec {
    /// Defaults filled in.
    pub message: Guard,
    /// Where it comes from.
    pub origin: GuardOrigin,
    /// What it looks at.
    pub metric: &'static Metric,
    /// Of its values.
    pub unit: String,
    /// For each of the metric's labels.
    patterns: Vec<Option<Pattern>>,
    pub(super) rule: Rule,
    pub(super) window: Option<Duration>,
    pub(super) min_samples: u64,
    pub(super) trips_when_missing: bool,
    pub(super) plan: Plan,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    text: String,
    is_negated: bool,
}

impl GuardSpec {
    /// Of a message, each of whose faults is told beneath `field`.
    ///
    /// # Errors
    /// Every bound that it breaks.
    pub fn new(field: &str, message: &Guard, origin: GuardOrigin) -> Result<Self, Vec<Violation>> {
        let mut found = Violations::default();
        validate::guard(field, message, &mut found);
        let metric = catalogue::find(&message.metric);
        let (true, Some(metric)) = (found.is_empty(), metric) else { return Err(found.into_vec()) };
        let message = with_defaults(message, metric);
        let pattern = |name: &&str| {
            let label = message.labels.iter().find(|label| label.name == **name)?;
            let rest = label.value.strip_prefix('!');
            let text = rest.unwrap_or(&label.value).to_owned();
            Some(Pattern { text, is_negated: rest.is_some() })
        };
        Ok(Self {
            origin,
            metric,
            unit: guards::unit(metric, message.comparison()),
            patterns: metric.labels.iter().map(pattern).collect(),
            rule: Rule {
                is_floor: matches!(message.comparison(), GuardComparison::Below | GuardComparison::Headroom),
                limit: message.value,
                hysteresis: message.hysteresis,
                lasting: Duration::from_millis(message.for_ms),
            },
            window: message.window_ms.map(Duration::from_millis),
            min_samples: message.min_samples.unwrap_or(DEFAULT_MIN_SAMPLES),
            trips_when_missing: message.missing() == GuardMissing::Trip,
            plan: Plan::of(&message),
            message,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.message.name
    }

    /// Whether somebody asked for just this one: then there has to be something for it to look at.
    pub fn is_asked_for(&self) -> bool {
        matches!(self.origin, GuardOrigin::Configured | GuardOrigin::Requested)
    }

    /// Whether it would end runs, or keep them from starting.
    pub fn ends_runs(&self) -> bool {
        matches!(self.message.reaction(), GuardReaction::Stop | GuardReaction::Halt)
    }

    /// Whether it looks at a column with these values of its metric's labels.
    pub fn matches(&self, labels: &[String]) -> bool {
        self.patterns.iter().zip(labels).all(|(pattern, label)| {
            pattern.as_ref().is_none_or(|pattern| guards::glob(&pattern.text, label) != pattern.is_negated)
        })
    }

    /// Why nothing is guarded by it, where there is nothing for it to look at.
    pub fn unguarded(&self) -> String {
        let why = if self.is_headroom() {
            "no sensor that can be read tells its critical point"
        } else if self.metric.kind == Kind::Histogram {
            "no probe counts it"
        } else {
            "no reading of it can be had"
        };
        format!("{}: {why} on this host", self.metric.name)
    }

    pub(super) fn aggregate(&self) -> GuardAggregate {
        self.message.aggregate()
    }

    pub(super) fn is_rise(&self) -> bool {
        self.message.comparison() == GuardComparison::Rises
    }

    pub(super) fn is_headroom(&self) -> bool {
        self.message.comparison() == GuardComparison::Headroom
    }
}

fn with_defaults(message: &Guard, metric: &Metric) -> Guard {
    let mut message = message.clone();
    if message.comparison() == GuardComparison::Rises {
        message.window_ms.get_or_insert(DEFAULT_RISE_MS);
    }
    if metric.kind == Kind::Histogram {
        message.min_samples.get_or_insert(DEFAULT_MIN_SAMPLES);
        if message.aggregate() == GuardAggregate::Unspecified {
            message.set_aggregate(GuardAggregate::P99);
        }
    }
    if message.missing() == GuardMissing::Unspecified {
        // Burners come and go with phases.
        let comes_and_goes = metric.name.starts_with("burner.");
        message.set_missing(if comes_and_goes { GuardMissing::Ignore } else { GuardMissing::Trip });
    }
    if message.reaction() == GuardReaction::Throttle {
        let derating = message.derating.get_or_insert_with(Derating::default);
        derating.step_percent.get_or_insert(DEFAULT_STEP_PERCENT);
        derating.hold_ms.get_or_insert(DEFAULT_HOLD_MS);
        derating.floor_percent.get_or_insert(DEFAULT_FLOOR_PERCENT);
        if derating.then() == GuardReaction::Unspecified {
            derating.set_then(GuardReaction::Stop);
        }
    }
    let pauses = message.reaction() == GuardReaction::Pause
        || message.derating.as_ref().is_some_and(|derating| derating.then() == GuardReaction::Pause);
    if pauses {
        message.max_pauses.get_or_insert(DEFAULT_MAX_PAUSES);
    }
    message
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::LabelMatch;

    use super::*;

    #[test]
    fn labels_pick_columns() {
        let mut guard =
            Guard { name: "a".into(), metric: "host.pressure.stalled".into(), ..Guard::default() };
        guard.set_comparison(GuardComparison::Above);
        guard.set_reaction(GuardReaction::Throttle);
        guard.labels = vec![
            LabelMatch { name: "resource".into(), value: "!cpu".into() },
            LabelMatch { name: "share".into(), value: "full".into() },
        ];
        let spec = GuardSpec::new("guards[0]", &guard, GuardOrigin::Requested).unwrap();
        let matches = |labels: [&str; 2]| spec.matches(&labels.map(str::to_owned));
        assert!(matches(["memory", "full"]) && !matches(["memory", "some"]) && !matches(["cpu", "full"]));
        assert_eq!(spec.unit, "1");
        let derating = spec.message.derating.unwrap();
        assert_eq!((derating.step_percent, derating.then()), (Some(25), GuardReaction::Stop));
    }
}
