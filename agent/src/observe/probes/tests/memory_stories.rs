//! The memory probe against known page faults and a known victim of the OOM killer.

use std::{os::unix::process::CommandExt as _, path::PathBuf};

use nix::sys::resource::{UsageWho, getrusage};
use ssts_proto::catalogue::{MEMORY_FAULTS, MEMORY_OOM_KILLS, MEMORY_STALL};

use super::*;

fn page_faults_are_counted(hooks: HookChoice) {
    const PAGES: usize = 1_000;
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let mark = host.probes.watch.mark(std::process::id().cast_signed(), false);
    host.tick();
    let faults = |host: &Host| host.reading(&MEMORY_FAULTS, &["burner"]).unwrap();
    let truth = || getrusage(UsageWho::RUSAGE_SELF).unwrap().minor_page_faults() as f64;
    let (before, begin) = (faults(&host), truth());
    // 64 KiB apart: no page of any usual size takes two of them.
    let mut memory = vec![0u8; PAGES << 16];
    memory.iter_mut().step_by(1 << 16).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
    let end = truth();
    host.tick();
    drop(mark);
    let (seen, truth) = (faults(&host) - before, end - begin);
    println!("{seen} seen, {truth} by the kernel's account");
    if truth < 500.0 {
        skipped("large pages took most of the faults");
        return;
    }
    // Faults of the kernel on the process's behalf are in the truth alone; other threads of the process may have some more.
    assert!(seen >= 0.8 * truth && seen <= 1.2 * truth + 500.0, "{seen} of {truth}");
}

#[test]
fn page_faults_are_counted_by_btf_tracepoints() {
    patiently(|| page_faults_are_counted(HookChoice::Btf));
}

#[test]
fn page_faults_are_counted_by_raw_tracepoints() {
    patiently(|| page_faults_are_counted(HookChoice::Raw));
}

#[test]
fn page_faults_are_counted_by_tracepoints() {
    patiently(|| page_faults_are_counted(HookChoice::Tracepoint));
}

/// A memory cgroup of 32 MiB, of whichever version, removed when dropped.
struct Small(PathBuf);

impl Small {
    fn new() -> Option<Self> {
        let version_1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (parent, limit) = if version_1.join("memory.limit_in_bytes").exists() {
            (version_1, "memory.limit_in_bytes")
        } else {
            let parent = PathBuf::from("/sys/fs/cgroup");
            let _best_effort = fs::write(parent.join("cgroup.subtree_control"), "+memory");
            (parent, "memory.max")
        };
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = parent.join(format!("ssts-probe-{}-{count}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let small = Self(folder);
        fs::write(small.0.join(limit), "33554432").ok()?;
        Some(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let begin = Instant::now();
        while fs::remove_dir(&self.0).is_err() && begin.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn a_victim_of_the_oom_killer_is_named(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let Some(cgroup) = Small::new() else {
        skipped("no memory cgroup to be had");
        return;
    };
    host.tick();
    let known = host.probes.watch.oom_kills();
    let procs = cgroup.0.join("cgroup.procs");
    // It puts itself into the cgroup, then reads a line without end into memory.
    let mut hog = Command::new("sh");
    hog.arg0("sh").args(["-c", &format!("echo $$ > {} && exec tail /dev/zero", procs.display())]);
    let mut hog = hog.spawn().unwrap();
    let pid = hog.id();
    let status = hog.wait().unwrap();
    assert!(!status.success(), "{status}");
    host.tick();
    let victims = host.probes.watch.oom_victims_after(known);
    let ours = victims.iter().find(|victim| victim.pid() == pid).unwrap_or_else(|| panic!("{victims:?}"));
    println!("{ours}");
    assert!(ours.to_string().contains(&format!("(pid {pid}) asked for memory")), "it asked itself: {ours}");
    if hooks == HookChoice::Raw {
        assert!(ours.to_string().contains("chose tail"), "{ours}");
    }
    assert!(host.reading(&MEMORY_OOM_KILLS, &[]).unwrap() >= 1.0);
    println!("{:?}", host.gained(&MEMORY_STALL, &[]));
}

#[test]
fn a_victim_of_the_oom_killer_is_named_by_btf_tracepoints() {
    patiently(|| a_victim_of_the_oom_killer_is_named(HookChoice::Btf));
}

#[test]
fn a_victim_of_the_oom_killer_is_named_by_raw_tracepoints() {
    patiently(|| a_victim_of_the_oom_killer_is_named(HookChoice::Raw));
}

#[test]
fn a_victim_of_the_oom_killer_is_named_by_tracepoints() {
    patiently(|| a_victim_of_the_oom_killer_is_named(HookChoice::Tracepoint));
}
