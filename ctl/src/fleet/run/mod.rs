//! One run on many hosts under one id: each is made ready before any begins, all begin at one instant, and each is followed to
//! its end.
//!
//! All of that is done on one thread of its own, which renews the leases of all hosts: what is printed or drawn meanwhile holds
//! up none of them, and when the program dies each host's run ends by itself.

mod begin;
mod bounded;
mod follow;
mod halt;
mod leases;
mod link;
mod own_thread;
mod prepare;
mod skew;
mod toll;
mod update;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use uuid::Uuid;

use self::{
    begin::{Begun, NotBegun},
    bounded::bounded,
    follow::{Common, Follower, first_line},
    leases::Kept,
    link::Link,
    own_thread::on_own_thread,
    prepare::{Prepared, prepare, release},
    toll::Toll,
};
pub(crate) use self::{
    skew::{StartSkew, of_hosts as skew_of_hosts},
    update::{FleetUpdate, News, Updates},
};
use super::{Borne, Fate, HostOutcome, Member};
use crate::{
    cli::{NotReady, OnLoss},
    error::{Exit, Failure},
    scenario::Plan,
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
    /// How many failed hosts are borne before the others are stopped. Without it, any number.
    pub(crate) borne: Option<Borne>,
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

/// How a wave ended.
#[derive(Debug, Default)]
pub(crate) struct WaveEnd {
    /// What came of each host, in their order.
    pub(crate) outcomes: Vec<HostOutcome>,
    /// Why more hosts failed than is borne, where the others were stopped because of it.
    pub(crate) cut_short: Option<String>,
}

/// Runs a scenario on all `members`. Dropped, it lets go of all: their leases end.
pub(crate) async fn run_wave(
    members: &[Member],
    run_id: &str,
    plan: &Plan,
    options: &StartOptions,
    updates: &Updates,
) -> WaveEnd {
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
    let common = Common {
        stops_on_loss: options.on_loss == OnLoss::Stop,
        toll: Toll::new(options.borne, members.len()),
        ..Common::new(commission.run_id.clone(), updates.clone(), options.frames.clone())
    };
    let common = Arc::new(common);
    let of_wave = common.clone();
    let ended = on_own_thread(move || async move {
        let mut outcomes = wave(links, unreachable, commission, &of_wave, options).await;
        of_wave.tell_stopped(&mut outcomes);
        outcomes
    });
    WaveEnd { outcomes: in_order(members, ended.await), cut_short: common.toll.cut_short() }
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
        let common = Arc::new(Common {
            stops_on_loss: options.adopt && options.on_loss == OnLoss::Stop,
            ..Common::new(run_id, updates, options.frames)
        });
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

async fn wave(
    links: Vec<Arc<Link>>,
    mut outcomes: Vec<HostOutcome>,
    commission: Arc<Commission>,
    common: &Arc<Common>,
    options: StartOptions,
) -> Vec<HostOutcome> {
    let _forwarding = forward(options.orders.clone(), common.clone());
    let halting = tokio::spawn(halt::when_wanted(links.clone(), common.clone()));
    let calls_off = options.not_ready == NotReady::CallOff;
    let may_go_on = |outcomes: &[HostOutcome]| {
        outcomes.iter().for_each(|outcome| common.note_outcome(outcome));
        !(calls_off && outcomes.iter().any(is_not_ready)) && common.toll.cut_short().is_none()
    };

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
        finish_halt(halting, common).await;
        return outcomes;
    };
    let (begun, not_begun) = begin::begin(timed, options.start_at_unix_ns, &commission).await;
    if calls_off && let Some((link, failure)) = not_begun.first() {
        let why = format!("{} did not begin: {}", link.member.name, first_line(failure));
        common.want(Order::Stop, &why);
    }
    leave_out(not_begun, &commission, &mut outcomes).await;
    outcomes.iter().for_each(|outcome| common.note_outcome(outcome));
    if commission.detach {
        outcomes.extend(begun.iter().map(goes_on));
        return outcomes;
    }
    let clocks: Vec<_> =
        begun.iter().map(|begun| (begun.link.member.name.clone(), begun.clock, begun.named_ns)).collect();
    let to_follow = begun.into_iter().map(|begun| (begun.link, Some(begun.lease))).collect();
    let mut followed = follow_all(to_follow, false, common).await;
    for outcome in &mut followed {
        let clock = clocks.iter().find(|(name, ..)| *name == outcome.member.name);
        if let Some((_, clock, named_ns)) = clock {
            outcome.skew_ns = outcome.run.as_ref().and_then(|run| skew::of_run(run, clock, *named_ns));
            outcome.clock_error_ns = Some(clock.error_ns);
        }
    }
    outcomes.extend(followed);
    finish_halt(halting, common).await;
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
    fn new(run_id: Arc<str>, updates: Updates, frames: Option<FrameWish>) -> Self {
        Self {
            run_id,
            updates,
            frames,
            wanted: watch::Sender::new((Order::GoOn, String::new())),
            stops_on_loss: false,
            on: watch::Sender::new(0),
            fetching: Semaphore::new(FETCHES_AT_ONCE),
            toll: Toll::new(None, 0),
        }
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
