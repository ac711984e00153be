//! Lanes: each has at most one request under way. Here stands which of them is free, when each request was due, and which
//! has waited too long. A request that finds no free lane waits, and its latency counts meanwhile.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use super::{pacer::Pacer, timer::Timer};
use crate::clock;

/// All lanes of a worker. Times are CLOCK_BOOTTIME.
pub(super) struct Lanes {
    lanes: RefCell<Vec<Lane>>,
    /// Those that wait for a request, the longest first: so every connection has its turn.
    idle: RefCell<VecDeque<usize>>,
    pacer: RefCell<Pacer>,
    /// No further request is begun.
    closed: Cell<bool>,
    /// Nothing is due from here on.
    end: Cell<Duration>,
    pub(super) timer: Timer,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Lane {
    state: State,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Idle,
    /// A request is to be sent.
    Given { due: Duration },
    /// A request is under way.
    Busy { due: Duration, sent: Duration },
    /// It has taken too long.
    Overdue { due: Duration },
    /// Waits before it tries again. The request may be none's.
    Resting { due: Option<Duration>, until: Duration },
}

impl State {
    /// When its request was due.
    fn due(self) -> Option<Duration> {
        match self {
            Self::Idle => None,
            Self::Given { due } | Self::Busy { due, .. } | Self::Overdue { due } => Some(due),
            Self::Resting { due, .. } => due,
        }
    }
}

/// An attempt took longer than it may.
#[derive(Debug)]
pub(super) struct Overdue;

impl Lanes {
    pub(super) fn new(count: usize, pacer: Pacer, timer: Timer, timeout: Duration) -> Self {
        let lanes = (0..count).map(|_| Lane::default()).collect();
        Self {
            lanes: RefCell::new(lanes),
            idle: RefCell::default(),
            pacer: RefCell::new(pacer),
            closed: Cell::new(false),
            end: Cell::new(Duration::MAX),
            timer,
            timeout,
        }
    }

    /// The clock starts.
    pub(super) fn start(&self, origin: Duration) {
        self.pacer.borrow_mut().start(origin);
    }

    /// When the load ends.
    pub(super) fn set_end(&self, end: Duration) {
        self.end.set(end);
    }

    /// Time stood still for so long.
    pub(super) fn resumed(&self, paused: Duration) {
        self.pacer.borrow_mut().resumed(paused);
        for lane in self.lanes.borrow_mut().iter_mut() {
            match &mut lane.state {
                State::Idle => {}
                State::Given { due } | State::Overdue { due } => *due += paused,
                State::Busy { due, sent } => (*due, *sent) = (*due + paused, *sent + paused),
                State::Resting { due, until } => {
                    *until += paused;
                    *due = due.map(|due| due + paused);
                }
            }
        }
    }

    /// No further request is begun.
    pub(super) fn close(&self) {
        self.closed.set(true);
    }

    /// When the next request can be begun, if a lane is free for it.
    pub(super) fn next_at(&self) -> Option<Duration> {
        let has_room = !self.closed.get() && !self.idle.borrow().is_empty();
        has_room.then(|| self.pacer.borrow().next_at())
    }

    /// Gives requests that are due to lanes that are free.
    pub(super) fn dispatch(&self, now: Duration) {
        if self.closed.get() {
            return;
        }
        let now = now.min(self.end.get().saturating_sub(Duration::from_nanos(1)));
        let (mut idle, mut lanes) = (self.idle.borrow_mut(), self.lanes.borrow_mut());
        while let Some(index) = idle.front().copied() {
            let Some(due) = self.pacer.borrow_mut().take(now) else { break };
            idle.pop_front();
            lanes[index].state = State::Given { due };
            wake(&mut lanes[index]);
        }
    }

    /// Wakes lanes whose request has taken too long, or who have rested enough.
    pub(super) fn look(&self, now: Duration) {
        for lane in self.lanes.borrow_mut().iter_mut() {
            match lane.state {
                State::Busy { due, sent } if now.saturating_sub(sent) >= self.timeout => {
                    lane.state = State::Overdue { due };
                    wake(lane);
                }
                State::Resting { until, .. } if now >= until => wake(lane),
                _ => {}
            }
        }
    }

    /// The next request of a lane, by when it was due.
    pub(super) async fn next(&self, index: usize) -> Duration {
        self.lanes.borrow_mut()[index].state = State::Idle;
        self.idle.borrow_mut().push_back(index);
        self.dispatch(clock::boottime());
        poll_fn(|cx| {
            let mut lanes = self.lanes.borrow_mut();
            if let State::Given { due } = lanes[index].state {
                return Poll::Ready(due);
            }
            keep(&mut lanes[index], cx.waker());
            drop(lanes);
            if let Some(instant) = self.next_at() {
                // Where it fails, the worker's own look at the clock comes 2 ms later.
                let _best_effort = self.timer.no_later_than(instant);
            }
            Poll::Pending
        })
        .await
    }

    /// Carries an attempt out, unless it takes too long.
    pub(super) async fn attempt<T>(
        &self,
        index: usize,
        attempt: impl Future<Output = T>,
    ) -> Result<T, Overdue> {
        let mut attempt = pin!(attempt);
        {
            let state = &mut self.lanes.borrow_mut()[index].state;
            let sent = clock::boottime();
            *state = State::Busy { due: state.due().unwrap_or(sent), sent };
        }
        poll_fn(|cx| {
            if let Poll::Ready(done) = attempt.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let lane = &mut self.lanes.borrow_mut()[index];
            if let State::Overdue { .. } = lane.state {
                return Poll::Ready(Err(Overdue));
            }
            keep(lane, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Waits before anything is tried again; with a request, or without.
    pub(super) async fn rest(&self, index: usize, length: Duration, with_request: bool) {
        {
            let state = &mut self.lanes.borrow_mut()[index].state;
            let due = state.due().filter(|_| with_request);
            *state = State::Resting { due, until: clock::boottime() + length };
        }
        poll_fn(|cx| {
            let lane = &mut self.lanes.borrow_mut()[index];
            match lane.state {
                State::Resting { until, .. } if clock::boottime() < until => {
                    keep(lane, cx.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// When the request of a lane was due.
    pub(super) fn due(&self, index: usize) -> Option<Duration> {
        self.lanes.borrow()[index].state.due()
    }

    /// Whether requests are under way.
    pub(super) fn are_busy(&self) -> bool {
        self.lanes.borrow().iter().any(|lane| lane.state.due().is_some())
    }

    /// All requests without an answer that were due before `until`: when, and how many.
    pub(super) fn for_each_unanswered(&self, until: Duration, mut each: impl FnMut(Duration, u64)) {
        self.lanes.borrow().iter().filter_map(|lane| lane.state.due()).for_each(|due| each(due, 1));
        self.pacer.borrow().left(until).for_each(|(due, count)| each(due, count));
    }
}

fn keep(lane: &mut Lane, waker: &Waker) {
    match &mut lane.waker {
        Some(kept) => kept.clone_from(waker),
        none => *none = Some(waker.clone()),
    }
}

fn wake(lane: &mut Lane) {
    if let Some(waker) = &lane.waker {
        waker.wake_by_ref();
    }
}
