//! What is decided between the phases of a run: whether one begins, and what follows one that failed. The tick shows what the
//! host is like, the supervisor decides; each decision is kept with its reason.

mod asked;
mod conditions;
mod of_run;
mod words;

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use ssts_proto::v1::Decision;

pub(super) use self::{
    asked::{Asked, Seen, window},
    conditions::{after_phase, before_phase},
    words::{begun, failed, unmet},
};
use super::hardware_errors::Rise;
use crate::{
    guard::FULL_PPM,
    observe::{frame::Frame, schema::Schema},
};

/// The decisions of one run, and what they are made of.
#[derive(Debug)]
pub(super) struct Decisions {
    taken: Mutex<Vec<Decision>>,
    /// What the tick is asked, while the supervisor waits for it.
    asked: Mutex<Option<Asked>>,
    /// By how much counters of hardware errors rose.
    hardware_errors: AtomicU64,
    /// What is left of the load while the run is wound down, in parts of a million.
    left_ppm: AtomicU32,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            taken: Mutex::default(),
            asked: Mutex::default(),
            hardware_errors: AtomicU64::new(0),
            left_ppm: AtomicU32::new(FULL_PPM),
        }
    }
}

impl Decisions {
    /// All that were taken, in order.
    pub(super) fn taken(&self) -> Vec<Decision> {
        lock(&self.taken).clone()
    }

    pub(super) fn take(&self, decision: Decision) {
        lock(&self.taken).push(decision);
    }

    /// Has the tick look at what a requirement is about.
    pub(super) fn ask(&self, asked: Asked) {
        *lock(&self.asked) = Some(asked);
    }

    /// What the tick has seen of that. It is asked no more once it has answered.
    pub(super) fn answer(&self) -> Option<Seen> {
        let mut asked = lock(&self.asked);
        let seen = asked.as_mut()?.seen.take()?;
        *asked = None;
        Some(seen)
    }

    /// Asks no more.
    pub(super) fn forget(&self) {
        *lock(&self.asked) = None;
    }

    /// Looks at a frame. Says whether what is asked can be answered now.
    pub(super) fn look(&self, schema: &Schema, frame: &Frame) -> bool {
        lock(&self.asked).as_mut().is_some_and(|asked| asked.look(schema, frame))
    }

    /// Counts hardware errors.
    pub(super) fn note_errors(&self, rises: &[Rise]) {
        self.hardware_errors.fetch_add(rises.iter().map(Rise::errors).sum(), Ordering::Relaxed);
    }

    /// Since the start of the run.
    pub(super) fn hardware_errors(&self) -> u64 {
        self.hardware_errors.load(Ordering::Relaxed)
    }

    /// Leaves so much of the load, in parts of a million.
    pub(super) fn leave(&self, left_ppm: u32) {
        self.left_ppm.store(left_ppm.min(FULL_PPM), Ordering::Relaxed);
    }

    /// What of a load is left where guards leave so much of it, in parts of a million.
    pub(super) fn left_of(&self, load_ppm: u32) -> u32 {
        let left_ppm = u64::from(self.left_ppm.load(Ordering::Relaxed));
        (u64::from(load_ppm) * left_ppm / u64::from(FULL_PPM)) as u32
    }
}

/// No holder of these locks can leave half a change behind, so a panic elsewhere must not spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
