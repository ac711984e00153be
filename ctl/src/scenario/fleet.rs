//! `[fleet]` of a scenario: in which waves it comes over a fleet, and what must hold of the fleet as a whole. It is sstsctl's
//! alone: no agent knows of a fleet.

use serde_spanned::Spanned;
use ssts_proto::{
    thresholds::Wrong,
    validate::{self, Violations},
};
use toml::de::DeValue;

use super::{
    guard::labels,
    keys::{Findings, Keys, Value, number, string, whole, wrong_type},
    toml_file::tables,
};
use crate::{
    error::Problem,
    fleet::{FleetSpec, FleetThreshold, MaxPer, MaxWatts, Portion, Subject, WaveOptions, watts_of},
};

/// Thresholds that a fleet may have.
const MAX_THRESHOLDS: usize = 64;

/// The whole table.
pub(super) fn from_keys(mut keys: Keys<'_, '_>, found: &mut Findings) -> FleetSpec {
    let waves = WaveOptions {
        waves: keys.read("waves", "waves", found, portions).unwrap_or_default(),
        max_per: keys.read("max_per", "max_per", found, max_per).unwrap_or_default(),
        max_watts: keys.read("max_watts", "max_watts", found, max_watts).unwrap_or_default(),
        max_failures: keys
            .read("max_failures", "max_failures", found, |value| portion(value, Portion::parse)),
    };
    let all = tables("a fleet's threshold", "threshold", "thresholds", &mut keys, found);
    if all.len() > MAX_THRESHOLDS
        && let Some(value) = keys.value("threshold", "thresholds", found)
    {
        let message = format!("{} thresholds", all.len());
        found.at(value.span(), &message, &format!("use at most {MAX_THRESHOLDS}"));
    }
    let thresholds = all.into_iter().take(MAX_THRESHOLDS).filter_map(|keys| threshold(keys, found)).collect();
    keys.finish(found);
    FleetSpec { waves, thresholds }
}

fn threshold(mut keys: Keys<'_, '_>, found: &mut Findings) -> Option<FleetThreshold> {
    let example = "\"p95 across hosts of host.temperature.max < 85\"";
    let that = keys.need("that", "that", found, string, example);
    let place = keys.value("that", "that", found).map(Spanned::span);
    let at_labels = keys.value("labels", "labels", found).map(Spanned::span);
    let labels = keys.read("labels", "labels", found, labels).unwrap_or_default();
    keys.finish(found);
    let (that, place) = that.zip(place)?;
    let read = match FleetThreshold::parse(&that) {
        Ok(read) => read.with_labels(labels),
        Err(Wrong { part, message, mend }) => {
            let precise = found.origin.within(&place, &that, &part);
            found.last_word_at(&place, precise, &message, &mend);
            return None;
        }
    };
    match (&read.subject, at_labels) {
        (Subject::Hosts { .. }, Some(at)) => {
            found.at(at, "labels, and it counts hosts", "leave them out: labels are a metric's");
        }
        (Subject::Across { of, .. }, Some(at)) => {
            let mut violations = Violations::default();
            validate::any_threshold("", of, &mut violations);
            for violation in violations.into_vec() {
                found.at(at.clone(), &violation.message, &violation.mend);
            }
        }
        (_, None) => {}
    }
    Some(read)
}

/// A number of hosts, or a share of them in quotes.
fn portion(value: &DeValue<'_>, read: fn(&str) -> Result<Portion, Problem>) -> Result<Portion, Problem> {
    match value {
        DeValue::String(text) => read(text),
        DeValue::Integer(_) => read(&whole(value)?.to_string()),
        _ => Err(wrong_type(value, "a number of hosts, or a share in quotes, such as \"10%\"")),
    }
}

fn portions(value: &DeValue<'_>) -> Result<Vec<Portion>, Problem> {
    match value {
        DeValue::Array(items) => {
            items.iter().map(|item| portion(item.get_ref(), Portion::parse_some)).collect()
        }
        one => portion(one, Portion::parse_some).map(|portion| vec![portion]),
    }
}

type Entry<'e, 't> = (&'e Spanned<std::borrow::Cow<'t, str>>, &'e Value<'t>);

fn max_per(value: &DeValue<'_>) -> Result<Vec<MaxPer>, Problem> {
    let table = value.as_table().ok_or_else(|| wrong_type(value, "a table, such as { rack = 2 }"))?;
    let bound = |(domain, most): Entry<'_, '_>| {
        MaxPer::of(domain.get_ref(), portion(most.get_ref(), Portion::parse_some)?)
    };
    table.iter().map(bound).collect()
}

fn max_watts(value: &DeValue<'_>) -> Result<Vec<MaxWatts>, Problem> {
    let bound = |(domain, watts): Entry<'_, '_>| MaxWatts::of(domain.get_ref(), watts_in(watts.get_ref())?);
    match value {
        DeValue::Table(table) => table.iter().map(bound).collect(),
        DeValue::String(text) => Ok(vec![MaxWatts::of("fleet", watts_of(text)?)?]),
        DeValue::Integer(_) | DeValue::Float(_) => Ok(vec![MaxWatts::of("fleet", number(value)?)?]),
        _ => Err(wrong_type(value, "watts, or a table of domains, such as { rack = 4000 }")),
    }
}

fn watts_in(value: &DeValue<'_>) -> Result<f64, Problem> {
    match value {
        DeValue::String(text) => watts_of(text),
        _ => number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Plan;

    const PHASE: &str = "name = 'one'\n[[phase]]\nname = 'a'\nduration = '1s'\n";

    fn told(fleet: &str) -> String {
        let text = format!("{PHASE}{fleet}");
        Plan::from_toml("x.toml", &text).map_or_else(|failure| failure.to_string(), |_| String::new())
    }

    #[test]
    fn every_key_is_read_and_is_shown_again() {
        let text = format!(
            "{PHASE}[fleet]\nwaves = [1, '10%', '100%']\nmax_per = {{ rack = 1, power = '25%' }}\n\
             max_watts = {{ fleet = '12kW', rack = 4000 }}\nmax_failures = '5%'\n\
             [[fleet.threshold]]\nthat = 'p95 across hosts of host.temperature.max < 85'\n\
             labels = {{ sensor = 'hwmon0/*' }}\n[[fleet.threshold]]\nthat = 'hosts lost == 0'\n"
        );
        let plan = Plan::from_toml("x.toml", &text).unwrap();
        let FleetSpec { waves, thresholds } = &plan.fleet;
        assert_eq!(waves.waves, [Portion::Hosts(1), Portion::Percent(10.0), Portion::Percent(100.0)]);
        assert_eq!(waves.max_failures, Some(Portion::Percent(5.0)));
        let per: Vec<_> = waves.max_per.iter().map(|bound| (bound.domain.as_str(), bound.most)).collect();
        assert!(
            per.contains(&("rack", Portion::Hosts(1))) && per.contains(&("power", Portion::Percent(25.0)))
        );
        let watts: Vec<_> =
            waves.max_watts.iter().map(|bound| (bound.domain.as_deref(), bound.watts)).collect();
        assert!(watts.contains(&(None, 12_000.0)) && watts.contains(&(Some("rack"), 4_000.0)), "{watts:?}");
        let [hot, lost] = &thresholds[..] else { panic!("{thresholds:?}") };
        let Subject::Across { of, .. } = &hot.subject else { panic!("{hot:?}") };
        assert_eq!((of.labels[0].value.as_str(), lost.that.as_str()), ("hwmon0/*", "hosts lost == 0"));
        let again = Plan::from_toml("shown.toml", &plan.toml).unwrap();
        assert_eq!(again.fleet, plan.fleet, "{}", plan.toml);
        let one =
            Plan::from_toml("x.toml", &format!("{PHASE}[fleet]\nwaves = 2\nmax_watts = 900\n")).unwrap();
        assert_eq!((one.fleet.waves.waves.len(), one.fleet.waves.max_watts[0].watts), (1, 900.0));
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        for (fleet, parts) in [
            ("[fleet]\nwave = 1", ["x.toml:6:1", "did you mean 'waves'"]),
            ("[fleet]\nwaves = [0]", ["x.toml:6:9", "no host at all"]),
            ("[fleet]\nwaves = true", ["x.toml:6:9", "a number of hosts"]),
            ("[fleet]\nmax_per = 2", ["x.toml:6:11", "{ rack = 2 }"]),
            ("[fleet]\nmax_per = { group = 2 }", ["x.toml:6:11", "several groups"]),
            ("[fleet]\nmax_watts = 'hot'", ["x.toml:6:13", "no number"]),
            ("[fleet]\nmax_failures = '200%'", ["x.toml:6:16", "0 to 100"]),
            ("[[fleet.threshold]]\nlabels = { a = 'b' }", ["x.toml:5:1", "needs the key 'that'"]),
            ("[[fleet.threshold]]\nthat = 'hosts fialed < 1'", ["x.toml:6:15", "did you mean 'failed'"]),
            (
                "[[fleet.threshold]]\nthat = 'p95 across hosts of host.temprature.max < 85'",
                ["x.toml:6:29", "did you mean 'host.temperature'"],
            ),
            (
                "[[fleet.threshold]]\nthat = 'hosts lost == 0'\nlabels = { sensor = 'x' }",
                ["x.toml:7:10", "it counts hosts"],
            ),
            (
                "[[fleet.threshold]]\nthat = 'max across hosts of host.temperature.max < 8'\nlabels = { sensors = 'x' }",
                ["x.toml:7:10", "did you mean 'sensor'"],
            ),
            ("[[fleet.threshold]]\nthat = 'hosts lost == 0'\nfor = '1s'", ["x.toml:7:1", "has no key 'for'"]),
        ] {
            let told = told(&format!("{fleet}\n"));
            assert!(parts.iter().all(|part| told.contains(part)), "{fleet}: {told}");
        }
    }
}
