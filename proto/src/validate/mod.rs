//! The bounds that a scenario must keep on any host. What depends on the host (its cores, disks, policy) only the
//! agent can check.

mod cpu;
mod decision;
mod disk;
mod guard;
mod http;
mod memory;
mod network;
mod of_phase;
mod profile;
mod rate;
mod recovery;
mod search;
mod settling;
mod threshold;
mod trend;

use std::collections::HashSet;

pub use cpu::{DEFAULT_MEMORY_PERCENT, MAX_CPU_WORKERS};
pub use decision::{DEFAULT_WINDOW_MS, MAX_REPEATS, MAX_WAIT_MS, action_name};
pub use disk::{
    DEFAULT_BLOCK_BYTES, DEFAULT_DEPTH, DEFAULT_READ_PERCENT, MAX_BLOCK_BYTES, MAX_BLOCK_SIZES, MAX_DEPTH,
    MAX_FSYNC_EVERY, MAX_JOBS, MAX_RATE_BYTES_PER_S, MAX_RATE_PER_S, SECTOR_BYTES,
};
pub use guard::{
    DEFAULT_FLOOR_PERCENT, DEFAULT_HOLD_MS, DEFAULT_MAX_PAUSES, DEFAULT_MIN_SAMPLES, DEFAULT_RISE_MS,
    DEFAULT_STEP_PERCENT, guard, guards,
};
pub use http::{
    DEFAULT_MAX_ERRORS_PERCENT, MAX_BODY_BYTES, MAX_CONNECTIONS, MAX_GENERATED_BODY_BYTES, MAX_HTTP_STREAMS,
    MAX_RETRIES, is_secret, method_name,
};
pub use profile::{DEFAULT_DUTY_PERCENT, DEFAULT_TOLERANCE_POINTS, MAX_STEPS, MAX_TRACE_POINTS};

pub use memory::{MAX_SIZE_BYTES, MIN_FILL_BYTES_PER_S, MIN_SHARE_BYTES};
pub use network::{
    DATAGRAM_BYTES, MAX_STREAMS, NETWORK_BITS_PER_S, NETWORK_BLOCK_BYTES, SOCKET_BUFFER_BYTES, protocol_name,
};
pub use rate::{DEFAULT_RATE_TOLERANCE_PERCENT, RATE_TOLERANCE_PERCENT};
pub use recovery::RECOVERY_TIME_MS;
pub use search::{
    DEFAULT_SEARCH_FROM_PERCENT, DEFAULT_SEARCH_HOLD_MS, DEFAULT_SEARCH_PRECISION_POINTS,
    DEFAULT_SEARCH_REST_MS, DEFAULT_SEARCH_TO_PERCENT,
};
pub use threshold::threshold as any_threshold;

use crate::v1::{Burner, Limits, Phase, Scenario, Violation, burner};

/// Phases a scenario may have.
pub const MAX_PHASES: usize = 1_000;
/// Burners a phase may have.
pub const MAX_BURNERS: usize = 64;
/// The longest that any duration can be: a year.
pub const MAX_DURATION_MS: u64 = 366 * 24 * 3_600 * 1_000;
/// Lease times that can be asked for.
pub const LEASE_TTL_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// How long a prepared run can be held without a sign of life.
pub const PREPARE_HOLD_MS: std::ops::RangeInclusive<u64> = 1_000..=600_000;
/// Where nothing is said.
pub const DEFAULT_PREPARE_HOLD_MS: u64 = 60_000;
/// The longest that the answer to a `Prepare` waits for a run to be ready.
pub const MAX_PREPARE_WAIT_MS: u64 = 20_000;
/// Where nothing is said.
pub const DEFAULT_PREPARE_WAIT_MS: u64 = 10_000;

/// Collects what is wrong, each with its place in the message.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Notes one.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>, mend: impl Into<String>) {
        let (field, message, mend) = (field.into(), message.into(), mend.into());
        self.0.push(Violation { field, message, mend, ..Violation::default() });
    }

    /// Says of the one that was noted last which key of the agent's configuration it breaks, with both values.
    #[expect(clippy::needless_pass_by_value, reason = "values are named where they are made")]
    pub fn name_rule(&mut self, rule: &str, asked: impl ToString, allowed: impl ToString) {
        if let Some(last) = self.0.last_mut() {
            last.rule = rule.into();
            (last.asked, last.allowed) = (asked.to_string(), allowed.to_string());
        }
    }

    /// Notes one that breaks a rule of the agent's configuration.
    #[expect(clippy::needless_pass_by_value, reason = "values are named where they are made")]
    pub fn break_rule(
        &mut self,
        field: impl Into<String>,
        rule: &str,
        asked: impl ToString,
        allowed: impl ToString,
        mend: impl Into<String>,
    ) {
        let (asked, allowed) = (asked.to_string(), allowed.to_string());
        self.add(field, format!("{asked}: the agent's configuration has {rule} = {allowed}"), mend);
        self.name_rule(rule, asked, allowed);
    }

    /// All that were noted, in order.
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }

    /// How many were noted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Every bound that `scenario` breaks.
pub fn scenario(scenario: &Scenario, found: &mut Violations) {
    name("name", &scenario.name, found);
    if scenario.description.len() > 1_024 {
        found.add("description", "longer than 1,024 bytes", "shorten it");
    }
    match scenario.phases.len() {
        0 => found.add("phases", "the scenario has no phase", "give it at least one phase"),
        1..=MAX_PHASES => {}
        n => found.add("phases", format!("{n} phases"), format!("use at most {MAX_PHASES}")),
    }
    settling::check(scenario, found);
    let mut names = HashSet::new();
    for (index, item) in scenario.phases.iter().enumerate().take(MAX_PHASES) {
        let field = format!("phases[{index}]");
        phase(&field, item, found);
        search::check(&field, item, scenario, found);
        recovery::check(&field, item, found);
        if !names.insert(item.name.as_str()) {
            found.add(
                format!("{field}.name"),
                format!("a second phase named '{}'", item.name),
                "give each phase a name of its own",
            );
        }
    }
    if let Some(bounds) = &scenario.limits {
        limits("limits", bounds, found);
    }
    guards("guards", &scenario.guards, found);
    decision::all(scenario, found);
    threshold::all(scenario, found);
    trend::all(scenario, found);
}

/// Whether `id` can name a run: 1 to 64 characters of `[A-Za-z0-9-]`, the first no hyphen.
pub fn run_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && !id.starts_with('-')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn name(field: &str, value: &str, found: &mut Violations) {
    let good = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !good {
        found.add(
            field,
            format!("'{}' is not a name", value.chars().take(80).collect::<String>()),
            "use 1 to 64 characters of a-z, 0-9 and '-'",
        );
    }
}

fn phase(field: &str, phase: &Phase, found: &mut Violations) {
    name(&format!("{field}.name"), &phase.name, found);
    duration(&format!("{field}.duration_ms"), phase.duration_ms, found);
    if phase.burners.len() > MAX_BURNERS {
        found.add(
            format!("{field}.burners"),
            format!("{} burners", phase.burners.len()),
            format!("use at most {MAX_BURNERS}"),
        );
    }
    for (index, item) in phase.burners.iter().enumerate().take(MAX_BURNERS) {
        burner_kind(&format!("{field}.burners[{index}]"), item, found);
    }
}

fn duration(field: &str, duration_ms: u64, found: &mut Violations) {
    if duration_ms == 0 {
        found.add(field, "a duration of 0", "use at least 1 ms");
    } else if duration_ms > MAX_DURATION_MS {
        found.add(
            field,
            format!("a duration of {duration_ms} ms"),
            format!("use at most {MAX_DURATION_MS} ms"),
        );
    }
}

fn burner_kind(field: &str, burner: &Burner, found: &mut Violations) {
    match &burner.kind {
        None => found.add(field, "a burner without a kind", "set one, such as cpu or disk"),
        Some(burner::Kind::Cpu(cpu)) => cpu::check(field, cpu, found),
        Some(burner::Kind::Disk(disk)) => disk::check(field, disk, found),
        Some(burner::Kind::Http(http)) => http::check(field, http, found),
        Some(burner::Kind::Memory(memory)) => memory::check(field, memory, found),
        Some(burner::Kind::Network(network)) => network::check(field, network, found),
    }
}

/// A number that this version's closed enum does not have.
fn known<E: TryFrom<i32>>(field: &str, value: i32, found: &mut Violations) {
    if E::try_from(value).is_err() {
        found.add(
            field,
            format!("{value} is not a value of this version"),
            "use one that the agent's version has",
        );
    }
}

fn limits(field: &str, limits: &Limits, found: &mut Violations) {
    if let Some(max_ms) = limits.max_duration_ms {
        duration(&format!("{field}.max_duration_ms"), max_ms, found);
    }
    if let Some(celsius) = limits.max_temperature_celsius
        && !(1.0..=150.0).contains(&celsius)
    {
        found.add(
            format!("{field}.max_temperature_celsius"),
            format!("a temperature of {celsius} °C"),
            "use 1 to 150 °C",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{BlockShare, Constant, CpuBurner, DiskAccess, DiskBurner, Profile, Ramp, profile};

    fn cpu_at(load_percent: f64) -> Scenario {
        let load = Profile {
            shape: Some(profile::Shape::Constant(Constant { load_percent })),
            ..Profile::default()
        };
        let cpu = CpuBurner { load: Some(load), ..CpuBurner::default() };
        with_burner(burner::Kind::Cpu(cpu))
    }

    fn with_disk(disk: DiskBurner) -> Scenario {
        with_burner(burner::Kind::Disk(disk))
    }

    fn with_burner(kind: burner::Kind) -> Scenario {
        let burners = vec![Burner { kind: Some(kind) }];
        let phase = Phase { name: "one".into(), duration_ms: 1_000, burners, ..Phase::default() };
        Scenario { name: "test".into(), phases: vec![phase], ..Scenario::default() }
    }

    fn fields(message: &Scenario) -> Vec<String> {
        let mut found = Violations::default();
        scenario(message, &mut found);
        found.into_vec().into_iter().map(|violation| violation.field).collect()
    }

    fn good_disk() -> DiskBurner {
        DiskBurner {
            path: "/var/tmp".into(),
            size_bytes: 1 << 20,
            access: DiskAccess::Randread.into(),
            ..DiskBurner::default()
        }
    }

    #[test]
    fn a_good_scenario_has_no_violation() {
        assert!(fields(&cpu_at(1.0)).is_empty());
        assert!(fields(&cpu_at(100.0)).is_empty());
        assert!(fields(&with_disk(good_disk())).is_empty());
    }

    #[test]
    fn a_load_outside_1_to_100_is_found() {
        for load in [0.0, 0.99, 100.01, 101.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(fields(&cpu_at(load)), ["phases[0].burners[0].load.constant.load_percent"], "{load}");
        }
        let ramp = Ramp { from_percent: -1.0, to_percent: 200.0 };
        let load = Profile { shape: Some(profile::Shape::Ramp(ramp)), ..Profile::default() };
        let scenario = with_burner(burner::Kind::Cpu(CpuBurner { load: Some(load), ..CpuBurner::default() }));
        assert_eq!(fields(&scenario).len(), 2);
    }

    #[test]
    fn a_scenario_of_no_phase_is_found() {
        let scenario = Scenario { name: "empty".into(), ..Scenario::default() };
        assert_eq!(fields(&scenario), ["phases"]);
    }

    #[test]
    fn each_bad_disk_setting_is_found() {
        type Spoil = fn(&mut DiskBurner);
        let shares = |sizes: &[(u32, u32)]| {
            let share = |&(block_bytes, percent): &_| BlockShare { block_bytes, percent };
            sizes.iter().map(share).collect::<Vec<_>>()
        };
        let spoiled_blocks =
            [&[(4_096, 90)][..], &[(4_096, 100), (8_192, 0)], &[(4_096, 50), (6_144, 50)], &[(100, 100)]];
        for blocks in spoiled_blocks {
            let disk = DiskBurner { blocks: shares(blocks), ..good_disk() };
            assert_eq!(fields(&with_disk(disk)), ["phases[0].burners[0].blocks"], "{blocks:?}");
        }
        let cases: [(&str, Spoil); 28] = [
            ("path", |d| d.path = "relative".into()),
            ("path", |d| d.path = "/nul\0".into()),
            ("access", |d| d.access = 0),
            ("access", |d| d.access = 99),
            ("block_bytes", |d| d.block_bytes = Some(1_000)),
            ("block_bytes", |d| d.block_bytes = Some(0)),
            ("size_bytes", |d| d.size_bytes = 0),
            ("size_bytes", |d| d.size_bytes = 4_097),
            ("depth", |d| d.depth = Some(0)),
            ("rate_per_s", |d| d.rate_per_s = Some(0)),
            ("rate_bytes_per_s", |d| d.rate_bytes_per_s = Some(0)),
            ("rate_tolerance_percent", |d| d.rate_tolerance_percent = Some(5.0)),
            ("rate_tolerance_percent", |d| (d.rate_per_s, d.rate_tolerance_percent) = (Some(1), Some(101.0))),
            ("rate_bytes_per_s", |d| (d.rate_per_s, d.rate_bytes_per_s) = (Some(1), Some(1))),
            ("read_percent", |d| d.read_percent = Some(50)),
            ("read_percent", |d| {
                d.set_access(DiskAccess::Randrw);
                d.read_percent = Some(100);
            }),
            ("jobs", |d| d.jobs = Some(0)),
            ("jobs", |d| d.jobs = Some(257)),
            ("cores", |d| d.cores = vec![1, 1]),
            ("fsync_every", |d| d.fsync_every = Some(1)),
            ("inject_error", |d| d.inject_error = true),
            ("engine", |d| d.engine = 99),
            ("fill_percent", |d| d.fill_percent = Some(50.0)),
            ("size_bytes", |d| {
                d.set_access(DiskAccess::Fill);
                d.fill_percent = Some(50.0);
            }),
            ("remount_every_ms", |d| d.remount_every_ms = Some(1_000)),
            ("remount_every_ms", |d| (d.verify, d.remount_every_ms) = (true, Some(99))),
            ("remount_every_ms", |d| (d.verify, d.remount_every_ms) = (true, Some(u64::MAX))),
            ("remount_every_ms", |d| {
                (d.verify, d.remount_every_ms, d.jobs) = (true, Some(1_000), Some(2));
            }),
        ];
        for (field, spoil) in cases {
            let mut disk = good_disk();
            spoil(&mut disk);
            assert_eq!(fields(&with_disk(disk)), [format!("phases[0].burners[0].{field}")]);
        }
    }

    #[test]
    fn every_violation_is_found_at_once() {
        let mut scenario = cpu_at(0.0);
        scenario.name = "Not A Name".into();
        scenario.phases[0].duration_ms = 0;
        scenario.phases.push(scenario.phases[0].clone());
        assert_eq!(fields(&scenario).len(), 6);
    }

    #[test]
    fn run_ids_are_plain() {
        assert!(run_id("0199-ab"));
        for bad in ["", "-x", "a/b", "../x", "a b", &"x".repeat(65)] {
            assert!(!run_id(bad), "{bad}");
        }
    }
}
