//! A burner may be killed from outside: by the kernel when memory is short, by an illegal instruction, by a person. That is
//! the result of the run, not the end of the daemon.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground};

fn kill_one(signal: Signal, words: &str) {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let toml = format!(
        "name = \"two\"\n[[phase]]\nname = \"both\"\nduration = \"1m\"\n[[phase.burner]]\nkind = \"cpu\"\nload = 20\n\
         [[phase.burner]]\nkind = \"disk\"\npath = \"{}\"\nsize = \"4MiB\"\nrate = 200\n",
        ground.disk().display()
    );
    let scenario = ground.file("two.toml", &toml);
    let running = Ctl::new(&ground).args(["--output", "json", "run", &scenario]).spawn();
    let burners = daemon.burning(2);
    kill(Pid::from_raw(burners[0].pid), signal).expect("it is there");
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!(
        (&result["verdict"], &result["cause"]),
        (&"error".into(), &"burner_died".into()),
        "{result:#}"
    );
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains(words), "{message}");
    let burners = result["hosts"][0]["burners"].as_array().expect("burners are a list");
    let ended: Vec<&Value> = burners.iter().map(|burner| &burner["ended"]).collect();
    assert_eq!(ended, [words, "exit 0"], "the other one was stopped in order: {result:#}");
    assert_eq!(daemon.burners(), []);

    let next = Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 300ms").json();
    assert_eq!(next["verdict"], "pass", "{next:#}");
}

/// `kill -9`, as the out-of-memory killer does it.
#[test]
fn a_killed_burner_is_named_with_its_signal() {
    kill_one(Signal::SIGKILL, "signal 9 (SIGKILL)");
}

/// A core that does not know its own instructions.
#[test]
fn a_crashed_burner_is_named_with_its_signal() {
    kill_one(Signal::SIGILL, "signal 4 (SIGILL)");
}
