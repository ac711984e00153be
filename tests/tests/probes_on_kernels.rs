//! Each probe is attached by the cheapest kind of hook that the kernel has, says so, and counts what happens: on this host's
//! kernel, and on the laboratory's stock one, where the same stories are told.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    hint::black_box,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    sys::resource::{UsageWho, getrusage},
    time::{ClockId, clock_gettime},
};
use serde_json::Value;
use ssts_proto::v1::{Schema, WatchRequest, WatchResponse, agent_client::AgentClient, watch_response::Item};
use ssts_tests::{Daemon, Ground, Machine, connect, lab, note, possible, privileged, soon, tools};
use tonic::Streaming;

/// Those for events that are frequent have programs of BTF tracepoints.
const FREQUENT: [&str; 4] = ["block", "sched", "irq", "memory"];
const RARE: [&str; 2] = ["tcp", "drops"];
const HARDWARE: &str = "hardware";

/// As `sstsd check` names the kinds.
const BTF: &str = "btf_tracepoint";
const RAW: &str = "raw_tracepoint";
const RECORDED: &str = "tracepoint";

/// A null block device of the laboratory.
const NULL_DISK: &str = "/dev/nullb0";

const SWITCHES: u64 = 500;
const READS: u64 = 500;
const BLOCK: usize = 4_096;
const CHUNKS: usize = 32;
const CHUNK: usize = 1 << 20;

/// `sstsd check` with these lines of configuration: what it tells of each probe.
fn checked(ground: &Ground, toml: &str) -> BTreeMap<String, (String, String)> {
    ground.configure(toml);
    let mut command = Command::new(&ground.programs().sstsd);
    command.args(["check", "--output", "json", "--config"]).arg(ground.config());
    let output = command.arg("--state-dir").arg(ground.state()).output().expect("it can be executed");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let told = |one: &Value| {
        let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        Some((word("name").strip_prefix("probe-")?.to_owned(), (word("state"), word("detail"))))
    };
    report["capabilities"].as_array().expect("they are a list").iter().filter_map(told).collect()
}

/// A sysfs like the real one, without the kernel's types.
fn sysfs_without_types(ground: &Ground) -> PathBuf {
    let sys = ground.path("sys");
    fs::create_dir_all(sys.join("kernel")).expect("the folder is ours");
    for (from, but) in [("/sys", "kernel"), ("/sys/kernel", "btf")] {
        let to = sys.join(Path::new(from).strip_prefix("/sys").expect("it is below"));
        for entry in fs::read_dir(from).expect("it is there").flatten() {
            if entry.file_name() != but {
                symlink(entry.path(), to.join(entry.file_name())).expect("the name is new");
            }
        }
    }
    sys
}

#[test]
fn each_probe_says_by_which_kind_of_hook_it_is_attached() {
    if !privileged() {
        return;
    }
    let types = Path::new("/sys/kernel/btf/vmlinux").is_file();
    if !possible(types, "this kernel does not show its types") {
        return;
    }
    let ground = Ground::alone();
    let sys = sysfs_without_types(&ground);
    let without_types = format!("[roots]\nsys = \"{}\"\n", sys.display());
    let hooks = |kind: &str| format!("[observe]\nhooks = \"{kind}\"\n");
    for (what, toml, frequent, rare) in [
        ("the cheapest", hooks("auto"), BTF, RAW),
        ("raw", hooks("raw"), RAW, RAW),
        ("recorded", hooks("tracepoint"), RECORDED, RECORDED),
        ("without the kernel's types", without_types, RECORDED, RECORDED),
    ] {
        let told = checked(&ground, &toml);
        note(format_args!("{what}: {told:#?}"));
        assert_eq!(told.len(), FREQUENT.len() + RARE.len() + 1, "{told:#?}");
        let kinds =
            FREQUENT.map(|probe| (probe, frequent)).into_iter().chain(RARE.map(|probe| (probe, rare)));
        for (probe, kind) in kinds {
            assert_attached(what, probe, &told[probe], kind);
        }
        // The kernel runs programs of raw tracepoints on demand, and no others: of those nobody can tell.
        if rare == RAW {
            assert_attached(what, HARDWARE, &told[HARDWARE], rare);
        } else {
            let (state, detail) = &told[HARDWARE];
            assert!(state == "degraded" && detail.contains("can't be caused for a test"), "{what}: {detail}");
        }
    }
}

/// `told`: state and detail of a probe.
fn assert_attached(what: &str, probe: &str, (state, detail): &(String, String), kind: &str) {
    assert_eq!(state, "works", "{what}: {probe}: {detail}");
    let (hooks, truth) = detail
        .strip_prefix("attached to ")
        .and_then(|rest| rest.split_once(", and "))
        .unwrap_or_else(|| panic!("{what}: {probe}: {detail}"));
    assert_eq!(truth, "told the truth of a known event", "{what}: {probe}");
    for hook in hooks.split(", ") {
        assert_eq!(hook.split_once(' ').map(|(kind, _)| kind), Some(kind), "{what}: {probe}: {hooks}");
    }
}

/// What a stream of frames counted.
struct Counts {
    stream: Streaming<WatchResponse>,
    schema: Schema,
    /// Counters, by metric and labels, as they stand.
    values: BTreeMap<String, f64>,
    /// What histograms gained so far: by metric and labels, then by the bucket's upper bound.
    gained: BTreeMap<String, BTreeMap<u64, u64>>,
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("it is there");
    Duration::from(now).as_nanos() as u64
}

impl Counts {
    async fn open(ground: &Ground) -> Self {
        let mut client = AgentClient::new(connect(ground).await).max_decoding_message_size(16 << 20);
        let metric_prefixes = ["sched.switches", "memory.faults", "block."].map(str::to_owned).to_vec();
        let request = WatchRequest { frames: true, metric_prefixes, ..WatchRequest::default() };
        let stream = soon(client.watch(request)).await.expect("it is offered").into_inner();
        Self { stream, schema: Schema::default(), values: BTreeMap::new(), gained: BTreeMap::new() }
    }

    /// Takes frames in up to one that was begun from now on.
    async fn up_to_now(&mut self) {
        let now = now_ns();
        loop {
            let message = soon(self.stream.message()).await.expect("the stream goes on");
            match message.expect("it does not end").item.expect("it is known") {
                Item::Schema(schema) => self.schema = schema,
                Item::Frame(frame) => {
                    let absent = |index: usize| frame.absent_columns.contains(&(index as u32));
                    let mut values = frame.values.iter();
                    for (index, column) in self.schema.columns.iter().enumerate() {
                        if !absent(index) {
                            let value = values.next().expect("a value for each that is not absent");
                            self.values.insert(key(&column.metric, &column.labels), *value);
                        }
                    }
                    for delta in &frame.histograms {
                        let histogram = &self.schema.histograms[delta.column as usize];
                        let bounds = &self.schema.layouts[histogram.layout as usize].upper_bounds;
                        let gained =
                            self.gained.entry(key(&histogram.metric, &histogram.labels)).or_default();
                        for (bucket, count) in delta.buckets.iter().zip(&delta.counts) {
                            *gained.entry(bounds[*bucket as usize]).or_default() += count;
                        }
                    }
                    if frame.begin_ns > now {
                        return;
                    }
                }
                other => unreachable!("only frames were asked for: {other:?}"),
            }
        }
    }

    /// All counters of a metric together.
    fn sum(&self, metric: &str) -> u64 {
        let of_metric = self.values.iter().filter(|(key, _)| key.starts_with(&format!("{metric} ")));
        of_metric.map(|(_, value)| *value as u64).sum()
    }

    fn histogram(&self, metric: &str, labels: &str) -> BTreeMap<u64, u64> {
        self.gained.get(&format!("{metric} {labels}")).cloned().unwrap_or_default()
    }
}

fn key(metric: &str, labels: &[ssts_proto::v1::Label]) -> String {
    let labels: Vec<_> = labels.iter().map(|label| label.value.as_str()).collect();
    format!("{metric} {}", labels.join(" "))
}

/// A number of the kernel's own books: of the line that begins with a word.
fn kernel_count(file: &str, word: &str) -> u64 {
    let text = fs::read_to_string(file).expect("it is there");
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_else(|| panic!("no {word} in {file}"))
}

/// Reads that a disk has done: the first field of Documentation/block/stat.rst.
fn disk_reads(disk: &str) -> u64 {
    let text = fs::read_to_string(format!("/sys/block/{disk}/stat")).expect("it is a disk");
    text.split_whitespace().next().and_then(|count| count.parse().ok()).expect("it is a number")
}

/// Something to read that is on a disk of its own, and that disk.
fn something_to_read(ground: &Ground) -> Option<(PathBuf, String)> {
    if Path::new(NULL_DISK).exists() {
        return Some((NULL_DISK.into(), "nullb0".into()));
    }
    let path = ground.disk().join("data");
    fs::write(&path, vec![7; READS as usize * BLOCK]).expect("there is room");
    File::open(&path).and_then(|file| file.sync_all()).expect("it was written");
    let device = fs::metadata(&path).ok()?.dev();
    let link = format!("/sys/dev/block/{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let found = fs::canonicalize(link).ok()?;
    let whole = if found.join("partition").exists() { found.parent()? } else { &found };
    Some((path, whole.file_name()?.to_str()?.to_owned()))
}

fn read_directly(path: &Path) {
    #[repr(align(4096))]
    struct Aligned([u8; BLOCK]);
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(path).expect("it takes O_DIRECT");
    let mut buffer = Box::new(Aligned([0; BLOCK]));
    for block in 0..READS {
        file.read_exact_at(&mut buffer.0, block * BLOCK as u64).expect("it is there");
    }
}

/// Sleeps; gives how often this thread left its core for that.
fn switch() -> u64 {
    let left = || getrusage(UsageWho::RUSAGE_THREAD).expect("it is there").voluntary_context_switches();
    let before = left();
    (0..SWITCHES).for_each(|_| thread::sleep(Duration::from_micros(100)));
    (left() - before).unsigned_abs()
}

/// Touches new memory; gives how many page faults this thread had for that. In pieces, so that large pages don't take them.
fn fault() -> u64 {
    let faults = || getrusage(UsageWho::RUSAGE_THREAD).expect("it is there").minor_page_faults();
    let before = faults();
    let mut all: Vec<Vec<u8>> = Vec::with_capacity(CHUNKS);
    for _ in 0..CHUNKS {
        let mut chunk = vec![0; CHUNK];
        (0..CHUNK).step_by(BLOCK).for_each(|at| chunk[at] = 1);
        all.push(chunk);
    }
    black_box(&all);
    (faults() - before).unsigned_abs()
}

/// The kernel runs no program where one runs on the core already, and on virtual machines a core was seen to run none for
/// milliseconds: what a probe counts is a little less than what there was.
fn seen(real: u64) -> u64 {
    real * 97 / 100
}

/// Context switches, page faults and reads that the story itself brings about; what else the machine did is bounded by the
/// kernel's own books.
#[tokio::test]
async fn known_events_are_counted() {
    if !privileged() {
        return;
    }
    let ground = Ground::alone();
    // An emulated machine's programs cost more than any budget.
    ground.configure("[observe]\nprobe_budget_core_percent = 100\nprobe_budget_host_percent = 100\n");
    let Some((path, disk)) = something_to_read(&ground) else {
        possible(false, "the target folder is on no disk of its own");
        return;
    };
    let _daemon = Daemon::start(&ground);
    let mut counts = Counts::open(&ground).await;

    let most =
        || (kernel_count("/proc/stat", "ctxt "), kernel_count("/proc/vmstat", "pgfault "), disk_reads(&disk));
    let (switches_at_first, faults_at_first, reads_at_first) = most();
    counts.up_to_now().await;
    let (switches, faults) = (counts.sum("sched.switches"), counts.sum("memory.faults"));
    let sizes = format!("{disk} read");
    let before = [counts.histogram("block.latency", &sizes), counts.histogram("block.size", &sizes)];
    let inner = kernel_count("/proc/stat", "ctxt ");
    let (switched, faulted) = (switch(), fault());
    read_directly(&path);
    let inner = kernel_count("/proc/stat", "ctxt ") - inner;
    counts.up_to_now().await;
    let (switches_at_last, faults_at_last, reads_at_last) = most();
    let gained = |metric: &str, before: &BTreeMap<u64, u64>, least: u64, most: u64| -> u64 {
        let all = counts.histogram(metric, &sizes);
        let fits = all.into_iter().filter(|(bound, _)| (least..=most).contains(bound));
        fits.map(|(bound, count)| count - before.get(&bound).unwrap_or(&0)).sum()
    };

    let switches = counts.sum("sched.switches") - switches;
    let most = switches_at_last - switches_at_first;
    note(format_args!("{switched} switches of {inner}: {switches} of at most {most}"));
    assert!(switched >= SWITCHES && inner >= switched, "{switched} of {inner}");
    assert!((seen(inner)..=most).contains(&switches), "{switches} of {inner} to {most}");

    let faults = counts.sum("memory.faults") - faults;
    let most = faults_at_last - faults_at_first;
    note(format_args!("{faulted} page faults: {faults} of at most {most}"));
    assert!(faulted >= (CHUNKS * CHUNK / BLOCK / 2) as u64, "{faulted}");
    assert!((seen(faulted)..=most).contains(&faults), "{faults} of {faulted} to {most}");

    let reads = gained("block.latency", &before[0], 0, u64::MAX);
    // The bucket of 4 KiB ends below the next larger one: an eighth on at most.
    let sized = gained("block.size", &before[1], BLOCK as u64, BLOCK as u64 * 9 / 8);
    let most = reads_at_last - reads_at_first;
    note(format_args!("{READS} reads: {reads} of at most {most}, {sized} of {BLOCK} bytes"));
    assert!((seen(READS)..=most).contains(&reads), "{reads} of {READS} to {most}");
    assert!((seen(READS)..=most).contains(&sized), "{sized} of {READS} to {most}");
}

/// What the laboratory's script and the stories need.
const TOOLS: [&str; 7] =
    ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "i2cset", "setpriv", "timeout"];

#[test]
fn the_laboratorys_kernel_has_them_too() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let own = env::current_exe().expect("a test knows its own executable");
    let script = format!(
        "section kernel uname -r\n\
         tell() {{ CI=true '{}' --exact \"$1\" --nocapture 2>&1; }}\n\
         section kinds tell each_probe_says_by_which_kind_of_hook_it_is_attached\n\
         section counts tell known_events_are_counted\n",
        own.display()
    );
    let sections = lab::carry_out(&script);
    let section = |name: &str| sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));
    let running = fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is there");
    assert_ne!(section("kernel").text.trim(), running.trim(), "it is another kernel");
    for name in ["kinds", "counts"] {
        let story = section(name);
        note(format_args!("{}", story.text));
        assert_eq!(story.status, 0, "{name}: {}", story.text);
        assert!(story.text.contains("1 passed"), "{name}: {}", story.text);
    }
}
