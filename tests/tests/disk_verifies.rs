//! A wrong block is found, whoever made it wrong: the run fails with its own exit status, and says where, what and since when.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Outcome, outside::Process};

fn burn(ground: &Ground, settings: &str) -> Ctl {
    let folder = ground.disk().display();
    let words = format!("--output json burn disk --path {folder} --size 4MiB --verify {settings}");
    Ctl::new(ground).words(&words)
}

fn assert_wrong(outcome: &Outcome, parts: &[&str]) -> Value {
    outcome.assert_status(6);
    let result = outcome.json();
    assert_eq!((&result["verdict"], &result["cause"]), (&"fail".into(), &"wrong_data".into()), "{result:#}");
    let message = result["cause_message"].as_str().expect("it is text");
    for part in parts {
        assert!(message.contains(part), "'{part}' is missing: {message}");
    }
    assert_eq!(result["hosts"][0]["burners"][0]["errors"]["verify"], 1, "{result:#}");
    result
}

#[test]
fn what_is_right_passes_and_is_counted() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    for settings in [
        "--rw randread",
        "--rw write",
        "--rw randwrite --jobs 2 --fsync 50",
        "--rw randrw --block 4KiB:50,16KiB:50",
        "--rw readwrite --engine threads --depth 8",
    ] {
        let outcome = burn(&ground, &format!("{settings} --duration 1s")).run();
        outcome.assert_status(0);
        let result = outcome.json();
        let burner = &result["hosts"][0]["burners"][0];
        let figure = |name: &str| burner["figures"][name]["value"].as_f64().expect("it is a number");
        assert!(figure("verified_blocks") > 0.0, "{settings}: {burner:#}");
        assert_eq!(burner["errors"]["io"], 0, "{settings}: {burner:#}");
        // Blocks of 4 KiB: all that is read is compared.
        assert_eq!(figure("verified_blocks") * 4_096.0, figure("read_bytes"), "{settings}: {burner:#}");
    }
}

#[test]
fn an_injected_error_is_found_in_what_is_read_and_in_what_is_written() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    for (access, parts) in [
        ("randread", &["offset 0, generation 1", "from its byte 511 on", "expected", "got", "checksum"][..]),
        ("randrw", &["offset 0, generation 1", "from its byte 511 on"]),
        ("randwrite", &["generation 2", "from its byte 511 on", "checksum"]),
    ] {
        let outcome = burn(&ground, &format!("--rw {access} --inject-error --duration 20s")).run();
        assert_wrong(&outcome, parts);
    }
    assert_eq!(ground.leftovers(), [""; 0]);
}

/// Its unnamed file, by the descriptor that the burner has.
fn file_of(burner: &Process, folder: &Path) -> PathBuf {
    let links = fs::read_dir(format!("/proc/{}/fd", burner.pid)).expect("it is ours");
    links
        .flatten()
        .map(|link| link.path())
        .find(|link| fs::read_link(link).is_ok_and(|target| target.starts_with(folder)))
        .expect("a disk burner has a file")
}

/// One byte of one block, changed by the story through a descriptor of its own.
#[test]
fn a_block_that_is_changed_behind_its_back_is_found() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let running = burn(&ground, "--rw randread --duration 30s").spawn();
    let burner = daemon.burning(1)[0];
    thread::sleep(Duration::from_millis(300));
    let file = File::options().write(true).open(file_of(&burner, ground.disk())).expect("it is ours");
    file.write_all_at(&[0xA5], 5 * 4_096 + 100).expect("there is room");
    file.sync_all().expect("the disk works");
    let outcome = running.outcome();
    assert_wrong(
        &outcome,
        &["offset 20480, generation 1", "from its byte 100 on", "got a5", "checksum is wrong"],
    );
}

/// Aligned as direct I/O wants it.
#[repr(align(4096))]
struct Block([u8; 4_096]);

/// A write that never arrives: the old block is whole, and still wrong.
#[test]
fn an_old_block_in_the_place_of_a_new_one_is_found() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let running = burn(&ground, "--rw randrw --rate 4000 --duration 30s").spawn();
    let burner = daemon.burning(1)[0];
    thread::sleep(Duration::from_millis(300));
    // Past the page cache, as the burner: the kernel calls a collision of the two ways an I/O error.
    let mut file = File::options();
    file.read(true).write(true).custom_flags(libc::O_DIRECT);
    let file = file.open(file_of(&burner, ground.disk())).expect("it is ours");
    let mut block = Block([0; 4_096]);
    file.read_exact_at(&mut block.0, 4_096).expect("it is there");
    for other in 2..64 {
        file.write_all_at(&block.0, other * 4_096).expect("there is room");
    }
    let outcome = running.outcome();
    assert_wrong(&outcome, &["it belongs at offset 4096"]);
}
