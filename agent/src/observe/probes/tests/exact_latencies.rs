//! The block probe's histogram against the exact latencies of the same requests, as the kernel's own tracer has them.

use std::{collections::HashMap, fs::File, path::PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::*;

/// Requests a thread makes.
const REQUESTS: u64 = 500;

/// An instance of the kernel's tracer that records issues and completions, until dropped.
struct Tracer {
    instance: PathBuf,
    /// Where tracefs is mounted for it: not every host has it mounted.
    mounted: TempDir,
}

impl Tracer {
    fn start() -> Result<Self, String> {
        let mounted = TempDir::new().map_err(|e| e.to_string())?;
        mount(Some("tracefs"), mounted.path(), Some("tracefs"), MsFlags::empty(), None::<&str>)
            .map_err(|e| format!("tracefs can't be mounted: {e}"))?;
        let tracer = Self {
            instance: mounted.path().join(format!("instances/ssts-test-{}", std::process::id())),
            mounted,
        };
        fs::create_dir(&tracer.instance).map_err(|e| format!("{}: {e}", tracer.instance.display()))?;
        for (file, text) in [
            ("trace_clock", "mono"),
            ("buffer_size_kb", "4096"),
            ("events/block/block_rq_issue/enable", "1"),
            ("events/block/block_rq_complete/enable", "1"),
        ] {
            fs::write(tracer.instance.join(file), text).map_err(|e| format!("{file}: {e}"))?;
        }
        Ok(tracer)
    }

    /// Puts a line between what came before and what comes after it.
    fn mark(&self) {
        fs::write(self.instance.join("trace_marker"), "ssts").unwrap();
    }

    /// Latencies in ns of reads of a disk that were issued and completed between two marks. `dev`: such as `253,0`.
    fn reads(&self, dev: &str) -> Vec<u64> {
        fs::write(self.instance.join("tracing_on"), "0").unwrap();
        let text = fs::read_to_string(self.instance.join("trace")).unwrap();
        let (mut issued, mut latencies) = (HashMap::new(), Vec::new());
        let is_mark = |line: &&str| line.contains("tracing_mark_write: ssts");
        for line in text.lines().skip_while(|line| !is_mark(line)).skip(1).take_while(|line| !is_mark(line)) {
            // fio-1 [000] ..... 12.345678: block_rq_issue: 253,0 R 4096 () 5432 + 8 none,0,0 [fio]
            let Some((before, after)) = line.split_once(": block_rq_") else { continue };
            let seconds = before.rsplit(' ').next().unwrap();
            let us: u64 = seconds.replace('.', "").parse().unwrap();
            let mut words = after.split_whitespace();
            let event = words.next().unwrap();
            let (device, operation) = (words.next().unwrap(), words.next().unwrap());
            if device != dev || !operation.starts_with('R') {
                continue;
            }
            let words: Vec<_> = words.collect();
            let sector = words[words.iter().position(|word| *word == "+").unwrap() - 1].to_owned();
            match event {
                "issue:" => _ = issued.insert(sector, us),
                _ => latencies.extend(issued.remove(&sector).map(|begin| (us - begin) * 1_000)),
            }
        }
        latencies.sort_unstable();
        latencies
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.instance);
        let _ = umount2(self.mounted.path(), MntFlags::MNT_DETACH);
    }
}

/// The bucket of [`LATENCY`] in which a share of all counts ends.
fn quantile(gained: &[(u64, u64)], share: f64) -> usize {
    let (wanted, mut sum) = ((share * total(gained) as f64).ceil() as u64, 0);
    let reached = |(_, count): &&(u64, u64)| {
        sum += count;
        sum >= wanted
    };
    LATENCY.index(gained.iter().find(reached).unwrap().0)
}

fn percentiles_are_those_of_the_requests(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let disks = disks::scan(&HostRoots::default());
    let below = disks::below(&HostRoots::default(), &env::current_exe().unwrap());
    let Some(disk) = disks.iter().find(|disk| below.len() == 1 && *disk.name == *below[0]) else {
        skipped("the file system of this test has no disk of its own");
        return;
    };
    let tracer = match Tracer::start() {
        Ok(tracer) => tracer,
        Err(reason) => {
            skipped(&format!("the kernel's tracer is not there: {reason}"));
            return;
        }
    };
    // Each thread has a part of the file to itself, and leaves every other page of it out: neighbours that wait together are
    // made one request.
    let read = |thread: u64| {
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        let mut page = Page([0; 4096]);
        let program = env::current_exe().unwrap();
        let file: File = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(program).unwrap();
        for block in 0..REQUESTS {
            file.read_exact_at(&mut page.0, (thread * REQUESTS + block) * 2 * 4096).unwrap();
        }
    };
    host.tick();
    tracer.mark();
    thread::scope(|scope| (0..4).for_each(|number| _ = scope.spawn(move || read(number))));
    tracer.mark();
    host.tick();
    let dev = format!("{},{}", disk.dev >> 20, disk.dev & 0xf_ffff);
    let (exact, counted) = (tracer.reads(&dev), host.gained(&BLOCK_LATENCY, &[&*disk.name, "read"]));
    let (exactly, told) = (exact.len() as f64, total(&counted) as f64);
    println!("{exactly} exact, {told} counted: {counted:?}");
    assert!(exactly >= 3.8 * REQUESTS as f64, "{exactly}");
    // Others may read at the marks.
    assert!((0.98..1.02).contains(&(told / exactly)), "{told} counted of {exactly}");
    let unmatched = (told - exactly).abs() / exactly;
    for share in [0.5, 0.9, 0.99] {
        // Requests that only one of both has move a percentile by as many ranks.
        let real =
            |share: f64| LATENCY.index(exact[((share * exactly).ceil() as usize).clamp(1, exact.len()) - 1]);
        let (least, most) = (real(share - unmatched), real(share + unmatched));
        let bucket = quantile(&counted, share);
        println!("{share}: buckets {least} to {most}; told {bucket}");
        assert!(
            (least.saturating_sub(1)..=most + 1).contains(&bucket),
            "{share}: {least} to {most}, told {bucket}"
        );
    }
}

#[test]
fn percentiles_are_those_of_the_requests_by_btf_tracepoints() {
    patiently(|| percentiles_are_those_of_the_requests(HookChoice::Btf));
}

#[test]
fn percentiles_are_those_of_the_requests_by_raw_tracepoints() {
    patiently(|| percentiles_are_those_of_the_requests(HookChoice::Raw));
}
