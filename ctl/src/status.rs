//! What an agent's refusal of a call means to the user.

use ssts_proto::{refusal, v1::Violation};
use tonic::{Code, Status};

use crate::error::{Exit, Failure, Problem};

/// What the agent found wrong with the request, where it said so.
pub(crate) fn violations(status: &Status) -> Vec<Violation> {
    if status.code() != Code::InvalidArgument {
        return Vec::new();
    }
    refusal::from_status(status)
}

/// The failure of a call.
pub(crate) fn failure(status: &Status) -> Failure {
    let found = violations(status);
    if !found.is_empty() {
        let problem = |violation: Violation| {
            let Violation { field, message, mend, .. } = violation;
            Problem::new(if field.is_empty() { message } else { format!("{field}: {message}") }, mend)
        };
        return Failure { exit: Exit::Usage, problems: found.into_iter().map(problem).collect() };
    }
    let message = status.message();
    match status.code() {
        Code::InvalidArgument => Failure::usage(message, ""),
        Code::NotFound => Failure::usage(message, "`sstsctl runs` lists the runs that the agent knows"),
        Code::AlreadyExists => Failure::usage(message, "choose another id"),
        Code::FailedPrecondition => Failure::agent(message, "`sstsctl status` says what the agent is doing"),
        Code::PermissionDenied | Code::Unauthenticated => Failure::agent(
            format!("the agent does not permit this: {message}"),
            "ask its administrator for the role",
        ),
        Code::ResourceExhausted => Failure::agent(message, "wait a moment, then try again"),
        Code::Unimplemented => Failure::agent(
            format!("the agent does not know this call: {message}"),
            "bring sstsctl and sstsd to the same version",
        ),
        Code::DeadlineExceeded | Code::Cancelled => Failure::agent(
            format!("the agent does not answer: {message}"),
            "see `systemctl status sstsd` and its log on that host",
        ),
        Code::Unavailable => Failure::agent(
            format!("the agent is gone: {}", deepest(status)),
            "see `systemctl status sstsd` on that host",
        ),
        code => Failure::agent(
            format!("the agent failed ({code:?}): {}", deepest(status)),
            "see the agent's log: `journalctl -u sstsd`",
        ),
    }
}

/// The message, and the first cause below it, where a connection broke.
fn deepest(status: &Status) -> String {
    let mut message = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(current) = cause {
        if current.source().is_none() {
            message = format!("{message}: {current}");
        }
        cause = current.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_of_a_refusal_is_told() {
        let violation = |field: &str| Violation {
            field: field.into(),
            message: "bad".into(),
            mend: "mend".into(),
            ..Violation::default()
        };
        let status = refusal::to_status(vec![violation("scenario.name"), violation("")]);
        let failure = failure(&status);
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.to_string(), "error: scenario.name: bad\nmend: mend\nerror: bad\nmend: mend\n");
    }

    #[test]
    fn codes_become_exit_statuses() {
        for (status, exit) in [
            (Status::invalid_argument("x"), Exit::Usage),
            (Status::not_found("x"), Exit::Usage),
            (Status::failed_precondition("x"), Exit::AgentFailed),
            (Status::unavailable("x"), Exit::AgentFailed),
            (Status::internal("x"), Exit::AgentFailed),
            (Status::permission_denied("x"), Exit::AgentFailed),
        ] {
            assert_eq!(failure(&status).exit, exit, "{status:?}");
        }
    }

    #[test]
    fn details_that_are_no_refusal_are_passed_over() {
        let status = Status::with_details(Code::InvalidArgument, "no", vec![0xff, 0xff].into());
        assert_eq!(failure(&status).to_string(), "error: no\n");
    }
}
