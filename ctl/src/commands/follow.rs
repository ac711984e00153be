//! Follows a run to its end, shows it, and carries out what the user wants on Ctrl-C.

use ssts_proto::v1::{
    HaltRequest, Lagged, RunState, RunSummary, StopRequest, WatchRequest, WatchResponse, watch_response::Item,
};
use tokio::{
    task::JoinHandle,
    time::{Interval, MissedTickBehavior},
};
use tonic::{Response, Status, Streaming};

use crate::{
    connect::Client, display::Display, error::Failure, interrupts::Interrupts, output::Output, status,
};

/// Whose run it is, and so what Ctrl-C means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It was started by this command: Ctrl-C stops it, a second one halts the agent.
    Owner,
    /// It goes on without us.
    Onlooker,
}

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The run is over, by itself or because somebody else ended it.
    Finished,
    /// The run is over because the user interrupted it.
    Interrupted,
    /// The run is over because the user halted the agent.
    Halted,
    /// The user did not want to see more; the run may go on.
    Left,
}

/// Where to look and where to show it.
#[derive(Debug)]
pub(super) struct Follower<'a> {
    pub(super) client: Client,
    pub(super) run_id: &'a str,
    pub(super) role: Role,
    pub(super) display: Display,
    pub(super) output: &'a mut Output,
    pub(super) interrupts: &'a mut Interrupts,
}

/// What the user's interruptions have set going.
#[derive(Debug, Default)]
struct Ending {
    interruptions: u32,
    has_left: bool,
    /// Ends when the agent has proved that the run is over.
    call: Option<JoinHandle<Result<(), Status>>>,
}

enum Step {
    Item(Result<Option<WatchResponse>, Status>),
    Interrupted,
    CallEnded(Result<(), Status>),
    Tick,
}

impl Follower<'_> {
    /// Until the run is over.
    pub(super) async fn follow(mut self) -> Result<Ended, Failure> {
        let result = self.watch().await;
        self.display.end();
        result
    }

    async fn watch(&mut self) -> Result<Ended, Failure> {
        let mut stream = self.open().await?;
        let mut ticks = tokio::time::interval(self.display.tick_time());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = Ending::default();
        self.until_over(&mut stream, &mut ticks, &mut ending).await?;
        // A halt that is under way must be known before anybody clears it.
        if let Some(call) = ending.call.take()
            && let Ok(Err(status)) = call.await
        {
            self.tell(&status);
        }
        Ok(ending.outcome())
    }

    async fn until_over(
        &mut self,
        stream: &mut Streaming<WatchResponse>,
        ticks: &mut Interval,
        ending: &mut Ending,
    ) -> Result<(), Failure> {
        loop {
            let step = tokio::select! {
                item = stream.message() => Step::Item(item),
                () = self.interrupts.next() => Step::Interrupted,
                result = ended(&mut ending.call) => Step::CallEnded(result),
                _ = ticks.tick() => Step::Tick,
            };
            match step {
                Step::Item(Ok(Some(WatchResponse { item: Some(item) }))) => {
                    if self.show(item) {
                        return Ok(());
                    }
                }
                Step::Item(Ok(Some(WatchResponse { item: None }))) => {}
                Step::Item(Ok(None)) => return Err(self.lost("it closed the stream")),
                Step::Item(Err(status)) => return Err(self.lost(&status::failure(&status).to_string())),
                Step::Interrupted if self.role == Role::Onlooker => {
                    ending.has_left = true;
                    return Ok(());
                }
                Step::Interrupted => self.interrupted(ending)?,
                Step::CallEnded(Ok(())) => return Ok(()),
                Step::CallEnded(Err(status)) => self.tell(&status),
                Step::Tick => self.display.tick(self.output),
            }
        }
    }

    fn tell(&mut self, status: &Status) {
        let reason = status::failure(status).to_string();
        self.display.note(reason.trim_end(), self.output);
    }

    async fn open(&mut self) -> Result<Streaming<WatchResponse>, Failure> {
        let rate = self.display.frames_per_s();
        let request = WatchRequest {
            run_id: Some(self.run_id.to_owned()),
            states: true,
            events: true,
            frames: rate.is_some(),
            max_rate_hz: rate,
            metric_prefixes: Vec::new(),
        };
        let response = self.client.watch(request).await.map_err(|status| status::failure(&status))?;
        Ok(response.into_inner())
    }

    /// Shows what came. Whether the run is over.
    fn show(&mut self, item: Item) -> bool {
        match item {
            Item::State(summary) => {
                let is_over = summary.state() == RunState::Finished;
                self.display.state(summary, self.output);
                return is_over;
            }
            Item::Event(event) => self.display.event(&event, self.output),
            Item::Schema(schema) => self.display.schema(schema),
            Item::Frame(frame) => self.display.frame(&frame, self.output),
            Item::Lagged(lagged) => self.display.note(&lag_words(lagged), self.output),
            // What is left out here is in the result.
            Item::Guards(_) => {}
        }
        false
    }

    fn interrupted(&mut self, ending: &mut Ending) -> Result<(), Failure> {
        ending.interruptions += 1;
        let run_id = self.run_id.to_owned();
        let mut client = self.client.clone();
        match ending.interruptions {
            1 => {
                self.display.note("stopping the run; Ctrl-C once more halts the agent", self.output);
                let request = StopRequest { run_id, reason: "sstsctl was interrupted".into() };
                ending.call = Some(tokio::spawn(async move { client.stop(request).await.map(over) }));
            }
            2 => {
                self.display.note("halting the agent; Ctrl-C once more gives up waiting", self.output);
                let request = HaltRequest { reason: "sstsctl was interrupted twice".into(), clear: false };
                ending.call = Some(tokio::spawn(async move { client.halt(request).await.map(over) }));
            }
            _ => {
                self.output.message("no proof that the run is over was waited for: see `sstsctl status`");
                return Err(Failure::interrupted());
            }
        }
        Ok(())
    }

    fn lost(&self, why: &str) -> Failure {
        let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let mend = match self.role {
            Role::Owner => format!(
                "the run stops by itself, at the latest when its lease of {} s is over; `sstsctl report {}` has its end",
                super::lease::TTL_MS / 1_000,
                self.run_id
            ),
            Role::Onlooker => "see `systemctl status sstsd` on that host".to_owned(),
        };
        Failure::agent(format!("lost the agent during run {}: {why}", self.run_id), mend)
    }
}

impl Ending {
    fn outcome(&self) -> Ended {
        match self.interruptions {
            _ if self.has_left => Ended::Left,
            0 => Ended::Finished,
            1 => Ended::Interrupted,
            _ => Ended::Halted,
        }
    }
}

/// What is missing of what was shown: the run's record has all of it.
pub(super) fn lag_words(Lagged { dropped }: Lagged) -> String {
    let (frames, were) = if dropped == 1 { ("frame", "was") } else { ("frames", "were") };
    format!(
        "{dropped} {frames} of telemetry {were} left out: this side is too slow for all that the agent sends"
    )
}

fn over<T>(_: Response<T>) {}

/// The end of the call, if there is one; else never.
async fn ended(call: &mut Option<JoinHandle<Result<(), Status>>>) -> Result<(), Status> {
    let Some(running) = call else { return std::future::pending().await };
    let result = running.await.unwrap_or_else(|error| Err(Status::internal(error.to_string())));
    *call = None;
    result
}

/// The one run that goes on now, if one does.
///
/// # Errors
/// Several do.
pub(super) async fn the_run(client: &mut Client) -> Result<Option<String>, Failure> {
    match &current_runs(client).await?[..] {
        [] => Ok(None),
        [run] => Ok(Some(run.run_id.clone())),
        several => {
            let name = |run: &RunSummary| format!("{} ({})", run.run_id, run.scenario);
            let names: Vec<_> = several.iter().map(name).collect();
            Err(Failure::usage(
                format!("{} runs go on: {}", several.len(), names.join(", ")),
                "name the one that is meant",
            ))
        }
    }
}

/// The runs that go on now, the latest first.
pub(super) async fn current_runs(client: &mut Client) -> Result<Vec<RunSummary>, Failure> {
    let request = ssts_proto::v1::ListRunsRequest { limit: None };
    let runs = client.list_runs(request).await.map_err(|status| status::failure(&status))?.into_inner().runs;
    Ok(runs.into_iter().filter(|run| run.state() != RunState::Finished).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_counted() {
        assert!(lag_words(Lagged { dropped: 1 }).starts_with("1 frame of telemetry was left out"));
        assert!(lag_words(Lagged { dropped: 7 }).starts_with("7 frames of telemetry were left out"));
    }
}
