//! Whom this host works for: units whose trouble is watched for while burners burn.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use ssts_proto::{
    catalogue::{self as metrics, Metric},
    http_url::HttpUrl,
    v1::{Derating, Guard, GuardAggregate, GuardComparison, GuardMissing, GuardReaction, LabelMatch},
    validate::{self, Violations},
};

use super::{ConfigError, duration};

/// Each is some ten files to read at every tick, and a comparison at every switch of tasks.
pub const MAX_PROTECTED: usize = 8;
const PERIODS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// A unit that is watched.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectConfig {
    /// A systemd unit such as `nginx.service`, or a cgroup below the mount point of version 2 such as `system.slice/nginx.service`.
    pub unit: String,
    /// Asked again and again: 2xx says that all is well.
    #[serde(default)]
    pub health_url: Option<AskedUrl>,
    /// A Prometheus server, by the URL that its API is below.
    #[serde(default)]
    pub prometheus_url: Option<AskedUrl>,
    /// What it is asked: an instant query with one value.
    #[serde(default)]
    pub query: Option<String>,
    /// How often both are asked.
    #[serde(default = "second", deserialize_with = "duration")]
    pub every: Duration,
    /// How long an answer may take.
    #[serde(default = "second", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Of the waits of its tasks for a core over 5 s, 99 in 100 are to be shorter.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub max_runqueue_p99: Option<Duration>,
    /// Of the requests to disks that its tasks issued over 5 s, 99 in 100 are to be done sooner.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub max_io_p99: Option<Duration>,
    /// For how much of the time some of its tasks may wait for a core, percent.
    #[serde(default)]
    pub max_cpu_stalled_percent: Option<f64>,
    /// The same, for memory.
    #[serde(default)]
    pub max_memory_stalled_percent: Option<f64>,
    /// The same, for I/O.
    #[serde(default)]
    pub max_io_stalled_percent: Option<f64>,
    /// How long its health URL may take to answer. That it doesn't answer is worse.
    #[serde(default, deserialize_with = "maybe_duration")]
    pub max_health_latency: Option<Duration>,
    /// What the query may give.
    #[serde(default)]
    pub max_query_value: Option<f64>,
}

/// Over which rates and percentiles are taken.
const WINDOW: Duration = Duration::from_secs(5);
/// How long an objective has to be missed: a single frame says little.
const LASTING: Duration = Duration::from_secs(1);
/// Runs back off quickly, by half of what was asked for, then down to a tenth of it, and are then paused.
const STEP_PERCENT: u32 = 45;
const HOLD: Duration = Duration::from_secs(2);
const FLOOR_PERCENT: u32 = 10;

impl ProtectConfig {
    /// The objectives, as guards of every run: each throttles it, and then pauses it until the objective is met again.
    pub fn guards(&self) -> Vec<Guard> {
        let stalled = |what: &str, percent: &Option<f64>| {
            let share = percent.as_ref()? / 100.0;
            let mut guard =
                self.guard(&format!("{what}-stalled"), &metrics::PROTECTED_PRESSURE_STALLED, share);
            guard.labels.extend([label("resource", what), label("share", "some")]);
            guard.window_ms = Some(ms(WINDOW));
            Some(guard)
        };
        let p99 = |what: &str, metric: &Metric, most: Duration| {
            let mut guard = self.guard(what, metric, most.as_nanos() as f64);
            guard.set_aggregate(GuardAggregate::P99);
            guard.window_ms = Some(ms(WINDOW));
            guard
        };
        let runqueue =
            self.max_runqueue_p99.map(|most| p99("runqueue", &metrics::PROTECTED_RUNQUEUE_LATENCY, most));
        let io = self.max_io_p99.map(|most| p99("io", &metrics::PROTECTED_BLOCK_LATENCY, most));
        let health = self.max_health_latency.map(|most| {
            let mut guard = self.guard("health", &metrics::PROTECTED_HEALTH_LATENCY, most.as_secs_f64());
            guard.set_missing(GuardMissing::Trip);
            guard
        });
        let query =
            self.max_query_value.map(|most| self.guard("query", &metrics::PROTECTED_QUERY_VALUE, most));
        let stalled = [
            stalled("cpu", &self.max_cpu_stalled_percent),
            stalled("memory", &self.max_memory_stalled_percent),
            stalled("io", &self.max_io_stalled_percent),
        ];
        [runqueue, io, health, query].into_iter().chain(stalled).flatten().collect()
    }

    fn guard(&self, what: &str, metric: &Metric, above: f64) -> Guard {
        let mut derating = Derating {
            step_percent: Some(STEP_PERCENT),
            hold_ms: Some(ms(HOLD)),
            floor_percent: Some(FLOOR_PERCENT),
            ..Derating::default()
        };
        derating.set_then(GuardReaction::Pause);
        let mut guard = Guard {
            name: self.guard_name(what),
            metric: metric.name.into(),
            labels: vec![label("unit", &self.unit)],
            value: above,
            for_ms: ms(LASTING),
            derating: Some(derating),
            ..Guard::default()
        };
        guard.set_comparison(GuardComparison::Above);
        // While the unit is being started again there is nothing to protect.
        guard.set_missing(GuardMissing::Ignore);
        guard.set_reaction(GuardReaction::Throttle);
        guard
    }

    /// Of what a guard's name may hold.
    fn guard_name(&self, what: &str) -> String {
        let plain =
            |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
        let unit: String = self.unit.chars().map(plain).take(LONGEST_UNIT).collect();
        format!("protect-{unit}-{what}")
    }
}

/// Of a guard's name of 64 characters.
const LONGEST_UNIT: usize = 40;

fn label(name: &str, value: &str) -> LabelMatch {
    LabelMatch { name: name.into(), value: value.into() }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn maybe_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn second() -> Duration {
    Duration::from_secs(1)
}

/// A URL to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedUrl(pub HttpUrl);

impl<'de> Deserialize<'de> for AskedUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url = HttpUrl::parse(&text)
            .map_err(|why| de::Error::custom(format!("'{text}' {why}; write it as http://host:port/path")))?;
        Ok(Self(url))
    }
}

pub(super) fn check(protect: &[ProtectConfig]) -> Result<(), ConfigError> {
    let refused = |key, value: String, mend| Err(ConfigError::Bounds { key, value, mend });
    if protect.len() > MAX_PROTECTED {
        return refused("protect", format!("{} of them", protect.len()), "name at most 8");
    }
    for (index, one) in protect.iter().enumerate() {
        let parts: Vec<_> = one.unit.split('/').collect();
        let plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
        let is_unit = [".service", ".scope", ".slice"].iter().any(|suffix| one.unit.ends_with(suffix));
        if !parts.iter().all(plain) || (parts.len() == 1 && !is_unit) {
            return refused(
                "protect.unit",
                one.unit.clone(),
                "name a unit such as nginx.service, or a cgroup below the mount point of version 2 such as system.slice/x",
            );
        }
        if protect[..index].iter().any(|before| before.guard_name("") == one.guard_name("")) {
            return refused("protect.unit", one.unit.clone(), "name each once");
        }
        let asked_for = [
            ("protect.max_health_latency", one.max_health_latency.is_some() && one.health_url.is_none()),
            ("protect.max_query_value", one.max_query_value.is_some() && one.query.is_none()),
        ];
        if let Some((key, _)) = asked_for.iter().find(|(_, wrong)| *wrong) {
            return refused(
                key,
                one.unit.clone(),
                "give what it is asked by: health_url, or prometheus_url and query",
            );
        }
        let mut found = Violations::default();
        validate::guards("protect", &one.guards(), &mut found);
        if let Some(violation) = found.into_vec().into_iter().next() {
            let place = format!("protect, '{}', {}", one.unit, violation.field);
            return Err(ConfigError::Guard { place, message: violation.message, mend: violation.mend });
        }
        if one.query.is_some() != one.prometheus_url.is_some() {
            return refused("protect.query", one.unit.clone(), "give prometheus_url and query, or neither");
        }
        for (key, value) in [("protect.every", one.every), ("protect.timeout", one.timeout)] {
            if !PERIODS.contains(&value) {
                return refused(key, format!("{value:?}"), "use 100ms to 60s");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const ALL: &str = "[[protect]]\nunit = 'Web@1.service'\nhealth_url = 'http://127.0.0.1/'\n\
        prometheus_url = 'http://127.0.0.1:9090'\nquery = 'up'\nmax_runqueue_p99 = '20ms'\nmax_io_p99 = '50ms'\n\
        max_cpu_stalled_percent = 40\nmax_memory_stalled_percent = 10.0\nmax_io_stalled_percent = 10.0\n\
        max_health_latency = '200ms'\nmax_query_value = 0.25\n";

    #[test]
    fn each_objective_is_a_guard_that_can_be_carried_out() {
        let config: Config = toml::from_str(ALL).unwrap();
        check(&config.protect).unwrap();
        let guards = config.protect[0].guards();
        let names: Vec<_> = guards.iter().map(|guard| guard.name.as_str()).collect();
        let wanted = ["runqueue", "io", "health", "query", "cpu-stalled", "memory-stalled", "io-stalled"];
        assert_eq!(names, wanted.map(|what| format!("protect-web_1_service-{what}")));
        assert!((guards[0].value - 2e7).abs() < 1.0 && (guards[4].value - 0.4).abs() < 1e-9);
        assert!(guards.iter().all(|guard| guard.reaction() == GuardReaction::Throttle));
        assert_eq!(guards[2].missing(), GuardMissing::Trip);
    }

    #[test]
    fn an_objective_takes_what_it_is_seen_by() {
        let config: Config = toml::from_str(&ALL.replace("health_url = 'http://127.0.0.1/'\n", "")).unwrap();
        let message = check(&config.protect).unwrap_err().to_string();
        assert!(message.contains("max_health_latency"), "{message}");
    }
}
