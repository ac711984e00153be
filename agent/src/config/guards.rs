//! `[[guards]]`: limits with a reaction, as the operator of a host writes them. The keys are those of a scenario's guards.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de};
use ssts_proto::{
    catalogue,
    guards::{self, AGGREGATES, LAST_STEPS, MISSING, REACTIONS},
    nearest::nearest,
    v1::{Derating, Guard, GuardComparison, LabelMatch},
    validate::{self, Violations},
};

use super::{ConfigError, LimitsConfig};
use crate::guard::shipped;

/// One guard. Values are in the unit of the metric, or written with one.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardConfig {
    /// Its name. That of a shipped guard takes its place.
    pub name: String,
    /// Of the catalogue.
    pub metric: String,
    /// Which columns, by label.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How several columns become one value.
    pub aggregate: Option<String>,
    /// What must not be exceeded.
    pub above: Option<Amount>,
    /// What must not be fallen below.
    pub below: Option<Amount>,
    /// How fast a gauge may rise, per second.
    pub rises: Option<Amount>,
    /// How far below its critical point a temperature has to stay.
    pub headroom: Option<Amount>,
    /// Over which a rate, a rise or a percentile is taken.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub window: Option<Duration>,
    /// How long it has to be beyond.
    #[serde(default, rename = "for", deserialize_with = "maybe_duration")]
    pub lasting: Option<Duration>,
    /// How far back it has to come.
    pub hysteresis: Option<Amount>,
    /// Fewer values are not judged.
    pub min_samples: Option<u64>,
    /// What becomes of it when its reading is missing.
    pub missing: Option<String>,
    /// `warn`, `throttle`, `pause`, `stop` or `halt`.
    pub reaction: String,
    /// Percent of the load that each step of a throttle takes.
    pub step: Option<u32>,
    /// How long a step is given to help.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub hold: Option<Duration>,
    /// Percent of the load that stay at least.
    pub floor: Option<u32>,
    /// What comes after the floor.
    pub then: Option<String>,
    /// How often it may pause a run.
    pub max_pauses: Option<u32>,
    /// Devices that runs load are left out.
    #[serde(default)]
    pub others_only: bool,
}

/// A number in the metric's unit, or text with a unit of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// In the metric's unit.
    Number(f64),
    /// Such as `512MiB`.
    Text(String),
}

impl GuardConfig {
    /// As a message.
    ///
    /// # Errors
    /// The key that is wrong, what is, and the mend.
    pub fn message(&self) -> Result<Guard, (String, String, String)> {
        let wrong = |key: &str, (message, mend): (String, String)| (key.to_owned(), message, mend);
        let mut guard = Guard {
            name: self.name.clone(),
            metric: self.metric.clone(),
            labels: self
                .labels
                .iter()
                .map(|(name, value)| LabelMatch { name: name.clone(), value: value.clone() })
                .collect(),
            window_ms: self.window.map(ms),
            for_ms: self.lasting.map(ms).unwrap_or_default(),
            min_samples: self.min_samples,
            max_pauses: self.max_pauses,
            others_only: self.others_only,
            ..Guard::default()
        };
        let amounts = [&self.above, &self.below, &self.rises, &self.headroom];
        let mut given = amounts
            .iter()
            .zip(guards::COMPARISONS)
            .filter_map(|(amount, named)| Some((amount.as_ref()?, named)));
        let (value, (key, comparison)) = given.next().ok_or_else(|| {
            wrong(
                "above",
                ("it compares with nothing".into(), "give it one of above, below, rises and headroom".into()),
            )
        })?;
        if let Some((_, (other, _))) = given.next() {
            let message = format!("it has both {key} and {other}");
            return Err(wrong(other, (message, "make two guards of it".into())));
        }
        guard.set_comparison(comparison);
        guard.value = self.in_unit(value, comparison).map_err(|error| wrong(key, error))?;
        if let Some(hysteresis) = &self.hysteresis {
            guard.hysteresis =
                self.in_unit(hysteresis, comparison).map_err(|error| wrong("hysteresis", error))?;
        }
        guard.set_reaction(named("reaction", &self.reaction, &REACTIONS)?);
        if let Some(aggregate) = &self.aggregate {
            guard.set_aggregate(named("aggregate", aggregate, &AGGREGATES)?);
        }
        if let Some(missing) = &self.missing {
            guard.set_missing(named("missing", missing, &MISSING)?);
        }
        if self.step.is_some() || self.hold.is_some() || self.floor.is_some() || self.then.is_some() {
            let mut derating = Derating {
                step_percent: self.step,
                hold_ms: self.hold.map(ms),
                floor_percent: self.floor,
                ..Derating::default()
            };
            if let Some(then) = &self.then {
                derating.set_then(named("then", then, &LAST_STEPS)?);
            }
            guard.derating = Some(derating);
        }
        Ok(guard)
    }

    fn in_unit(&self, amount: &Amount, comparison: GuardComparison) -> Result<f64, (String, String)> {
        // Of a metric that is unknown, which is told by whoever checks the message.
        let unit = catalogue::find(&self.metric)
            .map_or_else(|| "1".into(), |metric| guards::unit(metric, comparison));
        match amount {
            Amount::Number(number) => Ok(*number),
            Amount::Text(text) => match guards::value(text, &unit) {
                Err(_) if catalogue::find(&self.metric).is_none() => Ok(0.0),
                read => read,
            },
        }
    }
}

/// Guards as messages.
pub(super) fn check(guards: &[GuardConfig], limits: &LimitsConfig) -> Result<(), ConfigError> {
    let mut messages = Vec::new();
    for guard in guards {
        let place = |key: &str| format!("guards, '{}', {key}", guard.name);
        let message = guard.message().map_err(|(key, message, mend)| ConfigError::Guard {
            place: place(&key),
            message,
            mend,
        })?;
        messages.push(message);
    }
    let mut found = Violations::default();
    validate::guards("guards", &messages, &mut found);
    if let Some(violation) = found.into_vec().into_iter().next() {
        let index = violation.field.split(['[', ']']).nth(1).and_then(|index| index.parse::<usize>().ok());
        let name =
            index.and_then(|index| guards.get(index)).map(|guard| guard.name.as_str()).unwrap_or_default();
        let part = violation.field.split_once("].").map_or("", |(_, part)| part);
        return Err(ConfigError::Guard {
            place: format!("guards, '{name}', {part}"),
            message: violation.message,
            mend: violation.mend,
        });
    }
    let of_limits = [shipped::MAX_DURATION, shipped::MAX_TEMPERATURE, shipped::MIN_AVAILABLE_MEMORY];
    if let Some(guard) = guards.iter().find(|guard| of_limits.contains(&guard.name.as_str())) {
        return Err(ConfigError::Guard {
            place: format!("guards, '{}', name", guard.name),
            message: "this name is that of a limit".into(),
            mend: "choose another, or change it under [limits]".into(),
        });
    }
    if let Some(off) = limits.guards_off.iter().find(|off| !shipped::is_shipped(off)) {
        let names = shipped::SHIPPED.iter().map(|shipped| shipped.name);
        let near = nearest(off, names).map_or_else(String::new, |near| format!("did you mean '{near}'? "));
        return Err(ConfigError::Guard {
            place: "limits.guards_off".into(),
            message: format!("no guard '{off}' is shipped"),
            mend: format!("{near}docs/guards.md lists them"),
        });
    }
    Ok(())
}

fn named<T: Copy>(key: &str, text: &str, known: &[(&str, T)]) -> Result<T, (String, String, String)> {
    let names = || known.iter().map(|(name, _)| *name);
    known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let near = nearest(text, names()).map_or_else(String::new, |near| format!("did you mean '{near}'? "));
        let mend = format!("{near}use one of {}", names().collect::<Vec<_>>().join(", "));
        (key.to_owned(), format!("there is no {key} '{text}'"), mend)
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn maybe_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        de::Error::custom(format!("'{text}' is no duration ({error}); write 250ms, 10s, 90m or 24h"))
    })
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::GuardReaction;

    use super::*;
    use crate::config::Config;

    fn told(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap();
        check(&config.guards, &config.limits).map_or_else(|error| error.to_string(), |()| String::new())
    }

    const HOT: &str = "[[guards]]\nname = 'hot'\nmetric = 'host.temperature'\nreaction = 'throttle'\n";

    #[test]
    fn a_guard_is_read_in_its_units() {
        let text = format!(
            "{HOT}labels = {{ sensor = 'hwmon0/*' }}\nabove = '85 °C'\nfor = '2s'\nhysteresis = 5\nstep = 20\nthen = 'pause'\nmax_pauses = 2\n"
        );
        let config: Config = toml::from_str(&text).unwrap();
        let guard = config.guards[0].message().unwrap();
        assert!((guard.value - 85.0).abs() < 1e-9 && (guard.hysteresis - 5.0).abs() < 1e-9);
        assert_eq!((guard.for_ms, guard.max_pauses), (2_000, Some(2)));
        assert_eq!(guard.derating.unwrap().then(), GuardReaction::Pause);
        assert_eq!(told(&text), "");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_guard_and_key() {
        for (rest, parts) in [
            ("", ["'hot', above", "compares with nothing"]),
            ("above = 5\nbelow = 4\n", ["both above and below", "two guards"]),
            ("above = '5 F'\n", ["'hot', above", "°C"]),
            ("above = 5\naggregate = 'p99'\n", ["'hot', aggregate", "percentiles"]),
            ("above = 5\naggregate = 'maximum'\n", ["no aggregate 'maximum'", "max"]),
            ("above = 5\nthen = 'kill'\n", ["no then 'kill'", "stop"]),
            ("above = 5\nstep = 100\n", ["step_percent", "1 to 99"]),
            ("above = 5\nlabels = { sensors = 'x' }\n", ["'hot', labels", "did you mean 'sensor'"]),
        ] {
            let told = told(&format!("{HOT}{rest}"));
            assert!(parts.iter().all(|part| told.contains(part)), "{rest}: {told}");
        }
        let unknown = HOT.replace("temperature", "temperatur") + "above = '5 °C'\n";
        assert!(told(&unknown).contains("did you mean 'host.temperature'"), "{}", told(&unknown));
        assert!(told("[limits]\nguards_off = ['oom_kil']\n").contains("did you mean 'oom_kill'"));
        let taken = HOT.replace("'hot'", "'max_duration'") + "above = 5\n";
        assert!(told(&taken).contains("[limits]"), "{}", told(&taken));
        let error = toml::from_str::<Config>(&format!("{HOT}abov = 5\n")).unwrap_err().to_string();
        assert!(error.contains("abov"), "{error}");
    }
}
