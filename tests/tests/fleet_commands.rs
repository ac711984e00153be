//! Commands over several hosts at once: each answers for itself, and none hides another.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    thread,
    time::Duration,
};

use serde_json::Value;
use ssts_proto::v1::{
    Burner, CpuBurner, Phase, Profile, Scenario, StartRequest, agent_client::AgentClient, burner::Kind,
    profile::Shape,
};
use ssts_tests::{
    Cable, Ctl, Daemon, Ground, Outcome, Pki, connect,
    outside::{self, Process},
    tls_address,
};

/// Longer than anything that these stories wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Daemons that are hosts of their own as far as sstsctl is concerned, and an authority.
struct Hosts {
    // Dropped in this order: daemons, then folders.
    daemons: Vec<Daemon>,
    addresses: Vec<SocketAddr>,
    grounds: Vec<Ground>,
    pki: Pki,
    /// The folder of alice's certificate.
    alice: PathBuf,
}

impl Hosts {
    /// As many as there are texts: more keys of `[tls]` of each.
    fn new(more: &[&str]) -> Self {
        let first = Ground::new();
        let pki = Pki::new(&first, "pki");
        let alice = pki.client(&first, "alice", "operator");
        let mut grounds = vec![first];
        while grounds.len() < more.len() {
            grounds.push(Ground::beside(&grounds[0]));
        }
        for (ground, more) in grounds.iter().zip(more) {
            ground.configure(&format!("{}[observe]\nprobes = false\n", pki.config(more)));
        }
        let daemons: Vec<_> = grounds.iter().map(Daemon::start).collect();
        let addresses = daemons.iter().map(tls_address).collect();
        Self { daemons, addresses, grounds, pki, alice }
    }

    fn three() -> Self {
        Self::new(&["", "", ""])
    }

    /// An inventory of hosts h1, h2 … at these addresses.
    fn inventory(&self, addresses: &[SocketAddr]) -> String {
        let host = |(index, address): (usize, &SocketAddr)| {
            let number = index + 1;
            let role = if number == 1 { "web" } else { "db" };
            format!(
                "[[host]]\nname = \"h{number}\"\naddress = \"https://{address}\"\nrack = \"r{number}\"\n\
                 labels = {{ role = \"{role}\" }}\n"
            )
        };
        let text: String = addresses.iter().enumerate().map(host).collect();
        self.grounds[0].file("fleet.toml", &text)
    }

    fn bare(&self) -> Ctl {
        Ctl::bare(&self.grounds[0]).args(["--pki", &self.alice.display().to_string()])
    }

    /// `sstsctl` with an inventory and some words.
    fn ctl(&self, inventory: &str, words: &str) -> Ctl {
        self.bare().args(["--fleet", inventory]).words(words)
    }

    /// Each burns for itself, and nobody waits for it.
    fn burn(&self) -> Vec<Process> {
        for ground in &self.grounds {
            let burn = "--store none burn cpu --load 30 --cores 0 --share-cores --duration 5m --detach";
            Ctl::new(ground).words(burn).run().assert_status(0);
        }
        self.daemons.iter().flat_map(|daemon| daemon.burning(1)).collect()
    }
}

/// A port of the loopback at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
    listener.local_addr().expect("it is bound")
}

fn host<'a>(outcome: &'a Value, name: &str) -> &'a Value {
    let hosts = outcome["hosts"].as_array().expect("there are hosts");
    hosts.iter().find(|host| host["name"] == name).unwrap_or_else(|| panic!("no {name}: {outcome:#}"))
}

fn counts(outcome: &Value) -> (u64, u64) {
    let count = |key: &str| outcome[key].as_u64().expect("it is a count");
    (count("answered"), count("failed"))
}

fn json(ctl: Ctl, status: i32) -> Value {
    let outcome = ctl.args(["--output", "json"]).run();
    outcome.assert_status(status);
    outcome.json()
}

fn assert_printed(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(
            outcome.stdout.contains(word),
            "'{word}' is missing:\n{}\n{}",
            outcome.stdout,
            outcome.stderr
        );
    }
}

#[test]
fn hosts_answer_side_by_side_and_a_dead_one_hides_none() {
    let hosts = Hosts::three();
    let mut addresses = hosts.addresses.clone();
    addresses.push(nobody());
    let inventory = hosts.inventory(&addresses);

    let info = hosts.ctl(&inventory, "info").run();
    info.assert_status(5).assert_tells(&["h4: ", "refused", "mend: "]);
    assert_printed(&info, &["3 of 4 hosts answered", "h1", "h2", "h3", "no answer", "microcode", "kernel"]);
    assert!(!info.stdout.contains(" *"), "one machine differs from itself:\n{}", info.stdout);
    let info = json(hosts.ctl(&inventory, "info"), 5);
    assert_eq!(counts(&info), (3, 1), "{info:#}");
    assert!(host(&info, "h1")["answer"]["info"]["kernel_release"].is_string(), "{info:#}");
    assert_eq!(host(&info, "h1")["labels"]["rack"], "r1");
    assert!(host(&info, "h4")["problems"][0]["message"].is_string(), "{info:#}");

    let status = hosts.ctl(&inventory, "status --limit 3").run();
    status.assert_status(0);
    assert_printed(&status, &["3 of 3 hosts answered", "idle"]);
    let status = json(hosts.ctl(&inventory, "status --select role=db --exclude h4"), 0);
    let names: Vec<_> =
        status["hosts"].as_array().expect("there are").iter().map(|host| &host["name"]).collect();
    assert_eq!(names, ["h2", "h3"]);

    let drills = hosts.ctl(&inventory, "drill --exclude h4").run();
    drills.assert_status(3);
    assert_printed(&drills, &["NONE"]);
    hosts.ctl(&inventory, "drill --only temperature").run().assert_status(2).assert_tells(&["alone"]);

    // What is about one host takes one, however it is named.
    hosts.ctl(&inventory, "recover").run().assert_status(2).assert_tells(&["about one host", "4 are named"]);
    hosts.ctl(&inventory, "--select h2 telemetry --metric host.memory.").run().assert_status(0);
    let two =
        ["--host", &format!("https://{}", addresses[0]), "--host", &format!("https://{}", addresses[1])];
    let status = json(hosts.bare().args(two).words("status"), 0);
    assert_eq!(counts(&status), (2, 0));
}

#[test]
fn a_selection_that_is_none_and_an_inventory_that_is_wrong_are_told_with_the_mend() {
    let hosts = Hosts::new(&[""]);
    let inventory = hosts.inventory(&hosts.addresses);
    for (words, told) in [
        ("--select role=mail status", &["none of the 1 hosts", "role=web"][..]),
        ("--select rol=web status", &["no host has the label 'rol'", "did you mean 'role'"]),
        ("--exclude h9 status", &["--exclude 'h9'"]),
        ("--local status", &["--local"]),
    ] {
        hosts.ctl(&inventory, words).run().assert_status(2).assert_tells(told);
    }
    hosts.bare().words("--select role=web status").run().assert_status(2).assert_tells(&["no fleet"]);
    let wrong = hosts.grounds[0].file("wrong.toml", "[[host]]\nname = \"a[1-20000]\"\nrak = \"r1\"\n");
    hosts.ctl(&wrong, "status").run().assert_status(2).assert_tells(&[
        "wrong.toml:2:8",
        "20000 hosts",
        "wrong.toml:3:1",
        "did you mean 'rack'",
    ]);
    hosts.ctl("/no/such.toml", "status").run().assert_status(2).assert_tells(&["/no/such.toml"]);
}

#[test]
fn an_inventory_comes_from_a_command_from_standard_input_or_from_a_file() {
    let hosts = Hosts::new(&["", ""]);
    let text = format!(
        "{{ \"host\": [ {{ \"name\": \"a\", \"address\": \"https://{}\" }}, {{ \"name\": \"b\", \"address\": \"https://{}\" }} ] }}",
        hosts.addresses[0], hosts.addresses[1]
    );
    let file = hosts.grounds[0].file("fleet.json", &text);
    assert_eq!(counts(&json(hosts.ctl(&file, "status"), 0)), (2, 0));
    assert_eq!(counts(&json(hosts.ctl(&format!("exec:cat '{file}'"), "status"), 0)), (2, 0));
    let from_input = hosts.ctl("-", "status").with(|command| {
        command.stdin(std::fs::File::open(&file).expect("it is there"));
    });
    assert_eq!(counts(&json(from_input, 0)), (2, 0));
    hosts
        .ctl("exec:sh -c 'echo the list is lost >&2; exit 3'", "status")
        .run()
        .assert_status(2)
        .assert_tells(&["exit status 3", "the list is lost"]);
}

#[test]
fn a_halt_reaches_every_host_under_load_and_is_lifted_from_all() {
    let hosts = Hosts::three();
    let inventory = hosts.inventory(&hosts.addresses);
    let burners = hosts.burn();
    assert_eq!(burners.len(), 3);
    let halted = json(hosts.ctl(&inventory, "halt --all --reason smoke"), 0);
    assert_eq!(counts(&halted), (3, 0), "{halted:#}");
    assert!(!burners.iter().any(Process::is_alive), "{halted:#}");
    for name in ["h1", "h2", "h3"] {
        let answer = &host(&halted, name)["answer"];
        assert_eq!(
            (&answer["halted"], &answer["halt"]["reason"]),
            (&true.into(), &"smoke".into()),
            "{halted:#}"
        );
        assert!(answer["quiet_after_s"].is_number() && answer["confirmed_after_s"].is_number(), "{halted:#}");
    }
    let status = hosts.ctl(&inventory, "status").run();
    assert_eq!(status.stdout.matches("HALTED").count(), 3, "{}", status.stdout);
    // A halt is lifted by whoever may: alice is no admin.
    let lifted = hosts.ctl(&inventory, "halt --clear").run();
    let is_hers = lifted.status.code() == Some(0);
    if !is_hers {
        lifted.assert_status(5).assert_tells(&["h1: ", "h2: ", "h3: "]);
        let admin = hosts.pki.client(&hosts.grounds[0], "root", "admin");
        let admin = Ctl::bare(&hosts.grounds[0]).args(["--pki", &admin.display().to_string()]);
        admin.args(["--fleet", &inventory]).words("halt --clear").run().assert_status(0);
    }
    let status = json(hosts.ctl(&inventory, "status"), 0);
    assert!(
        status["hosts"]
            .as_array()
            .is_some_and(|all| all.iter().all(|host| host["answer"]["halted"] == false))
    );
}

#[test]
fn who_does_not_let_us_is_named_and_the_others_stop() {
    let viewer = "roles = [{ client = \"alice\", role = \"viewer\" }]";
    let hosts = Hosts::new(&["", "", viewer]);
    let inventory = hosts.inventory(&hosts.addresses);
    let burners = hosts.burn();
    let paused = json(hosts.ctl(&inventory, "pause"), 5);
    assert_eq!(counts(&paused), (2, 1), "{paused:#}");
    assert_eq!(host(&paused, "h1")["answer"]["commanded"]["run"]["state"], "paused", "{paused:#}");
    assert_eq!(counts(&json(hosts.ctl(&inventory, "resume"), 5)), (2, 1));
    let stopped = hosts.ctl(&inventory, "stop").run();
    stopped.assert_status(5).assert_tells(&["h3: ", "viewer"]);
    assert_printed(&stopped, &["stopped on 2 of 3 hosts", "quiet after"]);
    let alive: Vec<_> = burners.iter().map(Process::is_alive).collect();
    assert_eq!(alive, [false, false, true]);
    // A refusal does not become another: nobody waits for it.
    let halted = hosts.ctl(&inventory, "halt --within 10m").run();
    halted.assert_status(5).assert_tells(&["h3: ", "viewer", "halter"]);
    assert_printed(&halted, &["2 of 3 hosts are halted and quiet", "NOT CONFIRMED"]);
    hosts.ctl(&inventory, "stop 01a1fe6f-f750-7063-93f9-0fe3c22de573 --exclude h3").run().assert_status(2);
}

#[test]
fn a_host_whose_link_is_cut_is_named_and_asked_again_until_it_is_back() {
    let hosts = Hosts::three();
    let cable = Cable::to(hosts.addresses[1]);
    let inventory = hosts.inventory(&[hosts.addresses[0], cable.address(), hosts.addresses[2]]);
    let burners = hosts.burn();
    cable.cut();
    let halted = hosts.ctl(&inventory, "halt --within 2s").run();
    halted.assert_status(5).assert_tells(&["h2: not confirmed within", "it may still burn"]);
    assert_printed(&halted, &["2 of 3 hosts are halted and quiet", "NOT CONFIRMED"]);
    let alive: Vec<_> = burners.iter().map(Process::is_alive).collect();
    assert_eq!(alive, [false, true, false]);

    // It is back while somebody still asks.
    let running = hosts.ctl(&inventory, "halt --within 10m --output json").spawn();
    thread::sleep(Duration::from_secs(2));
    assert!(burners[1].is_alive());
    cable.mend();
    let outcome = running.outcome();
    outcome.assert_status(0);
    let halted = outcome.json();
    assert_eq!(counts(&halted), (3, 0), "{halted:#}");
    assert!(!burners[1].is_alive());

    // And whoever has no patience is told how it stands.
    cable.cut();
    let running = hosts.ctl(&inventory, "halt --within 10m").spawn();
    thread::sleep(Duration::from_secs(2));
    running.signal(nix::sys::signal::Signal::SIGINT);
    let outcome = running.outcome();
    outcome.assert_status(5).assert_tells(&["h2: not confirmed"]);
    assert_printed(&outcome, &["2 of 3 hosts are halted and quiet"]);
}

/// One id on all hosts, as runs of fleets have it.
async fn start(ground: &Ground, run_id: &str) {
    let load = Profile {
        shape: Some(Shape::Constant(ssts_proto::v1::Constant { load_percent: 5.0 })),
        tolerance_points: Some(100.0),
        ..Profile::default()
    };
    let cpu = CpuBurner { load: Some(load), cores: vec![0], ..CpuBurner::default() };
    let burner = Burner { kind: Some(Kind::Cpu(cpu)) };
    let phase = Phase { name: "only".into(), duration_ms: 1_000, burners: vec![burner], ..Phase::default() };
    let scenario = Scenario { name: "short".into(), phases: vec![phase], ..Scenario::default() };
    let request = StartRequest {
        run_id: run_id.into(),
        scenario: Some(Scenario { shared_cores: true, ..scenario }),
        ..StartRequest::default()
    };
    AgentClient::new(connect(ground).await).start(request).await.expect("it can be started");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_remember_is_collected_once_each_host_for_itself() {
    const ID: &str = "of-a-fleet";
    let hosts = Hosts::three();
    for ground in &hosts.grounds {
        start(ground, ID).await;
    }
    let mut addresses = hosts.addresses.clone();
    addresses.push(nobody());
    let inventory = hosts.inventory(&addresses);
    let is_over = || {
        // A host lets nobody call as often as a loop can.
        thread::sleep(Duration::from_millis(200));
        let status = json(hosts.ctl(&inventory, "status --exclude h4"), 0);
        status["hosts"]
            .as_array()
            .is_some_and(|all| all.iter().all(|host| host["answer"].get("run").is_none()))
    };
    assert!(outside::within(PATIENCE, is_over).is_some());
    let (store, records) = (hosts.grounds[0].path("own.db"), hosts.grounds[0].path("records"));
    let collect = |words: &str| {
        let ctl = hosts.ctl(&inventory, words).args(["--store", &store.display().to_string()]);
        ctl.args(["collect", "--tag", "night", "--records", &records.display().to_string()])
    };
    let collected = json(collect("--exclude h3"), 5);
    assert_eq!(counts(&collected), (2, 1), "{collected:#}");
    assert_eq!(
        host(&collected, "h1")["answer"]["kept"],
        serde_json::json!([format!("{ID}@h1")]),
        "{collected:#}"
    );
    assert!(records.join(format!("h1/{ID}.rec")).exists());

    // Later the others are there, too; what was fetched is not fetched again.
    let collected = json(collect("--limit 3"), 0);
    let kept = |name: &str| host(&collected, name)["answer"]["kept"].as_array().map(Vec::len);
    assert_eq!((kept("h1"), kept("h2"), kept("h3")), (Some(0), Some(0), Some(1)), "{collected:#}");

    let of_store = |words: &str| hosts.bare().args(["--store", &store.display().to_string()]).words(words);
    let runs = of_store("runs --tag night").json();
    let mut ids: Vec<_> =
        runs["runs"].as_array().expect("there are").iter().map(|run| &run["run_id"]).collect();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(ids, ["of-a-fleet@h1", "of-a-fleet@h2", "of-a-fleet@h3"], "{runs:#}");
    let report = of_store("report of-a-fleet@h2 --output json").run();
    report.assert_status(0);
    assert_eq!((&report.json()["run_id"], &report.json()["verdict"]), (&ID.into(), &"pass".into()));
    of_store("report of-a-fleet").run().assert_status(2).assert_tells(&["of-a-fleet@h"]);

    // Neither does it become one when it is handed on.
    let (export, other) = (hosts.grounds[0].path("export.ssts"), hosts.grounds[0].path("other.db"));
    of_store("runs export").args([export.display().to_string()]).run().assert_status(0);
    let of_other = |words: &str| hosts.bare().args(["--store", &other.display().to_string()]).words(words);
    of_other("runs import").args([export.display().to_string()]).run().assert_status(0);
    assert_eq!(of_other("runs").json()["runs"].as_array().map(Vec::len), Some(3));
    hosts
        .ctl(&inventory, "--limit 3 --store none collect")
        .run()
        .assert_status(2)
        .assert_tells(&["--records"]);
}
