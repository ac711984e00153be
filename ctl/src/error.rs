//! What can go wrong, the exit status of each, and the one place that prints it.

use std::fmt;

use crate::text::printable;

/// How a command ended, for whoever called it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Pass,
    Internal,
    Usage,
    ThresholdFailed,
    Aborted,
    AgentFailed,
    WrongData,
    Interrupted,
}

impl Exit {
    /// The process's exit status.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::ThresholdFailed => 3,
            Self::Aborted => 4,
            Self::AgentFailed => 5,
            Self::WrongData => 6,
            Self::Interrupted => 130,
        }
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// Empty where nothing is to be done.
    pub(crate) mend: String,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { message: message.into(), mend: mend.into() }
    }
}

/// Why a command could not do its work: everything that is wrong with it, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) problems: Vec<Problem>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { exit, problems: vec![Problem::new(message, mend)] }
    }

    /// The caller asked for what can't be.
    pub(crate) fn usage(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, mend)
    }

    /// The agent can't be reached, or failed.
    pub(crate) fn agent(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Exit::AgentFailed, message, mend)
    }

    /// The user ended the command before it was done.
    pub(crate) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, problems: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "error: {}", printable(&problem.message))?;
            if !problem.mend.is_empty() {
                writeln!(f, "mend: {}", printable(&problem.mend))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_prints_each_problem_with_its_mend() {
        let mut failure = Failure::usage("a load of 0 %", "use 1 to 100 %");
        failure.problems.push(Problem::new("odd", ""));
        assert_eq!(failure.to_string(), "error: a load of 0 %\nmend: use 1 to 100 %\nerror: odd\n");
    }

    #[test]
    fn what_an_agent_says_cannot_command_the_terminal() {
        let failure = Failure::agent("\x1b[2Jgone", "");
        assert_eq!(failure.to_string(), "error: \u{fffd}[2Jgone\n");
    }
}
