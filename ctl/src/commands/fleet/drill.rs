//! `drill` over a fleet. Faults are put to an agent of the host that sstsctl runs on; of others is shown what their latest drill
//! said, and when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ssts_proto::v1::{DescribeRequest, DescribeResponse, Drill, DrillOutcome};

use super::{AT_ONCE, Session, ask, exit, json, print, title};
use crate::{
    error::{Exit, Failure},
    fleet::Fleet,
    json::{LatestDrillOut, plain, rfc3339},
    report::{Align, Document, Table},
    status as grpc, text,
};

/// The latest drill of a host.
struct Latest {
    drill: Option<Drill>,
    agent_version: String,
    age: Option<Duration>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pass,
    Fail,
    Skipped,
    None,
    Old,
}

/// `drill`.
pub(super) async fn drill(
    fleet: &Fleet,
    is_narrowed: bool,
    max_age_ms: u64,
    session: &mut Session,
) -> Result<Exit, Failure> {
    if is_narrowed {
        return Err(Failure::usage(
            "faults are put to the host alone that sstsctl runs on",
            "leave --only and --halt out to see the latest drill of each host; or run `sstsctl drill` there",
        ));
    }
    let max_age = Duration::from_millis(max_age_ms);
    let answers = ask(fleet, AT_ONCE, session, move |mut client| async move {
        let described = client.describe(DescribeRequest {}).await;
        let described = described.map_err(|status| grpc::failure(&status))?.into_inner();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Latest::of(described, now, max_age))
    })
    .await?;
    if session.wants_json() {
        session.output.json(&json(&answers, Latest::out))?;
    } else {
        let mut document = Document::default();
        title(&mut document, &answers, "answered");
        let mut table = Table::new(&[
            ("host", Align::Left),
            ("drill", Align::Left),
            ("age", Align::Right),
            ("sstsd drilled", Align::Left),
            ("sstsd now", Align::Left),
            ("did not pass", Align::Left),
        ]);
        for answer in &answers {
            let name = answer.member.name.clone();
            let Ok(latest) = &answer.result else {
                table.row([name, "no answer".into()]);
                continue;
            };
            table.row([
                name,
                latest.state.shown().to_owned(),
                latest.age.map(|age| text::duration(whole_minutes_ms(age))).unwrap_or_default(),
                latest.drill.as_ref().map(|drill| drill.agent_version.clone()).unwrap_or_default(),
                latest.agent_version.clone(),
                latest.unproven().join(", "),
            ]);
        }
        document.table(table);
        let unproven = answers.iter().filter_map(|answer| answer.result.as_ref().ok());
        if unproven.filter(|latest| latest.state != State::Pass).count() > 0 {
            document.line("run `sstsctl drill` on those that have no drill that passed, or an old one");
        }
        print(&document, &answers, &mut session.output)?;
    }
    let is_proven = answers.iter().filter_map(|answer| answer.result.as_ref().ok());
    Ok(match exit(&answers) {
        Exit::Pass if is_proven.into_iter().any(|latest| latest.state != State::Pass) => {
            Exit::ThresholdFailed
        }
        exit => exit,
    })
}

impl Latest {
    fn of(described: DescribeResponse, now: Duration, max_age: Duration) -> Self {
        let agent_version = described.host.unwrap_or_default().agent_version;
        let drill = described.drill;
        let at = |drill: &Drill| Duration::from_nanos(u64::try_from(drill.at_unix_ns).unwrap_or_default());
        // A clock that was set back makes none older.
        let age = drill.as_ref().map(|drill| now.saturating_sub(at(drill)));
        let state = match (&drill, age) {
            (Some(drill), Some(age)) => match drill.outcome() {
                DrillOutcome::Pass if age > max_age || drill.agent_version != agent_version => State::Old,
                DrillOutcome::Pass => State::Pass,
                DrillOutcome::Skipped => State::Skipped,
                DrillOutcome::Fail | DrillOutcome::Unspecified => State::Fail,
            },
            _ => State::None,
        };
        Self { drill, agent_version, age, state }
    }

    fn unproven(&self) -> Vec<String> {
        let faults = self.drill.iter().flat_map(|drill| &drill.faults);
        let unproven = faults.filter(|fault| fault.outcome() != DrillOutcome::Pass);
        unproven
            .map(|fault| format!("{} {}", fault.name, plain(fault.outcome().as_str_name(), "DRILL_OUTCOME_")))
            .collect()
    }

    fn out(&self) -> LatestDrillOut {
        LatestDrillOut {
            state: self.state.name(),
            at: self.drill.as_ref().map(|drill| rfc3339(drill.at_unix_ns)),
            age_s: self.age.map(|age| age.as_secs_f64()),
            drilled_version: self.drill.as_ref().map(|drill| drill.agent_version.clone()),
            agent_version: self.agent_version.clone(),
            unproven: self.unproven(),
        }
    }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
            Self::None => "none",
            Self::Old => "old",
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Skipped => "SKIPPED",
            Self::None => "NONE",
            Self::Old => "OLD",
        }
    }
}

/// Of an age nobody wants seconds, once it has minutes.
fn whole_minutes_ms(age: Duration) -> u64 {
    let seconds = age.as_secs();
    1_000 * if seconds < 120 { seconds } else { seconds / 60 * 60 }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::Host;

    use super::*;

    fn latest(outcome: Option<DrillOutcome>, age_s: u64, version: &str) -> State {
        let drill = outcome.map(|outcome| Drill {
            at_unix_ns: (1_000_000 - age_s as i64) * 1_000_000_000,
            agent_version: "1".into(),
            outcome: outcome.into(),
            ..Drill::default()
        });
        let host = Some(Host { agent_version: version.into(), ..Host::default() });
        let described = DescribeResponse { host, drill, ..DescribeResponse::default() };
        Latest::of(described, Duration::from_secs(1_000_000), Duration::from_secs(60)).state
    }

    #[test]
    fn only_a_drill_that_passed_lately_with_this_agent_proves_something() {
        use DrillOutcome::{Fail, Pass, Skipped};
        for (outcome, age_s, version, state) in [
            (Some(Pass), 60, "1", State::Pass),
            (Some(Pass), 61, "1", State::Old),
            (Some(Pass), 0, "2", State::Old),
            (Some(Fail), 0, "1", State::Fail),
            (Some(Skipped), 0, "1", State::Skipped),
            (None, 0, "1", State::None),
        ] {
            assert_eq!(latest(outcome, age_s, version), state, "{outcome:?} {age_s} {version}");
        }
    }
}
