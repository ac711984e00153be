//! What the probes cost, by the kernel's own account (kernel.bpf_stats_enabled, Linux 5.8). Keeping it costs as well, for
//! every program of the host: so it is kept in windows, and the tick opens and closes them.

use std::{
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use aya::sys::{Stats, enable_stats};
use ssts_proto::{
    catalogue,
    v1::{AbsenceReason, ProbeCost},
};

use super::{ProbeSettings, program::Programs, status::StatusBoard};
use crate::observe::{
    frame::{Frame, Reading},
    schema::{Column, Schema},
    source::Source,
};

/// The source of `probe.events` and `probe.time`, which also keeps the costs on the status board.
#[derive(Debug)]
pub(super) struct ProbeCosts {
    probes: Vec<Probe>,
    statuses: StatusBoard,
    length: Duration,
    interval: Duration,
    window: Option<OpenWindow>,
    next: Instant,
}

#[derive(Debug)]
struct Probe {
    name: &'static str,
    programs: Arc<Programs>,
    /// At the window's opening.
    before: (u64, Duration),
    events: u64,
    time: Duration,
    /// Whether events and time can be told, and why not.
    measured: Result<(), AbsenceReason>,
    ns_per_event: f64,
    columns: Option<(Column, Column)>,
}

#[derive(Debug)]
struct OpenWindow {
    begin: Instant,
    /// The kernel keeps account for as long as this is open.
    _account: OwnedFd,
}

impl ProbeCosts {
    pub(super) fn new(
        probes: Vec<(&'static str, Arc<Programs>)>,
        statuses: StatusBoard,
        settings: &ProbeSettings,
    ) -> Self {
        let probe = |(name, programs)| Probe {
            name,
            programs,
            before: (0, Duration::ZERO),
            events: 0,
            time: Duration::ZERO,
            measured: Err(AbsenceReason::Pending),
            ns_per_event: 0.0,
            columns: None,
        };
        Self {
            probes: probes.into_iter().map(probe).collect(),
            statuses,
            length: settings.cost_window,
            interval: settings.cost_interval,
            window: None,
            next: Instant::now(),
        }
    }

    fn open(&mut self, now: Instant) {
        self.next = now + self.interval.max(self.length);
        match enable_stats(Stats::RunTime) {
            Ok(account) => {
                self.probes.iter_mut().for_each(Probe::begin);
                self.window = Some(OpenWindow { begin: Instant::now(), _account: account });
            }
            Err(error) => {
                let reason = match error.io_error.raw_os_error() {
                    Some(libc::EPERM) => AbsenceReason::Denied,
                    _ => AbsenceReason::Unsupported,
                };
                self.probes.iter_mut().for_each(|probe| probe.measured = Err(reason));
            }
        }
    }

    fn close(&mut self, elapsed: Duration) {
        for probe in &mut self.probes {
            if let Some(cost) = probe.end(elapsed) {
                self.statuses.set_cost(probe.name, cost);
            }
        }
    }
}

impl Probe {
    fn begin(&mut self) {
        match self.programs.usage() {
            Ok(usage) => self.before = usage,
            Err(_) => self.measured = Err(AbsenceReason::ReadFailed),
        }
    }

    /// The cost over the window; nothing until there was an event to measure.
    fn end(&mut self, elapsed: Duration) -> Option<ProbeCost> {
        let Ok((events, time)) = self.programs.usage() else {
            self.measured = Err(AbsenceReason::ReadFailed);
            return None;
        };
        let (events, time) = (events.saturating_sub(self.before.0), time.saturating_sub(self.before.1));
        self.events += events;
        self.time += time;
        self.measured = Ok(());
        if events > 0 {
            self.ns_per_event = time.as_nanos() as f64 / events as f64;
        }
        (self.events > 0).then(|| ProbeCost {
            ns_per_event: self.ns_per_event,
            events_per_s: events as f64 / elapsed.as_secs_f64(),
            core_share: time.as_secs_f64() / elapsed.as_secs_f64(),
        })
    }

    fn reading(&self, value: f64) -> Reading {
        self.measured.map(|()| value)
    }
}

impl Source for ProbeCosts {
    fn describe(&mut self, schema: &mut Schema) {
        for probe in &mut self.probes {
            let events = schema.column(&catalogue::PROBE_EVENTS, &[probe.name]);
            probe.columns = Some((events, schema.column(&catalogue::PROBE_TIME, &[probe.name])));
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        let now = Instant::now();
        if let Some(window) = self.window.take_if(|window| now.duration_since(window.begin) >= self.length) {
            self.close(window.begin.elapsed());
        }
        if self.window.is_none() && now >= self.next {
            self.open(now);
        }
        for probe in &self.probes {
            let Some((events, time)) = probe.columns else { continue };
            frame.set(events, probe.reading(probe.events as f64));
            frame.set(time, probe.reading(probe.time.as_secs_f64()));
        }
    }
}
