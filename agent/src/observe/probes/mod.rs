//! eBPF probes: small programs in the kernel that count what procfs doesn't show. Each is tested at the start with a known
//! event, and one that doesn't tell the truth of it is taken out; where one is missing, its status says why.

mod block;
mod cost;
mod cpus;
mod disks;
mod error;
mod format;
mod gains;
mod perf_event;
mod program;
mod sched;
mod status;
#[cfg(test)]
mod tests;
mod tracefs;
mod types;
mod window;

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use ssts_proto::v1;

pub use self::status::StatusBoard;
use self::{
    block::BlockLatency, cost::ProbeCosts, error::ProbeError, program::Programs, sched::RunqueueLatency,
};
use super::source::Source;
use crate::host::HostRoots;

/// Which probes to load, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Off: nothing is loaded.
    pub enabled: bool,
    /// How programs are attached.
    pub hooks: HookChoice,
    /// For how long the kernel accounts for the programs' run time at a stretch.
    pub cost_window: Duration,
    /// How often it does.
    pub cost_interval: Duration,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            hooks: HookChoice::Auto,
            cost_window: Duration::from_secs(1),
            cost_interval: Duration::from_secs(30),
        }
    }
}

/// How programs are attached to the kernel's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookChoice {
    /// The cheaper kind where it works, else the other.
    #[default]
    Auto,
    /// Raw tracepoints, which need the kernel's types (CONFIG_DEBUG_INFO_BTF).
    Raw,
    /// Tracepoints, which need tracefs.
    Tracepoint,
}

/// The probes that could be loaded, and the statuses of all.
#[derive(Debug)]
pub struct Probes {
    /// One for each probe that is attached, and one for what they cost. A probe stays attached until its source and that
    /// of the costs are dropped.
    pub sources: Vec<Box<dyn Source>>,
    /// Of all probes, attached or not.
    pub statuses: StatusBoard,
}

/// What came of causing a known event.
#[derive(Debug)]
enum Canary {
    /// The probe told the truth.
    Working,
    /// There was no way to cause one.
    Untestable(String),
}

/// Loads, attaches and tests the probes: about 50 ms. It doesn't fail; a probe may, and its status says why.
pub fn load(roots: &HostRoots, settings: &ProbeSettings) -> Probes {
    let mut probes = Probes { sources: Vec::new(), statuses: StatusBoard::default() };
    if !settings.enabled {
        for name in [block::NAME, sched::NAME] {
            probes.statuses.add(absent(name, "turned off in the configuration"));
        }
        return probes;
    }
    let Some(cpus) = cpus::possible(roots) else {
        let reason = format!("{} can't be read", roots.sys("devices/system/cpu/possible").display());
        for name in [block::NAME, sched::NAME] {
            probes.statuses.add(absent(name, &reason));
        }
        return probes;
    };
    let mut attached = Vec::new();
    let block = BlockLatency::load(roots, settings.hooks, cpus).and_then(|mut source| {
        let canary = source.canary()?;
        Ok((source, canary))
    });
    let block =
        block.map(|(source, canary)| (source.programs.clone(), Box::new(source) as Box<dyn Source>, canary));
    probes.add(block::NAME, block, &mut attached);
    let sched = RunqueueLatency::load(roots, settings.hooks, cpus);
    let sched =
        sched.map(|(source, canary)| (source.programs.clone(), Box::new(source) as Box<dyn Source>, canary));
    probes.add(sched::NAME, sched, &mut attached);
    if !attached.is_empty() {
        probes.sources.push(Box::new(ProbeCosts::new(attached, probes.statuses.clone(), settings)));
    }
    probes
}

impl Probes {
    fn add(
        &mut self,
        name: &'static str,
        loaded: Result<(Arc<Programs>, Box<dyn Source>, Canary), ProbeError>,
        attached: &mut Vec<(&'static str, Arc<Programs>)>,
    ) {
        let (programs, source, canary) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(probe = name, %error, "probe is off");
                self.statuses.add(absent(name, &error.to_string()));
                return;
            }
        };
        let (working, reason) = match canary {
            Canary::Working => (true, String::new()),
            Canary::Untestable(reason) => (false, reason),
        };
        let hooks = programs.hooks.clone();
        self.statuses.add(v1::ProbeStatus {
            name: name.into(),
            attached: true,
            working,
            reason,
            hooks,
            cost: None,
        });
        self.sources.push(source);
        attached.push((name, programs));
    }
}

fn absent(name: &str, reason: &str) -> v1::ProbeStatus {
    v1::ProbeStatus { name: name.into(), reason: reason.into(), ..v1::ProbeStatus::default() }
}
