//! What a guard that tripped does to a run. It keeps asking for as long as it is tripped, so that no order can be lost.

use std::time::Duration;

use ssts_proto::{
    v1::{Guard, GuardReaction},
    validate::DEFAULT_MAX_PAUSES,
};

/// All of the load, in parts of a million.
pub const FULL_PPM: u32 = 1_000_000;

/// A reaction with its steps and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    reaction: GuardReaction,
    step_ppm: u32,
    floor_ppm: u32,
    hold: Duration,
    then: GuardReaction,
    max_pauses: u32,
}

impl Plan {
    /// Of a message whose defaults are filled in.
    pub(super) fn of(guard: &Guard) -> Self {
        let derating = guard.derating.unwrap_or_default();
        let ppm = |percent: Option<u32>| percent.unwrap_or_default().min(100) * (FULL_PPM / 100);
        Self {
            reaction: guard.reaction(),
            step_ppm: ppm(derating.step_percent),
            floor_ppm: ppm(derating.floor_percent),
            hold: Duration::from_millis(derating.hold_ms.unwrap_or_default()),
            then: derating.then(),
            max_pauses: guard.max_pauses.unwrap_or(DEFAULT_MAX_PAUSES),
        }
    }
}

/// What a run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Burn so much of the load that was asked for, in parts of a million.
    Derate(u32),
    /// Freeze.
    Pause,
    /// Go on.
    Resume,
    /// End. Whether it was paused too often.
    Stop {
        /// It was paused as often as it may be.
        after_pauses: Option<u32>,
    },
    /// End, and let nothing start.
    Halt,
}

/// One guard's doing to one run.
#[derive(Debug, Clone)]
pub struct Reaction {
    plan: Plan,
    load_ppm: u32,
    /// When the latest step of derating was taken, by a clock that stands still while the run does not burn.
    stepped: Option<Duration>,
    /// The floor was held for as long as a step.
    is_past_floor: bool,
    pauses: u32,
    is_pausing: bool,
}

impl Reaction {
    pub(super) fn new(plan: Plan) -> Self {
        Self { plan, load_ppm: FULL_PPM, stepped: None, is_past_floor: false, pauses: 0, is_pausing: false }
    }

    /// What it leaves of the load, in parts of a million.
    pub fn load_ppm(&self) -> u32 {
        self.load_ppm
    }

    /// Whether it keeps the run frozen.
    pub fn is_pausing(&self) -> bool {
        self.is_pausing
    }

    /// What a frame brings. `burned` is how long the run has burned; a run that does not burn can be neither derated nor
    /// frozen.
    pub fn follow(&mut self, is_tripped: bool, is_burning: bool, burned: Duration) -> Option<Order> {
        let reaction = if self.is_past_floor { self.plan.then } else { self.plan.reaction };
        if !is_tripped {
            self.stepped = None;
            self.is_past_floor = false;
            return std::mem::take(&mut self.is_pausing).then_some(Order::Resume);
        }
        match reaction {
            GuardReaction::Throttle if is_burning => self.step(burned),
            GuardReaction::Pause if self.is_pausing => None,
            GuardReaction::Pause if self.pauses >= self.plan.max_pauses => {
                Some(Order::Stop { after_pauses: Some(self.pauses) })
            }
            GuardReaction::Pause if is_burning => {
                self.pauses += 1;
                self.is_pausing = true;
                Some(Order::Pause)
            }
            GuardReaction::Unspecified
            | GuardReaction::Warn
            | GuardReaction::Throttle
            | GuardReaction::Pause => None,
            GuardReaction::Stop => Some(Order::Stop { after_pauses: None }),
            GuardReaction::Halt => Some(Order::Halt),
        }
    }

    fn step(&mut self, burned: Duration) -> Option<Order> {
        if self.stepped.is_some_and(|at| burned.saturating_sub(at) < self.plan.hold) {
            return None;
        }
        let floor_was_held = self.load_ppm <= self.plan.floor_ppm && self.stepped.is_some();
        self.stepped = Some(burned);
        if floor_was_held {
            self.is_past_floor = true;
            return self.follow(true, true, burned);
        }
        let stepped_ppm = self.load_ppm.saturating_sub(self.plan.step_ppm).max(self.plan.floor_ppm);
        // One that tripped again at the floor is given its time there before the last step.
        (std::mem::replace(&mut self.load_ppm, stepped_ppm) != stepped_ppm)
            .then_some(Order::Derate(stepped_ppm))
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::Derating;

    use super::*;
    use crate::burn::random::below;

    fn reaction(kind: GuardReaction, then: GuardReaction) -> Reaction {
        let mut derating = Derating {
            step_percent: Some(30),
            hold_ms: Some(1_000),
            floor_percent: Some(30),
            ..Derating::default()
        };
        derating.set_then(then);
        let mut guard = Guard { derating: Some(derating), max_pauses: Some(2), ..Guard::default() };
        guard.set_reaction(kind);
        Reaction::new(Plan::of(&guard))
    }

    /// What comes of frames 500 ms apart in which the guard is tripped or not.
    fn orders(reaction: &mut Reaction, tripped: &[bool]) -> Vec<Option<Order>> {
        let burned = |index: usize| Duration::from_millis(500 * index as u64);
        tripped
            .iter()
            .enumerate()
            .map(|(index, tripped)| reaction.follow(*tripped, true, burned(index)))
            .collect()
    }

    #[test]
    fn a_load_is_derated_in_steps_to_its_floor_and_then_the_run_ends() {
        let mut throttle = reaction(GuardReaction::Throttle, GuardReaction::Stop);
        let stop = Some(Order::Stop { after_pauses: None });
        let got = orders(&mut throttle, &[true; 9]);
        let derate = |ppm| Some(Order::Derate(ppm));
        assert_eq!(
            got,
            [derate(700_000), None, derate(400_000), None, derate(300_000), None, stop, stop, stop]
        );
    }

    #[test]
    fn a_load_stays_where_it_was_derated_to_and_goes_on_from_there() {
        let mut throttle = reaction(GuardReaction::Throttle, GuardReaction::Warn);
        let got = orders(&mut throttle, &[true, false, false, true, true, true, true, true]);
        let derate = |ppm| Some(Order::Derate(ppm));
        assert_eq!(got, [derate(700_000), None, None, derate(400_000), None, derate(300_000), None, None]);
        assert_eq!(orders(&mut throttle, &[true; 20]), [None; 20], "it holds the floor");
        assert_eq!(throttle.load_ppm(), 300_000);
    }

    #[test]
    fn a_pause_ends_by_itself_and_is_not_given_for_ever() {
        let mut pause = reaction(GuardReaction::Pause, GuardReaction::Stop);
        let got = orders(&mut pause, &[true, true, false, false, true, false, true, true]);
        let stop = Some(Order::Stop { after_pauses: Some(2) });
        let (paused, resumed) = (Some(Order::Pause), Some(Order::Resume));
        assert_eq!(got, [paused, None, resumed, None, paused, resumed, stop, stop]);
    }

    #[test]
    fn a_run_that_does_not_burn_is_stopped_and_nothing_else() {
        for (kind, order) in [
            (GuardReaction::Throttle, None),
            (GuardReaction::Pause, None),
            (GuardReaction::Warn, None),
            (GuardReaction::Stop, Some(Order::Stop { after_pauses: None })),
            (GuardReaction::Halt, Some(Order::Halt)),
        ] {
            let mut one = reaction(kind, GuardReaction::Stop);
            assert_eq!(one.follow(true, false, Duration::from_secs(9)), order, "{kind:?}");
            assert_eq!(one.load_ppm(), FULL_PPM);
        }
    }

    /// What holds for every walk, of ten thousand at random.
    #[test]
    fn no_walk_raises_a_load_or_pauses_more_often_than_it_may() {
        for seed in 0..10_000 {
            let state = &mut seed.clone();
            let kind = [GuardReaction::Throttle, GuardReaction::Pause][below(state, 2) as usize];
            let then =
                [GuardReaction::Warn, GuardReaction::Pause, GuardReaction::Stop][below(state, 3) as usize];
            let mut one = reaction(kind, then);
            let mut burned = Duration::ZERO;
            let (mut pauses, mut load_ppm, mut frozen) = (0, FULL_PPM, false);
            for _ in 0..100 {
                if !frozen {
                    burned += Duration::from_millis(below(state, 3_000));
                }
                let tripped = below(state, 3) > 0;
                match one.follow(tripped, !frozen, burned) {
                    Some(Order::Pause) => {
                        pauses += 1;
                        frozen = true;
                    }
                    Some(Order::Resume) => {
                        assert!(frozen && !tripped, "seed {seed}");
                        frozen = false;
                    }
                    Some(Order::Derate(ppm)) => {
                        assert!(ppm < load_ppm, "seed {seed}");
                        load_ppm = ppm;
                    }
                    Some(Order::Stop { after_pauses: Some(count) }) => assert_eq!(count, 2, "seed {seed}"),
                    Some(Order::Stop { .. } | Order::Halt) | None => {}
                }
                assert_eq!(frozen, one.is_pausing(), "seed {seed}");
                assert!(pauses <= 2 && one.load_ppm() == load_ppm && load_ppm >= 300_000, "seed {seed}");
            }
        }
    }
}
