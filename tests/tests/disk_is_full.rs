//! No success where there was none: a full file system is an outcome of its own. And filling one on purpose leaves the reserve
//! free, gives way to others, and gives everything back at once.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::sys::{signal::Signal, statvfs::statvfs};
use ssts_tests::{Ctl, Daemon, Ground, Mount, outside, privileged};

const MIB: u64 = 1 << 20;
const RESERVE: u64 = 16 * MIB;

fn free(folder: &Path) -> u64 {
    let space = statvfs(folder).expect("it is mounted");
    space.blocks_available() * space.fragment_size()
}

fn small_disk(ground: &Ground) -> Mount {
    Mount::tmpfs(ground.path("small"), 96 * MIB)
}

fn with_reserve(ground: &Ground, bytes: u64) -> Daemon {
    ground.configure(&format!("[limits]\ndisk_reserve_bytes = {bytes}\n"));
    Daemon::start(ground)
}

/// Room that was there when the run was admitted is gone when the second phase needs it.
#[test]
fn a_disk_that_fills_up_is_told_as_such() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let disk = small_disk(&ground);
    let daemon = with_reserve(&ground, 0);
    let toml = format!(
        "name = \"late\"\n[[phase]]\nname = \"wait\"\nduration = \"1500ms\"\n[[phase.burner]]\nkind = \"cpu\"\nload = 10\n\
         [[phase]]\nname = \"disk\"\nduration = \"1s\"\n[[phase.burner]]\nkind = \"disk\"\npath = \"{}\"\nsize = \"64MiB\"\n",
        disk.path().display()
    );
    let scenario = ground.file("late.toml", &toml);
    let running = Ctl::new(&ground).args(["--output", "json", "run", &scenario]).spawn();
    daemon.burning(1);
    fs::write(disk.path().join("other"), vec![1; 64 << 20]).expect("there is room");
    let outcome = running.outcome();
    outcome.assert_status(5);
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"error".into(), &"disk_full".into()), "{result:#}");
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains("No space left") && message.contains("small"), "{message}");
}

#[test]
fn filling_stops_at_its_share_and_leaves_nothing() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let disk = small_disk(&ground);
    let _daemon = with_reserve(&ground, RESERVE);
    let before = free(disk.path());
    let words = format!("burn disk --path {} --rw fill --fill 50 --duration 1s", disk.path().display());
    let result = Ctl::new(&ground).words(&words).json();
    let burner = &result["hosts"][0]["burners"][0];
    let figure = |name: &str| burner["figures"][name]["value"].as_f64().expect("it is a number") as u64;
    assert!((47 * MIB..=48 * MIB).contains(&figure("held_most_bytes")), "{burner:#}");
    assert!((48 * MIB..=49 * MIB).contains(&figure("least_free_bytes")), "{burner:#}");
    assert_eq!(free(disk.path()), before, "all was given back");
}

#[test]
fn filling_keeps_the_reserve_even_for_others_and_is_released_at_a_stop() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let disk = small_disk(&ground);
    let daemon = with_reserve(&ground, RESERVE);
    let before = free(disk.path());
    let words = format!(
        "--output json burn disk --path {} --rw fill --fill 100 --duration 1m",
        disk.path().display()
    );
    let running = Ctl::new(&ground).words(&words).spawn();
    let filled = || (RESERVE..RESERVE + 2 * MIB).contains(&free(disk.path()));
    assert!(
        outside::within(Duration::from_secs(20), filled).is_some(),
        "{} bytes are free",
        free(disk.path())
    );
    // It holds still there.
    thread::sleep(Duration::from_millis(200));
    assert!(filled(), "{} bytes are free", free(disk.path()));
    // Somebody takes from the reserve: the burner makes it whole again.
    fs::write(disk.path().join("other"), vec![1; 8 << 20]).expect("the reserve is for others");
    assert!(
        outside::within(Duration::from_secs(5), filled).is_some(),
        "{} bytes are free",
        free(disk.path())
    );
    let burners = daemon.burners();
    let begin = Instant::now();
    running.signal(Signal::SIGINT);
    let released = outside::within(Duration::from_secs(5), || free(disk.path()) >= before - 9 * MIB);
    assert!(released.is_some(), "{:?} after the stop {} bytes are free", begin.elapsed(), free(disk.path()));
    running.outcome().assert_status(130);
    assert!(
        outside::within(Duration::from_secs(5), || burners.iter().all(|burner| !burner.is_alive())).is_some()
    );
    assert_eq!(fs::read_dir(disk.path()).expect("it is there").count(), 1, "only the other's file");
}

#[test]
fn a_file_system_that_is_full_enough_is_refused() {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let disk = small_disk(&ground);
    let daemon = with_reserve(&ground, RESERVE);
    fs::write(disk.path().join("other"), vec![1; 64 << 20]).expect("there is room");
    for percent in ["60", "0.5"] {
        let words =
            format!("burn disk --path {} --rw fill --fill {percent} --duration 1s", disk.path().display());
        let outcome = Ctl::new(&ground).words(&words).run();
        outcome.assert_status(2).assert_tells(&["--fill", "already filled", "67108864"]);
    }
    assert_eq!(daemon.burners(), []);
}
