//! One run on many hosts under one id: each is made ready before any begins, all begin at one instant, and each is followed to
//! its end.
//!
//! All of that is done on one thread of its own, which renews the leases of all hosts: what is printed or drawn meanwhile holds
//! up none of them, and when the program dies each host's run ends by itself.

mod begin;
mod follow;
mod halt;
mod leases;
mod link;
mod prepare;
mod skew;
mod update;

use std::{future::Future, path::PathBuf, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
};
use uuid::Uuid;

use self::{
    begin::{Begun, NotBegun},
    follow::{Common, Follower, first_line},
    leases::Kept,
    link::Link,
    prepare::{Prepared, prepare, release},
};
pub(crate) use self::{
    skew::{StartSkew, of_hosts as skew_of_hosts},
    update::{FleetUpdate, News, Updates},
};
use super::{Fate, HostOutcome, Member};
use crate::{
    cli::{NotReady, OnLoss},
    error::{Exit, Failure},
    scenario::Plan,
    slices,
};

/// Hosts that are made ready at once.
const AT_ONCE: usize = 128;
/// Results that are fetched at once: each may be a megabyte.
const FETCHES_AT_ONCE: usize = 16;

/// How a run goes on many hosts.
#[derive(Debug, Clone)]
pub(crate) struct StartOptions {
    /// The folder of certificates, where one is named.
    pub(crate) pki: Option<PathBuf>,
    pub(crate) not_ready: NotReady,
    pub(crate) on_loss: OnLoss,
    /// How long hosts may take to be ready.
    pub(crate) ready_within: Duration,
    /// The instant to begin at, by our own clock. Without it, as soon as all can.
    pub(crate) start_at_unix_ns: Option<i64>,
    /// No lease is kept, and nobody follows: they end by themselves.
    pub(crate) detach: bool,
    /// What of the hosts' telemetry whoever looks on wants to see.
    pub(crate) frames: Option<FrameWish>,
    /// What the user wants.
    pub(crate) orders: watch::Receiver<Order>,
}

/// How a run that goes on is followed.
#[derive(Debug, Clone)]
pub(crate) struct FollowOptions {
    /// As of a start.
    pub(crate) pki: Option<PathBuf>,
    /// Its leases are kept from now on: it is ours.
    pub(crate) adopt: bool,
    pub(crate) on_loss: OnLoss,
    pub(crate) frames: Option<FrameWish>,
    pub(crate) orders: watch::Receiver<Order>,
}

/// Which telemetry comes, and how often.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FrameWish {
    pub(crate) rate_hz: f64,
    /// Beginnings of metrics' names.
    pub(crate) prefixes: Vec<String>,
}

/// What the user wants of a run that goes on. Each outweighs those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Order {
    #[default]
    GoOn,
    /// Every host's run is stopped.
    Stop,
    /// Every host is halted.
    Halt,
    /// No proof that the hosts are quiet is waited for.
    Leave,
}

/// What is asked of every host.
#[derive(Debug)]
struct Commission {
    run_id: Arc<str>,
    plan: Plan,
    /// Tells our repeated calls from another's.
    token: String,
    ready_within: Duration,
    detach: bool,
    updates: Updates,
}

/// Runs a scenario on all `members` and gives what came of each, in their order. Dropped, it lets go of all: their leases end.
pub(crate) async fn run_wave(
    members: &[Member],
    run_id: &str,
    plan: &Plan,
    options: &StartOptions,
    updates: &Updates,
) -> Vec<HostOutcome> {
    let commission = Arc::new(Commission {
        run_id: run_id.into(),
        plan: plan.clone(),
        token: Uuid::now_v7().to_string(),
        ready_within: options.ready_within,
        detach: options.detach,
        updates: updates.clone(),
    });
    let (links, unreachable) = links(members, options.pki.as_ref());
    let options = options.clone();
    let outcomes = on_own_thread(move || async move { wave(links, unreachable, commission, options).await });
    in_order(members, outcomes.await)
}

/// Follows a run that is on some of the members, to its end. Those that know nothing of it are left out.
pub(crate) async fn follow_run(
    members: &[Member],
    run_id: &str,
    options: &FollowOptions,
    updates: &Updates,
) -> Vec<HostOutcome> {
    let (links, mut outcomes) = links(members, options.pki.as_ref());
    let (run_id, options, updates) = (Arc::from(run_id), options.clone(), updates.clone());
    let followed = on_own_thread(move || async move {
        let stops_on_loss = options.adopt && options.on_loss == OnLoss::Stop;
        let common = Common::new(run_id, updates, options.frames, stops_on_loss);
        let _forwarding = forward(options.orders, common.clone());
        let halting = tokio::spawn(halt::when_wanted(links.clone(), common.clone()));
        let to_follow = links.into_iter().map(|link| (link, None)).collect();
        let outcomes = follow_all(to_follow, options.adopt, &common).await;
        finish_halt(halting, &common).await;
        outcomes
    });
    outcomes.extend(followed.await);
    in_order(members, outcomes)
}

/// On a thread and a runtime that nothing else uses. Empty where there is none to be had, or where it panicked.
async fn on_own_thread<F>(work: impl FnOnce() -> F + Send + 'static) -> Vec<HostOutcome>
where
    F: Future<Output = Vec<HostOutcome>>,
{
    let (mut done, outcomes) = oneshot::channel();
    let running = move || {
        slices::ask();
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let outcomes = tokio::select! {
                outcomes = work() => outcomes,
                // Nobody waits for it any more.
                () = done.closed() => return,
            };
            let _nobody_waits = done.send(outcomes);
        });
        // Names that are being looked up are not waited for.
        runtime.shutdown_background();
    };
    match thread::Builder::new().name("fleet".into()).spawn(running) {
        Ok(_) => outcomes.await.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

async fn wave(
    links: Vec<Arc<Link>>,
    mut outcomes: Vec<HostOutcome>,
    commission: Arc<Commission>,
    options: StartOptions,
) -> Vec<HostOutcome> {
    let stops_on_loss = options.on_loss == OnLoss::Stop;
    let common = Common::new(
        commission.run_id.clone(),
        commission.updates.clone(),
        options.frames.clone(),
        stops_on_loss,
    );
    let _forwarding = forward(options.orders.clone(), common.clone());
    let halting = tokio::spawn(halt::when_wanted(links.clone(), common.clone()));
    let calls_off = options.not_ready == NotReady::CallOff;
    let may_go_on = |outcomes: &[HostOutcome]| !(calls_off && outcomes.iter().any(is_not_ready));

    let begun = async {
        if !may_go_on(&outcomes) {
            return Err(());
        }
        let (ready, not_ready) = all_ready(links.clone(), &commission).await;
        leave_out(not_ready, &commission, &mut outcomes).await;
        if !may_go_on(&outcomes) {
            return Err(());
        }
        let (timed, untimed) = begin::compare_clocks(ready).await;
        leave_out(untimed, &commission, &mut outcomes).await;
        if !may_go_on(&outcomes) {
            return Err(());
        }
        Ok(timed)
    };
    let mut wanted = common.wanted.subscribe();
    let timed = tokio::select! {
        timed = begun => timed,
        _ = wanted.wait_for(|(order, _)| *order >= Order::Stop) => Err(()),
    };
    let Ok(timed) = timed else {
        call_off(&links, &commission, &mut outcomes).await;
        finish_halt(halting, &common).await;
        return outcomes;
    };
    let (begun, not_begun) = begin::begin(timed, options.start_at_unix_ns, &commission).await;
    if calls_off && let Some((link, failure)) = not_begun.first() {
        let why = format!("{} did not begin: {}", link.member.name, first_line(failure));
        common.want(Order::Stop, &why);
    }
    leave_out(not_begun, &commission, &mut outcomes).await;
    if commission.detach {
        outcomes.extend(begun.iter().map(goes_on));
        return outcomes;
    }
    let clocks: Vec<_> =
        begun.iter().map(|begun| (begun.link.member.name.clone(), begun.clock, begun.named_ns)).collect();
    let to_follow = begun.into_iter().map(|begun| (begun.link, Some(begun.lease))).collect();
    let mut followed = follow_all(to_follow, false, &common).await;
    for outcome in &mut followed {
        let clock = clocks.iter().find(|(name, ..)| *name == outcome.member.name);
        if let Some((_, clock, named_ns)) = clock {
            outcome.skew_ns = outcome.run.as_ref().and_then(|run| skew::of_run(run, clock, *named_ns));
            outcome.clock_error_ns = Some(clock.error_ns);
        }
    }
    outcomes.extend(followed);
    finish_halt(halting, &common).await;
    outcomes
}

/// Makes all ready, and waits for the last.
async fn all_ready(links: Vec<Arc<Link>>, commission: &Arc<Commission>) -> (Vec<Prepared>, Vec<NotBegun>) {
    let prepared = bounded(AT_ONCE, links, |link| {
        let commission = commission.clone();
        async move { prepare(link.clone(), commission).await.map_err(|failure| (link, failure)) }
    });
    begin::split(prepared.await)
}

/// Releases those that can't take part, and notes why.
async fn leave_out(not_ready: Vec<NotBegun>, commission: &Arc<Commission>, outcomes: &mut Vec<HostOutcome>) {
    let released = bounded(AT_ONCE, not_ready, |(link, failure)| {
        let commission = commission.clone();
        async move {
            commission.updates.tell(link.index, News::NotReady(failure.clone()));
            release(&link, &commission, "it is left out").await;
            HostOutcome::failed(link.member.clone(), Fate::NotReady, failure)
        }
    });
    outcomes.extend(released.await);
}

/// Releases all that are not told of yet: they were ready, or on the way.
async fn call_off(links: &[Arc<Link>], commission: &Arc<Commission>, outcomes: &mut Vec<HostOutcome>) {
    let is_told = |link: &Arc<Link>| outcomes.iter().any(|outcome| outcome.member.name == link.member.name);
    let rest: Vec<_> = links.iter().filter(|link| !is_told(link)).cloned().collect();
    let released = bounded(AT_ONCE, rest, |link| {
        let commission = commission.clone();
        async move {
            release(&link, &commission, "the fleet's run was called off").await;
            commission.updates.tell(link.index, News::CalledOff);
            HostOutcome { fate: Fate::CalledOff, ..HostOutcome::of(link.member.clone()) }
        }
    });
    outcomes.extend(released.await);
}

async fn follow_all(
    to_follow: Vec<(Arc<Link>, Option<Kept>)>,
    adopts: bool,
    common: &Arc<Common>,
) -> Vec<HostOutcome> {
    common.on.send_replace(to_follow.len());
    bounded(usize::MAX, to_follow, |(link, lease)| {
        let common = common.clone();
        Follower { link, common, lease, adopts }.follow()
    })
    .await
}

fn is_not_ready(outcome: &HostOutcome) -> bool {
    outcome.fate == Fate::NotReady
}

/// Nobody renews its lease: it has none.
fn goes_on(begun: &Begun) -> HostOutcome {
    HostOutcome { fate: Fate::GoesOn, ..HostOutcome::of(begun.link.member.clone()) }
}

impl Common {
    fn new(run_id: Arc<str>, updates: Updates, frames: Option<FrameWish>, stops_on_loss: bool) -> Arc<Self> {
        Arc::new(Self {
            run_id,
            updates,
            frames,
            wanted: watch::Sender::new((Order::GoOn, String::new())),
            stops_on_loss,
            on: watch::Sender::new(0),
            fetching: Semaphore::new(FETCHES_AT_ONCE),
        })
    }
}

/// Takes over what the user wants. Ends when it is dropped.
fn forward(mut orders: watch::Receiver<Order>, common: Arc<Common>) -> JoinSet<()> {
    let mut forwarding = JoinSet::new();
    forwarding.spawn(async move {
        loop {
            let order = *orders.borrow_and_update();
            common.want(order, "sstsctl was interrupted");
            if orders.changed().await.is_err() {
                return;
            }
        }
    });
    forwarding
}

/// A halt that is under way must be known before anybody clears it.
async fn finish_halt(halting: tokio::task::JoinHandle<()>, common: &Common) {
    let order = common.wanted.borrow().0;
    if order == Order::Halt {
        let mut wanted = common.wanted.subscribe();
        tokio::select! {
            _ = halting => {}
            _ = wanted.wait_for(|(order, _)| *order >= Order::Leave) => {}
        }
    }
}

/// Ways to those that can be named; the others with why not.
fn links(members: &[Member], pki: Option<&PathBuf>) -> (Vec<Arc<Link>>, Vec<HostOutcome>) {
    let (mut links, mut failed) = (Vec::new(), Vec::new());
    for (link, member) in Link::to_all(members, pki).into_iter().zip(members) {
        match link {
            Ok(link) => links.push(Arc::new(link)),
            Err(failure) => failed.push(HostOutcome::failed(member.clone(), Fate::NotReady, failure)),
        }
    }
    (links, failed)
}

/// As the members are.
fn in_order(members: &[Member], outcomes: Vec<HostOutcome>) -> Vec<HostOutcome> {
    let mut by_name: std::collections::HashMap<String, HostOutcome> =
        outcomes.into_iter().map(|outcome| (outcome.member.name.clone(), outcome)).collect();
    let of_member = |member: &Member| {
        by_name.remove(&member.name).unwrap_or_else(|| {
            let failure = Failure::new(
                Exit::Internal,
                "what came of it is unknown: the thread that commanded the fleet ended",
                "its run ends by itself within its lease; start anew when the system has a thread to spare",
            );
            HostOutcome::failed(member.clone(), Fate::Lost, failure)
        })
    };
    members.iter().map(of_member).collect()
}

/// Does it for each, so many at once, and gives what came of each, in their order.
async fn bounded<I, T, F>(at_once: usize, items: Vec<I>, work: impl Fn(I) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(at_once.min(items.len()).max(1)));
    let mut running = JoinSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let (turns, doing) = (turns.clone(), work(item));
        running.spawn(async move {
            let _turn = turns.acquire_owned().await;
            (index, doing.await)
        });
    }
    let mut done = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(result) => done.push(result),
            // A bug is no host's fault: all leases end with this thread.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
