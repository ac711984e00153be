//! Several guards that look at the same frames.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ssts_proto::{
    guards,
    v1::{self, GuardState, Label},
};

use super::{
    level::{Level, Rule},
    look::{Look, Missing, Why, reason},
    reaction::Reaction,
    spec::GuardSpec,
};
use crate::observe::{frame::Frame, schema::Schema};

/// Devices that runs load themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Counts changes.
    pub generation: u64,
    /// By the kernel's names.
    pub devices: Vec<String>,
}

/// Guards of a host, or of a run.
#[derive(Debug)]
pub struct GuardSet {
    guards: Vec<Watching>,
    /// Of the latest schema and the latest change of what is owned.
    known: Option<(u32, u64)>,
}

/// One guard at work.
#[derive(Debug)]
pub struct Watching {
    spec: Arc<GuardSpec>,
    look: Look,
    level: Level,
    trips: u64,
    stale_after: Duration,
    /// Why it tripped, but for the latest frame: see [`GuardSet::say`].
    message: Arc<str>,
    is_unsaid: bool,
}

impl GuardSet {
    /// Of guards that look from `now` on, CLOCK_MONOTONIC.
    pub fn new(specs: Vec<GuardSpec>, stale_after: Duration, now: Duration) -> Self {
        let watching = |spec| Watching {
            spec: Arc::new(spec),
            look: Look::new(stale_after, now),
            level: Level::Clear,
            trips: 0,
            stale_after,
            message: Arc::from(""),
            is_unsaid: false,
        };
        Self { guards: specs.into_iter().map(watching).collect(), known: None }
    }

    /// Each of them.
    pub fn guards(&self) -> &[Watching] {
        &self.guards
    }

    /// A reaction for each, of a run that begins.
    pub fn reactions(&self) -> Vec<Reaction> {
        self.guards.iter().map(|guard| Reaction::new(guard.spec.plan)).collect()
    }

    /// Looks at one frame. Allocates nothing while the schema stays: burners may have to be stopped first.
    pub fn look(&mut self, schema: &Schema, frame: &Frame, owned: &Owned) {
        let now = (schema.id, owned.generation);
        if self.known.replace(now) != Some(now) {
            for guard in &mut self.guards {
                guard.look.follow(&guard.spec, schema, &owned.devices, frame.end);
            }
        }
        for guard in &mut self.guards {
            guard.step(frame);
        }
    }

    /// Puts into words what [`GuardSet::look`] found, once whatever had to be done is done.
    pub fn say(&mut self) {
        for guard in self.guards.iter_mut().filter(|guard| guard.is_unsaid) {
            guard.message = guard.words().into();
            guard.is_unsaid = false;
        }
    }

    /// What others see of them; each frame is shown by [`GuardSet::show`].
    pub fn board(&self) -> GuardBoard {
        let standing = |guard: &Watching| guard.standing();
        GuardBoard {
            specs: self.guards.iter().map(|guard| guard.spec.clone()).collect(),
            standings: Mutex::new(self.guards.iter().map(standing).collect()),
        }
    }

    /// Shows how they stand. Whoever reads just now sees it a frame later: the tick waits for nobody.
    pub fn show(&self, board: &GuardBoard) {
        if let Ok(mut standings) = board.standings.try_lock() {
            for (standing, guard) in standings.iter_mut().zip(&self.guards) {
                *standing = guard.standing();
            }
        }
    }
}

/// How guards stand, for others than the tick.
#[derive(Debug)]
pub struct GuardBoard {
    specs: Vec<Arc<GuardSpec>>,
    standings: Mutex<Vec<Standing>>,
}

impl GuardBoard {
    /// Each guard and where it stands.
    pub fn all(&self) -> Vec<(Arc<GuardSpec>, Standing)> {
        // A list of values can't be left half-changed.
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.specs.iter().cloned().zip(standings).collect()
    }

    /// The same as messages.
    pub fn statuses(&self) -> Vec<v1::GuardStatus> {
        self.all().iter().map(|(spec, standing)| standing.status(spec)).collect()
    }
}

/// Where a guard stands, after some frame.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its state.
    pub state: GuardState,
    /// The worst value that it sees, in its unit.
    pub value: Option<f64>,
    /// How far that is from the limit.
    pub headroom: Option<f64>,
    /// How often it tripped.
    pub trips: u64,
    /// The values of its metric's labels where the worst value is.
    pub labels: Option<Arc<[String]>>,
    /// Why it tripped last.
    pub message: Arc<str>,
}

impl Standing {
    /// As a message.
    pub fn status(&self, spec: &GuardSpec) -> v1::GuardStatus {
        let labels = self.labels.as_ref().map_or(&[][..], |labels| labels);
        let pairs = spec.metric.labels.iter().zip(labels).filter(|(_, value)| !value.is_empty());
        let labels = pairs.map(|(name, value)| Label { name: (*name).into(), value: value.clone() });
        let reason = match self.state {
            GuardState::Tripped => self.message.to_string(),
            GuardState::Unguarded => spec.unguarded(),
            GuardState::Unspecified | GuardState::Clear | GuardState::Pending => String::new(),
        };
        v1::GuardStatus {
            guard: Some(spec.message.clone()),
            origin: spec.origin.into(),
            state: self.state.into(),
            unit: spec.unit.clone(),
            value: self.value,
            headroom: self.headroom,
            labels: labels.collect(),
            trips: self.trips,
            reason,
            load_percent: None,
        }
    }
}

impl Watching {
    /// What it is.
    pub fn spec(&self) -> &Arc<GuardSpec> {
        &self.spec
    }

    /// Whether it has tripped and is not clear again.
    pub fn is_tripped(&self) -> bool {
        self.level == Level::Tripped
    }

    /// How often it tripped.
    pub fn trips(&self) -> u64 {
        self.trips
    }

    /// Why it tripped last.
    pub fn message(&self) -> String {
        if self.is_unsaid { self.words() } else { self.message.to_string() }
    }

    /// When the latest value that it judged was read, CLOCK_MONOTONIC.
    pub fn read_at(&self) -> Duration {
        self.look.seen().read_at
    }

    /// The worst value that it sees.
    pub fn value(&self) -> Option<f64> {
        self.look.seen().value
    }

    /// The labels of that value's column, that of the run left out; none where it is of several.
    pub fn labels(&self) -> Vec<Label> {
        let values = self.look.seen().labels.as_ref().map_or(&[][..], |labels| labels);
        let pairs = self.spec.metric.labels.iter().zip(values).filter(|(name, _)| **name != "run");
        pairs.map(|(name, value)| Label { name: (*name).into(), value: value.clone() }).collect()
    }

    /// Whether there is, or was, anything for it to look at.
    pub fn has_source(&self) -> bool {
        self.look.seen().has_source
    }

    /// Where it stands.
    pub fn state(&self) -> GuardState {
        match self.level {
            Level::Tripped => GuardState::Tripped,
            Level::Pending(_) => GuardState::Pending,
            Level::Clear if self.has_source() => GuardState::Clear,
            Level::Clear => GuardState::Unguarded,
        }
    }

    /// How far its value is from the limit.
    pub fn headroom(&self) -> Option<f64> {
        self.value().map(|value| self.spec.rule.headroom(value))
    }

    fn step(&mut self, frame: &Frame) {
        let told = self.look.at(&self.spec, frame);
        let before = self.level;
        self.level = before.after(&self.spec.rule, told, frame.end);
        if self.level == Level::Tripped && before != Level::Tripped {
            self.trips += 1;
            self.is_unsaid = true;
        }
    }

    fn words(&self) -> String {
        let Self { spec, look, stale_after, .. } = self;
        let seen = look.seen();
        let metric = spec.metric.name;
        if let Some(Missing { labels, why }) = &seen.missing {
            let place = self.place(labels);
            return match why {
                Why::Absent(absent) => {
                    format!("{metric}{place} could not be read for {stale_after:?}: {}", reason(Err(*absent)))
                }
                Why::Implausible(value) => {
                    let value = guards::words(*value, spec.metric.unit);
                    format!(
                        "{metric}{place} says {value}, for {stale_after:?}, which can't be: the sensor is broken"
                    )
                }
                Why::NoSource => self.spec.unguarded(),
            };
        }
        let place = seen.labels.as_ref().map(|labels| self.place(labels)).unwrap_or_default();
        let Rule { is_floor, limit, lasting, .. } = spec.rule;
        let value = guards::words(seen.value.unwrap_or(limit), &spec.unit);
        let limit = guards::words(limit, &spec.unit);
        let how = match (spec.is_headroom(), spec.is_rise(), is_floor) {
            (true, _, _) => "is below its critical point by",
            (_, true, _) => "rises by",
            _ => "is",
        };
        let aggregate =
            guards::aggregate_name(spec.aggregate()).map(|name| format!("{name} of ")).unwrap_or_default();
        let lasted = if lasting.is_zero() { String::new() } else { format!(", for {lasting:?}") };
        format!("{aggregate}{metric}{place} {how} {value}, the limit is {limit}{lasted}")
    }

    /// Such as ` of sensor hwmon0/temp1 (label Core)`.
    fn place(&self, labels: &[String]) -> String {
        let pairs = self.spec.metric.labels.iter().zip(labels).filter(|(_, value)| !value.is_empty());
        let mut pairs = pairs.map(|(name, value)| format!("{name} {value}"));
        let Some(first) = pairs.next() else { return String::new() };
        let rest: Vec<_> = pairs.collect();
        if rest.is_empty() { format!(" of {first}") } else { format!(" of {first} ({})", rest.join(", ")) }
    }

    fn standing(&self) -> Standing {
        let seen = self.look.seen();
        let missing = seen.missing.as_ref().map(|missing| &missing.labels);
        Standing {
            state: self.state(),
            value: self.value(),
            headroom: self.headroom(),
            trips: self.trips,
            labels: missing.or(seen.labels.as_ref()).cloned(),
            message: self.message.clone(),
        }
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
