//! How fast everything is quiet when something goes wrong, and what is left: on a host whose cores, memory and disk are at
//! their limit. Bars are of the worst or of the 99th percentile, not of the middle: this is no question of speed.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::sys::{prctl, signal::Signal};
use ssts_proto::v1::{
    Burner, CpuBurner, DiskAccess, DiskBurner, EventKind, GetRunRequest, HaltRequest, ListRunsRequest,
    MemoryBurner, Phase, Run, RunState, Scenario, StartRequest, StopRequest, agent_client::AgentClient,
    burner, memory_burner::Size,
};
use ssts_tests::{
    Daemon, Ground, Sysfs,
    outside::{self, Process},
};
use tokio::runtime::Runtime;
use tonic::{Code, transport::Channel};

use crate::{
    peer::{self, StressNg, is_installed},
    standstill::Standstills,
    table::{Figure, Pair, Table},
};

/// Looks of each row, unless SAFETY_ROUNDS says otherwise.
const ROUNDS: usize = 200;
const KILL_MS: f64 = 50.0;
const KILL_WITH_MEMORY_MS: f64 = 100.0;
const REACTION_MS: f64 = 50.0;
const DEADLINE: Duration = Duration::from_secs(1);
const DEADLINE_SLACK_MS: f64 = 100.0;
const GIB: u64 = 1 << 30;
/// What is not gone by then is counted as this.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Longer, and the machine itself stood still.
const STANDSTILL: Duration = Duration::from_millis(8);
/// For a guard to be clear again.
const PATIENCE: Duration = Duration::from_secs(30);

/// One measures what its name says.
type Row = fn(&Ground, &mut Table, usize);
/// All of them, by the names that SAFETY_ROWS takes; each is some minutes long.
const ROWS: [(&str, Row); 6] = [
    ("kill", kill),
    ("kill-memory", kill_with_memory),
    ("hang", hang),
    ("guard", guard),
    ("halt", halt),
    ("answer", answer),
];

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let rounds = env::var("SAFETY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let asked = env::var("SAFETY_ROWS").unwrap_or_default();
    for (name, row) in ROWS {
        if asked.is_empty() || asked.split(',').any(|asked| asked == name) {
            row(ground, table, rounds);
        }
    }
}

/// The share of `values` that is at most that, by nearest rank.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn add(table: &mut Table, name: &str, stat: &str, values: &[f64], at_most: f64, more: &str) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| percentile(values, share));
    let shown = if stat == "max" { max } else { p99 };
    let over = values.iter().filter(|value| **value > at_most).count();
    let note =
        format!("p50 {p50:.1}, p99 {p99:.1}, max {max:.1}, {over} of {} over the bar{more}", values.len());
    let pair = Pair { ours: vec![shown], peer: Vec::new(), note: Some(note) };
    table.add_figure(Figure {
        at_most: Some(at_most),
        ..Figure::new(format!("{name}, {stat}"), "ms", "", pair)
    });
}

fn count(table: &mut Table, name: &str, left: usize) {
    let pair = Pair { ours: vec![left as f64], ..Pair::default() };
    table.add_figure(Figure { at_most: Some(0.0), ..Figure::new(name, "left", "", pair) });
}

fn unix_ns() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX)
}

/// Milliseconds until the last is gone.
fn until_gone(begin: Instant, burners: &[Process]) -> f64 {
    outside::within(GIVE_UP, || !burners.iter().any(Process::is_alive));
    begin.elapsed().as_secs_f64() * 1e3
}

/// A client on a connection that is there already.
struct Client {
    runtime: Runtime,
    agent: AgentClient<Channel>,
}

impl Client {
    fn of(ground: &Ground) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(peer::look_first)
            .enable_all()
            .build()
            .unwrap_or_else(|error| panic!("no runtime: {error}"));
        let agent = AgentClient::new(runtime.block_on(ssts_tests::connect(ground)));
        Self { runtime, agent }
    }

    /// Starts a run of a minute that nobody waits for.
    fn start(&mut self, burners: Vec<burner::Kind>) -> String {
        // The state folder outlives each daemon, and its runs are remembered.
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run_id = format!("safety-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let burners = burners.into_iter().map(|kind| Burner { kind: Some(kind) }).collect();
        let phase = Phase { name: "all".into(), duration_ms: 60_000, burners, ..Phase::default() };
        let scenario = Scenario { name: "safety".into(), phases: vec![phase], ..Scenario::default() };
        let request =
            StartRequest { run_id: run_id.clone(), scenario: Some(scenario), ..StartRequest::default() };
        let begin = Instant::now();
        loop {
            let started = self.runtime.block_on(self.agent.start(request.clone()));
            match started {
                Ok(_) => break,
                // A guard that has just tripped is not clear yet.
                Err(status) if status.code() == Code::FailedPrecondition && begin.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(status) => panic!("{status:?}"),
            }
        }
        run_id
    }

    /// Its record, once it is over.
    fn record(&mut self, run_id: &str) -> Run {
        let begin = Instant::now();
        loop {
            let request = GetRunRequest { run_id: run_id.to_owned() };
            let answer = self
                .runtime
                .block_on(self.agent.get_run(request))
                .unwrap_or_else(|status| panic!("{status}"));
            let run = answer.into_inner().run.unwrap_or_default();
            if run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished) {
                return run;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "run {run_id} does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn cpu() -> burner::Kind {
    burner::Kind::Cpu(CpuBurner::default())
}

fn disk(ground: &Ground) -> burner::Kind {
    let path = ground.disk().display().to_string();
    let access = DiskAccess::Randwrite.into();
    burner::Kind::Disk(DiskBurner { path, size_bytes: 16 << 20, access, ..DiskBurner::default() })
}

fn memory(bytes: u64) -> burner::Kind {
    burner::Kind::Memory(MemoryBurner { size: Some(Size::SizeBytes(bytes)), ..MemoryBurner::default() })
}

/// `kill -9` of the daemon whose run takes all cores and a disk.
fn kill(ground: &Ground, table: &mut Table, rounds: usize) {
    let mut files = 0;
    let times: Vec<f64> = (0..rounds)
        .map(|_| {
            let took = kill_once(ground, vec![cpu(), disk(ground)], |burners| burners.len() == 2);
            files += ground.leftovers().len();
            took
        })
        .collect();
    add(table, "kill -9 under full load to the last burner gone", "max", &times, KILL_MS, "");
    count(table, "files left by them", files);
}

/// The same with 2 GiB resident, which the kernel has to give back first.
fn kill_with_memory(ground: &Ground, table: &mut Table, rounds: usize) {
    let resident =
        |burners: &[Process]| burners.iter().filter_map(Process::resident_bytes).sum::<u64>() >= 2 * GIB;
    let times: Vec<f64> =
        (0..rounds).map(|_| kill_once(ground, vec![cpu(), memory(2 * GIB)], resident)).collect();
    add(table, "the same with 2 GiB resident", "max", &times, KILL_WITH_MEMORY_MS, "");
}

fn kill_once(ground: &Ground, burners: Vec<burner::Kind>, ready: impl Fn(&[Process]) -> bool) -> f64 {
    let mut daemon = Daemon::start(ground);
    let mut client = Client::of(ground);
    let wanted = burners.len();
    client.start(burners);
    let burners = daemon.burning(wanted);
    let is_ready = outside::within(Duration::from_secs(30), || ready(&burners));
    assert!(is_ready.is_some(), "the load does not come");
    thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    daemon.signal(Signal::SIGKILL);
    let took = until_gone(begin, &burners);
    daemon.wait(GIVE_UP);
    burners.iter().for_each(Process::reap);
    took
}

/// A daemon that is stopped in its tracks: its burners end by themselves.
fn hang(ground: &Ground, table: &mut Table, rounds: usize) {
    let daemon = Daemon::start(ground);
    let mut client = Client::of(ground);
    let standstills = Standstills::watch();
    let (mut still, mut stopped_ms) = (Vec::new(), Vec::new());
    let times: Vec<f64> = (0..(rounds / 4).max(1))
        .map(|_| {
            let run_id = client.start(vec![cpu()]);
            let burners = daemon.burning(1);
            daemon.signal(Signal::SIGSTOP);
            // It goes on until its first thread has the core that it needs in order to stop all.
            let stopped = outside::within(GIVE_UP, || daemon.process().is_stopped());
            stopped_ms.push(stopped.map_or(f64::INFINITY, |after| after.as_secs_f64() * 1e3));
            let begin = Instant::now();
            let took = until_gone(begin, &burners);
            still.push(standstills.between(begin, Instant::now()));
            daemon.signal(Signal::SIGCONT);
            client.record(&run_id);
            took - DEADLINE.as_secs_f64() * 1e3
        })
        .collect();
    let more = format!("; stopped after {:.1} ms at most", percentile(&stopped_ms, 1.0));
    let more = more + &told_of_standstills(&times, &still);
    add(table, "SIGSTOP: burners gone after their deadline of 1 s", "max", &times, DEADLINE_SLACK_MS, &more);
}

/// Everything else that a host may be busy with: stress-ng on all cores and in memory, fio on the disk.
struct Neighbours {
    stress_ng: Option<StressNg>,
    fio: Option<Child>,
    folder: PathBuf,
}

impl Neighbours {
    fn new(ground: &Ground) -> Self {
        let folder = ground.programs().target.join("tmp/neighbours");
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut neighbours = Self { stress_ng: None, fio: None, folder };
        neighbours.keep();
        // Until memory is taken and writes queue.
        thread::sleep(Duration::from_secs(3));
        neighbours
    }

    /// They end after a minute, and are started again.
    fn keep(&mut self) {
        if self.stress_ng.as_mut().is_none_or(StressNg::reap) {
            let cores = thread::available_parallelism().map_or(1, usize::from).to_string();
            self.stress_ng = StressNg::spawn(&[
                "--cpu",
                &cores,
                "--vm",
                "1",
                "--vm-bytes",
                "70%",
                "--vm-method",
                "write64",
            ]);
        }
        let ended = |fio: &mut Child| fio.try_wait().is_ok_and(|end| end.is_some());
        if is_installed("fio") && self.fio.as_mut().is_none_or(ended) {
            self.fio = Command::new("fio")
                .args(["--name=neighbour", "--size=256M", "--rw=randwrite", "--bs=64k", "--ioengine=libaio"])
                .args(["--iodepth=32", "--direct=1", "--time_based", "--runtime=60", "--unlink=1"])
                .arg(format!("--directory={}", self.folder.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok();
        }
    }

    fn told(&self) -> String {
        let name = |there: bool, name: &'static str| if there { name } else { "" };
        format!(
            "; beside{}{}",
            name(self.stress_ng.is_some(), " stress-ng --cpu 2 --vm 70%"),
            name(self.fio.is_some(), " fio randwrite")
        )
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        if let Some(fio) = &mut self.fio {
            // It removes its file on SIGTERM.
            let _gone =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(fio.id().cast_signed()), Signal::SIGTERM);
            let _best_effort = fio.wait();
        }
        self.stress_ng = None;
        let _best_effort = fs::remove_dir_all(&self.folder);
    }
}

/// The run of the rows with neighbours: all cores, and a disk of its own beside fio's.
fn everything(ground: &Ground) -> Vec<burner::Kind> {
    vec![cpu(), disk(ground)]
}

/// A sensor gets too hot: from the reading that says so to the last burner gone.
fn guard(ground: &Ground, table: &mut Table, rounds: usize) {
    let sysfs = Sysfs::new(ground, 40);
    ground.configure(&sysfs.config());
    let daemon = Daemon::start(ground);
    let mut client = Client::of(ground);
    let mut neighbours = Neighbours::new(ground);
    let standstills = Standstills::watch();
    let (mut from_heat, mut still) = (Vec::new(), Vec::new());
    let times: Vec<f64> = (0..rounds)
        .map(|_| {
            neighbours.keep();
            sysfs.heat(40);
            let run_id = client.start(everything(ground));
            let burners = daemon.burning(2);
            thread::sleep(Duration::from_millis(300));
            let begin = Instant::now();
            sysfs.heat(99);
            from_heat.push(until_gone(begin, &burners));
            let gone_ns = unix_ns();
            still.push(standstills.between(begin, Instant::now()));
            let run = client.record(&run_id);
            let trip = run.events.iter().find(|event| event.kind() == EventKind::GuardTripped);
            let read_ns = trip.and_then(|trip| trip.fields.get("read_unix_ns")?.parse::<i64>().ok());
            let read_ns = read_ns.unwrap_or_else(|| panic!("no guard tripped: {:?}", run.summary));
            (gone_ns - read_ns) as f64 / 1e6
        })
        .collect();
    let more = neighbours.told() + &told_of_standstills(&times, &still);
    drop(neighbours);
    add(table, "guard: reading to the last burner gone", "p99", &times, REACTION_MS, &more);
    // Read twice a tick of 100 ms, looked at once.
    add(table, "the same from the heat, at 10 Hz", "p99", &from_heat, 150.0 + REACTION_MS, &more);
    ground.configure("");
}

/// Of rounds in which the machine itself stood still, how long that was and what the round took; and the worst of the others.
fn told_of_standstills(times: &[f64], still: &[Duration]) -> String {
    let rounds = || times.iter().zip(still);
    let shown = |(took, still): (&f64, &Duration)| format!("{took:.0} ms ({:.0})", still.as_secs_f64() * 1e3);
    let stood: Vec<_> = rounds().filter(|(_, still)| **still > STANDSTILL).map(shown).collect();
    let others = rounds().filter(|(_, still)| **still <= STANDSTILL).map(|(took, _)| *took);
    let worst = others.fold(0.0, f64::max);
    if stood.is_empty() {
        return "; no core stood still".into();
    }
    format!("; a core stood still in {}; worst of the others {worst:.1}", stood.join(", "))
}

/// A halt over gRPC: from the call to the last burner gone.
fn halt(ground: &Ground, table: &mut Table, rounds: usize) {
    let daemon = Daemon::start(ground);
    let mut client = Client::of(ground);
    let mut neighbours = Neighbours::new(ground);
    let standstills = Standstills::watch();
    let mut still = Vec::new();
    let times: Vec<f64> = (0..rounds)
        .map(|_| {
            neighbours.keep();
            let run_id = client.start(everything(ground));
            let burners = daemon.burning(2);
            let mut agent = client.agent.clone();
            let begin = Instant::now();
            let request = HaltRequest { reason: "measured".into(), clear: false };
            let answer = client.runtime.spawn(async move { agent.halt(request).await.is_ok() });
            let took = until_gone(begin, &burners);
            still.push(standstills.between(begin, Instant::now()));
            assert!(client.runtime.block_on(answer).unwrap_or(false), "the halt was refused");
            client.record(&run_id);
            let clear = HaltRequest { reason: String::new(), clear: true };
            client.runtime.block_on(client.agent.halt(clear)).unwrap_or_else(|status| panic!("{status}"));
            took
        })
        .collect();
    let more = neighbours.told() + &told_of_standstills(&times, &still);
    drop(neighbours);
    add(table, "halt over gRPC to the last burner gone", "p99", &times, REACTION_MS, &more);
}

/// The daemon's answers while all of that goes on.
fn answer(ground: &Ground, table: &mut Table, rounds: usize) {
    let daemon = Daemon::start(ground);
    let mut client = Client::of(ground);
    let neighbours = Neighbours::new(ground);
    let run_id = client.start(everything(ground));
    daemon.burning(2);
    let times: Vec<f64> = (0..rounds * 5)
        .map(|_| {
            thread::sleep(Duration::from_millis(20));
            let begin = Instant::now();
            let answer = client.runtime.block_on(client.agent.list_runs(ListRunsRequest { limit: Some(1) }));
            assert!(answer.is_ok(), "{answer:?}");
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let more = neighbours.told();
    let stop = StopRequest { run_id, reason: String::new() };
    client.runtime.block_on(client.agent.stop(stop)).unwrap_or_else(|status| panic!("{status}"));
    add(table, "gRPC: call to answer", "p99", &times, REACTION_MS, &more);
}
