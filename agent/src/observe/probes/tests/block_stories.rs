//! The block probe against known requests: sizes, queue times, the slowest one, errors, requeues.

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt as _,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use ssts_proto::catalogue::{
    BLOCK_ERRORS, BLOCK_IN_FLIGHT, BLOCK_QUEUE, BLOCK_REQUEUES, BLOCK_SIZE, BLOCK_SLOWEST_LATENCY,
    BLOCK_SLOWEST_PID, BLOCK_SLOWEST_SECTOR, BLOCK_SLOWEST_SIZE, PROBE_LOST,
};

use super::*;

const MIB: u64 = 1 << 20;

#[repr(align(4096))]
struct Pages([u8; 16_384]);

fn open_directly(path: &std::path::Path) -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap()
}

/// The upper bound of the bucket in which the middle one lies.
fn median(gained: &[(u64, u64)]) -> u64 {
    let middle = total(gained).div_ceil(2);
    let mut sorted = gained.to_vec();
    sorted.sort_unstable();
    let mut seen = 0;
    let found = sorted.iter().find(|(_, count)| {
        seen += count;
        seen >= middle
    });
    found.map_or(0, |(bound, _)| *bound)
}

fn requests_are_told_with_size_and_example(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let disks = disks::below(&HostRoots::default(), &env::current_exe().unwrap());
    let [disk] = &disks[..] else {
        skipped(&format!("the file system of this test has no disk of its own: {disks:?}"));
        return;
    };
    let file = open_directly(&env::current_exe().unwrap());
    let mut pages = Pages([0; 16_384]);
    host.tick();
    let begin = Instant::now();
    let mut took = [Duration::ZERO; 100];
    for (n, took) in (0..).zip(&mut took) {
        let begin = Instant::now();
        file.read_exact_at(&mut pages.0, n * 16_384).unwrap();
        *took = begin.elapsed();
    }
    let elapsed = begin.elapsed().as_nanos() as f64;
    host.tick();
    let sizes = host.gained(&BLOCK_SIZE, &[disk, "read"]);
    let of_16_kib = LATENCY.upper_bound(LATENCY.index(16_384));
    println!("{sizes:?}");
    // A file may be in pieces, and others read too.
    let counted: u64 = sizes.iter().filter(|(bound, _)| *bound == of_16_kib).map(|(_, count)| count).sum();
    assert!((80..400).contains(&counted), "{sizes:?}");
    let waits = host.gained(&BLOCK_QUEUE, &[disk, "read"]);
    let queued = total(&waits);
    match hooks {
        HookChoice::Tracepoint => assert_eq!(queued, 0, "a tracepoint's record does not tell"),
        _ => {
            assert!(queued >= 90, "{queued}");
            took.sort_unstable();
            let (wait, own) = (median(&waits), took[took.len() / 2].as_nanos() as u64);
            println!("made to issued {wait} ns, a read {own} ns");
            // A request is made and issued within the read that it is part of, one after the other.
            assert!((20..own).contains(&wait), "{wait} ns of {own} ns: {waits:?}");
        }
    }
    let latency = host.reading(&BLOCK_SLOWEST_LATENCY, &[disk]).unwrap();
    let size = host.reading(&BLOCK_SLOWEST_SIZE, &[disk]).unwrap();
    let sector = host.reading(&BLOCK_SLOWEST_SECTOR, &[disk]).unwrap();
    let pid = host.reading(&BLOCK_SLOWEST_PID, &[disk]).unwrap();
    println!("{latency} ns, {size} bytes at {sector} by {pid}; own {}", std::process::id());
    let reads = host.gained(&BLOCK_LATENCY, &[disk, "read"]);
    let slowest_read = LATENCY.lower_bound(LATENCY.index(reads.last().unwrap().0)) as f64;
    assert!(latency >= slowest_read, "{latency}: {reads:?}");
    assert!(latency < elapsed + 5e9 && size >= 512.0 && sector > 0.0, "{latency} ns, {size} at {sector}");
    host.tick();
    assert_eq!(host.reading(&BLOCK_ERRORS, &[disk, "read"]), Some(0.0));
}

#[test]
fn requests_are_told_with_size_and_example_by_btf_tracepoints() {
    patiently(|| requests_are_told_with_size_and_example(HookChoice::Btf));
}

#[test]
fn requests_are_told_with_size_and_example_by_raw_tracepoints() {
    patiently(|| requests_are_told_with_size_and_example(HookChoice::Raw));
}

#[test]
fn requests_are_told_with_size_and_example_by_tracepoints() {
    patiently(|| requests_are_told_with_size_and_example(HookChoice::Tracepoint));
}

/// A loop device whose file was cut short gives back what it can, asks again for the rest, then fails: lo_complete_rq of
/// drivers/block/loop.c.
fn errors_and_requeues_are_counted(hooks: HookChoice) {
    let file = tempfile::NamedTempFile::new_in(env::current_exe().unwrap().parent().unwrap()).unwrap();
    file.as_file().set_len(MIB).unwrap();
    let Some(device) = LoopDevice::over(file.path()) else {
        skipped("no loop device to be had");
        return;
    };
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let name = device.0.trim_start_matches("/dev/").to_owned();
    let file_of_device = open_directly(device.0.as_ref());
    host.tick();
    file.as_file().set_len(MIB / 2 + 4_096).unwrap();
    let mut pages = Pages([0; 16_384]);
    for _ in 0..5 {
        assert!(file_of_device.read_exact_at(&mut pages.0, MIB / 2).is_err(), "most of it is gone");
    }
    host.tick();
    let errors = host.reading(&BLOCK_ERRORS, &[&name, "read"]).unwrap();
    let requeues = host.reading(&BLOCK_REQUEUES, &[&name, "read"]).unwrap();
    println!("{errors} errors, {requeues} requeues");
    assert!(errors >= 5.0 && requeues >= 5.0, "{errors} errors, {requeues} requeues");
}

#[test]
fn errors_and_requeues_are_counted_by_btf_tracepoints() {
    patiently(|| errors_and_requeues_are_counted(HookChoice::Btf));
}

#[test]
fn errors_and_requeues_are_counted_by_raw_tracepoints() {
    patiently(|| errors_and_requeues_are_counted(HookChoice::Raw));
}

#[test]
fn errors_and_requeues_are_counted_by_tracepoints() {
    patiently(|| errors_and_requeues_are_counted(HookChoice::Tracepoint));
}

fn requests_in_flight_are_told_and_none_is_left(hooks: HookChoice) {
    let file = tempfile::NamedTempFile::new_in(env::current_exe().unwrap().parent().unwrap()).unwrap();
    file.as_file().set_len(MIB).unwrap();
    let Some(device) = LoopDevice::over(file.path()) else {
        skipped("no loop device to be had");
        return;
    };
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let name = device.0.trim_start_matches("/dev/").to_owned();
    let in_flight = |host: &mut Host| {
        host.tick();
        host.reading(&BLOCK_IN_FLIGHT, &[&name]).unwrap()
    };
    assert_eq!(in_flight(&mut host), 0.0);
    host.probes.watch.begin_slowest();
    let (over, begin) = (AtomicBool::new(false), Instant::now());
    let read = || {
        let file = open_directly(device.0.as_ref());
        let mut pages = Pages([0; 16_384]);
        while !over.load(Relaxed) {
            file.read_exact_at(&mut pages.0, 0).unwrap();
        }
    };
    let most = thread::scope(|scope| {
        for _ in 0..3 {
            thread::Builder::new().name("reader".into()).spawn_scoped(scope, read).unwrap();
        }
        let mut most = 0.0;
        while most < 1.0 && begin.elapsed() < Duration::from_secs(20) {
            most = f64::max(most, in_flight(&mut host));
        }
        over.store(true, Relaxed);
        most
    });
    assert!((1.0..=3.0).contains(&most), "{most}");
    assert_eq!(in_flight(&mut host), 0.0, "all are over");
    assert_eq!(host.reading(&PROBE_LOST, &["block"]), Some(0.0));
    let slowest = host.probes.watch.slowest_requests();
    let told = slowest.iter().map(ToString::to_string).find(|told| told.contains(&format!(" {name} ")));
    let told = told.expect("the device was read");
    println!("{told}");
    // Or a thread of the kernel, on its behalf.
    assert!(told.contains("by reader (") || told.contains("by kworker"), "{told}");
}

#[test]
fn requests_in_flight_are_told_and_none_is_left_by_btf_tracepoints() {
    patiently(|| requests_in_flight_are_told_and_none_is_left(HookChoice::Btf));
}

#[test]
fn requests_in_flight_are_told_and_none_is_left_by_raw_tracepoints() {
    patiently(|| requests_in_flight_are_told_and_none_is_left(HookChoice::Raw));
}

#[test]
fn requests_in_flight_are_told_and_none_is_left_by_tracepoints() {
    patiently(|| requests_in_flight_are_told_and_none_is_left(HookChoice::Tracepoint));
}
