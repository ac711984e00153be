//! A scenario is code: it is checked before it runs, with every error at its place; it is put together from files, variables
//! and lists; and what it would do on a host is told before it does it.

use std::{fs, time::Instant};

use ssts_tests::{Ctl, Daemon, Ground, Outcome, Sysfs};

const VARIED: &str = "name = 'varied'\n\
    [variables.soak]\ntype = 'duration'\ndefault = '300ms'\ndescription = 'how long each phase lasts'\n\
    [matrix]\nload = [10, 20]\n\
    [[phase]]\nname = 'cpu'\nduration = '${soak}'\n\
    [[phase.burner]]\nkind = 'cpu'\nload = '${load}'\ntolerance = 100\n";

fn check(ground: &Ground, files: &[&str]) -> Outcome {
    Ctl::bare(ground).args(["scenarios", "check"]).args(files).run()
}

#[test]
fn every_error_of_every_file_is_told_at_once_and_no_agent_is_asked() {
    let ground = Ground::new();
    let bad =
        "nam = 'x'\n[[phase]]\nname = 'a'\nduration = '5parsecs'\n[[phase.burner]]\nkind = 'cpu'\nlaod = 5\n";
    let bad = ground.file("bad.toml", bad);
    let good = ground.file("good.toml", VARIED);
    let outcome = check(&ground, &[&bad, &good]);
    outcome.assert_status(2);
    outcome.assert_tells(&[
        "bad.toml:1:1: a scenario has no key 'nam'",
        "did you mean 'name'",
        "bad.toml:4:12: '5parsecs' is not a duration: no unit 'parsecs' is known",
        "4 | duration = '5parsecs'",
        "^^^^^^^^^^",
        "bad.toml:7:1: a cpu burner has no key 'laod'",
        "did you mean 'load'",
    ]);
    assert!(outcome.stdout.contains("'varied' is valid: 2 phases"), "{}", outcome.stdout);
    let told = Ctl::bare(&ground).args(["--output", "json", "scenarios", "check", &bad, &good]).run();
    let told = told.assert_status(2).json();
    assert_eq!(told["files"][1]["scenario"]["name"], "varied");
    let problems = told["files"][0]["problems"].as_array().expect("problems are a list");
    let places: Vec<_> =
        problems.iter().map(|problem| (problem["line"].as_u64(), problem["column"].as_u64())).collect();
    for place in [(Some(1), Some(1)), (Some(4), Some(12)), (Some(7), Some(1))] {
        assert!(places.contains(&place), "{place:?}: {told:#}");
    }
}

#[test]
fn what_is_no_scenario_at_all_is_refused_and_nothing_breaks() {
    let ground = Ground::new();
    let large = ground.file("large.toml", &"# nothing\n".repeat(1 << 20));
    let deep = ground.file("deep.toml", &format!("x{} = 1", ".x".repeat(1_000_000)));
    let nested = ground.file("nested.toml", &"[".repeat(1_000_000));
    let ring = ground.file("ring.toml", "include = 'ring-2.toml'\nname = 'x'\n");
    let _second = ground.file("ring-2.toml", "include = ['ring.toml']\n");
    fs::write(ground.path("bytes.toml"), [0xff, 0xfe, 0x00]).expect("the folder is ours");
    let bytes = ground.path("bytes.toml").display().to_string();
    for (file, parts) in [
        (&large, &["larger than 4 MiB"][..]),
        (&deep, &["deep.toml:1:1", "very many parts"]),
        (&nested, &["nested.toml:1:"]),
        (&ring, &["ring-2.toml:1:12", "includes itself", "→"]),
        (&bytes, &["not UTF-8"]),
    ] {
        let begin = Instant::now();
        check(&ground, &[file]).assert_status(2).assert_tells(parts);
        ssts_tests::note(format_args!("{file}: refused in {:?}", begin.elapsed()));
    }
}

#[test]
fn a_scenario_runs_with_the_values_of_the_command_line_and_shows_what_they_make_of_it() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let file = ground.file("varied.toml", VARIED);
    let result = Ctl::new(&ground).args(["run", &file, "--set", "soak=200ms"]).json();
    let burners = result["hosts"][0]["burners"].as_array().expect("burners are a list");
    let phases: Vec<_> = burners.iter().map(|burner| burner["phase"].as_str().unwrap_or_default()).collect();
    assert_eq!(phases, ["cpu-10", "cpu-20"]);
    let shown = Ctl::bare(&ground).args(["scenarios", "show", &file, "--set", "soak=200ms"]).run();
    shown.assert_status(0);
    assert!(shown.stdout.contains("duration = \"200ms\""), "{}", shown.stdout);
    assert!(!shown.stdout.contains("${") && !shown.stdout.contains("[matrix]"), "{}", shown.stdout);
    let whole = ground.file("whole.toml", &shown.stdout);
    let again = Ctl::bare(&ground).args(["scenarios", "show", &whole]).run();
    again.assert_status(0);
    assert_eq!(again.stdout, shown.stdout);
    Ctl::new(&ground)
        .args(["run", &file, "--set", "soka=1s"])
        .run()
        .assert_status(2)
        .assert_tells(&["--set soka=1s", "did you mean 'soak'"]);
    Ctl::new(&ground)
        .args(["run", &file, "--set", "soak=5parsecs"])
        .run()
        .assert_status(2)
        .assert_tells(&["--set soak=5parsecs", "no unit 'parsecs'"]);
}

#[test]
fn a_plan_tells_what_a_start_would_do_and_starts_nothing() {
    let ground = Ground::new();
    let sysfs = Sysfs::new(&ground, 40);
    ground.configure(&format!("{}[policy]\nmax_load_percent = 60\n", sysfs.config()));
    let daemon = Daemon::start(&ground);
    let disk = ground.disk().display();
    let file = ground.file(
        "planned.toml",
        &format!(
            "name = 'planned'\n[variables.load]\ntype = 'percent'\ndefault = 50\n\
             [[guards]]\nname = 'warm'\nmetric = 'host.temperature'\nabove = 80\nreaction = 'stop'\n\
             [[threshold]]\nthat = 'host.temperature.max < 70'\n\
             [[phase]]\nname = 'both'\nduration = '10s'\n[[phase.burner]]\nkind = 'cpu'\nload = '${{load}}'\ncores = '0'\n\
             [[phase.burner]]\nkind = 'disk'\npath = '{disk}'\nsize = '1MiB'\njobs = 2\nrate = 100\n"
        ),
    );
    let plan = Ctl::new(&ground).args(["plan", &file]).json();
    assert_eq!((plan["would_start"].as_bool(), plan["duration_s"].as_f64()), (Some(true), Some(10.0)));
    let burners = &plan["phases"][0]["burners"];
    assert_eq!(burners[0]["cores"][0], 0, "{plan:#}");
    assert!(burners[0]["does"].as_str().is_some_and(|does| does.contains("50 %")), "{plan:#}");
    assert_eq!(burners[1]["disk_bytes"], 2 << 20, "{plan:#}");
    assert!(burners[1]["does"].as_str().is_some_and(|does| does.contains("100 I/Os/s")), "{plan:#}");
    assert_eq!(plan["guards"][0]["name"], "warm");
    assert_eq!(plan["thresholds"][0]["expr"], "host.temperature.max < 70");

    let refused = Ctl::new(&ground).args(["--output", "json", "plan", &file, "--set", "load=90"]).run();
    let refused = refused.assert_status(2).json();
    let refusal = &refused["refusals"][0];
    assert_eq!(refusal["rule"], "policy.max_load_percent", "{refused:#}");
    assert_eq!(
        (refusal["asked"].as_str(), refusal["allowed"].as_str()),
        (Some("a load of 90 %"), Some("60"))
    );
    assert!(refusal["line"].as_u64().is_some(), "{refused:#}");
    let told = Ctl::new(&ground).args(["plan", &file, "--set", "load=90"]).run();
    told.assert_status(2).assert_tells(&["planned.toml:", "policy.max_load_percent = 60", "(load is 90%)"]);
    assert!(told.stdout.contains("would be refused"), "{}", told.stdout);

    let words = Ctl::new(&ground).words("plan burn cpu --load 40 --duration 5s").run();
    words.assert_status(0);
    assert!(words.stdout.contains("would start") && words.stdout.contains("40 %"), "{}", words.stdout);
    Ctl::new(&ground).words("halt --reason tea").run().assert_status(0);
    let halted = Ctl::new(&ground).args(["plan", &file]).run();
    halted.assert_status(5);
    assert!(halted.stdout.contains("halted"), "{}", halted.stdout);

    assert_eq!(daemon.process().descendants(), [], "something was started");
    assert_eq!(ground.leftovers(), [""; 0]);
    let runs = Ctl::new(&ground).words("runs").json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(0));
}
