use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use ssts_proto::v1::{Cause, Phase};

use super::{super::app::tests::fleet, *};

/// What was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Told {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn progress(wish: Wish) -> (Progress, Output, Told) {
    let told = Told::default();
    let output = Output::captured(io::sink(), told.clone());
    let phase = Phase { name: "one".into(), duration_ms: 8_000, ..Phase::default() };
    let scenario = Scenario { name: "burn-in".into(), phases: vec![phase], ..Scenario::default() };
    (Progress::new(&fleet(3).members, "r-1", &scenario, wish, &output), output, told)
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
fn lines_tell_how_many_stand_where_and_who_is_in_trouble() {
    let (mut progress, mut output, told) = progress(Wish::Progress);
    let mut news = |member, news| progress.take(FleetUpdate { member, news }, &mut output);
    news(0, News::Connected);
    news(0, News::Ready);
    news(1, News::NotReady(Failure::agent("core 1 is taken", "wait")));
    news(2, News::Connected);
    news(0, state(RunState::Running, Verdict::Unspecified));
    news(2, state(RunState::Running, Verdict::Unspecified));
    news(2, News::Lost(Failure::agent("connection reset", "")));
    progress.tick(&mut output);
    let text = told.text();
    for part in [
        "node2: not ready: core 1 is taken\n",
        "node3: lost: connection reset\n",
        "burn-in  run r-1  0:00 of 0:08 | 3 hosts: 1 running, 1 not ready, 1 lost",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let mut news = |member, news| progress.take(FleetUpdate { member, news }, &mut output);
    news(2, News::Back);
    news(0, state(RunState::Finished, Verdict::Pass));
    news(2, state(RunState::Finished, Verdict::Aborted));
    let lines = progress.lines();
    assert_eq!(lines[1], "3 hosts: 2 over, 1 not ready; 1 did not pass");
    assert!(lines.iter().any(|line| line.contains("node3  over:") && line.contains("too hot")), "{lines:?}");
}

#[test]
fn a_thousand_of_one_kind_are_not_all_told() {
    let (mut progress, mut output, told) = progress(Wish::Progress);
    for attempt in 0..100 {
        let news = News::Lost(Failure::agent(format!("attempt {attempt}"), ""));
        progress.take(FleetUpdate { member: 0, news }, &mut output);
    }
    let text = told.text();
    assert_eq!(text.lines().count(), LINES_OF_A_KIND, "{text}");
    assert!(text.ends_with("the result names them all\n"), "{text}");
}

#[test]
fn silence_is_kept_and_asks_for_no_frames() {
    let (mut silent, mut output, told) = progress(Wish::Silence);
    silent.take(FleetUpdate { member: 0, news: News::Ready }, &mut output);
    silent.take(FleetUpdate { member: 9, news: News::Ready }, &mut output);
    silent.tick(&mut output);
    assert_eq!((told.text(), silent.frames()), (String::new(), None));
    silent.note("stopping", &mut output);
    assert_eq!(told.text(), "stopping\n");
    let (told_of, ..) = progress(Wish::Progress);
    assert!(told_of.frames().is_some_and(|wish| wish.prefixes.iter().any(|it| it == "burner.on_cpu_time")));
}
