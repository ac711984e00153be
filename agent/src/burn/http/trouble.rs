//! What goes wrong with the service: what requests failed with, and for how long none has been answered.

use std::{cell::RefCell, time::Duration};

use super::error::Failure;

/// What requests of one worker failed with.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Since the last answer.
    latest: RefCell<Option<Failure>>,
    /// The very first failure.
    first: RefCell<Option<Failure>>,
}

impl Trouble {
    pub(super) fn failed(&self, failure: Failure) {
        self.first.borrow_mut().get_or_insert_with(|| failure.clone());
        *self.latest.borrow_mut() = Some(failure);
    }

    pub(super) fn answered(&self) {
        *self.latest.borrow_mut() = None;
    }

    /// What the latest failed with, of those since the last answer.
    pub(super) fn latest(&self) -> Option<String> {
        self.latest.borrow().as_ref().map(ToString::to_string)
    }

    /// What the very first failure was.
    pub(super) fn first(&self) -> Option<String> {
        self.first.borrow().as_ref().map(ToString::to_string)
    }
}

/// Whether the service answers any of a burner's workers, by what they count together.
#[derive(Debug, Default)]
pub(super) struct Silence {
    answers: u64,
    /// At the last answer.
    failures: u64,
    /// When the first failure after it was seen, CLOCK_BOOTTIME.
    since: Option<Duration>,
}

impl Silence {
    /// For how long requests have failed and none was answered, and how many did; nothing while none has failed.
    pub(super) fn look(&mut self, now: Duration, answers: u64, failures: u64) -> Option<(Duration, u64)> {
        if answers != self.answers {
            *self = Self { answers, failures, since: None };
        }
        let failed = failures.saturating_sub(self.failures);
        if failed == 0 {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        Some((now.saturating_sub(since), failed))
    }

    /// Time stood still for so long.
    pub(super) fn resumed(&mut self, paused: Duration) {
        self.since = self.since.map(|since| since + paused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_begins_with_a_failure_and_ends_with_anybodys_answer() {
        let at = Duration::from_secs;
        let mut silence = Silence::default();
        assert_eq!(silence.look(at(1), 0, 0), None);
        assert_eq!(silence.look(at(2), 0, 1), Some((at(0), 1)));
        assert_eq!(silence.look(at(5), 0, 3), Some((at(3), 3)));
        silence.resumed(at(10));
        assert_eq!(silence.look(at(16), 0, 4), Some((at(4), 4)));
        // An answer, and nothing asked for a long time.
        assert_eq!(silence.look(at(17), 1, 4), None);
        assert_eq!(silence.look(at(60), 1, 4), None);
        assert_eq!(silence.look(at(61), 1, 5), Some((at(0), 1)));
    }
}
