use ssts_proto::v1::{Cause, Phase};

use super::{super::app::tests::fleet, *};
use crate::error::Failure;

fn live(hosts: usize) -> LiveFleet {
    let phase = Phase { name: "one".into(), duration_ms: 8_000, ..Phase::default() };
    let scenario = Scenario { name: "burn-in".into(), phases: vec![phase], ..Scenario::default() };
    let nowhere = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    LiveFleet::on(nowhere, &fleet(hosts).members, "r-1", &scenario)
}

fn state(state: RunState, verdict: Verdict) -> News {
    let cause = if verdict == Verdict::Aborted { Cause::GuardTripped } else { Cause::Completed };
    News::State(RunSummary {
        run_id: "r-1".into(),
        state: state.into(),
        verdict: verdict.into(),
        cause: cause.into(),
        cause_message: "too hot".into(),
        ..RunSummary::default()
    })
}

#[test]
fn the_picture_tells_how_many_stand_where_and_who_is_in_trouble() {
    let mut live = live(3);
    let mut news = |member, news| live.take(&FleetUpdate { member, news });
    news(0, News::Connected);
    news(0, News::Ready);
    news(1, News::NotReady(Failure::agent("core 1 is taken", "wait")));
    news(2, News::Connected);
    news(0, state(RunState::Running, Verdict::Unspecified));
    news(2, state(RunState::Running, Verdict::Unspecified));
    news(2, News::Lost(Failure::agent("connection reset", "")));
    // Of nobody.
    news(9, News::Ready);
    assert_eq!(
        live.lines(),
        [
            "burn-in  run r-1  0:00 of 0:08",
            "3 hosts: 1 running, 1 not ready, 1 lost",
            "  node2  not ready: core 1 is taken",
            "  node3  lost: connection reset",
        ]
    );
    let mut news = |member, news| live.take(&FleetUpdate { member, news });
    news(2, News::Back);
    news(0, state(RunState::Finished, Verdict::Pass));
    news(2, state(RunState::Finished, Verdict::Aborted));
    let lines = live.lines();
    assert_eq!(lines[1], "3 hosts: 2 over, 1 not ready; 1 did not pass");
    assert!(lines.iter().any(|line| line.contains("node3  over:") && line.contains("too hot")), "{lines:?}");
    live.draw();
    live.clear();
}

#[test]
fn only_a_few_of_many_in_trouble_are_named() {
    let mut live = live(100);
    for member in 0..100 {
        live.take(&FleetUpdate { member, news: News::Lost(Failure::agent("gone", "")) });
    }
    let lines = live.lines();
    assert_eq!(lines.len(), 2 + NAMED + 1, "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("  and 96 more"));
}
