//! `[[threshold]]` of a scenario and of its phases: what must have been measured for the run to pass.

use ssts_proto::{
    thresholds::{self, Wrong},
    v1::Threshold,
};

use super::{
    against::{self, Against},
    guard::labels,
    keys::{Findings, Keys, boolean, string},
    values::duration,
};

/// One threshold, of a phase by its name, or of the whole run.
pub(super) fn from_keys(mut keys: Keys<'_, '_>, phase: &str, found: &mut Findings) -> Threshold {
    let example = "\"disk.read.latency.p99 < 20ms\"";
    let that = keys.need("that", "that", found, string, example);
    let place = keys.value("that", "that", found).map(serde_spanned::Spanned::span);
    let read = that.as_deref().map(|text| match against::read(text) {
        Some(read) => read.map(|(threshold, share, baseline)| (threshold, Some((share, baseline)))),
        None => thresholds::parse(text).map(|threshold| (threshold, None)),
    });
    let mut threshold = match (read, place) {
        (Some(Ok((threshold, measured_by))), _) => {
            if let (Some((share, baseline)), Some(index)) = (measured_by, index(&keys.field())) {
                found.against.push(Against { index, share, baseline });
            }
            threshold
        }
        (Some(Err(Wrong { part, message, mend })), Some(span)) => {
            let text = that.as_deref().unwrap_or_default();
            let precise = found.origin.within(&span, text, &part);
            found.last_word_at(&span, precise, &message, &mend);
            found.mark_broken(&keys.field());
            Threshold::default()
        }
        _ => {
            found.mark_broken(&keys.field());
            Threshold::default()
        }
    };
    phase.clone_into(&mut threshold.phase);
    threshold.labels.extend(keys.read("labels", "labels", found, labels).unwrap_or_default());
    threshold.for_ms = keys.read("for", "for_ms", found, duration).unwrap_or_default();
    threshold.grace_ms = keys.read("grace", "grace_ms", found, duration).unwrap_or_default();
    threshold.abort_on_fail = keys.read("abort_on_fail", "abort_on_fail", found, boolean).unwrap_or_default();
    keys.finish(found);
    threshold
}

/// Of `thresholds[3]`.
fn index(field: &str) -> Option<usize> {
    field.strip_prefix("thresholds[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::scenario::Plan;

    const PHASE: &str = "name = 'one'\n[[phase]]\nname = 'a'\nduration = '1s'\n";

    fn told(threshold: &str) -> String {
        let text = format!("{PHASE}{threshold}");
        Plan::from_toml("x.toml", &text).map_or_else(|failure| failure.to_string(), |_| String::new())
    }

    #[test]
    fn thresholds_are_of_a_phase_or_of_the_run() {
        let text = format!(
            "{PHASE}[[phase.threshold]]\nthat = 'host.memory.available.min > 1GiB'\ngrace = '100ms'\nabort_on_fail = true\n\
             [[threshold]]\nthat = 'host.temperature.max < 85'\nlabels = {{ sensor = 'hwmon*' }}\nfor = '5s'\n"
        );
        let thresholds = Plan::from_toml("x.toml", &text).unwrap().scenario.thresholds;
        let [run, phase] = &thresholds[..] else { panic!("{thresholds:?}") };
        assert_eq!((phase.phase.as_str(), phase.grace_ms, phase.abort_on_fail), ("a", 100, true));
        assert_eq!((run.phase.as_str(), run.for_ms, run.value), ("", 5_000, 85.0));
        assert_eq!(run.labels[0].value, "hwmon*");
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        for (threshold, parts) in [
            (
                "[[threshold]]\nthat = 'host.temprature.max < 85'\n",
                ["x.toml:6:9", "did you mean 'host.temperature'"],
            ),
            ("[[threshold]]\nthat = 'host.temperature.max < 85 F'\n", ["x.toml:6:32", "'F' is no unit"]),
            (
                "[[threshold]]\nthat = 'host.temprature.max within 5% of baseline:golden'\n",
                ["x.toml:6:9", "did you mean 'host.temperature'"],
            ),
            (
                "[[threshold]]\nthat = 'host.temperature.max within much of baseline:golden'\n",
                ["x.toml:6:37", "'much' is no share"],
            ),
            (
                "[[threshold]]\nthat = 'host.temperature.max within 5% of baseline:a b'\n",
                ["x.toml:6:52", "can't be in it"],
            ),
            ("[[threshold]]\nfor = '1s'\n", ["x.toml:5:1", "needs the key 'that'"]),
            ("[[phase.threshold]]\nthat = 'host.temperature < 85'\n", ["x.toml:6:9", "say which counts"]),
            (
                "[[phase.threshold]]\nthat = 'disk.latency.p99 < 85'\nfro = 1\n",
                ["x.toml:7:1", "did you mean 'for'"],
            ),
            (
                "[[threshold]]\nthat = 'host.temperature.min < 85'\nabort_on_fail = true\n",
                ["x.toml:7:17", "only at the end"],
            ),
        ] {
            let told = told(threshold);
            assert!(parts.iter().all(|part| told.contains(part)), "{threshold}: {told}");
        }
    }
}
