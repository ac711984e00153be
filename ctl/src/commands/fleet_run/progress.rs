//! Lines that say how a fleet run goes: what all hosts do in common is one line, what one host does alone is its own.

use ssts_proto::v1::{EventKind, RunState, Scenario};

use super::{super::follow::lag_words, is_trouble};
use crate::{
    display::Wish,
    error::Failure,
    fleet::{FleetUpdate, FrameWish, LiveFleet, Member, News},
    json::rfc3339,
    output::Output,
    report::verdict_line,
    text::printable,
};

/// What was seen of a fleet run.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    members: &'a [Member],
    /// Hosts of the wave that is on.
    all: usize,
    is_shown: bool,
    connected: usize,
    ready: usize,
    begun: usize,
    running: usize,
    /// Hosts that no longer count: left out, or called off.
    out: usize,
    /// Where somebody sits at a terminal.
    live: Option<LiveFleet>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(members: &'a [Member], wish: Wish) -> Self {
        let is_shown = wish != Wish::Silence;
        let all = members.len();
        Self { members, all, is_shown, connected: 0, ready: 0, begun: 0, running: 0, out: 0, live: None }
    }

    /// With a picture of all hosts below the lines, where there is a terminal for it.
    pub(super) fn with_picture(mut self, run_id: &str, scenario: &Scenario, output: &Output) -> Self {
        if self.is_shown && output.on_terminal() {
            self.live = Some(LiveFleet::new(self.members, run_id, scenario));
        }
        self
    }

    /// Which telemetry it shows.
    pub(super) fn frames(&self) -> Option<FrameWish> {
        self.live.as_ref().map(|_| LiveFleet::frames())
    }

    /// Time went on.
    pub(super) fn tick(&mut self) {
        if let Some(live) = &mut self.live {
            live.draw();
        }
    }

    /// Takes the picture away, so that the result has the terminal for itself.
    pub(super) fn end(&mut self) {
        if let Some(mut live) = self.live.take() {
            live.clear();
        }
    }

    /// Says something beside the picture.
    pub(super) fn note(&self, line: &str, output: &mut Output) {
        match &self.live {
            Some(live) => live.print(&printable(line)),
            None => output.message(&printable(line)),
        }
    }

    pub(super) fn show(&mut self, update: FleetUpdate, output: &mut Output) {
        if let Some(live) = &mut self.live {
            live.take(&update);
        }
        let FleetUpdate { member, news } = update;
        let name = self.members.get(member).map_or("?", |member| member.name.as_str());
        let is_told = self.is_shown || is_trouble(&news);
        if let Some(line) = self.line(name, news)
            && is_told
        {
            self.note(&line, output);
        }
    }

    fn line(&mut self, name: &str, news: News) -> Option<String> {
        let all = self.all;
        match news {
            News::Connected => {
                self.connected += 1;
                (self.connected == all).then(|| format!("{all} hosts answer"))
            }
            News::Ready => {
                self.ready += 1;
                (self.ready + self.out == all).then(|| format!("{} of {all} hosts are ready", self.ready))
            }
            News::NotReady(failure) => {
                self.out += 1;
                Some(format!("{name}: not ready: {}", words(&failure)))
            }
            News::CalledOff => {
                self.out += 1;
                (self.out == all).then(|| "the run is called off: no host has begun".to_owned())
            }
            News::Begins { at_unix_ns } => {
                self.begun += 1;
                (self.begun + self.out == all).then(|| {
                    let at = rfc3339(at_unix_ns);
                    format!("{} of {all} hosts begin at one instant: {at} by the clock of {name}", self.begun)
                })
            }
            News::State(summary) => match summary.state() {
                RunState::Running if summary.phase_index == Some(0) => {
                    self.running += 1;
                    (self.running == self.begun.max(1)).then(|| format!("{} hosts run", self.running))
                }
                RunState::Finished => Some(format!("{name}: {}", verdict_line(&summary))),
                _ => None,
            },
            News::Event(event) => {
                let is_told = matches!(
                    event.kind(),
                    EventKind::GuardTripped
                        | EventKind::GuardWarned
                        | EventKind::LoadDerated
                        | EventKind::HardwareError
                        | EventKind::ThresholdFailed
                        | EventKind::Decision
                        | EventKind::RunPaused
                        | EventKind::RunResumed
                );
                is_told.then(|| format!("{name}: {}", event.message))
            }
            News::Lost(failure) => Some(format!("{name}: lost, and tried again: {}", words(&failure))),
            News::Back => Some(format!("{name}: back")),
            News::Lagged(lagged) => Some(format!("{name}: {}", lag_words(lagged))),
            News::Halted(Ok(())) => {
                Some(format!("{name}: halted; nothing starts there until `sstsctl halt --clear`"))
            }
            News::Halted(Err(failure)) => Some(format!("{name}: NOT HALTED: {}", words(&failure))),
            News::Wave { words, hosts } => {
                // Counted are the hosts of a wave, each wave anew.
                self.all = hosts;
                (self.connected, self.ready, self.begun, self.running, self.out) = (0, 0, 0, 0, 0);
                Some(words)
            }
            News::CutShort(words) | News::GateShut(words) => Some(words),
            News::Over | News::Guards(_) | News::Schema(_) | News::Frame(_) => None,
        }
    }
}

/// Without heading and mend: those are in the result.
fn words(failure: &Failure) -> &str {
    failure.problems.first().map_or("", |problem| problem.message.as_str())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};

    use ssts_proto::v1::{Lagged, watch_response::Item};

    use super::*;
    use crate::{cli::Host, fleet::Fleet};

    fn told(wish: Wish, item: Item) -> String {
        let fleet = Fleet::of_hosts(&["a", "b"].map(|name| Host::Unix(format!("/run/{name}").into())));
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Output::captured(io::sink(), writer);
        Progress::new(&fleet.members, wish).show(FleetUpdate { member: 1, news: item.into() }, &mut output);
        drop(output);
        let mut told = String::new();
        reader.read_to_string(&mut told).unwrap();
        told
    }

    /// As the watch of one host does, whose progress is silent too where the result is JSON.
    #[test]
    fn what_a_host_left_out_is_told_with_its_name() {
        for wish in [Wish::Progress, Wish::Silence] {
            let told = told(wish, Item::Lagged(Lagged { dropped: 7 }));
            let words = "unix:/run/b: 7 frames of telemetry were left out: this side is too slow";
            assert!(told.starts_with(words), "{told}");
        }
    }
}
