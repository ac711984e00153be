//! The guards that an agent has unless it is told otherwise. `docs/guards.md` has them as a table, made from this one.

use ssts_proto::v1::{
    Derating, Guard, GuardAggregate, GuardComparison, GuardMissing, GuardOrigin, GuardReaction, LabelMatch,
};

use super::spec::GuardSpec;
use crate::config::LimitsConfig;

use GuardComparison::{Above, Below, Headroom};
use GuardReaction::{Stop, Throttle, Warn};

/// One of them.
#[derive(Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    metric: &'static str,
    labels: &'static [(&'static str, &'static str)],
    comparison: GuardComparison,
    value: f64,
    window_ms: Option<u64>,
    for_ms: u64,
    hysteresis: f64,
    reaction: GuardReaction,
    /// A reading that is gone says nothing: its devices come and go, or its source is not there on every host.
    may_be_missing: bool,
    others_only: bool,
    /// Why it is there.
    pub reason: &'static str,
    /// Where its value comes from.
    pub source: &'static str,
}

/// Of the limits of the configuration, by the names that `[limits]` and scenarios have for them.
pub const MAX_DURATION: &str = "max_duration";
/// See [`MAX_DURATION`].
pub const MIN_AVAILABLE_MEMORY: &str = "min_available_memory";
/// See [`MAX_DURATION`].
pub const MAX_TEMPERATURE: &str = "max_temperature";
/// Of `limits.disk_reserve_bytes`.
pub const DISK_SPACE: &str = "disk_space";

const PLAIN: Shipped = Shipped {
    name: "",
    metric: "",
    labels: &[],
    comparison: Above,
    value: 0.0,
    window_ms: None,
    for_ms: 0,
    hysteresis: 0.0,
    reaction: Warn,
    may_be_missing: false,
    others_only: false,
    reason: "",
    source: "",
};

/// All but those of `[limits]`, in the order in which they look.
pub static SHIPPED: [Shipped; 19] = [
    Shipped {
        name: "critical_temperature",
        metric: "host.temperature",
        comparison: Headroom,
        value: 3.0,
        hysteresis: 5.0,
        reaction: Stop,
        reason: "Beyond its critical point a part takes harm, or the host switches itself off.",
        source: "The sensor's own critical point, less the 3 K by which sensors may err (AMD and Intel state 1 to 5 K).",
        ..PLAIN
    },
    Shipped {
        name: "near_critical_temperature",
        metric: "host.temperature",
        comparison: Headroom,
        value: 8.0,
        for_ms: 2_000,
        hysteresis: 5.0,
        reaction: Throttle,
        may_be_missing: true,
        reason: "Less load before none: the rung below critical_temperature.",
        source: "5 K above that rung.",
        ..PLAIN
    },
    Shipped {
        name: "cpu_throttled",
        metric: "host.cpu.throttled",
        value: 0.0,
        for_ms: 2_000,
        may_be_missing: true,
        reason: "The hardware slows a core for heat: what is measured is no longer what was asked for.",
        source: "Any throttling that lasts: the kernel counts single events, which turbo causes at will.",
        ..PLAIN
    },
    Shipped {
        name: "package_throttled",
        metric: "host.package.throttled",
        value: 0.0,
        for_ms: 2_000,
        may_be_missing: true,
        reason: "As cpu_throttled, for the package.",
        source: "As cpu_throttled.",
        ..PLAIN
    },
    Shipped {
        name: "memory_pressure",
        metric: "host.pressure.stalled",
        labels: &[("resource", "memory"), ("share", "full")],
        value: 0.6,
        window_ms: Some(10_000),
        for_ms: 10_000,
        hysteresis: 0.2,
        reaction: Stop,
        reason: "A host whose tasks all wait for memory answers nobody.",
        source: "systemd-oomd's DefaultMemoryPressureLimit= of 60 % (oomd.conf(5)), after 10 s instead of 30.",
        ..PLAIN
    },
    Shipped {
        name: "swapping",
        metric: "host.vm.swapped_out",
        value: 2_560.0,
        window_ms: Some(10_000),
        for_ms: 10_000,
        hysteresis: 2_000.0,
        reaction: Stop,
        reason: "Other programs' memory goes to disk and takes minutes to come back.",
        source: "10 MiB/s in pages of 4 KiB: what a disk of spinning rust takes at random.",
        ..PLAIN
    },
    Shipped {
        name: "disk_inodes",
        metric: "host.filesystem.inodes_free",
        comparison: Below,
        value: 100.0,
        hysteresis: 100.0,
        reaction: Stop,
        may_be_missing: true,
        reason: "Without inodes nobody can make a file where the run writes, or where the agent keeps its records.",
        source: "A few for each program that still has to log.",
        ..PLAIN
    },
    Shipped {
        name: "io_latency_of_others",
        metric: "block.latency",
        value: 500e6,
        window_ms: Some(10_000),
        for_ms: 5_000,
        hysteresis: 250e6,
        may_be_missing: true,
        others_only: true,
        reason: "A disk that no run loads has become slow: the load reaches further than it should.",
        source: "Half a second is beyond a spinning disk with a full queue of 32 at 80 I/Os a second (0.4 s).",
        ..PLAIN
    },
    Shipped {
        name: "runqueue_latency",
        metric: "runqueue.others.latency",
        value: 100e6,
        window_ms: Some(10_000),
        for_ms: 5_000,
        hysteresis: 50e6,
        may_be_missing: true,
        reason: "Tasks that are no burner's wait for their core: other services are starved.",
        source: "Tens of slices of EEVDF (base_slice_ns, 3 ms): more than a few neighbours explain.",
        ..PLAIN
    },
    Shipped {
        name: "machine_check",
        metric: "host.interrupts_by_kind",
        labels: &[("kind", "MCE")],
        value: 0.0,
        window_ms: Some(2_000),
        reaction: Stop,
        may_be_missing: true,
        reason: "A machine check exception: hardware computed or kept something wrong.",
        source: "Any is one too many.",
        ..PLAIN
    },
    Shipped {
        name: "memory_uncorrected",
        metric: "host.edac.uncorrected",
        value: 0.0,
        window_ms: Some(2_000),
        reaction: Stop,
        may_be_missing: true,
        reason: "Memory returned what was not written.",
        source: "Any is one too many.",
        ..PLAIN
    },
    Shipped {
        name: "pcie_uncorrected",
        metric: "host.pcie.errors",
        labels: &[("severity", "!correctable")],
        value: 0.0,
        window_ms: Some(2_000),
        reaction: Stop,
        may_be_missing: true,
        reason: "A PCIe device lost or garbled something.",
        source: "Any is one too many.",
        ..PLAIN
    },
    Shipped {
        name: "nvme_media_errors",
        metric: "host.nvme.media_errors",
        value: 0.0,
        window_ms: Some(20_000),
        reaction: Stop,
        may_be_missing: true,
        reason: "A drive could not give back what it was given.",
        source: "Any is one too many; drives are asked every 10 s.",
        ..PLAIN
    },
    Shipped {
        name: "oom_kill",
        metric: "host.vm.oom_kills",
        value: 0.0,
        window_ms: Some(2_000),
        for_ms: 500,
        reaction: Stop,
        reason: "The kernel killed a process for want of memory, anywhere, in a cgroup too.",
        source: "Any is one too many; half a second, for a burner that is the victim to be told as that.",
        ..PLAIN
    },
    Shipped {
        name: "kernel_trouble",
        metric: "kernel_log.matches",
        labels: &[("kind", "oops")],
        value: 0.0,
        window_ms: Some(2_000),
        reaction: Stop,
        may_be_missing: true,
        reason: "The kernel itself has failed: what it does from then on is not to be trusted.",
        source: "Any is one too many.",
        ..PLAIN
    },
    Shipped {
        name: "kernel_stalls",
        metric: "kernel_log.matches",
        labels: &[("kind", "lockup")],
        value: 0.0,
        window_ms: Some(2_000),
        reaction: Stop,
        may_be_missing: true,
        reason: "A core was stuck in the kernel for longer than its watchdog bears.",
        source: "The kernel's own watchdogs: 20 s (watchdog_thresh), RCU 21 s.",
        ..PLAIN
    },
    Shipped {
        name: "kernel_warnings",
        metric: "kernel_log.messages",
        value: 0.0,
        window_ms: Some(2_000),
        may_be_missing: true,
        reason: "Somebody should look: what the kernel warns of is also an event of the run.",
        source: "Any warning or worse.",
        ..PLAIN
    },
    Shipped {
        name: "link_down",
        metric: "host.network.link_downs",
        labels: &[("kind", "device")],
        value: 0.0,
        window_ms: Some(2_000),
        may_be_missing: true,
        reason: "A NIC lost its link: a cable, a port, or a driver under load.",
        source: "Any loss; interfaces that the kernel makes up are left out.",
        ..PLAIN
    },
    Shipped {
        name: "clock_jump",
        metric: "host.clock.step",
        value: 0.1,
        may_be_missing: true,
        reason: "The wall clock was set: times of this run can't be compared with those of other hosts.",
        source: "ntpd's step threshold is 0.128 s; slewing at 500 ppm moves 0.05 ms in a tenth of a second.",
        ..PLAIN
    },
];

impl Shipped {
    /// As a message.
    pub fn guard(&self) -> Guard {
        let label =
            |(name, value): &(&str, &str)| LabelMatch { name: (*name).into(), value: (*value).into() };
        let mut guard = Guard {
            name: self.name.into(),
            metric: self.metric.into(),
            labels: self.labels.iter().map(label).collect(),
            value: self.value,
            window_ms: self.window_ms,
            for_ms: self.for_ms,
            hysteresis: self.hysteresis,
            others_only: self.others_only,
            ..Guard::default()
        };
        guard.set_comparison(self.comparison);
        guard.set_reaction(self.reaction);
        if self.may_be_missing {
            guard.set_missing(GuardMissing::Ignore);
        }
        if self.reaction == Throttle {
            let mut derating = Derating { hold_ms: Some(10_000), ..Derating::default() };
            // The next rung ends the run.
            derating.set_then(Warn);
            guard.derating = Some(derating);
        }
        guard
    }
}

/// The guard of the hottest that any sensor may get, in °C.
pub fn max_temperature(celsius: f64) -> Guard {
    let mut guard = stop(MAX_TEMPERATURE, "host.temperature", Above, celsius);
    guard.hysteresis = 5.0;
    guard
}

/// The guard of the least memory that may be available, in bytes.
pub fn min_available_memory(bytes: u64) -> Guard {
    let mut guard = stop(MIN_AVAILABLE_MEMORY, "host.memory.available", Below, bytes as f64);
    // A sixteenth: what was freed is there for others before the next run takes it.
    guard.hysteresis = (bytes / 16) as f64;
    guard
}

/// Half of what disk burners are to leave free: others took the rest.
fn disk_space(reserve_bytes: u64) -> Guard {
    let mut guard = stop(DISK_SPACE, "host.filesystem.available", Below, (reserve_bytes / 2) as f64);
    guard.hysteresis = (reserve_bytes / 8) as f64;
    guard.set_missing(GuardMissing::Ignore);
    guard
}

fn stop(name: &str, metric: &str, comparison: GuardComparison, value: f64) -> Guard {
    let mut guard = Guard { name: name.into(), metric: metric.into(), value, ..Guard::default() };
    guard.set_comparison(comparison);
    guard.set_aggregate(GuardAggregate::Unspecified);
    guard.set_reaction(Stop);
    guard
}

/// The guards of a host: those of its limits, those that are shipped, those of its configuration. One of the configuration takes
/// the place of a shipped one of its name.
pub fn of_host(limits: &LimitsConfig, configured: &[Guard]) -> Vec<GuardSpec> {
    use GuardOrigin::{Configured, Shipped as ByDefault};
    let is_off = |name: &str| limits.guards_off.iter().any(|off| off == name);
    let replaced = |name: &str| configured.iter().any(|guard| guard.name == name);
    let memory = min_available_memory(limits.min_available_memory_bytes);
    let mut all = vec![(max_temperature(limits.max_temperature_celsius), ByDefault), (memory, Configured)];
    let space = (limits.disk_reserve_bytes > 0).then(|| (disk_space(limits.disk_reserve_bytes), ByDefault));
    let shipped = SHIPPED.iter().map(|shipped| (shipped.guard(), ByDefault));
    all.extend(
        space.into_iter().chain(shipped).filter(|(guard, _)| !is_off(&guard.name) && !replaced(&guard.name)),
    );
    all.extend(configured.iter().map(|guard| (guard.clone(), Configured)));
    // What is shipped is tested to be valid, and the configuration was checked when it was read.
    all.iter().filter_map(|(guard, origin)| GuardSpec::new("guards", guard, *origin).ok()).collect()
}

/// Whether a name is one of those that can be switched off.
pub fn is_shipped(name: &str) -> bool {
    name == DISK_SPACE || SHIPPED.iter().any(|shipped| shipped.name == name)
}

/// The table of `docs/guards.md`.
pub fn document() -> String {
    let mut text = "| guard | looks at | trips | reaction | why | the value's source |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for shipped in &SHIPPED {
        let Ok(spec) = GuardSpec::new("", &shipped.guard(), GuardOrigin::Shipped) else { continue };
        let labels: Vec<_> = shipped.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let aggregate = ssts_proto::guards::aggregate_name(spec.message.aggregate());
        let looks =
            [aggregate.map(str::to_owned), Some(format!("`{}`", shipped.metric)), Some(labels.join(", "))];
        let looks: Vec<_> = looks.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let mut trips = vec![ssts_proto::guards::limit(&spec.message, &spec.unit)];
        trips.extend(shipped.window_ms.map(|ms| format!("over {:?}", std::time::Duration::from_millis(ms))));
        if shipped.for_ms > 0 {
            trips.push(format!("for {:?}", std::time::Duration::from_millis(shipped.for_ms)));
        }
        let reaction = ssts_proto::guards::reaction_name(shipped.reaction);
        let Shipped { name, reason, source, .. } = shipped;
        text += &format!(
            "| `{name}` | {} | {} | {reaction} | {reason} | {source} |\n",
            looks.join(" "),
            trips.join(" ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn all_that_is_shipped_is_valid_and_can_be_switched_off() {
        for shipped in &SHIPPED {
            let spec = GuardSpec::new("guards", &shipped.guard(), GuardOrigin::Shipped);
            assert!(spec.is_ok(), "{}: {:?}", shipped.name, spec.err());
            assert!(!shipped.reason.is_empty() && !shipped.source.is_empty(), "{}", shipped.name);
        }
        let count = |limits: &LimitsConfig| of_host(limits, &[]).len();
        let limits = LimitsConfig::default();
        assert_eq!(count(&limits), SHIPPED.len() + 3);
        let off = LimitsConfig { guards_off: vec!["oom_kill".into(), DISK_SPACE.into()], ..limits };
        assert_eq!(count(&off), SHIPPED.len() + 1);
    }

    #[test]
    fn one_of_the_configuration_takes_the_place_of_a_shipped_one() {
        let mut own = max_temperature(70.0);
        own.name = "clock_jump".into();
        let all = of_host(&LimitsConfig::default(), &[own]);
        let found: Vec<_> = all.iter().filter(|spec| spec.name() == "clock_jump").collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].is_asked_for() && found[0].metric.name == "host.temperature");
    }

    #[test]
    fn the_document_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guards.md");
        let text = fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- shipped -->\n", "<!-- /shipped -->");
        let (head, rest) = text.split_once(begin).unwrap();
        let (_, tail) = rest.split_once(end).unwrap();
        let wanted = format!("{head}{begin}{}{end}{tail}", document());
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, &wanted).unwrap();
        }
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            wanted,
            "UPDATE_DOCS=1 cargo test -p ssts-agent shipped"
        );
    }
}
