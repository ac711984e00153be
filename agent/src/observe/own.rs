//! What the agent itself costs. Burners are processes of their own and not counted here.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use nix::{
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};
use ssts_proto::{catalogue as metrics, v1::AbsenceReason};

use super::{
    frame::Frame,
    kernel_file::{KernelFile, numbers},
    schema::{Column, Schema},
    source::Source,
};
use crate::clock;

/// What the tick says of itself.
#[derive(Debug, Default)]
pub struct TickCost {
    /// How long the previous tick took, ns.
    pub last_ns: AtomicU64,
    /// Ticks that began a whole period late or more.
    pub missed: AtomicU64,
}

/// Reads the agent's own CPU time and memory.
#[derive(Debug)]
pub struct Own {
    /// The agent's own procfs, wherever that of the host is.
    statm: KernelFile,
    page_bytes: u64,
    tick: Arc<TickCost>,
    columns: Option<[Column; 4]>,
}

impl Own {
    /// Of this process.
    pub fn new(tick: Arc<TickCost>) -> Self {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok());
        Self {
            statm: KernelFile::open("/proc/self/statm"),
            page_bytes: page.unwrap_or(4_096),
            tick,
            columns: None,
        }
    }
}

impl Source for Own {
    fn describe(&mut self, schema: &mut Schema) {
        let own = [
            &metrics::AGENT_CPU_TIME,
            &metrics::AGENT_RESIDENT,
            &metrics::AGENT_TICK_TIME,
            &metrics::AGENT_TICKS_MISSED,
        ];
        self.columns = Some(own.map(|metric| schema.column(metric, &[])));
    }

    fn sample(&mut self, frame: &mut Frame) {
        let Some([cpu, resident, tick, missed]) = self.columns else { return };
        let cpu_time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(std::time::Duration::from);
        frame.set(cpu, cpu_time.map(|time| time.as_secs_f64()).map_err(|_| AbsenceReason::ReadFailed));
        // The second number is the resident pages: proc_pid_statm(5).
        let pages = self.statm.read().map(|text| numbers(text).nth(1));
        let bytes = pages.and_then(|pages| pages.ok_or(AbsenceReason::Malformed));
        frame.set(resident, bytes.map(|pages| (pages * self.page_bytes) as f64));
        frame.set(tick, Ok(self.tick.last_ns.load(Ordering::Relaxed) as f64 / 1e9));
        frame.set(missed, Ok(self.tick.missed.load(Ordering::Relaxed) as f64));
    }
}

impl TickCost {
    /// Notes what a tick took.
    pub fn note(&self, took: std::time::Duration) {
        self.last_ns.store(clock::ns(took), Ordering::Relaxed);
    }
}
