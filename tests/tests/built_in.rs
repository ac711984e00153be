//! The built-in scenarios, shortened and run for real. What `cycle7` makes of the host is read from /proc, from outside.

use std::{
    fs,
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use ssts_proto::v1::{GetRunRequest, Scenario, agent_client::AgentClient};
use ssts_tests::{
    Ctl, Daemon, Ground, connect, note,
    outside::{self, Process},
};

const DAY_S: f64 = 86_400.0;
/// How often the host's books are read.
const EVERY: Duration = Duration::from_millis(100);
/// Percent of the host's CPU time that others may take before a band says nothing of us any more.
const QUIET_PERCENT: f64 = 3.0;
/// Percent of a core that others may take before a load of the core is theirs to answer for.
const BUSY_PERCENT: f64 = 20.0;
/// Percentage points that counting in ticks of 10 ms costs in a phase of a second.
const TICKS_POINTS: f64 = 1.0;
/// How long others may take to give memory back.
const ROOM_WITHIN: Duration = Duration::from_secs(300);
/// Filling memory takes as long as others let it.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// A phase, its minutes at scale 1, and the percent of CPU and of memory that the whole host is to use in it.
const BANDS: [(&str, f64, [f64; 2], [f64; 2]); 6] = [
    ("idle", 5.0, [0.0, 5.0], [0.0, 10.0]),
    ("baseline", 15.0, [10.0, 20.0], [20.0, 30.0]),
    ("light", 20.0, [30.0, 40.0], [40.0, 50.0]),
    ("medium", 30.0, [50.0, 60.0], [60.0, 70.0]),
    ("heavy", 30.0, [70.0, 80.0], [75.0, 85.0]),
    ("extreme", 20.0, [85.0, 95.0], [85.0, 95.0]),
];

/// The host's books at an instant.
#[derive(Debug, Clone)]
struct Sample {
    /// Seconds of the day, UTC.
    at_s: f64,
    busy_s: f64,
    idle_s: f64,
    used_percent: f64,
    burners: Vec<(Process, Duration)>,
}

impl Sample {
    fn take(daemon: &Daemon) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let (busy_s, idle_s) = cpu_seconds();
        let burners = daemon.burners().into_iter().filter_map(|burner| Some((burner, burner.cpu_time()?)));
        Self {
            at_s: since.as_secs_f64() % DAY_S,
            busy_s,
            idle_s,
            used_percent: used_percent(),
            burners: burners.collect(),
        }
    }
}

/// Of all cores since boot, busy and not; what a hypervisor took is neither: proc_stat(5), in ticks of 10 ms.
fn cpu_seconds() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").expect("it is there");
    let line = text.lines().next().expect("its first line is of all cores");
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq.
    let sum = |fields: &[usize]| fields.iter().map(|field| ticks[*field]).sum::<f64>() / 100.0;
    (sum(&[0, 1, 2, 5, 6]), sum(&[3, 4]))
}

fn used_percent() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").expect("it is there");
    let of = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
        line.trim().trim_end_matches(" kB").parse().expect("it is a number")
    };
    100.0 * (1.0 - of("MemAvailable:") / of("MemTotal:"))
}

/// Seconds of the day of an instant such as `2026-01-31T08:00:00.5Z`.
fn second_of_day(instant: &str) -> f64 {
    let time = instant.split(['T', 'Z']).nth(1).expect("it has a time");
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().expect("it is a number")).collect();
    parts[0] * 3_600.0 + parts[1] * 60.0 + parts[2]
}

/// A run to its end, its result, and the books meanwhile.
fn watched(ground: &Ground, daemon: &Daemon, arguments: &[&str]) -> (Value, Vec<Sample>) {
    let started = Ctl::new(ground).args(["--output", "json"]).args(arguments).args(["--detach"]).json();
    let run_id = started["run"]["run_id"].as_str().expect("a run has an id").to_owned();
    let over = AtomicBool::new(false);
    let samples = thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut samples = Vec::new();
            while !over.load(Ordering::Relaxed) {
                samples.push(Sample::take(daemon));
                thread::sleep(EVERY);
            }
            samples
        });
        let begin = Instant::now();
        // Seldom: each look costs some CPU time that is measured, too.
        let is_over = || {
            let runs = Ctl::new(ground).args(["--output", "json", "runs"]).json();
            runs["runs"][0]["verdict"].is_string()
        };
        while !is_over() && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_secs(2));
        }
        over.store(true, Ordering::Relaxed);
        sampling.join().expect("sampling does not panic")
    });
    (Ctl::new(ground).args(["--output", "json", "report", &run_id]).json(), samples)
}

/// Nothing went wrong; or a load was missed because others had the cores, which is for them to answer for; or the run was too short
/// for its trends, which is no pass.
fn assert_good(result: &Value, name: &str) {
    let mut missed = false;
    for burner in result["hosts"][0]["burners"].as_array().expect("burners are a list") {
        let reason = burner["outcome_reason"].as_str().unwrap_or_default();
        let loads = burner["worker_loads"].as_array().map(Vec::as_slice).unwrap_or_default();
        let had_them = |load: &Value| load["others"].as_f64() > Some(BUSY_PERCENT);
        let others = burner["outcome"] == "missed"
            && (reason.contains("waited for the core") || loads.iter().any(had_them));
        assert!(burner["outcome"] == "done" || others, "{name}: {burner:#}");
        missed |= others;
    }
    let of_trends = result["trends"].as_array().into_iter().flatten().map(|trend| &trend["outcome"]);
    let outcomes: Vec<_> = of_trends.collect();
    assert!(outcomes.iter().all(|outcome| **outcome != "fail"), "{name}: {:#}", result["trends"]);
    let unproven = outcomes.iter().any(|outcome| **outcome == "inconclusive");
    let verdict = result["verdict"].as_str();
    let wanted = if missed || unproven { "fail" } else { "pass" };
    assert_eq!(verdict, Some(wanted), "{name}: {result:#}");
}

/// Every level is inside its band, as far as others leave that to us.
fn assert_bands(result: &Value, samples: &[Sample], scale: f64, before_percent: f64) {
    let events = result["hosts"][0]["events"].as_array().expect("events are a list");
    for (phase, minutes, cpu, memory) in BANDS {
        let event = events
            .iter()
            .find(|event| event["kind"] == "phase_started" && event["fields"]["phase"] == phase)
            .expect("every phase started");
        let start_s = second_of_day(event["at"].as_str().expect("an event has its time"));
        let length_s = minutes * 60.0 * scale;
        let within: Vec<&Sample> = samples
            .iter()
            .filter(|sample| {
                let into_s = (sample.at_s - start_s).rem_euclid(DAY_S);
                (0.15..length_s - 0.05).contains(&into_s)
            })
            .collect();
        assert!(within.len() >= 5, "{phase}: only {} readings in {length_s} s", within.len());
        let (first, last) = (within[0], within[within.len() - 1]);
        let busy_s = last.busy_s - first.busy_s;
        let all_s = busy_s + last.idle_s - first.idle_s;
        let own_s: f64 = (last.burners.iter())
            .filter_map(|(burner, time)| {
                let (_, before) = first.burners.iter().find(|(before, _)| before == burner)?;
                Some(time.saturating_sub(*before).as_secs_f64())
            })
            .sum();
        let (busy, own) = (100.0 * busy_s / all_s, 100.0 * own_s / all_s);
        let others = busy - own;
        let mean = within.iter().map(|sample| sample.used_percent).sum::<f64>() / within.len() as f64;
        let inside = |percent: f64, band: [f64; 2]| (band[0]..=band[1]).contains(&percent);
        let share = within.iter().filter(|sample| inside(sample.used_percent, memory)).count() as f64
            / within.len() as f64;
        note(format_args!(
            "{phase}: CPU {busy:.1} %, {others:.1} of it others; memory {mean:.1} %, {:.0} % of {} readings inside",
            100.0 * share,
            within.len()
        ));
        if others <= QUIET_PERCENT {
            assert!(
                busy >= cpu[0] - TICKS_POINTS && busy <= cpu[1] + TICKS_POINTS,
                "{phase}: {busy:.1} % of CPU, {own:.1} by burners"
            );
        } else {
            // What others take is part of the band, and what they take beyond it can't be taken back.
            assert!(busy >= cpu[0] - TICKS_POINTS, "{phase}: {busy:.1} % of CPU");
            assert!(own <= cpu[1] + TICKS_POINTS, "{phase}: burners alone take {own:.1} % of CPU");
        }
        if phase == "idle" {
            // Nothing is added to what the host uses by itself.
            assert!(before_percent > 9.0 || inside(mean, memory), "{phase}: {mean:.1} % of memory");
            // A sink that nobody uses is all that there is beside the daemon.
            assert!(own <= 1.0, "{phase}: {own:.1} % of CPU");
        } else {
            assert!(inside(mean, memory), "{phase}: {mean:.1} % of memory");
            assert!(share >= 0.9, "{phase}: {share} of the readings of memory are inside");
        }
    }
}

fn cycle7(scale: &str) {
    let ground = Ground::alone();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let sink = port.expect("the kernel has a free port").to_string();
    ground.configure(&format!(
        "[network.sink]\nlisten = [\"{sink}\"]\nallowed_peers = [\"127.0.0.1/32\"]\ncores = [0]\n"
    ));
    let daemon = Daemon::start(&ground);
    // A burner can only add to what others use: the first level needs room below it.
    if outside::within(ROOM_WITHIN, || used_percent() < 20.0).is_none() {
        let plan = Ctl::new(&ground).args(["plan", "cycle7"]).run();
        note(format_args!("NOT TESTED: others use {:.0} % of the memory\n{}", used_percent(), plan.stderr));
        assert!(plan.status.success() || plan.stderr.contains("in use already"), "{}", plan.stderr);
        return;
    }
    let before_percent = used_percent();
    let settings =
        [format!("scale={scale}"), format!("path={}", ground.disk().display()), format!("peer={sink}")];
    let mut arguments = vec!["run", "cycle7", "--seed", "7"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let (result, samples) = watched(&ground, &daemon, &arguments);
    assert_good(&result, "cycle7");
    assert_bands(&result, &samples, scale.parse().expect("it is a number"), before_percent);
    let burners = result["hosts"][0]["burners"].as_array().expect("burners are a list");
    let chaos = burners.iter().filter(|burner| burner["phase"] == "chaos");
    let kinds: Vec<_> = chaos
        .map(|burner| {
            assert!(burner["operations"].as_u64() > Some(0), "{burner:#}");
            burner["kind"].as_str().unwrap_or_default()
        })
        .collect();
    assert_eq!(kinds, ["cpu", "memory", "disk", "network"]);
    assert_eq!(ground.leftovers(), [""; 0]);
}

#[test]
fn each_level_of_cycle7_brings_the_whole_host_into_its_band() {
    cycle7("0.004");
}

#[test]
#[ignore = "three minutes of a quiet machine: cargo test -p ssts-tests --test built_in -- --ignored --nocapture"]
fn each_level_of_cycle7_brings_the_whole_host_into_its_band_at_a_sixtieth() {
    cycle7("0.016666667");
}

/// The others, as short as they say anything.
#[test]
fn every_other_built_in_scenario_runs_to_its_end() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    let path = format!("path={}", ground.disk().display());
    let small = "size=16MiB";
    // A little more than others use: how fast memory can be had is theirs to say.
    let memory = format!("memory={:.0}%", used_percent().ceil() + 4.0);
    for (name, settings) in [
        ("demo", &["scale=0.03", &path][..]),
        ("peak", &["ramp=5s", "hold=1s", "peak=40%", &memory]),
        ("soak", &["duration=2s", "load=40%", &memory, &path]),
        ("power-step", &["duration=1s", "period=400ms", "low=10%"]),
        ("burn-in", &["hours=0.003", "memory=2%", small, &path]),
        ("memtest", &["duration=1500ms", "memory=2%", "delay=100ms"]),
        ("disk-qualify", &["condition=500ms", "cell=150ms", small, "blocks=4KiB,64KiB", "depths=1,8", &path]),
    ] {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments = ["--output", "json", "run", name].into_iter().chain(set);
        let outcome = Ctl::new(&ground).args(arguments).run();
        let result = outcome.json();
        note(format_args!("{name}: {}", result["verdict"]));
        assert_good(&result, name);
    }
    assert_eq!(ground.leftovers(), [""; 0]);
}

/// What the agent carried out, every default filled in.
fn kept(ground: &Ground, run_id: String) -> Scenario {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.expect("a runtime can be made").block_on(async {
        let mut client = AgentClient::new(connect(ground).await).max_decoding_message_size(16 << 20);
        client.get_run(GetRunRequest { run_id }).await.expect("the run is kept")
    });
    answer.into_inner().run.and_then(|run| run.scenario).expect("a run has its scenario")
}

/// What a seed makes of a scenario is the same each time. That the same seed deals the same I/Os is tested where they are dealt.
#[test]
fn quick_is_the_same_again_with_the_same_seed() {
    let ground = Ground::alone();
    let _daemon = Daemon::start(&ground);
    let path = format!("path={}", ground.disk().display());
    let set = ["quick", "--seed", "7", "--set", "scale=0.1", "--set", &path];
    let planned = || Ctl::new(&ground).args(["--output", "json", "plan"]).args(set).json();
    let ran = || {
        let result = Ctl::new(&ground).args(["--output", "json", "run"]).args(set).run().json();
        assert_good(&result, "quick");
        assert_eq!(result["hosts"][0]["burners"].as_array().map(Vec::len), Some(4));
        let id = result["run_id"].as_str().expect("a run has an id").to_owned();
        kept(&ground, id)
    };
    let plan = planned();
    assert_eq!(plan, planned());
    assert_eq!(plan["seed"], 7);
    let scenario = ran();
    assert_eq!((scenario.seed, scenario.phases.len()), (7, 3));
    assert_eq!(scenario, ran());
}

/// Nothing is started where a level can't be had, and both numbers are told.
#[test]
fn a_level_that_the_host_can_not_have_is_refused_by_the_plan() {
    let ground = Ground::new();
    ground.configure("[limits]\nmin_available_memory_bytes = 1099511627776\n");
    let _daemon = Daemon::start(&ground);
    let plan = Ctl::new(&ground).args(["plan", "soak", "--set", "memory=60%"]).run();
    plan.assert_status(2).assert_tells(&["soak", "used", "60 %", "kept in reserve"]);
    let told = Ctl::new(&ground).args(["plan", "soak", "--set", "memory=1%"]).run();
    told.assert_status(2).assert_tells(&["in use already"]);
}

/// The list is a table and JSON; each of the list can be shown and checked.
#[test]
fn what_is_built_in_is_listed_and_can_be_saved_and_checked() {
    let ground = Ground::new();
    let listed = Ctl::bare(&ground).args(["--output", "json", "scenarios", "list"]).json();
    let listed = listed["scenarios"].as_array().expect("scenarios are a list");
    let table = Ctl::bare(&ground).args(["scenarios", "list"]).run();
    table.assert_status(0);
    assert_eq!(listed.len(), 12);
    for scenario in listed {
        let name = scenario["name"].as_str().expect("a scenario has a name");
        assert!(table.stdout.contains(name) && scenario["duration_s"].as_f64() > Some(1.0), "{scenario:#}");
        let shown = Ctl::bare(&ground).args(["scenarios", "show", name]).run();
        let file = ground.file(&format!("{name}.toml"), &shown.stdout);
        Ctl::bare(&ground).args(["scenarios", "check", &file]).run().assert_status(0);
    }
    let cycle7 = listed.iter().find(|scenario| scenario["name"] == "cycle7").expect("it is built in");
    assert_eq!(cycle7["variables"][0]["name"], "scale", "{cycle7:#}");
    assert_eq!(cycle7["variables"][0]["type"], "number");
    let nearly = Ctl::bare(&ground).args(["scenarios", "show", "cycl7"]).run();
    nearly.assert_status(2).assert_tells(&["did you mean 'cycle7'"]);
}
