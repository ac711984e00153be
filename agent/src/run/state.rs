//! The states of a run and every way from one to another.
//!
//! ```text
//! pending ──▶ running ⇄ paused
//!    │           │         │
//!    └───────────┴────┬────┘
//!                     ▼
//!                 stopping ──▶ finished
//! ```

use ssts_proto::v1::RunState;

/// What moves a run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its first burners burn, or the next phase's do.
    Burn,
    /// It is frozen.
    Pause,
    /// It goes on.
    Resume,
    /// It is being ended, for whatever reason.
    Stop,
    /// The last burner is gone and the verdict is known.
    Finish,
}

/// A step that a state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {} can't {}", name(*from), verb(*step))]
pub struct Illegal {
    /// The state.
    pub from: RunState,
    /// The step.
    pub step: Step,
}

/// The state after a step.
///
/// # Errors
/// [`Illegal`] where there is no such way.
pub fn next(from: RunState, step: Step) -> Result<RunState, Illegal> {
    use RunState::{Finished, Paused, Pending, Running, Stopping, Unspecified};
    match (from, step) {
        (Pending | Running, Step::Burn) | (Paused, Step::Resume) => Ok(Running),
        (Running, Step::Pause) => Ok(Paused),
        (Pending | Running | Paused | Stopping, Step::Stop) => Ok(Stopping),
        (Stopping, Step::Finish) => Ok(Finished),
        (Unspecified | Finished, _)
        | (Paused, Step::Burn | Step::Pause)
        | (Pending | Stopping, Step::Pause)
        | (Pending | Running | Stopping, Step::Resume)
        | (Stopping, Step::Burn)
        | (Pending | Running | Paused, Step::Finish) => Err(Illegal { from, step }),
    }
}

/// A state in lower-case words.
pub fn name(state: RunState) -> &'static str {
    match state {
        RunState::Unspecified => "unknown",
        RunState::Pending => "pending",
        RunState::Running => "running",
        RunState::Paused => "paused",
        RunState::Stopping => "stopping",
        RunState::Finished => "finished",
    }
}

fn verb(step: Step) -> &'static str {
    match step {
        Step::Burn => "begin to burn",
        Step::Pause => "be paused",
        Step::Resume => "be resumed",
        Step::Stop => "be stopped",
        Step::Finish => "finish",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_way_and_its_branches() {
        let walk = |steps: &[Step]| {
            steps
                .iter()
                .try_fold(RunState::Pending, |state, step| next(state, *step))
                .map_err(|illegal| illegal.from)
        };
        use Step::{Burn, Finish, Pause, Resume, Stop};
        assert_eq!(walk(&[Burn, Pause, Resume, Burn, Stop, Finish]), Ok(RunState::Finished));
        assert_eq!(walk(&[Stop, Finish]), Ok(RunState::Finished));
        assert_eq!(walk(&[Burn, Pause, Stop, Stop, Finish]), Ok(RunState::Finished));
        assert_eq!(walk(&[Pause]), Err(RunState::Pending));
        assert_eq!(walk(&[Burn, Finish]), Err(RunState::Running));
        assert_eq!(walk(&[Stop, Finish, Burn]), Err(RunState::Finished));
        assert_eq!(walk(&[Stop, Burn]), Err(RunState::Stopping));
    }
}
