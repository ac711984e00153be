//! A daemon that has carried out many runs holds no more than one that has carried out few: no descriptors, memory, threads,
//! cgroups, programs or maps are left.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use ssts_proto::v1::{
    Burner, Constant, CpuBurner, ListRunsRequest, Phase, Profile, RunState, Scenario, StartRequest,
    StopRequest, agent_client::AgentClient, burner, profile::Shape,
};
use ssts_tests::{Daemon, Ground, connect, note};
use tonic::{Code, transport::Channel};

/// Allocators, caches and the list of runs reach their size within these.
const WARM_UP: usize = 60;
/// What remembering a run takes of memory (its summary, 1,000 of them at most), and what an allocator keeps.
const BYTES_A_RUN: u64 = 4 << 10;
/// The flight recorder fills meanwhile, too: 8 MiB and the names of its columns.
const SLACK_BYTES: u64 = 16 << 20;

/// What the kernel's books say that a daemon holds.
#[derive(Debug, PartialEq, Eq)]
struct Holds {
    descriptors: usize,
    kinds: std::collections::BTreeMap<String, usize>,
    programs: usize,
    maps: usize,
    threads: usize,
    mappings: usize,
    cgroups: usize,
    children: usize,
}

impl Holds {
    fn of(daemon: &Daemon) -> Self {
        let process = daemon.process();
        let folder = PathBuf::from(format!("/proc/{}", process.pid));
        let links: Vec<String> = fs::read_dir(folder.join("fd"))
            .expect("it is there")
            .flatten()
            .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()))
            .collect();
        let mut kinds = std::collections::BTreeMap::new();
        for link in &links {
            let kind: String = link.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            *kinds.entry(kind).or_default() += 1;
        }
        kinds.retain(|_, count| *count > 4);
        let count = |part: &str| links.iter().filter(|link| link.contains(part)).count();
        Self {
            descriptors: links.len(),
            kinds,
            programs: count("bpf-prog"),
            maps: count("bpf-map"),
            threads: process.threads().len(),
            mappings: fs::read_to_string(folder.join("maps")).unwrap_or_default().lines().count(),
            cgroups: daemon.cgroups().len(),
            children: process.children().len(),
        }
    }

    /// No more than before, but for what comes and goes with the allocator's arenas and a thread that is just ending.
    fn is_within(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            // A probe that costs too much is taken out at any time.
            && self.programs <= before.programs
            && self.maps <= before.maps
            && self.threads <= before.threads
            && self.mappings <= before.mappings + 40
            && (self.cgroups, self.children) == (0, 0)
    }
}

fn scenario() -> Scenario {
    let load = Profile {
        shape: Some(Shape::Constant(Constant { load_percent: 1.0 })),
        tolerance_points: Some(100.0),
        ..Profile::default()
    };
    let cpu = CpuBurner { load: Some(load), cores: vec![0], ..CpuBurner::default() };
    let burners = vec![Burner { kind: Some(burner::Kind::Cpu(cpu)) }];
    let phase = Phase { name: "one".into(), duration_ms: 60_000, burners, ..Phase::default() };
    Scenario { name: "short".into(), phases: vec![phase], ..Scenario::default() }
}

/// Starts one, stops it, and returns when it is over.
async fn start_and_stop(client: &mut AgentClient<Channel>, run_id: String) {
    let request =
        StartRequest { run_id: run_id.clone(), scenario: Some(scenario()), ..StartRequest::default() };
    client.start(request).await.expect("it starts");
    let response = client.stop(StopRequest { run_id, reason: String::new() }).await.expect("it stops");
    assert_eq!(response.into_inner().run.unwrap_or_default().state(), RunState::Finished);
}

async fn many(runs: usize) {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let mut client = AgentClient::new(connect(&ground).await);
    for n in 0..WARM_UP {
        start_and_stop(&mut client, format!("warm-{n}")).await;
    }
    let settled = |look: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !look() && begin.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    // Who looks at processes, and who writes records, end a moment after the run.
    settled(&|| Holds::of(&daemon).children == 0 && daemon.cgroups().is_empty());
    std::thread::sleep(Duration::from_secs(3));
    let before = Holds::of(&daemon);
    let resident_before = daemon.process().resident_bytes().expect("it is there");
    let begin = Instant::now();
    for n in 0..runs {
        start_and_stop(&mut client, format!("run-{n}")).await;
    }
    let took = begin.elapsed();
    settled(&|| Holds::of(&daemon).is_within(&before));
    let after = Holds::of(&daemon);
    let resident_after = daemon.process().resident_bytes().expect("it is there");
    note(format_args!(
        "{runs} starts and stops in {took:.1?}\nbefore: {before:?}, {resident_before} bytes resident\nafter: {after:?}, {resident_after}"
    ));
    assert!(after.is_within(&before), "before: {before:?}, after: {after:?}");
    let allowed = resident_before + SLACK_BYTES + BYTES_A_RUN * runs as u64;
    assert!(resident_after <= allowed, "{resident_before} bytes before, {resident_after} after");
    // A known id is refused still, and the list is bounded.
    let request = StartRequest {
        run_id: format!("run-{}", runs - 1),
        scenario: Some(scenario()),
        ..StartRequest::default()
    };
    assert_eq!(client.start(request).await.expect_err("it is known").code(), Code::AlreadyExists);
    let listed =
        client.list_runs(ListRunsRequest { limit: Some(1_000) }).await.expect("it answers").into_inner().runs;
    assert_eq!(listed.len(), (WARM_UP + runs).min(1_000));
    assert!(ground.leftovers().is_empty(), "{:?}", ground.leftovers());
}

#[tokio::test]
async fn a_thousand_runs_leave_nothing() {
    many(1_000).await;
}
