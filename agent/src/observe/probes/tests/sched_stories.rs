//! The scheduler probe against known events: what ran on a core, how often it switched, who took it from a burner.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use nix::sys::resource::{UsageWho, getrusage};
use ssts_proto::catalogue::{
    RUNQUEUE_OTHERS_LATENCY, SCHED_BURNER_PREEMPTED_TIME, SCHED_BURNER_PREEMPTIONS, SCHED_PREEMPTIONS,
    SCHED_SWITCHES, SCHED_TIME,
};

use super::*;
use crate::clock;

fn pin() {
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id: 0 }));
}

/// Uses that much core time on core 0.
fn burn(how_long: Duration) {
    pin();
    let begin = clock::thread_cpu();
    while clock::thread_cpu() - begin < how_long {
        std::hint::spin_loop();
    }
}

/// Context switches of the calling thread by the kernel's own count.
fn own_switches() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    (usage.voluntary_context_switches() + usage.involuntary_context_switches()) as u64
}

impl Host {
    fn time(&self, who: &str) -> f64 {
        self.reading(&SCHED_TIME, &["0", who]).unwrap()
    }
}

fn a_cores_time_is_split(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let spend = || thread::spawn(|| burn(Duration::from_millis(100))).join().unwrap();
    host.tick();
    let before = [host.time("burner"), host.time("others"), host.time("idle")];
    let begin = Instant::now();
    spend();
    host.tick();
    let between = [host.time("burner"), host.time("others"), host.time("idle")];
    assert_eq!(between[0], before[0], "nothing burns");
    assert!(between[1] - before[1] >= 0.09, "{before:?} {between:?}");
    let mark = host.probes.watch.mark(std::process::id().cast_signed(), false);
    spend();
    thread::sleep(Duration::from_millis(20));
    host.tick();
    drop(mark);
    let after = [host.time("burner"), host.time("others"), host.time("idle")];
    println!("{before:?} {between:?} {after:?}");
    // All of this process burns then, and nothing else does.
    assert!(after[0] - between[0] >= 0.09, "{between:?} {after:?}");
    let whole: f64 = after.iter().sum::<f64>() - before.iter().sum::<f64>();
    let elapsed = begin.elapsed().as_secs_f64();
    assert!((whole - elapsed).abs() < 0.02 + 0.05 * elapsed, "{whole} s of {elapsed} s");
}

#[test]
fn a_cores_time_is_split_by_btf_tracepoints() {
    patiently(|| a_cores_time_is_split(HookChoice::Btf));
}

#[test]
fn a_cores_time_is_split_by_raw_tracepoints() {
    patiently(|| a_cores_time_is_split(HookChoice::Raw));
}

#[test]
fn a_cores_time_is_split_by_tracepoints() {
    patiently(|| a_cores_time_is_split(HookChoice::Tracepoint));
}

#[test]
fn every_switch_of_a_ping_pong_is_counted() {
    patiently(every_switch_of_a_ping_pong_is_counted_once);
}

fn every_switch_of_a_ping_pong_is_counted_once() {
    const ROUNDS: u32 = 2_000;
    let Some(mut host) = Host::watched_by(HookChoice::Auto) else { return };
    let (mut left, mut right) = UnixStream::pair().unwrap();
    host.tick();
    let before = host.reading(&SCHED_SWITCHES, &["0"]).unwrap();
    let pong = thread::spawn(move || {
        pin();
        let (mut byte, begin) = ([0], own_switches());
        for _ in 0..ROUNDS {
            right.read_exact(&mut byte).unwrap();
            right.write_all(&byte).unwrap();
        }
        own_switches() - begin
    });
    let ping = thread::spawn(move || {
        pin();
        let (mut byte, begin) = ([0], own_switches());
        for _ in 0..ROUNDS {
            left.write_all(&byte).unwrap();
            left.read_exact(&mut byte).unwrap();
        }
        own_switches() - begin
    });
    let truth = (ping.join().unwrap() + pong.join().unwrap()) as f64;
    host.tick();
    let counted = host.reading(&SCHED_SWITCHES, &["0"]).unwrap() - before;
    println!("{truth} switches of the two, {counted} of the core");
    assert!(truth >= f64::from(ROUNDS), "they shared a core");
    // Others switch there too; a virtual machine's kernel skips a few programs.
    assert!(counted >= 0.99 * truth, "{counted} of {truth}");
}

fn who_takes_a_core_from_a_burner_is_named(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    host.tick();
    let preemptions = host.reading(&SCHED_PREEMPTIONS, &["0"]).unwrap();
    let mark = host.probes.watch.mark(std::process::id().cast_signed(), false);
    let rivals: Vec<_> = ["a-burner", "its-rival"]
        .map(|name| {
            let rival = thread::Builder::new().name(name.into());
            rival.spawn(|| burn(Duration::from_millis(200))).unwrap()
        })
        .into();
    rivals.into_iter().for_each(|rival| rival.join().unwrap());
    host.tick();
    drop(mark);
    assert!(host.probes.sources.iter().any(|source| source.changed()), "there are new names to tell");
    host.describe();
    host.tick();
    let count = host.reading(&SCHED_BURNER_PREEMPTIONS, &["its-rival"]).unwrap();
    let time = host.reading(&SCHED_BURNER_PREEMPTED_TIME, &["its-rival"]).unwrap();
    let preemptions = host.reading(&SCHED_PREEMPTIONS, &["0"]).unwrap() - preemptions;
    println!("{count} times, {time} s; {preemptions} preemptions");
    // Each of the two had the core for 0.2 s, and got it mostly from the other: but for what third ones had in between.
    assert!(count >= 2.0 && (0.02..0.3).contains(&time), "{count} times, {time} s");
    assert!(preemptions >= count, "{preemptions}");
    let told = host.probes.watch.preemptions();
    assert!(told.iter().any(|taken| taken.task == "its-rival" && taken.count >= 2), "{told:?}");
}

#[test]
fn who_takes_a_core_from_a_burner_is_named_by_btf_tracepoints() {
    patiently(|| who_takes_a_core_from_a_burner_is_named(HookChoice::Btf));
}

#[test]
fn who_takes_a_core_from_a_burner_is_named_by_raw_tracepoints() {
    patiently(|| who_takes_a_core_from_a_burner_is_named(HookChoice::Raw));
}

#[test]
fn who_takes_a_core_from_a_burner_is_named_by_tracepoints() {
    patiently(|| who_takes_a_core_from_a_burner_is_named(HookChoice::Tracepoint));
}

fn waits_of_burners_are_told_from_those_of_others(hooks: HookChoice) {
    let Some(mut host) = Host::watched_by(hooks) else { return };
    // Two share a core; what they wait for it, and what others do, in ns.
    let mut contend = |is_burner: bool| {
        let mark = is_burner.then(|| host.probes.watch.mark(std::process::id().cast_signed(), false));
        host.tick();
        let rivals = [(); 2].map(|()| thread::spawn(|| burn(Duration::from_millis(200))));
        rivals.into_iter().for_each(|rival| rival.join().unwrap());
        host.tick();
        drop(mark);
        [&RUNQUEUE_LATENCY, &RUNQUEUE_OTHERS_LATENCY]
            .map(|metric| host.gained(metric, &["0"]).iter().map(|(bound, count)| bound * count).sum::<u64>())
    };
    let [all, others] = contend(false);
    println!("{all} ns, {others} ns of others where nobody burns");
    assert!(others >= 100_000_000 && others >= all / 10 * 9, "{all} {others}");
    let [all, others] = contend(true);
    println!("{all} ns, {others} ns of others beside two burners");
    // Each waited for about as long as the other ran.
    assert!(all.saturating_sub(others) >= 100_000_000, "{all} {others}");
}

#[test]
fn waits_of_burners_are_told_from_those_of_others_by_btf_tracepoints() {
    patiently(|| waits_of_burners_are_told_from_those_of_others(HookChoice::Btf));
}

#[test]
fn waits_of_burners_are_told_from_those_of_others_by_raw_tracepoints() {
    patiently(|| waits_of_burners_are_told_from_those_of_others(HookChoice::Raw));
}

/// A record doesn't tell whose thread it was: then nothing is told, rather than something that is wrong.
#[test]
fn tracepoints_tell_nothing_of_others_alone() {
    let Some(mut host) = Host::watched_by(HookChoice::Tracepoint) else { return };
    host.tick();
    let columns = &host.schema.histograms;
    assert!(columns.iter().all(|histogram| histogram.column.metric != &RUNQUEUE_OTHERS_LATENCY));
}
