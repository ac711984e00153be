//! What the host's administrator allows holds for everybody: a request outside is refused with the rule and both values, all at
//! once, before anything starts; what a request leaves open is chosen inside.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};

use ssts_tests::{Ctl, Daemon, Ground, as_nobody, privileged};

/// Of TZ=UTC.
fn utc(command: &mut Command) {
    command.env("TZ", "UTC");
}

/// `HH:MM` of so many minutes from now, UTC.
fn clock(minutes: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let minute = (i64::try_from(now.as_secs()).expect("it fits") / 60 + minutes).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[test]
fn everything_that_breaks_a_rule_is_told_at_once_with_both_values() {
    let ground = Ground::new();
    let allowed = ground.disk().join("allowed");
    fs::create_dir(&allowed).expect("the folder is ours");
    let hours = format!("Mon-Sun {}-{}", clock(60), clock(120));
    ground.configure(&format!(
        "[limits]\nmax_duration = \"10s\"\n[policy]\nmax_load_percent = 50\nnever_cores = [0]\npaths = [\"{}\"]\nhours = [\"{hours}\"]\n",
        allowed.display()
    ));
    let daemon = Daemon::start_with(&ground, utc);
    let scenario = format!(
        "name = 'too-much'\n[limits]\nmax_duration = '1h'\n[[phase]]\nname = 'one'\nduration = '20s'\n\
         [[phase.burner]]\nkind = 'cpu'\nload = 80\ncores = '0'\n\
         [[phase.burner]]\nkind = 'disk'\npath = '{}'\nsize = '1MiB'\nrw = 'read'\ncores = '1'\n\
         [[phase.burner]]\nkind = 'network'\npeer = '203.0.113.1:1'\ncores = '1'\n",
        ground.disk().display()
    );
    let file = ground.file("too-much.toml", &scenario);
    let outcome = Ctl::new(&ground).args(["run", &file]).run();
    outcome.assert_status(2);
    let disk = ground.disk().display().to_string();
    let allowed = allowed.display().to_string();
    for parts in [
        &["a load of 80 %", "policy.max_load_percent = 50"][..],
        &["cores 0", "policy.never_cores = 0"],
        &[&disk, "policy.paths", &allowed],
        &["a run that begins now", "policy.hours", &hours],
        &["3600s", "limit of 10s", "limits.max_duration"],
        &["20s", "10s"],
        &["203.0.113.1", "network.allowed_peers", "127.0.0.0/8"],
    ] {
        let told = outcome.stderr.lines().any(|line| parts.iter().all(|part| line.contains(part)))
            || parts.iter().all(|part| outcome.stderr.contains(part));
        assert!(told, "{parts:?} is missing:\n{}", outcome.stderr);
    }
    assert!(outcome.stderr.matches("mend:").count() >= 6, "{}", outcome.stderr);
    assert_eq!(daemon.burners(), []);
    assert_eq!(Ctl::new(&ground).words("runs").json()["runs"], serde_json::json!([]));
}

#[test]
fn a_request_that_says_nothing_gets_what_the_policy_allows() {
    let ground = Ground::new();
    ground.configure("[policy]\nmax_load_percent = 30\nnever_cores = [0]\n");
    let _daemon = Daemon::start(&ground);
    // On a busy machine it may not get all of it; what was asked is what counts.
    let result = Ctl::new(&ground).words("burn cpu --duration 1s --output json").run().json();
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!(burner["target_load"], 30.0, "{burner:#}");
    assert!(!burner["cores"].as_array().expect("it is a list").contains(&0.into()), "{burner:#}");
    // Together they are no more than one alone may be.
    let outcome = Ctl::new(&ground).words("burn cpu --cores 1 --workers 2 --load 20 --duration 1s").run();
    outcome
        .assert_status(2)
        .assert_tells(&["up to 40 % of core 1 by 2 workers", "policy.max_load_percent = 30"]);
    // Nor are two runs that share a core.
    let share = |load: u32, more: &str| {
        Ctl::new(&ground)
            .words(&format!(
                "burn cpu --cores 1 --share-cores --load {load} --tolerance 100 --duration 1m {more}"
            ))
            .run()
    };
    share(10, "--detach").assert_status(0);
    share(20, "--detach").assert_status(0);
    share(1, "").assert_status(2).assert_tells(&[
        "up to 1 % of core 1, beside 10 % of run",
        "and 20 % of run",
        "policy.max_load_percent = 30",
    ]);
    Ctl::new(&ground).words("halt").run().assert_status(0);
}

#[test]
fn a_symbolic_link_leads_nowhere_that_its_target_is_not_allowed() {
    let ground = Ground::new();
    let [allowed, outside] = ["allowed", "outside"].map(|name| ground.disk().join(name));
    for folder in [&allowed, &outside] {
        fs::create_dir(folder).expect("the folder is ours");
    }
    symlink(&outside, allowed.join("out")).expect("the folder is ours");
    symlink(&allowed, outside.join("in")).expect("the folder is ours");
    ground.configure(&format!("[policy]\npaths = [\"{}\"]\n", allowed.display()));
    let _daemon = Daemon::start(&ground);
    let burn = |path: &std::path::Path| {
        let words = format!("burn disk --path {} --size 1MiB --rw write --duration 100ms", path.display());
        Ctl::new(&ground).words(&words).run()
    };
    burn(&allowed).assert_status(0);
    burn(&outside.join("in")).assert_status(0);
    for path in [allowed.join("out"), outside.clone(), allowed.join("../outside")] {
        burn(&path).assert_status(2).assert_tells(&[
            "--path",
            "policy.paths",
            &outside.display().to_string(),
        ]);
    }
}

#[test]
fn a_run_ends_inside_the_hours_or_does_not_start() {
    let ground = Ground::new();
    let end = clock(5);
    ground.configure(&format!("[policy]\nhours = [\"Mon-Sun {}-{end}\"]\n", clock(-5)));
    let _daemon = Daemon::start_with(&ground, utc);
    Ctl::new(&ground).words("burn cpu --load 5 --duration 100ms").run().assert_status(0);
    let outcome = Ctl::new(&ground).words("burn cpu --load 5 --duration 10m").run();
    outcome.assert_status(2).assert_tells(&["a run that ends on", "policy.hours", &end]);
}

#[test]
fn each_user_may_what_their_role_allows_and_no_more() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    for (role, may) in [("", 0), ("viewer", 1), ("halter", 2), ("operator", 3), ("admin", 4)] {
        let users = match role {
            "" => "users = [{ user = \"root\", role = \"admin\" }]".to_owned(),
            role => format!("users = [{{ group = 65534, role = \"{role}\" }}]"),
        };
        ground.configure(&format!("[policy]\n{users}\n"));
        let daemon = Daemon::start(&ground);
        fs::set_permissions(ground.socket(), fs::Permissions::from_mode(0o666)).expect("it is ours");
        let nobody = |words: &str| {
            Ctl::new(&ground).words(words).with(|command| {
                as_nobody(command);
            })
        };
        let try_it = |least: u32, words: &str, needs: &str| {
            let outcome = nobody(words).run();
            if may >= least {
                outcome.assert_status(0);
            } else {
                let has =
                    if role.is_empty() { "has no role".to_owned() } else { format!("has the role {role}") };
                outcome.assert_status(5).assert_tells(&["uid 65534", &has, &format!("needs {needs}")]);
            }
        };
        try_it(1, "status", "viewer");
        try_it(3, "burn cpu --load 5 --duration 100ms --detach", "operator");
        let started = Ctl::new(&ground).words("runs").json()["runs"].as_array().map_or(0, Vec::len);
        assert!(started <= usize::from(may >= 3) * 10 && (may < 3 || started > 0), "{role}: {started}");
        try_it(2, "halt --reason test", "halter");
        if may < 2 {
            // root may, whatever the rules are.
            Ctl::new(&ground).words("halt --reason test").run().assert_status(0);
        }
        // Who may not even halt is told what that takes.
        try_it(4, "halt --clear", if may < 2 { "halter" } else { "admin" });
        if may < 4 {
            Ctl::new(&ground).words("halt --clear").run().assert_status(0);
        }
        if may >= 1 {
            assert_eq!(nobody("info").json()["policy"]["your_role"], role);
        }
        drop(daemon);
        fs::remove_dir_all(ground.state()).expect("the folder is ours");
    }
}

#[test]
fn the_policy_is_shown() {
    let ground = Ground::new();
    ground.configure("[limits]\nmax_duration = \"2h\"\n[policy]\nmax_runs = 3\nmax_load_percent = 70\nnever_cores = [0]\nhours = [\"Mon-Sun 00:00-24:00\", \"Mon 08:00-09:00\"]\n");
    let _daemon = Daemon::start(&ground);
    let info = Ctl::new(&ground).words("info").json();
    let policy = &info["policy"];
    assert_eq!((&policy["max_runs"], &policy["max_load_percent"]), (&3.into(), &70.0.into()), "{policy:#}");
    assert_eq!(policy["max_duration_s"], 7_200.0);
    assert_eq!(policy["hours"][1], "Mon 08:00-09:00");
    assert_eq!(policy["your_role"], "admin");
    let text = Ctl::new(&ground).words("info").run();
    for part in ["at most 3 runs at once", "70 %", "never cores 0", "Mon 08:00-09:00"] {
        assert!(text.stdout.contains(part), "{part}: {}", text.stdout);
    }
    let check = |output: &str| {
        let mut command = Command::new(&ground.programs().sstsd);
        command.args(["check", "--output", output, "--config"]).arg(ground.config()).env_clear();
        let output = command.env("SSTSD_METRICS__LISTEN", "").output().expect("it can be executed");
        String::from_utf8(output.stdout).expect("it is text")
    };
    assert!(check("text").contains("max_load_percent"), "{}", check("text"));
    let json: serde_json::Value = serde_json::from_str(&check("json")).expect("it is an object");
    assert_eq!(
        (&json["policy"]["max_runs"], &json["policy"]["hours"]),
        (&"3".into(), &"Mon-Sun 00:00-24:00, Mon 08:00-09:00".into())
    );
}

#[test]
fn a_policy_that_means_nothing_is_told_before_the_daemon_starts() {
    let ground = Ground::new();
    for (toml, parts) in [
        (
            "[policy]\nhours = [\"Mon-Fry 20:00-06:00\"]\n",
            &["Mon-Fry", "no such day", "Mon-Fri 20:00-06:00"][..],
        ),
        ("[policy]\nmax_runs = 0\n", &["policy.max_runs = 0", "1 to 16"]),
        ("[policy]\npaths = [\"var\"]\n", &["policy.paths", "absolute"]),
        (
            "[policy]\nusers = [{ user = \"no-such-user\", role = \"viewer\" }]\n",
            &["policy.users", "no-such-user"],
        ),
        ("[policy]\nusers = [{ user = 1, role = \"king\" }]\n", &["king", "viewer"]),
        (
            "[policy]\nnever_cores = [0]\n[network.sink]\ncores = [0]\n",
            &["network.sink.cores = 0", "policy.never_cores"],
        ),
    ] {
        ground.configure(toml);
        let (status, told) = Daemon::refusal(Daemon::command(&ground));
        assert_ne!(status, Some(0), "{toml}");
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
