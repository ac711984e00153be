//! What is told of a fleet run while it goes on: for whoever shows it.

use std::sync::Arc;

use ssts_proto::v1::{Event, Frame, GuardStatus, Lagged, RunSummary, Schema, watch_response::Item};
use tokio::sync::mpsc::UnboundedSender;

use crate::error::Failure;

/// News of one host.
#[derive(Debug, Clone)]
pub(crate) struct FleetUpdate {
    /// Its place in the fleet.
    pub(crate) member: usize,
    pub(crate) news: News,
}

/// What is new.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// It answers.
    Connected,
    /// It is ready, and waits for its instant.
    Ready,
    /// It could not be made ready, or not told to begin.
    NotReady(Failure),
    /// It was released because another was not ready.
    CalledOff,
    /// It begins at this instant, by our own clock.
    Begins {
        at_unix_ns: i64,
    },
    /// Where its run stands.
    State(RunSummary),
    /// All since the run's start come first.
    Event(Event),
    /// Those of the host, and of the run.
    Guards(Vec<GuardStatus>),
    /// Only where frames are asked for.
    Schema(Schema),
    Frame(Frame),
    /// Frames that it had to leave out: this side is too slow.
    Lagged(Lagged),
    /// The connection is lost; it is tried again.
    Lost(Failure),
    /// It is there again.
    Back,
    /// It is halted, or why that is not known.
    Halted(Result<(), Failure>),
    /// Nothing more comes of it.
    Over,
    /// Of all hosts of a wave, told of its first: it begins.
    Wave {
        words: String,
        hosts: usize,
    },
    /// Of all hosts of a wave, told of its first: too many failed, and the others are stopped.
    CutShort(String),
    /// It was not good, and no later one starts.
    GateShut(String),
}

/// What the watch of a run tells.
impl From<Item> for News {
    fn from(item: Item) -> Self {
        match item {
            Item::State(summary) => Self::State(summary),
            Item::Event(event) => Self::Event(event),
            Item::Schema(schema) => Self::Schema(schema),
            Item::Frame(frame) => Self::Frame(frame),
            Item::Guards(guards) => Self::Guards(guards.guards),
            Item::Lagged(lagged) => Self::Lagged(lagged),
        }
    }
}

/// Where news go. A receiver that is gone is no error: nobody looks any more.
#[derive(Debug, Clone)]
pub(crate) struct Updates {
    sender: UnboundedSender<FleetUpdate>,
    /// The places in the fleet of those that are asked.
    places: Option<Arc<[usize]>>,
}

impl Updates {
    /// About the whole fleet, in its order.
    pub(crate) fn new(sender: UnboundedSender<FleetUpdate>) -> Self {
        Self { sender, places: None }
    }

    /// About some of a fleet, such as a wave: the places of those in the whole.
    pub(crate) fn about(&self, places: impl IntoIterator<Item = usize>) -> Self {
        Self { sender: self.sender.clone(), places: Some(places.into_iter().collect()) }
    }

    /// `index`: among those that are asked.
    pub(crate) fn tell(&self, index: usize, news: News) {
        let place = self.places.as_ref().map_or(Some(index), |places| places.get(index).copied());
        let Some(member) = place else { return };
        let _nobody_looks = self.sender.send(FleetUpdate { member, news });
    }
}
