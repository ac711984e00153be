//! One watch a host, all into one board. Nobody is woken by a frame: whoever draws looks at the board when it is time to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ssts_proto::v1::{
    DescribeRequest, GetRunRequest, ListRunsRequest, RunState, WatchRequest, watch_response::Item,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};
use tonic::Status;

use super::{
    gauge::PREFIXES,
    host::{HostNow, Row},
};
use crate::{
    connect::{Client, cannot_reach},
    fleet::Member,
    status, text,
};

/// Frames a second of each host.
pub(crate) const RATE_HZ: f64 = 1.0;
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Handshakes that go on at once: each takes a millisecond of a core, and more of the other side.
const CONNECTING: usize = 64;
/// Between two attempts to reach a host that is gone: the first, and the longest. Each takes twice the one before.
const TRY_AGAIN: Duration = Duration::from_millis(500);
const TRY_AGAIN_AT_MOST: Duration = Duration::from_secs(15);
/// Between two looks for runs.
const RUNS_EVERY: Duration = Duration::from_secs(3);
/// Of these looks, every so many-th asks for a halt: the agent tries out what works for it then.
const HALT_EVERY: u64 = 20;
/// The newest, among which those are that go on.
const RUNS: u32 = 4;
/// For a question whose answer may be left out this time.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// All hosts.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) members: Vec<Member>,
    cells: Vec<Cell>,
    /// Of the runs that were seen.
    phases: Mutex<HashMap<Arc<str>, Arc<[String]>>>,
    pki: Option<std::path::PathBuf>,
    connecting: Semaphore,
    epoch: Instant,
}

#[derive(Debug, Default)]
struct Cell {
    now: Mutex<HostNow>,
    client: Mutex<Option<Client>>,
    /// Something is other than before about its runs.
    changed: Notify,
}

impl Board {
    /// With nothing known yet.
    pub(crate) fn new(members: Vec<Member>, pki: Option<std::path::PathBuf>) -> Arc<Self> {
        let cells = members.iter().map(|_| Cell::default()).collect();
        Arc::new(Self {
            members,
            cells,
            phases: Mutex::default(),
            pki,
            connecting: Semaphore::new(CONNECTING),
            epoch: Instant::now(),
        })
    }

    /// Begins to follow all hosts.
    pub(crate) fn follow_all(self: &Arc<Self>) {
        for place in 0..self.members.len() {
            tokio::spawn(follow(place, Arc::clone(self)));
        }
    }

    /// What each host shows now.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let now = Instant::now();
        self.cells.iter().map(|cell| locked(&cell.now).row(now, INTERVAL)).collect()
    }

    /// The connection to a host, where there is one.
    pub(crate) fn client(&self, place: usize) -> Option<Client> {
        self.cells.get(place).and_then(|cell| locked(&cell.client).clone())
    }

    /// The same, made where there is none.
    ///
    /// # Errors
    /// It can't be reached; why, in words.
    pub(crate) async fn reached(&self, place: usize) -> Result<Client, String> {
        match self.client(place) {
            Some(client) => Ok(client),
            None => self.dial(place).await,
        }
    }

    /// The names of a run's phases, once they are known.
    pub(crate) fn phases(&self, run_id: &str) -> Arc<[String]> {
        locked(&self.phases).get(run_id).cloned().unwrap_or_default()
    }

    /// Looks for its runs and halts at once.
    pub(crate) fn look_anew(&self, place: usize) {
        if let Some(cell) = self.cells.get(place) {
            cell.changed.notify_one();
        }
    }

    /// Notes a halt that this side has commanded.
    pub(crate) fn halted(&self, place: usize) {
        self.with(place, |host| host.halted(true));
    }

    fn with(&self, place: usize, change: impl FnOnce(&mut HostNow)) {
        if let Some(cell) = self.cells.get(place) {
            change(&mut locked(&cell.now));
        }
    }

    async fn dial(&self, place: usize) -> Result<Client, String> {
        let member = self.members.get(place).ok_or("there is no such host")?;
        let line = member.line(self.pki.as_ref()).map_err(|failure| words(&failure))?;
        let _turn = self.connecting.acquire().await;
        line.dial().await.map_err(|error| words(&cannot_reach(&member.host, &error)))
    }
}

/// Nothing is left half-changed: what is locked is changed by one call.
fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows a host until nobody looks at the board.
async fn follow(place: usize, board: Arc<Board>) {
    let mut wait = TRY_AGAIN;
    loop {
        let begin = Instant::now();
        let why = session(place, &board).await;
        if let Some(cell) = board.cells.get(place) {
            *locked(&cell.client) = None;
            locked(&cell.now).lost(&why);
        }
        if begin.elapsed() > TRY_AGAIN_AT_MOST {
            wait = TRY_AGAIN;
        }
        // A rack that comes back does not come all at one instant.
        sleep(wait.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        wait = (wait * 2).min(TRY_AGAIN_AT_MOST);
    }
}

/// One connection, and why it ended.
async fn session(place: usize, board: &Board) -> String {
    let client = match board.dial(place).await {
        Ok(client) => client,
        Err(why) => return why,
    };
    let Some(cell) = board.cells.get(place) else { return String::new() };
    *locked(&cell.client) = Some(client.clone());
    let ended = tokio::select! {
        ended = frames(client.clone(), place, board) => ended,
        () = runs(client, place, board) => return String::new(),
    };
    match ended {
        Ok(()) => "the agent closed the stream".to_owned(),
        Err(status) => words(&status::failure(&status)),
    }
}

async fn frames(mut client: Client, place: usize, board: &Board) -> Result<(), Status> {
    let request = WatchRequest {
        // Without a run these are the guards' alone.
        states: true,
        frames: true,
        max_rate_hz: Some(RATE_HZ),
        metric_prefixes: PREFIXES.map(str::to_owned).to_vec(),
        ..WatchRequest::default()
    };
    let mut stream = client.watch(request).await?.into_inner();
    board.with(place, |host| host.connected(Instant::now()));
    while let Some(response) = stream.message().await? {
        match response.item {
            Some(Item::Frame(frame)) => {
                board.with(place, |host| host.frame(&frame, Instant::now(), board.epoch));
            }
            Some(Item::Guards(states)) => board.with(place, |host| host.guards(&states.guards)),
            Some(Item::Schema(schema)) => {
                // Burners came or went.
                board.look_anew(place);
                board.with(place, |host| host.schema(schema));
            }
            Some(Item::Lagged(lagged)) => board.with(place, |host| host.dropped(lagged.dropped)),
            Some(Item::State(_) | Item::Event(_)) | None => {}
        }
    }
    Ok(())
}

/// Asks what runs, again and again.
async fn runs(mut client: Client, place: usize, board: &Board) {
    let Some(cell) = board.cells.get(place) else { return };
    for turn in 0u64.. {
        if turn % HALT_EVERY == 0
            && let Ok(Ok(host)) = timeout(ANSWER_TIME, client.describe(DescribeRequest {})).await
        {
            board.with(place, |now| now.halted(host.into_inner().halt.is_some()));
        }
        let asked = timeout(ANSWER_TIME, client.list_runs(ListRunsRequest { limit: Some(RUNS) })).await;
        // Where the agent is gone, the frames' stream tells.
        if let Ok(Ok(response)) = asked {
            let runs = response.into_inner().runs;
            if let Some(run) = runs.iter().find(|run| run.state() != RunState::Finished) {
                name_phases(&mut client, &run.run_id, board).await;
            }
            board.with(place, |now| now.runs(&runs));
        }
        let wait = RUNS_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
        let _either = timeout(wait, cell.changed.notified()).await;
    }
}

/// Asks for the phases' names, once for all hosts of a run.
async fn name_phases(client: &mut Client, run_id: &str, board: &Board) {
    if locked(&board.phases).contains_key(run_id) {
        return;
    }
    // Nobody else asks meanwhile.
    locked(&board.phases).insert(run_id.into(), Arc::from([]));
    let asked = timeout(ANSWER_TIME, client.get_run(GetRunRequest { run_id: run_id.to_owned() })).await;
    let Ok(Ok(response)) = asked else {
        locked(&board.phases).remove(run_id);
        return;
    };
    let scenario = response.into_inner().run.and_then(|run| run.scenario).unwrap_or_default();
    let names = scenario.phases.into_iter().map(|phase| text::printable(&phase.name).into_owned());
    locked(&board.phases).insert(run_id.into(), names.collect());
}

/// The first problem, in one line.
pub(crate) fn words(failure: &crate::error::Failure) -> String {
    let first = failure.problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
    text::printable(first).replace('\n', " ")
}
