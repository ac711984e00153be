//! How long starting and ending take.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use ssts_proto::v1::{
    Burner, CpuBurner, Phase, Scenario, StartRequest, StopRequest, agent_client::AgentClient, burner,
};
use ssts_tests::{
    Ctl, Daemon, Ground,
    outside::{Process, Thread},
};

use crate::{
    BURNS, ROUNDS,
    measure::{SURVIVAL, since},
    peer::{self, StressNg},
    table::{Figure, Pair, Table},
};

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    start_and_stop(ground, table, 2, 11.0, 5.0);
    start_and_stop(ground, table, 64, 60.0, 30.0);
    killed(ground, table);
}

/// Once all are known, they are looked for again only so often.
const LOOKS: usize = 8;

/// Who was seen to burn. Who was once is not looked at again: looking takes time, and from those that do not burn yet.
#[derive(Debug)]
struct Seen<T> {
    looks: usize,
    waiting: Vec<T>,
    burning: Vec<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { looks: 0, waiting: Vec::new(), burning: Vec::new() }
    }
}

impl<T: PartialEq> Seen<T> {
    /// How many have burnt up to now.
    fn burning(
        &mut self,
        workers: usize,
        all: impl FnOnce() -> Vec<T>,
        cpu_time: impl Fn(&T) -> Option<Duration>,
    ) -> usize {
        let Self { looks, waiting, burning } = self;
        *looks += 1;
        if waiting.len() + burning.len() < workers || looks.is_multiple_of(LOOKS) {
            for one in all() {
                if !waiting.contains(&one) && !burning.contains(&one) {
                    waiting.push(one);
                }
            }
        }
        burning.extend(waiting.extract_if(.., |one| cpu_time(one) > Some(BURNS)));
        if burning.len() >= workers {
            // One that only started the others is gone by now.
            burning.retain(|one| cpu_time(one).is_some());
        }
        burning.len()
    }
}

/// From the command to the last worker that burns, and from the stop to silence. Commands come over gRPC on a connection
/// that is there already; stress-ng's by exec and signal.
fn start_and_stop(ground: &Ground, table: &mut Table, workers: usize, start_ms: f64, stop_ms: f64) {
    let (mut start, mut stop) = (Pair::default(), Pair::default());
    let daemon = Daemon::start(ground);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // A signal is sent by a thread that does not wait for a core, and so is the command.
        .on_thread_start(peer::look_first)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("no runtime: {error}"));
    let mut client = AgentClient::new(runtime.block_on(ssts_tests::connect(ground)));
    for round in 0..ROUNDS {
        let run_id = format!("times-{workers}-{round}");
        let cpu = CpuBurner { workers: Some(workers as u32), ..CpuBurner::default() };
        let burners = vec![Burner { kind: Some(burner::Kind::Cpu(cpu)) }];
        let phase = Phase { name: "burn".into(), duration_ms: 60_000, burners, ..Phase::default() };
        let scenario = Scenario { name: "times".into(), phases: vec![phase], ..Scenario::default() };
        let request =
            StartRequest { run_id: run_id.clone(), scenario: Some(scenario), ..StartRequest::default() };
        let mut seen = Seen::default();
        let begin = Instant::now();
        let started = runtime.block_on(client.start(request));
        assert!(started.is_ok(), "{started:?}");
        let mut burners = Vec::new();
        let all_burn = || {
            if burners.is_empty() {
                burners = daemon.burners();
            }
            let threads = || burners.iter().flat_map(Process::workers).collect();
            seen.burning(workers, threads, Thread::cpu_time) >= workers
        };
        start.ours.push(since(begin, all_burn));
        thread::sleep(Duration::from_millis(500));
        let begin = Instant::now();
        let stopping = StopRequest { run_id, ..StopRequest::default() };
        let answer = runtime.spawn({
            let mut client = client.clone();
            async move { client.stop(stopping).await.is_ok() }
        });
        stop.ours.push(since(begin, || !burners.iter().any(Process::is_alive)));
        assert!(runtime.block_on(answer).unwrap_or(false), "the stop was refused");

        let begin = Instant::now();
        let Some(mut stress_ng) = StressNg::spawn(&["--cpu", &workers.to_string()]) else { continue };
        let mut seen = Seen::default();
        let processes = || stress_ng.all();
        start.peer.push(since(begin, || seen.burning(workers, processes, Process::cpu_time) >= workers));
        let all = stress_ng.all();
        thread::sleep(Duration::from_millis(500));
        let begin = Instant::now();
        stress_ng.signal(Signal::SIGINT);
        stop.peer.push(since(begin, || stress_ng.reap() && !all.iter().any(Process::is_alive)));
    }
    let figure = |name: String, pair, most| Figure {
        at_most: Some(most),
        ..Figure::new(name, "ms", "stress-ng", pair)
    };
    table.add_figure(figure(format!("command to {workers} burning workers"), start, start_ms));
    table.add_figure(figure(format!("stop to the last of {workers} gone"), stop, stop_ms));
}

/// `kill -9` of whoever is in charge: until the last of its burners is gone.
fn killed(ground: &Ground, table: &mut Table) {
    let mut pair = Pair::default();
    for _ in 0..ROUNDS {
        let mut daemon = Daemon::start(ground);
        Ctl::new(ground).words("burn cpu --duration 1m --detach").run().assert_status(0);
        let burners = daemon.burning(1);
        let begin = Instant::now();
        daemon.signal(Signal::SIGKILL);
        pair.ours.push(since(begin, || !burners.iter().any(Process::is_alive)));
        daemon.wait(SURVIVAL);

        let Some(mut stress_ng) = StressNg::spawn(&["--cpu", "2"]) else { continue };
        let burners = stress_ng.burning(2);
        let begin = Instant::now();
        stress_ng.signal(Signal::SIGKILL);
        let gone = since(begin, || stress_ng.reap() && !burners.iter().any(Process::is_alive));
        let survives = gone >= SURVIVAL.as_secs_f64() * 1e3;
        pair.note = survives.then(|| "some survive: counted as 3,000 ms".to_owned()).or(pair.note);
        pair.peer.push(gone);
        burners.iter().for_each(Process::kill);
    }
    table.add("kill -9 to the last burner gone", "ms", "stress-ng", pair);
}
