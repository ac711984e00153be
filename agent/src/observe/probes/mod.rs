//! eBPF probes: small programs in the kernel that count what procfs doesn't show. Each is tested at the start with a known
//! event, and one that doesn't tell the truth of it is taken out; where one is missing, its status says why.

mod block;
mod budget;
mod burner_watch;
pub(crate) mod core_busy;
mod cost;
mod cpus;
mod disk_counts;
mod disks;
mod drop_counts;
mod drops;
mod error;
mod format;
mod gains;
mod hardware;
mod in_flight;
mod irq;
mod memory;
mod oom;
mod own_task;
mod perf_event;
mod preemptions;
mod program;
mod sched;
mod slowest;
mod status;
mod tcp;
#[cfg(test)]
mod tests;
mod tracefs;
mod types;
mod watched;
mod window;

use std::{cell::OnceCell, sync::Arc, thread, time::Duration};

use aya::{Btf, Endianness};
use serde::Deserialize;
use ssts_proto::v1;

pub use self::{budget::Budget, burner_watch::BurnerWatch, disks::loaded_with, status::StatusBoard};
use self::{
    budget::Held,
    burner_watch::Shared,
    cost::ProbeCosts,
    error::ProbeError,
    program::{Kind, Programs},
};
pub(crate) use self::{burner_watch::BurnerMark, preemptions::Preempted};
use super::source::Source;
use crate::host::HostRoots;

/// Which probes to load, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeSettings {
    /// Off: nothing is loaded.
    pub enabled: bool,
    /// How programs are attached.
    pub hooks: HookChoice,
    /// For how long the kernel accounts for the programs' run time at a stretch.
    pub cost_window: Duration,
    /// How often it does.
    pub cost_interval: Duration,
    /// What all probes together may cost.
    pub budget: Budget,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            hooks: HookChoice::Auto,
            cost_window: Duration::from_millis(500),
            // Often enough that a short run has its own figures; a tenth of the time the accounting's own cost is there.
            cost_interval: Duration::from_secs(5),
            budget: Budget::default(),
        }
    }
}

/// How programs are attached to the kernel's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookChoice {
    /// The cheapest kind that works.
    #[default]
    Auto,
    /// BTF tracepoints, which need the kernel's types too, and a verifier that takes what the programs do.
    Btf,
    /// Raw tracepoints, which need the kernel's types (CONFIG_DEBUG_INFO_BTF).
    Raw,
    /// Tracepoints, which need tracefs.
    Tracepoint,
}

impl HookChoice {
    /// The cheaper before the dearer.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Auto => &[Kind::Btf, Kind::Raw, Kind::Recorded],
            Self::Btf => &[Kind::Btf],
            Self::Raw => &[Kind::Raw],
            Self::Tracepoint => &[Kind::Recorded],
        }
    }
}

/// The kernel that probes are loaded into, and how.
struct Target {
    roots: HostRoots,
    hooks: HookChoice,
    /// One more than the highest number that a CPU can have.
    cpus: usize,
    /// Units whose tasks' waits are counted apart.
    watched: Vec<String>,
    /// The kernel's types as the loader wants them: once for all probes, for they take a while.
    btf: OnceCell<Btf>,
}

impl Target {
    fn new(roots: &HostRoots, hooks: HookChoice, cpus: usize, watched: &[String]) -> Self {
        Self { roots: roots.clone(), hooks, cpus, watched: watched.to_vec(), btf: OnceCell::new() }
    }

    fn btf(&self) -> Result<&Btf, ProbeError> {
        if let Some(btf) = self.btf.get() {
            return Ok(btf);
        }
        let path = self.roots.sys("kernel/btf/vmlinux");
        let btf = Btf::parse_file(&path, Endianness::default())
            .map_err(|error| ProbeError::NoTypes { path, reason: error.to_string() })?;
        Ok(self.btf.get_or_init(|| btf))
    }
}

/// The probes that could be loaded, and the statuses of all.
#[derive(Debug)]
pub struct Probes {
    /// One for each probe that is attached, and one for how all of them are and what they cost. A probe stays attached until its source and that
    /// of the costs are dropped.
    pub sources: Vec<Box<dyn Source>>,
    /// Of all probes, attached or not.
    pub statuses: StatusBoard,
    /// What probes and burners know of each other.
    pub watch: Arc<BurnerWatch>,
}

/// A probe that is attached.
struct Attached {
    name: &'static str,
    programs: Arc<Programs>,
    source: Box<dyn Source>,
    canary: Canary,
    shared: Shared,
}

/// What came of causing a known event.
enum Canary {
    /// The probe told the truth.
    Working,
    /// There was no way to cause one.
    Untestable(String),
}

type Load = fn(&Target) -> Result<Attached, ProbeError>;

/// How often a probe is loaded whose test fails, and how long a failure is left to pass.
///
/// Once is not enough: a kernel can leave out a core's programs for some 10 ms (seen with 6.18 on a virtual machine, where
/// ftrace saw the events). A probe that is wrong stays so.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

fn load_one(load: Load, target: &Target) -> Result<Attached, ProbeError> {
    for _ in 1..TRIES {
        match load(target) {
            Err(ProbeError::Canary(failure)) => tracing::debug!(failure, "a probe is tested again"),
            outcome => return outcome,
        }
        thread::sleep(PAUSE);
    }
    load(target)
}

/// Loads, attaches and tests the probes: about 0.1 s. It doesn't fail; a probe may, and its status says why.
pub fn load(roots: &HostRoots, settings: &ProbeSettings) -> Probes {
    load_watching(roots, settings, &[])
}

/// As [`load`], and the waits of some units' tasks for a core are counted apart: at most
/// [`MOST_WATCHED`](ssts_agent_ebpf::shared::MOST_WATCHED) of them.
pub fn load_watching(roots: &HostRoots, settings: &ProbeSettings, watched: &[String]) -> Probes {
    let known: [(&str, Load); 7] = [
        (block::NAME, block::load),
        (sched::NAME, sched::load),
        (irq::NAME, irq::load),
        (memory::NAME, memory::load),
        (tcp::NAME, tcp::load),
        (drops::NAME, drops::load),
        (hardware::NAME, hardware::load),
    ];
    let target = cpus::possible(roots).map(|cpus| Target::new(roots, settings.hooks, cpus, watched));
    let mut watch = BurnerWatch::default();
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let statuses = StatusBoard::default();
    let mut measured = Vec::new();
    for (name, load) in known {
        let attached = match &target {
            _ if !settings.enabled => Err(ProbeError::TurnedOff),
            None => Err(ProbeError::NoCpus { path: roots.sys("devices/system/cpu/possible") }),
            Some(target) => load_one(load, target),
        };
        statuses.add(status(name, &attached));
        if let Ok(Attached { name, programs, source, shared, .. }) = attached {
            watch.add(shared);
            sources.push(Box::new(Held::new(source, programs.clone())));
            measured.push((name, programs));
        }
    }
    let watch = Arc::new(watch);
    // Also where none is attached: that is to be told.
    let cpus = cpus::online(roots).count();
    sources.push(Box::new(ProbeCosts::new(measured, statuses.clone(), watch.clone(), settings, cpus)));
    Probes { sources, statuses, watch }
}

fn status(name: &str, attached: &Result<Attached, ProbeError>) -> v1::ProbeStatus {
    let status = v1::ProbeStatus { name: name.into(), ..v1::ProbeStatus::default() };
    match attached {
        Err(error) => v1::ProbeStatus { reason: error.to_string(), ..status },
        Ok(attached) => {
            let (working, reason) = match &attached.canary {
                Canary::Working => (true, String::new()),
                Canary::Untestable(reason) => (false, reason.clone()),
            };
            v1::ProbeStatus {
                attached: true,
                working,
                reason,
                hooks: attached.programs.hooks.clone(),
                ..status
            }
        }
    }
}
