//! What the probes cost, by the kernel's own account (kernel.bpf_stats_enabled, Linux 5.8). Keeping it costs as well, for
//! every program of the host: so it is kept in windows, and the tick opens and closes them. After each the budget is judged.

use std::{
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use aya::sys::{Stats, enable_stats};
use ssts_proto::{
    catalogue,
    v1::{AbsenceReason, ProbeCost, ProbeStatus},
};

use super::{
    ProbeSettings, budget::Ledger, burner_watch::BurnerWatch, program::Programs, sched, status::StatusBoard,
};
use crate::observe::{
    frame::{Frame, Reading},
    schema::{Column, Schema},
    source::Source,
};

/// The source of the metrics that begin with `probe.`, which also keeps the costs on the status board.
#[derive(Debug)]
pub(super) struct ProbeCosts {
    probes: Vec<Probe>,
    /// Of all probes: what the board shows, or will with the next tick.
    statuses: Vec<ProbeStatus>,
    unshown: bool,
    /// One was taken out since the schema that says how they are.
    untold: bool,
    /// Whether each of all probes works.
    working: Vec<Column>,
    board: StatusBoard,
    watch: Arc<BurnerWatch>,
    ledger: Ledger,
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
    /// Of the latest window.
    latest: Option<ProbeCost>,
    columns: Option<Columns>,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    events: Column,
    time: Column,
    event_cost: Column,
    event_rate: Column,
    core_share: Column,
    lost: Column,
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
        board: StatusBoard,
        watch: Arc<BurnerWatch>,
        settings: &ProbeSettings,
        cpus: usize,
    ) -> Self {
        let probe = |(name, programs)| Probe {
            name,
            programs,
            before: (0, Duration::ZERO),
            events: 0,
            time: Duration::ZERO,
            measured: Err(AbsenceReason::Pending),
            ns_per_event: 0.0,
            latest: None,
            columns: None,
        };
        Self {
            probes: probes.into_iter().map(probe).collect(),
            statuses: board.snapshot(),
            unshown: false,
            untold: false,
            working: Vec::new(),
            board,
            watch,
            ledger: Ledger::new(settings.budget, cpus),
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
                let attached = self.probes.iter_mut().filter(|probe| probe.programs.are_attached());
                attached.for_each(Probe::begin);
                self.window = Some(OpenWindow { begin: Instant::now(), _account: account });
            }
            Err(error) => {
                let reason = match error.io_error.raw_os_error() {
                    Some(libc::EPERM) => AbsenceReason::Denied,
                    _ => AbsenceReason::Unsupported,
                };
                let attached = self.probes.iter_mut().filter(|probe| probe.programs.are_attached());
                attached.for_each(|probe| probe.measured = Err(reason));
            }
        }
    }

    fn close(&mut self, elapsed: Duration) {
        for probe in self.probes.iter_mut().filter(|probe| probe.programs.are_attached()) {
            let cost = probe.end(elapsed);
            if let Some(status) = self.statuses.iter_mut().find(|status| status.name == probe.name) {
                status.cost = cost.or(status.cost);
                status.lost = probe.programs.lost();
            }
        }
        self.hold_to_budget();
        self.unshown = true;
    }

    fn hold_to_budget(&mut self) {
        let share = |probe: &Probe| {
            probe.latest.filter(|_| probe.programs.are_attached()).map_or(0.0, |cost| cost.core_share)
        };
        let costs = self.probes.iter().map(share).collect();
        // Burners that hold a core's load would go wrong.
        let may_go = |place: usize| self.probes[place].name != sched::NAME || !self.watch.is_relied_on();
        let Some(overrun) = self.ledger.judge(costs, may_go) else { return };
        let probe = &mut self.probes[overrun.probe];
        let percent = |share: f64| share * 100.0;
        let reason = format!(
            "taken out: it cost {:.2} % of a core, and all probes together {:.2} %, where the budget is {:.2} %; \
             raise observe.probe_budget_core_percent and observe.probe_budget_host_percent, and restart the agent",
            percent(overrun.cost),
            percent(overrun.total),
            percent(overrun.limit),
        );
        tracing::warn!(probe = probe.name, reason, "a probe is too dear");
        probe.programs.detach();
        probe.measured = Err(AbsenceReason::Gone);
        if probe.name == sched::NAME {
            self.watch.end_core_busy();
        }
        if let Some(status) = self.statuses.iter_mut().find(|status| status.name == probe.name) {
            (status.attached, status.working, status.reason) = (false, false, reason);
            self.untold = true;
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
        self.latest = (self.events > 0).then(|| ProbeCost {
            ns_per_event: self.ns_per_event,
            events_per_s: events as f64 / elapsed.as_secs_f64(),
            core_share: time.as_secs_f64() / elapsed.as_secs_f64(),
        });
        self.latest
    }

    fn reading(&self, value: f64) -> Reading {
        self.measured.map(|()| value)
    }
}

impl Source for ProbeCosts {
    fn describe(&mut self, schema: &mut Schema) {
        self.untold = false;
        let stand = |status: &ProbeStatus| ProbeStatus {
            name: status.name.clone(),
            attached: status.attached,
            working: status.working,
            reason: status.reason.clone(),
            ..ProbeStatus::default()
        };
        schema.probes = self.statuses.iter().map(stand).collect();
        let working = |status: &ProbeStatus| schema.column(&catalogue::PROBE_WORKING, &[&status.name]);
        self.working = self.statuses.iter().map(working).collect();
        for probe in &mut self.probes {
            let mut column = |metric| schema.column(metric, &[probe.name]);
            probe.columns = Some(Columns {
                events: column(&catalogue::PROBE_EVENTS),
                time: column(&catalogue::PROBE_TIME),
                event_cost: column(&catalogue::PROBE_EVENT_COST),
                event_rate: column(&catalogue::PROBE_EVENT_RATE),
                core_share: column(&catalogue::PROBE_CORE_SHARE),
                lost: column(&catalogue::PROBE_LOST),
            });
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        let now = Instant::now();
        if let Some(window) = self.window.take_if(|window| now.duration_since(window.begin) >= self.length) {
            self.close(window.begin.elapsed());
        }
        // The kernel keeps account of every program of the host: not for nothing.
        if self.window.is_none() && now >= self.next && !self.probes.is_empty() {
            self.open(now);
        }
        if self.unshown {
            self.unshown = !self.board.show(&self.statuses);
        }
        for (column, status) in self.working.iter().zip(&self.statuses) {
            frame.set(*column, Ok(f64::from(u8::from(status.working))));
        }
        for probe in &self.probes {
            let Some(columns) = probe.columns else { continue };
            frame.set(columns.events, probe.reading(probe.events as f64));
            frame.set(columns.time, probe.reading(probe.time.as_secs_f64()));
            let lost = match probe.measured {
                Err(AbsenceReason::Gone) => Err(AbsenceReason::Gone),
                _ => Ok(probe.programs.lost() as f64),
            };
            frame.set(columns.lost, lost);
            let Some(cost) = probe.latest else { continue };
            frame.set(columns.event_cost, probe.reading(cost.ns_per_event));
            frame.set(columns.event_rate, probe.reading(cost.events_per_s));
            frame.set(columns.core_share, probe.reading(cost.core_share));
        }
    }

    fn changed(&self) -> bool {
        self.untold
    }
}
