//! `[[trend]]` of a scenario: how what is measured must go on while a load lasts.

use ssts_proto::{
    thresholds::Wrong,
    trends,
    v1::{Trend, TrendKind},
};
use toml::de::DeValue;

use super::{
    guard::labels,
    keys::{Findings, Keys, did_you_mean, number, shortened, string},
};
use crate::{error::Problem, quantity};

/// One trend.
pub(super) fn from_keys(mut keys: Keys<'_, '_>, found: &mut Findings) -> Trend {
    let metric = keys.need("metric", "metric", found, string, "\"host.files.open\"");
    let place = keys.value("metric", "metric", found).map(serde_spanned::Spanned::span);
    let mut trend = match (metric.as_deref().map(trends::parse), place) {
        (Some(Ok(trend)), _) => trend,
        (Some(Err(Wrong { part, message, mend })), Some(span)) => {
            let precise = found.origin.within(&span, metric.as_deref().unwrap_or_default(), &part);
            found.last_word_at(&span, precise, &message, &mend);
            found.mark_broken(&keys.field());
            Trend::default()
        }
        _ => {
            found.mark_broken(&keys.field());
            Trend::default()
        }
    };
    trend.labels.extend(keys.read("labels", "labels", found, labels).unwrap_or_default());
    trend.phase = keys.read("phase", "phase", found, string).unwrap_or_default();
    trend.set_kind(keys.need("kind", "kind", found, kind, "\"leak\"").unwrap_or_default());
    let of_kind = trend.kind();
    trend.tolerate = keys.read("tolerate", "tolerate", found, |value| tolerate(value, of_kind));
    keys.finish(found);
    trend
}

fn kind(value: &DeValue<'_>) -> Result<TrendKind, Problem> {
    let written = string(value)?;
    let known = trends::KINDS.iter().find(|(name, _)| *name == written);
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        let names = trends::KINDS.map(|(name, _)| name);
        let hint = did_you_mean(&written, names);
        Problem::new(
            format!("there is no trend of kind '{}'", shortened(&written)),
            format!("{hint}use {}", names.join(", ")),
        )
    })
}

/// In the metric's unit a minute, bytes as sizes are written; or percent an hour.
fn tolerate(value: &DeValue<'_>, kind: TrendKind) -> Result<f64, Problem> {
    let Some(text) = value.as_str() else { return number(value) };
    let percent = text.trim().strip_suffix('%').map(|percent| percent.trim().parse::<f64>().ok());
    match (percent, kind) {
        (Some(Some(percent)), TrendKind::Drift | TrendKind::Unspecified) => Ok(percent),
        (Some(None), _) => Err(Problem::new(
            format!("'{}' is no share", shortened(text)),
            "write percent an hour, such as tolerate = \"5%\"",
        )),
        (Some(_), _) => Err(Problem::new(
            "percent of a leak",
            "write what it may rise by in a minute, such as tolerate = \"128KiB\", or use kind = \"drift\"",
        )),
        (None, TrendKind::Drift) => Err(Problem::new(
            format!("'{}' is no share", shortened(text)),
            "write percent an hour, such as tolerate = \"5%\"",
        )),
        (None, _) => quantity::size_bytes(text).map(|bytes| bytes as f64),
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::ThresholdStatistic;

    use super::*;
    use crate::scenario::Plan;

    const PHASE: &str = "name = 'one'\n[[phase]]\nname = 'a'\nduration = '1s'\n";

    #[test]
    fn every_key_reaches_the_contract_and_is_shown_again() {
        let text = format!(
            "{PHASE}[[trend]]\nmetric = 'agent.resident'\nkind = 'leak'\ntolerate = '64KiB'\n\
             [[trend]]\nmetric = 'runqueue.latency.p99'\nlabels = {{ cpu = '0' }}\nphase = 'a'\nkind = 'drift'\ntolerate = '2 %'\n"
        );
        let plan = Plan::from_toml("x.toml", &text).unwrap();
        let [leak, drift] = &plan.scenario.trends[..] else { panic!("{:?}", plan.scenario) };
        assert_eq!(
            (leak.metric.as_str(), leak.kind(), leak.tolerate),
            ("agent.resident", TrendKind::Leak, Some(65_536.0))
        );
        assert_eq!(
            (drift.statistic(), drift.phase.as_str(), drift.tolerate),
            (ThresholdStatistic::P99, "a", Some(2.0))
        );
        assert_eq!((drift.labels[0].name.as_str(), drift.labels[0].value.as_str()), ("cpu", "0"));
        let again = Plan::from_toml("shown.toml", &plan.toml).unwrap();
        assert_eq!(again.scenario, plan.scenario, "{}", plan.toml);
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        for (trend, parts) in [
            ("metric = 'host.files.opn'\nkind = 'leak'", ["x.toml:6:11", "did you mean 'host.files.open'"]),
            ("kind = 'leak'", ["x.toml:5:1", "needs the key 'metric'"]),
            ("metric = 'host.files.open'", ["x.toml:5:1", "needs the key 'kind'"]),
            ("metric = 'host.files.open'\nkind = 'leek'", ["x.toml:7:8", "did you mean 'leak'"]),
            ("metric = 'host.files.open'\nkind = 'leak'\ntolerate = '5%'", ["x.toml:8:12", "in a minute"]),
            (
                "metric = 'host.files.open'\nkind = 'drift'\ntolerate = '5KiB'",
                ["x.toml:8:12", "percent an hour"],
            ),
            ("metric = 'host.files.open'\nkind = 'drift'\ntolerate = 'x%'", ["x.toml:8:12", "no share"]),
            ("metric = 'host.files.open'\nkind = 'drift'\ntolerate = -1", ["x.toml:8:12", "0 or more"]),
            ("metric = 'host.files.open'\nkind = 'steady'\ntolerate = 1", ["x.toml:8:12", "SNIA"]),
            ("metric = 'host.files.open'\nkind = 'leak'\nphase = 'b'", ["x.toml:8:9", "no phase 'b'"]),
            ("metric = 'host.files.open'\nkind = 'leak'\nlabels = { a = 'b' }", ["x.toml:8:10", "has none"]),
            ("metric = 'host.files.open.max'\nkind = 'leak'", ["x.toml:6:10", "leave the statistic out"]),
            ("metric = 'disk.operations'\nkind = 'leak'", ["x.toml:7:8", "nothing that could leak"]),
            (
                "metric = 'host.files.open'\nkind = 'leak'\ntolerat = 1",
                ["x.toml:8:1", "did you mean 'tolerate'"],
            ),
        ] {
            let text = format!("{PHASE}[[trend]]\n{trend}\n");
            let told = Plan::from_toml("x.toml", &text)
                .map_or_else(|failure| failure.to_string(), |_| String::new());
            assert!(parts.iter().all(|part| told.contains(part)), "{trend}: {told}");
        }
    }
}
