//! What is known of one host of a fleet at this instant.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ssts_proto::v1::{Frame, GuardState, GuardStatus, RunState, RunSummary, Schema};

use super::gauge::{Gauges, Reader};
use crate::json;

/// Without a frame for so long what is shown is no longer what is.
const SILENCE: Duration = Duration::from_secs(3);

/// How a host stands, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Standing {
    /// Its agent can't be reached.
    Unreachable,
    /// It is connected and nothing comes.
    Silent,
    Halted,
    /// A guard has tripped.
    Tripped,
    Stopping,
    Paused,
    Running,
    Pending,
    /// It was not reached yet.
    #[default]
    Connecting,
    Idle,
}

impl Standing {
    pub(crate) const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Silent,
        Self::Halted,
        Self::Tripped,
        Self::Stopping,
        Self::Paused,
        Self::Running,
        Self::Pending,
        Self::Connecting,
        Self::Idle,
    ];

    /// One word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Halted => "halted",
            Self::Tripped => "tripped",
            Self::Stopping => "stopping",
            Self::Paused => "paused",
            Self::Running => "running",
            Self::Pending => "pending",
            Self::Connecting => "connecting",
            Self::Idle => "idle",
        }
    }

    /// Somebody should look.
    pub(crate) fn is_trouble(self) -> bool {
        self <= Self::Tripped
    }
}

/// The run that goes on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunNow {
    pub(crate) id: Arc<str>,
    pub(crate) scenario: Arc<str>,
    pub(crate) state: RunState,
    pub(crate) phase: Option<u32>,
}

/// How its guards stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Guards {
    pub(crate) tripped: u32,
    /// Beyond their value, for less time than they take.
    pub(crate) pending: u32,
    pub(crate) all: u32,
}

impl Guards {
    pub(crate) fn of(statuses: &[GuardStatus]) -> Self {
        let count = |state: GuardState| statuses.iter().filter(|guard| guard.state() == state).count() as u32;
        Self {
            tripped: count(GuardState::Tripped),
            pending: count(GuardState::Pending),
            all: statuses.len() as u32 - count(GuardState::Unguarded),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    New,
    Up,
    Lost,
}

/// One host.
#[derive(Debug)]
pub(crate) struct HostNow {
    reader: Reader,
    gauges: Gauges,
    link: Link,
    why: Option<Arc<str>>,
    guards: Option<Guards>,
    is_halted: bool,
    run: Option<RunNow>,
    /// Frames that were left out.
    dropped: u64,
    latest: Option<Instant>,
    connected: Option<Instant>,
    /// Its clock against ours when a frame came, and the least of all: what is more came later.
    least_offset_ns: Option<i64>,
    lag: Duration,
}

impl Default for HostNow {
    fn default() -> Self {
        Self {
            reader: Reader::default(),
            gauges: Gauges::default(),
            link: Link::New,
            why: None,
            guards: None,
            is_halted: false,
            run: None,
            dropped: 0,
            latest: None,
            connected: None,
            least_offset_ns: None,
            lag: Duration::ZERO,
        }
    }
}

/// What is shown of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) standing: Standing,
    pub(crate) why: Option<Arc<str>>,
    pub(crate) run: Option<RunNow>,
    pub(crate) guards: Option<Guards>,
    pub(crate) gauges: Gauges,
    /// How late the latest frame is, or was: none before the first.
    pub(crate) lag: Option<Duration>,
    pub(crate) dropped: u64,
}

impl HostNow {
    /// It answers.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.link = Link::Up;
        self.why = None;
        self.connected = Some(now);
        // It may have booted meanwhile.
        self.least_offset_ns = None;
    }

    /// It does not, and why.
    pub(crate) fn lost(&mut self, why: &str) {
        self.link = Link::Lost;
        self.why = Some(why.into());
        // What it showed last is not what is.
        self.gauges = Gauges::default();
        self.guards = None;
        self.run = None;
    }

    pub(crate) fn schema(&mut self, schema: Schema) {
        self.reader.schema(schema);
    }

    /// Readings that came at `now`; `epoch` is any instant before, always the same.
    pub(crate) fn frame(&mut self, frame: &Frame, now: Instant, epoch: Instant) {
        match self.reader.frame(frame) {
            Ok(gauges) => {
                self.gauges = gauges;
                if self.link == Link::Up {
                    self.why = None;
                }
            }
            Err(malformed) => self.why = Some(format!("a frame was left out: {malformed}").into()),
        }
        let ours_ns = i64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(i64::MAX);
        let offset_ns = ours_ns.saturating_sub(frame.end_ns.cast_signed());
        let least = self.least_offset_ns.map_or(offset_ns, |least| least.min(offset_ns));
        self.least_offset_ns = Some(least);
        self.lag = Duration::from_nanos(u64::try_from(offset_ns.saturating_sub(least)).unwrap_or(0));
        self.latest = Some(now);
    }

    pub(crate) fn dropped(&mut self, frames: u64) {
        self.dropped = self.dropped.saturating_add(frames);
    }

    pub(crate) fn guards(&mut self, statuses: &[GuardStatus]) {
        self.guards = Some(Guards::of(statuses));
    }

    pub(crate) fn halted(&mut self, is_halted: bool) {
        self.is_halted = is_halted;
    }

    /// Its runs, the newest first: the one that goes on is shown.
    pub(crate) fn runs<'a>(&mut self, runs: impl IntoIterator<Item = &'a RunSummary>) {
        let current = runs.into_iter().find(|run| run.state() != RunState::Finished);
        self.run = current.map(|run| {
            // A thousand hosts, and one id.
            let kept = self.run.take().filter(|known| *known.id == *run.run_id);
            let (id, scenario) = match kept {
                Some(known) => (known.id, known.scenario),
                None => (Arc::from(run.run_id.as_str()), Arc::from(run.scenario.as_str())),
            };
            RunNow { id, scenario, state: run.state(), phase: run.phase_index }
        });
    }

    /// What is shown at an instant, with frames that come every `interval`.
    pub(crate) fn row(&self, now: Instant, interval: Duration) -> Row {
        let age = self.latest.or(self.connected).map(|since| now.saturating_duration_since(since));
        let is_silent = age.is_some_and(|age| age > SILENCE.max(interval * 3));
        let late = age.filter(|_| self.latest.is_some()).map(|age| self.lag + age.saturating_sub(interval));
        let gauges = if is_silent { Gauges::default() } else { self.gauges };
        Row {
            standing: self.standing(is_silent),
            why: self.why.clone(),
            run: self.run.clone(),
            guards: self.guards.filter(|_| !is_silent),
            gauges,
            lag: late,
            dropped: self.dropped,
        }
    }

    fn standing(&self, is_silent: bool) -> Standing {
        match self.link {
            Link::New => return Standing::Connecting,
            Link::Lost => return Standing::Unreachable,
            Link::Up if is_silent => return Standing::Silent,
            Link::Up => {}
        }
        if self.is_halted {
            return Standing::Halted;
        }
        if self.guards.is_some_and(|guards| guards.tripped > 0) {
            return Standing::Tripped;
        }
        match self.run.as_ref().map(|run| run.state) {
            None | Some(RunState::Finished) => Standing::Idle,
            Some(RunState::Running) => Standing::Running,
            Some(RunState::Paused) => Standing::Paused,
            Some(RunState::Stopping) => Standing::Stopping,
            Some(RunState::Pending | RunState::Unspecified) => Standing::Pending,
        }
    }
}

impl Row {
    /// By how much its load is short of what is asked: what stands first where loads are sorted.
    pub(crate) fn shortfall(&self) -> Option<f64> {
        let achieved = self.gauges.achieved?;
        Some(self.gauges.target.unwrap_or(0.0) - achieved)
    }

    /// `2 soak`, by the phases' names where they are known.
    pub(crate) fn phase_words(&self, names: &[String]) -> String {
        let Some(run) = &self.run else { return String::new() };
        match run.phase {
            None => json::state_name(run.state),
            Some(index) => match names.get(index as usize) {
                Some(name) => format!("{}/{} {name}", index + 1, names.len()),
                None => format!("phase {}", index + 1),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn at(host: &HostNow, epoch: Instant, seconds: u32) -> Row {
        host.row(epoch + S * seconds, S)
    }

    #[test]
    fn a_host_is_connecting_then_idle_then_silent_then_unreachable() {
        let epoch = Instant::now();
        let mut host = HostNow::default();
        assert_eq!(at(&host, epoch, 9).standing, Standing::Connecting);
        host.connected(epoch);
        assert_eq!(at(&host, epoch, 1).standing, Standing::Idle);
        assert_eq!(at(&host, epoch, 9).standing, Standing::Silent);
        host.lost("connection refused");
        let row = at(&host, epoch, 9);
        assert_eq!((row.standing, row.why.as_deref()), (Standing::Unreachable, Some("connection refused")));
    }

    #[test]
    fn a_halt_and_a_guard_outweigh_a_run() {
        let epoch = Instant::now();
        let mut host = HostNow::default();
        host.connected(epoch);
        let over = RunSummary { state: RunState::Finished.into(), ..RunSummary::default() };
        let on = RunSummary {
            run_id: "r".into(),
            state: RunState::Running.into(),
            phase_index: Some(1),
            ..RunSummary::default()
        };
        host.runs([&over, &on]);
        let row = at(&host, epoch, 1);
        assert_eq!(row.standing, Standing::Running);
        assert_eq!(row.phase_words(&["one".into(), "two".into()]), "2/2 two");
        assert_eq!(row.phase_words(&[]), "phase 2");
        let tripped = GuardStatus { state: GuardState::Tripped.into(), ..GuardStatus::default() };
        host.guards(&[tripped]);
        assert_eq!(at(&host, epoch, 1).standing, Standing::Tripped);
        host.halted(true);
        assert_eq!(at(&host, epoch, 1).standing, Standing::Halted);
        host.runs([&over]);
        assert_eq!(at(&host, epoch, 1).run, None);
    }

    /// The clocks need not agree: what counts is how much later than the soonest a frame comes.
    #[test]
    fn frames_that_come_late_show_their_lag() {
        let epoch = Instant::now();
        let mut host = HostNow::default();
        host.connected(epoch);
        host.schema(Schema { id: 1, ..Schema::default() });
        let frame = |second: u64| Frame { schema_id: 1, end_ns: second * 1_000_000_000, ..Frame::default() };
        host.frame(&frame(1_000), epoch + S, epoch);
        assert_eq!(at(&host, epoch, 1).lag, Some(Duration::ZERO));
        host.frame(&frame(1_001), epoch + S * 4, epoch);
        assert_eq!(at(&host, epoch, 4).lag, Some(S * 2));
        // One more second without another.
        assert_eq!(at(&host, epoch, 6).lag, Some(S * 3));
        assert_eq!(at(&host, epoch, 6).standing, Standing::Idle);
    }
}
