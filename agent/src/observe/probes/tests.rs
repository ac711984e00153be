//! Stories with the real kernel. They load programs, which takes root: without, they are skipped, and fail where CI=true.

use std::{
    env,
    fs::{self, OpenOptions},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    os::unix::fs::{FileExt, OpenOptionsExt},
    panic,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use ssts_agent_ebpf::shared::LATENCY;
use ssts_proto::{
    catalogue::{BLOCK_LATENCY, Metric, PROBE_EVENTS, PROBE_WORKING, RUNQUEUE_LATENCY},
    v1::AbsenceReason,
};

mod block_stories;
mod drop_stories;
mod exact_latencies;
mod hardware_stories;
mod in_flight_stories;
mod interrupt_stories;
mod memory_stories;
mod sched_stories;
mod tcp_stories;
mod wrong_kernel;
mod wrong_offsets;

use super::{block::read_directly, *};
use crate::observe::{frame::Frame, schema::Schema};

/// Tests take turns: they count what the whole host does.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Notes that something could not be tested here; where CI=true that is a failure.
fn skipped(why: &str) {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
    println!("skipped: {why}");
}

/// Tells a story again that goes wrong. The kernel may leave out a core's programs for some ms (see [`TRIES`]); what a probe
/// counts wrong each time is wrong.
fn patiently(story: impl Fn()) {
    for _ in 1..3 {
        if panic::catch_unwind(panic::AssertUnwindSafe(&story)).is_ok() {
            return;
        }
    }
    story();
}

struct Host {
    probes: Probes,
    schema: Schema,
    frame: Frame,
    _turn: std::sync::MutexGuard<'static, ()>,
}

impl Host {
    fn watched_by(hooks: HookChoice) -> Option<Self> {
        // The host may be as busy as it likes.
        let budget = Budget { core_share: 1e3, host_share: 1e3 };
        let cost_window = Duration::from_millis(200);
        Self::with(&ProbeSettings { hooks, cost_window, budget, ..ProbeSettings::default() })
    }

    fn with(settings: &ProbeSettings) -> Option<Self> {
        if !geteuid().is_root() {
            skipped("it needs root");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let probes = load(&HostRoots::default(), settings);
        println!("{:#?}", probes.statuses.snapshot());
        let mut host = Self { probes, schema: Schema::new(1), frame: Frame::default(), _turn: turn };
        host.describe();
        Some(host)
    }

    fn describe(&mut self) {
        self.schema = Schema::new(self.schema.id + 1);
        self.probes.sources.iter_mut().for_each(|source| source.describe(&mut self.schema));
    }

    fn tick(&mut self) {
        self.frame.reset(&self.schema, 0);
        self.probes.sources.iter_mut().for_each(|source| source.sample(&mut self.frame));
    }

    /// What the columns of `metric` with these labels gained in the last frame: upper bounds in ns, counts.
    fn gained(&self, metric: &Metric, labels: &[&str]) -> Vec<(u64, u64)> {
        let fits = |gain: &crate::observe::frame::BucketGain| {
            let column = &self.schema.histograms[gain.column.0 as usize].column;
            column.metric == metric && labels.iter().all(|label| column.labels.iter().any(|own| own == label))
        };
        let gains = self.frame.gains().iter().filter(|gain| fits(gain));
        gains.map(|gain| (LATENCY.upper_bound(gain.bucket as usize), gain.count)).collect()
    }

    /// The reading of the column of `metric` with these labels, if there is one.
    fn reading(&self, metric: &Metric, labels: &[&str]) -> Option<f64> {
        let place = self
            .schema
            .columns
            .iter()
            .position(|column| column.metric == metric && column.labels == labels)?;
        self.frame.readings()[place].ok()
    }
}

fn total(gained: &[(u64, u64)]) -> u64 {
    gained.iter().map(|(_, count)| count).sum()
}

fn every_probe_works_by(hooks: HookChoice, kind: &str) {
    let Some(host) = Host::watched_by(hooks) else { return };
    let statuses = host.probes.statuses.snapshot();
    println!("{statuses:#?}");
    assert_eq!(statuses.len(), 7);
    for status in statuses {
        // The kernel tries no programs of tracepoints, and hardware can't be asked to fail.
        let is_tested = status.name != hardware::NAME || kind != "tracepoint ";
        assert!(status.attached && status.working == is_tested, "{}: {}", status.name, status.reason);
        // What is rare has no programs of BTF tracepoints.
        let is_rare = [tcp::NAME, drops::NAME, hardware::NAME].contains(&&*status.name);
        let kind = if is_rare && kind == "btf_tracepoint " { "raw_tracepoint " } else { kind };
        assert!(status.hooks.iter().all(|hook| hook.starts_with(kind)), "{:?}", status.hooks);
    }
}

#[test]
fn every_probe_works_by_btf_tracepoints() {
    every_probe_works_by(HookChoice::Btf, "btf_tracepoint ");
}

#[test]
fn every_probe_works_by_raw_tracepoints() {
    every_probe_works_by(HookChoice::Raw, "raw_tracepoint ");
}

#[test]
fn every_probe_works_by_tracepoints_whether_tracefs_is_mounted_or_not() {
    // Other tests mount a tracefs of their own, each in a folder for temporary files.
    let folder = env::temp_dir().display().to_string();
    let mounts = || {
        let all = fs::read_to_string("/proc/self/mounts").unwrap();
        all.lines().filter(|line| !line.contains(&folder)).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = mounts();
    every_probe_works_by(HookChoice::Tracepoint, "tracepoint ");
    assert_eq!(mounts(), before, "nothing is mounted for it");
}

fn reads_are_counted_once_each(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let disks = disks::below(&HostRoots::default(), &env::current_exe().unwrap());
    let [disk] = &disks[..] else {
        skipped(&format!("the file system of this test has no disk of its own: {disks:?}"));
        return;
    };
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let mut page = Page([0; 4096]);
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(env::current_exe().unwrap()).unwrap();
    host.tick();
    let start = Instant::now();
    for block in 0..200 {
        file.read_exact_at(&mut page.0, block * 4096).unwrap();
    }
    let elapsed = start.elapsed().as_nanos() as u64;
    host.tick();
    let reads = host.gained(&BLOCK_LATENCY, &[disk, "read"]);
    println!("{elapsed} ns, {reads:?}");
    // Others may read too, but not ten times as much. A tracepoint's program is left out where its interrupt meets another
    // program at work on that core (bpf_prog_active in kernel/trace/bpf_trace.c).
    assert!((190..2000).contains(&total(&reads)), "{reads:?}");
    let in_time = reads.iter().filter(|(bound, _)| (1_000..=elapsed).contains(bound));
    assert!(in_time.map(|(_, count)| count).sum::<u64>() >= 190, "200 reads in {elapsed} ns: {reads:?}");
    host.tick();
    let again = total(&host.gained(&BLOCK_LATENCY, &[disk, "read"]));
    assert!(again < 200, "counted again: {again}");
}

#[test]
fn reads_are_counted_once_each_by_btf_tracepoints() {
    patiently(|| reads_are_counted_once_each(HookChoice::Btf));
}

#[test]
fn reads_are_counted_once_each_by_raw_tracepoints() {
    patiently(|| reads_are_counted_once_each(HookChoice::Raw));
}

#[test]
fn reads_are_counted_once_each_by_tracepoints() {
    patiently(|| reads_are_counted_once_each(HookChoice::Tracepoint));
}

fn tasks_that_share_a_core_are_seen_to_wait(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    host.tick();
    let busy = |_| {
        thread::spawn(|| {
            assert!(core_affinity::set_for_current(core_affinity::CoreId { id: 0 }));
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(300) {
                std::hint::black_box(start);
            }
        })
    };
    let threads: Vec<_> = (0..3).map(busy).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    host.tick();
    let waits = host.gained(&RUNQUEUE_LATENCY, &["0"]);
    let waited: u64 = waits.iter().map(|(bound, count)| bound * count).sum();
    println!("waited {waited} ns: {waits:?}");
    // While one of them runs two wait: 0.6 s in 0.3 s, preempted and never woken. Others may run there too.
    assert!((400_000_000..60_000_000_000).contains(&waited), "{waited}: {waits:?}");
    assert!(waits.iter().all(|(bound, _)| *bound < 10_000_000_000), "{waits:?}");
}

#[test]
fn tasks_that_share_a_core_are_seen_to_wait_by_btf_tracepoints() {
    patiently(|| tasks_that_share_a_core_are_seen_to_wait(HookChoice::Btf));
}

#[test]
fn tasks_that_share_a_core_are_seen_to_wait_by_raw_tracepoints() {
    patiently(|| tasks_that_share_a_core_are_seen_to_wait(HookChoice::Raw));
}

#[test]
fn tasks_that_share_a_core_are_seen_to_wait_by_tracepoints() {
    patiently(|| tasks_that_share_a_core_are_seen_to_wait(HookChoice::Tracepoint));
}

#[test]
fn the_first_frame_leaves_out_what_came_before_it() {
    let Some(mut host) = Host::watched_by(HookChoice::Auto) else { return };
    // The sleeps of the canary came before.
    host.describe();
    host.tick();
    let gained = total(&host.gained(&RUNQUEUE_LATENCY, &[]));
    thread::sleep(Duration::from_millis(100));
    host.tick();
    println!("{gained} waits at first, then {}", total(&host.gained(&RUNQUEUE_LATENCY, &[])));
    assert!(total(&host.gained(&RUNQUEUE_LATENCY, &[])) > 0);
}

#[test]
fn costs_are_measured_in_a_window_and_known_after_it() {
    let Some(mut host) = Host::watched_by(HookChoice::Auto) else { return };
    host.tick();
    let events = host
        .schema
        .columns
        .iter()
        .position(|column| column.metric == &PROBE_EVENTS && column.labels == [sched::NAME])
        .unwrap();
    assert_eq!(host.frame.readings()[events], Err(AbsenceReason::Pending));
    for _ in 0..30 {
        thread::sleep(Duration::from_millis(10));
        host.tick();
    }
    let statuses = host.probes.statuses.snapshot();
    let cost =
        statuses.iter().find(|status| status.name == sched::NAME).and_then(|status| status.cost).unwrap();
    println!("{cost:?}");
    assert!(cost.ns_per_event > 10.0 && cost.events_per_s > 10.0 && cost.core_share < 0.5, "{cost:?}");
    assert!(host.frame.readings()[events].unwrap() > 0.0);
}

#[test]
fn without_the_kernels_types_each_probe_says_what_is_missing() {
    let sys = tempfile::tempdir().unwrap();
    let cpus = sys.path().join("devices/system/cpu");
    fs::create_dir_all(&cpus).unwrap();
    fs::write(cpus.join("possible"), "0-1\n").unwrap();
    let roots = HostRoots { sys: sys.path().into(), ..HostRoots::default() };
    let probes = load(&roots, &ProbeSettings { hooks: HookChoice::Raw, ..ProbeSettings::default() });
    assert!(probes.watch.core_busy().is_none());
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut host = Host { probes, schema: Schema::new(1), frame: Frame::default(), _turn: turn };
    host.describe();
    host.tick();
    for status in &host.schema.probes {
        assert_eq!(host.reading(&PROBE_WORKING, &[&status.name]), Some(0.0));
    }
    assert_eq!(host.schema.probes, host.probes.statuses.snapshot(), "the stream says it as `check` does");
    for status in host.probes.statuses.snapshot() {
        assert!(!status.attached && !status.working, "{status:?}");
        assert!(status.reason.starts_with("no kernel types at "), "{}", status.reason);
        assert!(status.reason.contains("CONFIG_DEBUG_INFO_BTF"), "{}", status.reason);
    }
}

/// With a budget of nothing the probes go one by one, but for the one that a burner reads, and what costs nothing.
#[test]
fn probes_over_the_budget_are_taken_out_and_say_so() {
    let window = Duration::from_millis(20);
    let budget = Budget { core_share: 1e-12, host_share: 1e-12 };
    let settings =
        ProbeSettings { cost_window: window, cost_interval: window, budget, ..ProbeSettings::default() };
    let Some(mut host) = Host::with(&settings) else { return };
    let watch = host.probes.watch.clone();
    let mark = watch.mark(std::process::id().cast_signed(), true);
    let attached = |host: &Host| -> Vec<String> {
        let statuses = host.probes.statuses.snapshot().into_iter();
        statuses.filter(|status| status.attached).map(|status| status.name).collect()
    };
    let until = |host: &mut Host, left: &[&str]| {
        let begin = Instant::now();
        while attached(host) != left {
            assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", attached(host));
            // Each probe costs only where it has events.
            read_directly(&env::current_exe().unwrap()).unwrap();
            // More than an allocator keeps for the next one (mallopt(3), M_MMAP_THRESHOLD): each page faults anew.
            std::hint::black_box(vec![1u8; 40 << 20]);
            // Nobody listens there, and what says so is dropped: both ways.
            let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            assert!(TcpStream::connect(nobody).is_err());
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(&[0], nobody).unwrap();
            thread::sleep(Duration::from_millis(5));
            host.tick();
        }
    };
    until(&mut host, &[sched::NAME, hardware::NAME]);
    assert!(watch.core_busy().is_some());
    drop(mark);
    until(&mut host, &[hardware::NAME]);
    assert!(watch.core_busy().is_none(), "nobody is given what stands still");
    host.tick();
    let told = |status: &v1::ProbeStatus| {
        println!("{}: {}", status.name, status.reason);
        status.name == hardware::NAME || !status.working && status.reason.contains("budget")
    };
    assert!(host.probes.statuses.snapshot().iter().all(told));
    let gone = host.frame.readings().iter().filter(|reading| **reading == Err(AbsenceReason::Gone)).count();
    assert!(gone > 10, "the record shows the gap: {gone}");
    assert!(host.frame.gains().is_empty());
    assert!(host.probes.sources.iter().any(|source| source.changed()), "who reads the stream is to know why");
    host.describe();
    assert!(host.schema.probes.len() == 7 && host.schema.probes.iter().all(told), "{:?}", host.schema.probes);
}

/// A file as a block device, until dropped.
struct LoopDevice(String);

impl LoopDevice {
    fn over(file: &std::path::Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        output.status.success().then(|| Self(String::from_utf8(output.stdout).unwrap().trim().into()))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_disk_that_comes_later_is_counted_too() {
    let Some(mut host) = Host::watched_by(HookChoice::Auto) else { return };
    host.tick();
    let file = tempfile::NamedTempFile::new_in(env::current_exe().unwrap().parent().unwrap()).unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let Some(device) = LoopDevice::over(file.path()) else {
        println!("skipped: no loop device to be had");
        return;
    };
    let name = device.0.trim_start_matches("/dev/");
    let changed = |host: &Host| host.probes.sources.iter().any(|source| source.changed());
    let read = || read_directly(device.0.as_ref()).unwrap();
    read();
    assert!(changed(&host), "{name} was read");
    host.describe();
    assert!(!changed(&host));
    host.tick();
    (0..50).for_each(|_| read());
    host.tick();
    let reads = host.gained(&BLOCK_LATENCY, &[name, "read"]);
    assert!((50..200).contains(&total(&reads)), "{reads:?}");
}
