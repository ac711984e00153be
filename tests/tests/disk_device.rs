//! A block device is overwritten only where the daemon's configuration gives it away, and only as far as was asked.

use std::{fs::File, os::unix::fs::FileExt as _};

use ssts_tests::{Ctl, Daemon, Ground, LoopDevice, possible, privileged, tools};

const BYTES: u64 = 16 << 20;

fn device(ground: &Ground) -> Option<LoopDevice> {
    let device = LoopDevice::new(&ground.disk().join("image"), BYTES);
    possible(device.is_some(), "this machine gives no loop device");
    device
}

#[test]
fn a_device_that_is_not_listed_is_refused_and_keeps_its_content() {
    if !privileged() || !tools(&["losetup"]) {
        return;
    }
    let ground = Ground::new();
    let Some(device) = device(&ground) else { return };
    let node = device.path().display();
    for config in ["", "[limits]\nexpendable_devices = [\"/dev/null\", \"/dev/nothing\"]\n"] {
        ground.configure(config);
        let daemon = Daemon::start(&ground);
        let words = format!("burn disk --path {node} --size 1MiB --rw write --duration 1s");
        let outcome = Ctl::new(&ground).words(&words).run();
        outcome.assert_status(2).assert_tells(&["--path", "block device", "limits.expendable_devices"]);
        assert_eq!(daemon.burners(), []);
    }
    let mut content = vec![1; BYTES as usize];
    let disk = File::open(ground.disk().join("image")).expect("it is ours");
    disk.read_exact_at(&mut content, 0).expect("it is that long");
    assert!(content.iter().all(|byte| *byte == 0), "the device was written to");
}

#[test]
fn a_listed_device_is_used_as_far_as_was_asked() {
    if !privileged() || !tools(&["losetup"]) {
        return;
    }
    let ground = Ground::new();
    let Some(device) = device(&ground) else { return };
    let node = device.path().display().to_string();
    ground.configure(&format!("[limits]\nexpendable_devices = [\"{node}\"]\n"));
    let daemon = Daemon::start(&ground);
    let words = format!("burn disk --path {node} --size 4MiB --jobs 2 --rw randrw --verify --duration 1s");
    let result = Ctl::new(&ground).words(&words).json();
    let burner = &result["hosts"][0]["burners"][0];
    assert!(burner["figures"]["verified_blocks"]["value"].as_f64() > Some(100.0), "{burner:#}");

    let disk = File::open(ground.disk().join("image")).expect("it is ours");
    let mut content = vec![0; BYTES as usize];
    disk.read_exact_at(&mut content, 0).expect("it is that long");
    let (used, rest) = content.split_at(8 << 20);
    assert!(used.chunks(4_096).all(|block| block.starts_with(b"SSTSBLOK")), "two jobs of 4 MiB each");
    assert!(rest.iter().all(|byte| *byte == 0), "it wrote beyond what was asked");

    // More than there is.
    let words = format!("burn disk --path {node} --size 8MiB --jobs 3 --duration 1s");
    Ctl::new(&ground).words(&words).run().assert_status(2).assert_tells(&[
        "--size",
        "3 times 8388608",
        "16777216",
    ]);
    // An error on the medium is at its place on the device: the second job's first block.
    let words = format!(
        "--output json burn disk --path {node} --size 4MiB --jobs 2 --verify --inject-error --duration 9s"
    );
    let outcome = Ctl::new(&ground).words(&words).run();
    outcome.assert_status(6);
    let result = outcome.json();
    let message = result["cause_message"].as_str().expect("it is text");
    assert!(message.contains(&node) && message.contains("generation 1"), "{message}");
    assert_eq!(daemon.burners(), []);
}

/// The kernel lets go of a burner's device some time after the burner is gone.
#[test]
fn a_device_can_be_burned_on_again_at_once() {
    if !privileged() || !tools(&["losetup"]) {
        return;
    }
    let ground = Ground::new();
    let Some(device) = device(&ground) else { return };
    let node = device.path().display().to_string();
    ground.configure(&format!("[limits]\nexpendable_devices = [\"{node}\"]\n"));
    let _daemon = Daemon::start(&ground);
    for _ in 0..10 {
        let words = format!("burn disk --path {node} --size 1MiB --jobs 2 --depth 32 --duration 0.1s");
        Ctl::new(&ground).words(&words).run().assert_status(0);
    }
}

#[test]
fn a_device_in_use_is_refused_even_when_it_is_listed() {
    if !privileged() || !tools(&["losetup", "mkfs.ext4"]) {
        return;
    }
    let ground = Ground::new();
    let Some(device) = device(&ground) else { return };
    let made = std::process::Command::new("mkfs.ext4").arg("-q").arg(device.path()).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfs.ext4 can make one");
    let mounted = ssts_tests::Mount::ext4(ground.path("mounted"), device.path());
    let node = device.path().display().to_string();
    ground.configure(&format!("[limits]\nexpendable_devices = [\"{node}\"]\n"));
    let _daemon = Daemon::start(&ground);
    let words = format!("burn disk --path {node} --size 1MiB --duration 1s");
    Ctl::new(&ground).words(&words).run().assert_status(2).assert_tells(&["can't be had", "unmount"]);
    drop(mounted);
}
