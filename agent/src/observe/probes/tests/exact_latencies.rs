//! The block probe's histogram against the exact latencies of the same requests, as the kernel's own tracer has them.

use std::{collections::HashMap, fs::File, path::PathBuf};

use super::*;

/// An instance of the kernel's tracer that records issues and completions, until dropped.
struct Tracer(PathBuf);

impl Tracer {
    fn start() -> Option<Self> {
        let path = PathBuf::from(format!("/sys/kernel/tracing/instances/ssts-test-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let tracer = Self(path);
        for (file, text) in [
            ("trace_clock", "mono"),
            ("buffer_size_kb", "4096"),
            ("events/block/block_rq_issue/enable", "1"),
            ("events/block/block_rq_complete/enable", "1"),
        ] {
            fs::write(tracer.0.join(file), text).ok()?;
        }
        Some(tracer)
    }

    /// Latencies in ns of reads of a disk. `dev`: such as `253,0`.
    fn reads(&self, dev: &str) -> Vec<u64> {
        fs::write(self.0.join("tracing_on"), "0").unwrap();
        let text = fs::read_to_string(self.0.join("trace")).unwrap();
        let (mut issued, mut latencies) = (HashMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
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
        let _ = fs::remove_dir(&self.0);
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
    let Some(tracer) = Tracer::start() else {
        skipped("the kernel's tracer is not there");
        return;
    };
    host.tick();
    let read = |thread: u64| {
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        let mut page = Page([0; 4096]);
        let program = env::current_exe().unwrap();
        let file: File = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(program).unwrap();
        for block in 0..500 {
            file.read_exact_at(&mut page.0, (block * 4 + thread) * 4096).unwrap();
        }
    };
    thread::scope(|scope| (0..4).for_each(|number| _ = scope.spawn(move || read(number))));
    host.tick();
    let dev = format!("{},{}", disk.dev >> 20, disk.dev & 0xf_ffff);
    let (exact, counted) = (tracer.reads(&dev), host.gained(&BLOCK_LATENCY, &[&*disk.name, "read"]));
    println!("{} exact, {} counted: {counted:?}", exact.len(), total(&counted));
    assert!(exact.len() >= 1_900, "{}", exact.len());
    let share = total(&counted) as f64 / exact.len() as f64;
    assert!((0.98..1.02).contains(&share), "{} counted of {}", total(&counted), exact.len());
    for share in [0.5, 0.9, 0.99] {
        let of_all = exact[(share * exact.len() as f64).ceil() as usize - 1];
        let (real, told) = (LATENCY.index(of_all), quantile(&counted, share));
        println!("{share}: {of_all} ns, bucket {real}; told bucket {told}");
        assert!(real.abs_diff(told) <= 1, "{share}: {of_all} ns is bucket {real}, told {told}");
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
