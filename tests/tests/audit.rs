//! Who commanded what is noted before it is done, and a change of the notes is seen. What goes wrong with them never keeps load from
//! being taken off.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::getuid};
use serde_json::Value;
use ssts_proto::v1::{HaltRequest, ResumeRequest, agent_client::AgentClient};
use ssts_tests::{Ctl, Daemon, Ground, Mount, Outcome, connect, outside, privileged};

fn folder(ground: &Ground) -> String {
    ground.state().join("audit").display().to_string()
}

fn verify(ground: &Ground) -> Outcome {
    Ctl::bare(ground).args(["audit", "verify", "--dir", &folder(ground), "--output", "json"]).run()
}

fn first_file(ground: &Ground) -> PathBuf {
    ground.state().join("audit/audit-000001.jsonl")
}

fn lines(ground: &Ground) -> Vec<Value> {
    let export = Ctl::bare(ground).args(["audit", "export", "--dir", &folder(ground)]).run();
    export.assert_status(0);
    export.stdout.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
}

#[test]
fn commands_are_noted_with_who_and_what_came_of_it_and_a_changed_byte_is_found() {
    let ground = Ground::new();
    let mut daemon = Daemon::start(&ground);
    Ctl::new(&ground).words("burn cpu --load 10 --tolerance 100 --duration 200ms").run();
    Ctl::new(&ground).words("halt --reason smoke").run().assert_status(0);
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);
    let lines = lines(&ground);
    let of = |kind: &str, call: &str| {
        let fits = |line: &&Value| line["kind"] == kind && line["call"] == call;
        lines.iter().find(fits).unwrap_or_else(|| panic!("no {kind} {call}: {lines:#?}")).clone()
    };
    let allowed = of("allowed", "Start");
    assert_eq!(allowed["who"]["uid"], nix::unistd::geteuid().as_raw(), "{allowed:#}");
    assert_eq!(allowed["parameters"]["scenario"]["burners"], 1, "{allowed:#}");
    assert_eq!(of("done", "Start")["outcome"], "ok");
    assert_eq!(of("done", "Halt")["parameters"]["reason"], "smoke");
    assert_eq!(lines[0]["kind"], "begun");

    let sound = verify(&ground);
    sound.assert_status(0);
    let head = sound.json()["head"].as_str().expect("it has one").to_owned();
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(10)).expect("it is killed");
    verify(&ground).assert_status(0);
    drop(daemon);
    let daemon = Daemon::start(&ground);
    verify(&ground).assert_status(0);
    let noted = |head: &str| {
        Ctl::bare(&ground).args(["audit", "verify", "--dir", &folder(&ground), "--head", head]).run()
    };
    noted(&head).assert_status(0);
    noted(&"0".repeat(64)).assert_status(6);
    drop(daemon);

    // A line that a crash cut off is told apart, by whoever reads it before and after the next start.
    File::options()
        .append(true)
        .open(first_file(&ground))
        .and_then(|mut file| file.write_all(b"{\"seq\":99,\"at"))
        .expect("root may");
    let torn = verify(&ground);
    torn.assert_status(0);
    assert_eq!(torn.json()["torn"].as_array().map(Vec::len), Some(1), "{}", torn.stdout);
    drop(Daemon::start(&ground));
    let healed = verify(&ground);
    healed.assert_status(0);
    assert_eq!(healed.json()["torn"].as_array().map(Vec::len), Some(1), "{}", healed.stdout);

    // One byte, in each of the lines that people would change.
    let whole = fs::read_to_string(first_file(&ground)).expect("root may");
    for words in ["\"reason\":\"smoke\"", "\"outcome\":\"ok\"", "\"kind\":\"begun\""] {
        let at = whole.find(words).expect("it is there") + words.len() - 2;
        let mut bytes = whole.clone().into_bytes();
        bytes[at] ^= 1;
        fs::write(first_file(&ground), &bytes).expect("root may");
        let broken = verify(&ground);
        broken.assert_status(6);
        let line = whole[..at].matches('\n').count() + 1;
        let place = broken.json()["broken_at"].as_str().expect("it says where").to_owned();
        assert!(place.ends_with(&format!(":{line}")), "{place}, and it is line {line}");
    }
}

#[test]
fn a_halt_by_a_file_or_a_signal_is_noted_once_with_whose_it_was() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let halts = |way: &str| {
        let of = |line: &Value| line["call"] == "Halt" && line["parameters"]["way"] == way;
        lines(&ground).into_iter().filter(of).collect::<Vec<_>>()
    };
    let noted = |way: &str| {
        let noted = outside::within(Duration::from_secs(20), || !halts(way).is_empty());
        assert!(noted.is_some(), "no halt by {way}: {:#?}\n{}", lines(&ground), daemon.log());
        halts(way).remove(0)
    };
    let uid = getuid().as_raw();
    let file = ground.path("run/halt");
    fs::write(&file, "smoke in rack 7\n").expect("the folder is ours");
    let by_file = noted("file");
    assert_eq!((&by_file["kind"], &by_file["outcome"]), (&"done".into(), &"ok".into()), "{by_file:#}");
    assert_eq!(by_file["who"]["uid"], uid, "{by_file:#}");
    let parameters = &by_file["parameters"];
    assert_eq!(parameters["path"], file.display().to_string(), "{by_file:#}");
    assert_eq!(parameters["reason"], "smoke in rack 7", "{by_file:#}");
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);

    daemon.signal(Signal::SIGUSR1);
    let by_signal = noted("signal");
    let who = &by_signal["who"];
    assert_eq!((&who["uid"], &who["pid"]), (&uid.into(), &std::process::id().into()), "{by_signal:#}");
    Ctl::new(&ground).words("halt --clear").run().assert_status(0);

    // The tick and the watch each see it, and a file is made and then written to.
    assert_eq!((halts("file").len(), halts("signal").len()), (1, 1), "{:#?}", lines(&ground));
    fs::write(&file, "again").expect("the folder is ours");
    let again = outside::within(Duration::from_secs(20), || halts("file").len() == 2);
    assert!(again.is_some(), "{:#?}", lines(&ground));
    verify(&ground).assert_status(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_load_from_starting_and_not_from_stopping() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let state = Mount::tmpfs(ground.state(), 8 << 20);
    let daemon = Daemon::start_on_a_small_disk(&ground);
    Ctl::new(&ground)
        .words("burn cpu --cores 0 --load 10 --tolerance 100 --duration 10m --detach")
        .run()
        .assert_status(0);
    daemon.burning(1);
    let mut filler = File::create(state.path().join("filler")).expect("there is room");
    while filler.write_all(&[1; 4096]).is_ok() {}
    let mut agent = AgentClient::new(connect(&ground).await);
    // What is left of a page takes a few lines.
    let mut refused = None;
    for _ in 0..200 {
        let status =
            agent.resume(ResumeRequest { run_id: "none".into() }).await.expect_err("there is no such run");
        if status.message().contains("audit log") {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("a full disk takes lines");
    assert!(refused.message().contains("not carried out"), "{refused}");
    // Whatever it can write of that.
    let _ = agent.halt(HaltRequest { reason: "full".into(), clear: false }).await;
    let gone = outside::within(Duration::from_secs(10), || daemon.burners().is_empty());
    assert!(gone.is_some(), "a full disk kept the halt from its work:\n{}", daemon.log());

    drop(filler);
    fs::remove_file(state.path().join("filler")).expect("it is there");
    let status =
        agent.resume(ResumeRequest { run_id: "none".into() }).await.expect_err("there is no such run");
    assert!(!status.message().contains("audit log"), "{status}");
    verify(&ground).assert_status(0);
}
