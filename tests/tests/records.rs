//! What was observed during a run is kept: over a crash, a full disk, and from before the run where something went wrong.

use std::{fs, time::Duration};

use nix::{
    sys::signal::Signal,
    time::{ClockId, clock_gettime},
};
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Mount, Record, outside, privileged};

/// Starts a run that goes on until it is stopped, and gives its id.
fn start(ground: &Ground) -> String {
    let words = "burn cpu --kernel fma --cores 0 --tolerance 100 --duration 120s --detach";
    id(&Ctl::new(ground).words(words).json()["run"])
}

fn id(result: &Value) -> String {
    result["run_id"].as_str().expect("a run has one").to_owned()
}

#[test]
fn every_frame_of_a_run_is_kept_and_can_be_printed_after_a_restart() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let run = id(&Ctl::new(&ground).words("burn cpu --tolerance 100 --duration 3s").json());
    let record = Record::closed(&ground, &run);
    assert!(record.span() > Duration::from_millis(2_500), "{:?}", record.span());
    assert_eq!((record.lost, record.torn_bytes), (0, 0));
    let gaps = record.frames.windows(2).filter(|pair| pair[1].sequence != pair[0].sequence + 1).count();
    assert_eq!(gaps, 0, "ticks that were made are kept");
    let clock = |id| Duration::from(clock_gettime(id).expect("every kernel has it")).as_nanos() as i128;
    let offset = clock(ClockId::CLOCK_REALTIME) - clock(ClockId::CLOCK_MONOTONIC);
    let mut off: Vec<_> =
        record.frames.iter().map(|frame| (i128::from(frame.wall_offset_ns) - offset).abs()).collect();
    off.sort_unstable();
    // Of most of them: a thread may lose its core between the two clocks.
    assert!(off[off.len() / 2] < 10_000_000, "Unix time is told wrongly by {} ns", off[off.len() / 2]);
    for wanted in ["phase burn-cpu started", "phase burn-cpu finished"] {
        assert!(record.events.iter().any(|event| event == wanted), "{:?}", record.events);
    }
    drop(daemon);
    let _daemon = Daemon::start(&ground);
    let printed = Ctl::new(&ground).words(&format!("telemetry {run} --metric burner.on_cpu")).run();
    printed.assert_status(0);
    let rates: Vec<f64> = printed
        .stdout
        .lines()
        .filter(|line| line.contains("burner.on_cpu_time"))
        .filter_map(|line| line.rsplit(',').next()?.parse().ok())
        .collect();
    assert!(rates.len() > 20 && rates.iter().any(|rate| *rate > 0.1), "{}", printed.stdout);
}

#[test]
fn a_crash_costs_a_second_at_most() {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    let run = &start(&ground);
    Record::until(&ground, run, Duration::from_secs(30), |record| record.span() > Duration::from_secs(3));
    daemon.signal(Signal::SIGKILL);
    let died = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every kernel has it").into();
    daemon.wait(Duration::from_secs(5));
    drop(daemon);
    // The worst that a crash can leave: half an item.
    let path = Record::path(&ground, run);
    let whole = fs::read(&path).expect("it is there");
    let record = Record::of(&ground, run);
    let last = Duration::from_nanos(record.frames.last().expect("seconds were kept").end_ns);
    let lost = Duration::saturating_sub(died, last);
    // A cut each second, a look each 200 ms, a sync, and what a busy machine adds.
    assert!(lost < Duration::from_millis(2_000), "{lost:?} were lost");
    fs::write(&path, &whole[..whole.len() - 3]).expect("it is ours");
    let torn = Record::of(&ground, run);
    // The last item may be one of frames or of an event.
    assert!(torn.torn_bytes > 0 && torn.frames.len() <= record.frames.len());
    assert!(torn.span() > Duration::from_secs(1), "what stands before it is read");

    let _daemon = Daemon::start(&ground);
    let printed = Ctl::new(&ground).words(&format!("telemetry {run} --metric host.cpu.forks")).run();
    printed.assert_status(0).assert_tells(&["ends within an item"]);
    assert!(printed.stdout.lines().count() > 10, "{}", printed.stdout);
}

#[test]
fn a_full_disk_makes_a_gap_that_is_told_and_the_run_goes_on() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let state = Mount::tmpfs(ground.state(), 8 << 20);
    let daemon = Daemon::start_on_a_small_disk(&ground);
    let run = &start(&ground);
    Record::until(&ground, run, Duration::from_secs(30), |record| record.frames.len() > 10);
    let ballast = state.path().join("ballast");
    let mut file = fs::File::create(&ballast).expect("there is room");
    while std::io::Write::write_all(&mut file, &[1; 4_096]).is_ok() {}
    assert!(outside::within(Duration::from_secs(10), || daemon.log().contains("can't be written")).is_some());
    assert_eq!(daemon.burners().len(), 1, "the run goes on");
    std::thread::sleep(Duration::from_secs(2));
    fs::remove_file(&ballast).expect("it is ours");
    drop(file);
    Record::until(&ground, run, Duration::from_secs(10), |record| record.lost > 0);
    Ctl::new(&ground).words(&format!("stop {run}")).run().assert_status(0);
    let record = Record::closed(&ground, run);
    assert!(record.reasons.iter().any(|reason| reason.contains("No space left")), "{:?}", record.reasons);
    let frames = record.frames.last().map_or(0, |last| last.sequence) - record.frames[0].sequence + 1;
    assert_eq!(record.frames.len() as u64 + record.lost, frames, "every frame is there or told to be lost");
}

#[test]
fn the_minute_before_a_trip_is_kept_even_from_before_the_run() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    // Something to look back at.
    let lines = || {
        let printed = Ctl::new(&ground).words("telemetry --metric host.cpu.forks").run();
        printed.assert_status(0);
        printed.stdout.lines().count()
    };
    assert!(outside::within(Duration::from_secs(20), || lines() > 20).is_some(), "the flight recorder flies");
    // More than there is: it trips at once.
    let words = "--output json burn cpu --duration 20s --min-available-memory 100TiB";
    let outcome = Ctl::new(&ground).words(words).run();
    outcome.assert_status(4);
    let record = Record::closed(&ground, &id(&outcome.json()));
    let (reason, window) = &record.frozen[0];
    assert!(reason.starts_with("guard tripped: "), "{reason}");
    let first_of_run = record.frames.first().map_or(u64::MAX, |frame| frame.sequence);
    assert!(window.iter().filter(|frame| frame.sequence < first_of_run).count() > 10, "{}", window.len());
}

#[test]
fn a_window_is_frozen_on_request() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    Ctl::new(&ground).words("freeze").run().assert_status(2);
    let run = &start(&ground);
    Record::until(&ground, run, Duration::from_secs(10), |record| !record.frames.is_empty());
    let frozen = Ctl::new(&ground).args(["freeze", "--reason", "a strange noise"]).run();
    frozen.assert_status(0);
    assert!(frozen.stdout.contains("its record has the latest"), "{}", frozen.stdout);
    // What would have the same is refused, and that is said.
    let again = Ctl::new(&ground).words("freeze").run();
    again.assert_status(5).assert_tells(&["a window was frozen", "ago"]);
    Record::until(&ground, run, Duration::from_secs(10), |record| !record.frozen.is_empty());
    Ctl::new(&ground).words(&format!("stop {run}")).run().assert_status(0);
    let record = Record::closed(&ground, run);
    let (reason, window) = &record.frozen[0];
    assert!(reason.contains("asked for by uid") && reason.ends_with("a strange noise"), "{reason}");
    assert!(!window.is_empty());
    assert_eq!(record.frozen.len(), 1, "the second was refused");

    let printed = Ctl::new(&ground).words(&format!("telemetry {run} --frozen --metric host.cpu.forks")).run();
    printed.assert_status(0);
    let lines: Vec<_> = printed.stdout.lines().collect();
    assert_eq!(lines[0], "time,metric,labels,statistic,unit,value,frozen_at,reason");
    // A rate takes two frames.
    assert_eq!(lines.len() - 1, window.len() - 1, "{}", printed.stdout);
    assert!(lines[1..].iter().all(|line| line.ends_with("a strange noise")), "{}", printed.stdout);
    let of_run = Ctl::new(&ground).words(&format!("telemetry {run} --metric host.cpu.forks")).run();
    assert!(!of_run.stdout.contains("a strange noise"), "{}", of_run.stdout);
}

#[test]
fn a_run_without_frozen_windows_says_so() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let run = id(&Ctl::new(&ground).words("burn cpu --tolerance 100 --duration 1s").json());
    Record::closed(&ground, &run);
    let printed = Ctl::new(&ground).words(&format!("telemetry {run} --frozen")).run();
    printed.assert_status(0).assert_tells(&["no window was frozen"]);
    assert_eq!(printed.stdout.lines().count(), 1, "{}", printed.stdout);
}

#[test]
fn a_record_that_grows_large_has_fewer_frames_and_then_none() {
    let ground = Ground::new();
    ground.configure(
        "[observe]\nrate_hz = 100\n[record]\nmax_run_bytes = 1048576\nmax_total_bytes = 1048576\n",
    );
    let _daemon = Daemon::start(&ground);
    let run = &start(&ground);
    Record::until(&ground, run, Duration::from_secs(100), |record| record.rates > 0);
    std::thread::sleep(Duration::from_secs(3));
    // What is frozen is bounded as the rest is, whether all of it fits or not.
    Ctl::new(&ground).words("freeze").run().assert_status(0);
    Ctl::new(&ground).words(&format!("stop {run}")).run().assert_status(0);
    let record = Record::closed(&ground, run);
    assert_eq!(record.rates, 1);
    assert_eq!(record.frozen.len(), 1);
    // At the end of the phase and of the record one more comes, with the rest of what histograms counted.
    let seconds =
        record.frames.windows(2).rev().take(8).filter(|pair| pair[1].end_ns - pair[0].end_ns > 900_000_000);
    assert!(seconds.count() >= 2);
    assert!(fs::metadata(Record::path(&ground, run)).expect("it is there").len() <= 1 << 20);
}
