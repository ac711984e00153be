//! How old a frame is when a client has it: from the end of the agent's reading to the message in the client's hands, decoded,
//! with several clients at once on the same host.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use ssts_proto::v1::{WatchRequest, agent_client::AgentClient, watch_response::Item};
use ssts_tests::{Daemon, Ground};
use tonic::transport::Channel;

use crate::{
    ROUNDS,
    safety::percentile,
    table::{Figure, Pair, Table},
};

const WATCHERS: usize = 8;
const ROUND: Duration = Duration::from_secs(10);
const MOST_MS: f64 = 20.0;

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let _daemon = Daemon::start(ground);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("no runtime: {error}"));
    let mut pair = Pair::default();
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let watchers: Vec<_> = (0..WATCHERS)
            .map(|_| runtime.block_on(ssts_tests::connect(ground)))
            .map(|channel| runtime.spawn(ages_ms(channel)))
            .collect();
        let ages: Vec<f64> = watchers
            .into_iter()
            .flat_map(|watcher| runtime.block_on(watcher).unwrap_or_else(|error| panic!("{error}")))
            .collect();
        pair.ours.push(percentile(&ages, 0.99));
        all.extend(ages);
    }
    let [p50, max] = [0.5, 1.0].map(|share| percentile(&all, share));
    pair.note = Some(format!("all of {} frames: p50 {p50:.2}, max {max:.1}", all.len()));
    let name = format!("age of a frame at each of {WATCHERS} clients, 10 Hz, all metrics, p99");
    table.add_figure(Figure { at_most: Some(MOST_MS), ..Figure::new(name, "ms", "", pair) });
}

/// Of every frame that comes in a round, for a connection of its own.
async fn ages_ms(channel: Channel) -> Vec<f64> {
    let request = WatchRequest { frames: true, ..WatchRequest::default() };
    let answer = AgentClient::new(channel).watch(request).await;
    let mut stream = answer.unwrap_or_else(|status| panic!("{status}")).into_inner();
    let begin = Instant::now();
    let mut ages = Vec::new();
    while begin.elapsed() < ROUND {
        let message = stream.message().await.unwrap_or_else(|status| panic!("{status}"));
        match message.and_then(|message| message.item) {
            Some(Item::Frame(frame)) => {
                ages.push((monotonic() - Duration::from_nanos(frame.end_ns)).as_secs_f64() * 1e3);
            }
            Some(Item::Lagged(lagged)) => panic!("{} frames were dropped", lagged.dropped),
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    }
    ages
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}
