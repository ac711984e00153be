//! Thresholds against a baseline: `disk.read.latency.p99 within 5% of baseline:golden`. The agent knows no history: before the start
//! they become bounds, at least and at most.

use ssts_proto::{
    thresholds::{self, Wrong},
    v1::{Threshold, ThresholdComparison},
};

use super::Plan;
use crate::store::{self, BASELINE};

/// What a threshold is measured by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Against {
    /// Of the scenario's thresholds.
    pub(crate) index: usize,
    /// How far it may be off, as a share of what the baseline had.
    pub(crate) share: f64,
    /// The baseline's name.
    pub(crate) baseline: String,
}

/// Reads such a threshold, with the share and the baseline's name; nothing where it is of another form.
pub(super) fn read(text: &str) -> Option<Result<(Threshold, f64, String), Wrong>> {
    let (subject, rest) = text.split_once(" within ")?;
    let (share, reference) = rest.split_once(" of ")?;
    let name = reference.trim().strip_prefix(BASELINE)?;
    Some(whole(text, subject, share, name))
}

fn whole(text: &str, subject: &str, share: &str, name: &str) -> Result<(Threshold, f64, String), Wrong> {
    let at = |part: &str| {
        let begin = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        begin..(begin + part.len()).max(begin + 1)
    };
    // Whatever is wrong with the subject is told at its place, which is the same.
    let read = thresholds::parse(&format!("{subject} >= 0"));
    let threshold =
        read.map_err(|wrong| Wrong { part: wrong.part.start..wrong.part.end.min(text.len()), ..wrong })?;
    let percent = share.trim().trim_end_matches('%').trim_end().parse::<f64>().ok();
    let percent = percent.filter(|percent| (0.0..=1_000.0).contains(percent)).ok_or_else(|| Wrong {
        part: at(share.trim()),
        message: format!("'{}' is no share", share.trim().chars().take(80).collect::<String>()),
        mend: "write 0 to 1000 percent, such as within 5% of baseline:golden".into(),
    })?;
    let name = store::baseline_name(name).map_err(|problem| Wrong {
        part: at(name),
        message: problem.message,
        mend: problem.mend,
    })?;
    let that = text.trim().to_owned();
    Ok((Threshold { that, ..threshold }, percent / 100.0, name))
}

impl Plan {
    /// The thresholds that are yet to become bounds.
    pub(crate) fn against(&self) -> &[Against] {
        &self.against
    }

    /// Makes one of them bounds: the baseline's least and most value, and the share beyond.
    pub(crate) fn bound(&mut self, against: &Against, least: f64, most: f64) {
        let Against { index, share, .. } = against;
        let count = self.scenario.thresholds.len();
        let Some(low) = self.scenario.thresholds.get_mut(*index) else { return };
        low.set_comparison(ThresholdComparison::AtLeast);
        low.value = least - least.abs() * share;
        let mut high = low.clone();
        high.set_comparison(ThresholdComparison::AtMost);
        high.value = most + most.abs() * share;
        for part in ["", ".that", ".for_ms", ".grace_ms", ".abort_on_fail", ".labels"] {
            self.origin
                .copy_place(&format!("thresholds[{index}]{part}"), format!("thresholds[{count}]{part}"));
        }
        self.scenario.thresholds.push(high);
        self.against.retain(|other| other != against);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASE: &str = "name = 'one'\n[[phase]]\nname = 'a'\nduration = '1s'\n";

    #[test]
    fn it_becomes_bounds_on_both_sides_at_the_place_where_it_was_written() {
        let text = format!(
            "{PHASE}[[phase.threshold]]\nthat = 'host.pressure.stalled.mean within 10 % of baseline:golden'\n\
             [[threshold]]\nthat = 'host.temperature.max < 85'\n"
        );
        let mut plan = Plan::from_toml("x.toml", &text).unwrap();
        let [against] = plan.against() else { panic!("{:?}", plan.against()) };
        let against = against.clone();
        assert_eq!((against.index, against.baseline.as_str()), (1, "golden"));
        plan.bound(&against, -2.0, 4.0);
        assert!(plan.against().is_empty());
        let [_, low, high] = &plan.scenario.thresholds[..] else { panic!("{:?}", plan.scenario) };
        assert_eq!((low.comparison(), low.value), (ThresholdComparison::AtLeast, -2.2));
        assert_eq!((high.comparison(), high.value), (ThresholdComparison::AtMost, 4.4));
        assert_eq!((&high.that, &high.phase, &high.metric), (&low.that, &low.phase, &low.metric));
        assert_eq!(low.that, "host.pressure.stalled.mean within 10 % of baseline:golden");
        let violation = ssts_proto::v1::Violation {
            field: "thresholds[2].that".into(),
            message: "no".into(),
            ..ssts_proto::v1::Violation::default()
        };
        assert!(plan.refusal(&[violation]).problems[0].message.contains("x.toml:6:8"));
        plan.validate().unwrap();
    }
}
