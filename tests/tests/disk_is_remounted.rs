//! What was written is read back from a file system that was unmounted and mounted again: what only a cache held is found to be
//! missing. The burner mounts for itself alone, and nothing is left whatever dies, in the worst moment, too.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use nix::sys::{prctl, signal::Signal};
use ssts_tests::{
    Ctl, Daemon, Ground, LoopDevice, Mount,
    outside::{Process, within},
    possible, privileged, tools,
};

const BYTES: u64 = 64 << 20;
const SIZE: u64 = 1 << 20;
const RESERVE: u64 = 8 << 20;

/// A device with an ext4 that is not mounted.
struct Disk {
    device: LoopDevice,
    image: PathBuf,
}

impl Disk {
    /// Given away by the ground's configuration.
    fn new(ground: &Ground) -> Option<Self> {
        if !privileged() || !tools(&["losetup", "mkfs.ext4"]) {
            return None;
        }
        let image = ground.disk().join("image");
        let device = LoopDevice::new(&image, BYTES);
        possible(device.is_some(), "this machine gives no loop device");
        let device = device?;
        let made = Command::new("mkfs.ext4").args(["-q", "-b", "4096"]).arg(device.path()).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfs.ext4 can make one");
        let disk = Self { device, image };
        let limits = format!("disk_reserve_bytes = {RESERVE}\nmountable_devices = [\"{}\"]", disk.node());
        ground.configure(&format!("[limits]\n{limits}\n"));
        Some(disk)
    }

    fn node(&self) -> String {
        self.device.path().display().to_string()
    }

    fn words(&self, settings: &str) -> String {
        format!("burn disk --path {} --size 1MiB --verify {settings}", self.node())
    }

    /// What is in its root folder; waits until nobody else has it.
    fn files(&self, ground: &Ground) -> Vec<String> {
        let free = within(Duration::from_secs(10), || {
            File::options().read(true).custom_flags(libc::O_EXCL).open(self.device.path()).is_ok()
        });
        assert!(free.is_some(), "{} is still in use", self.node());
        let folder = ground.path("look");
        let mounted = Mount::ext4(folder.clone(), self.device.path());
        let names = fs::read_dir(mounted.path()).expect("it is mounted").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let names = names.filter(|name| name != "lost+found").collect();
        drop(mounted);
        fs::remove_dir(folder).expect("it is unmounted");
        names
    }

    /// Spoils the blocks of a burner that are in the image, all but each fourth.
    fn spoil(&self) -> usize {
        let image = File::options().read(true).write(true).open(&self.image).expect("it is ours");
        let mut block = [0; 4_096];
        let mut spoiled = 0;
        for (index, offset) in (0..BYTES).step_by(4_096).enumerate() {
            image.read_exact_at(&mut block, offset).expect("it is that long");
            if block.starts_with(b"SSTSBLOK") && index % 4 != 0 {
                image.write_all_at(&[block[2_000] ^ 0x10], offset + 2_000).expect("there is room");
                spoiled += 1;
            }
        }
        spoiled
    }
}

/// Mounts of the disk that everybody sees.
fn mounts(disk: &Disk) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    let source = format!(" {} ", disk.node());
    all.lines().filter(|mount| mount.contains(&source)).map(str::to_owned).collect()
}

#[test]
fn all_that_was_written_is_read_back_after_each_remount() {
    let ground = Ground::new();
    let Some(disk) = Disk::new(&ground) else { return };
    let daemon = Daemon::start(&ground);
    for settings in [
        "--rw randwrite --remount 300ms",
        "--rw randrw --block 4KiB:50,16KiB:50 --rate 500 --fsync 16 --remount 300ms",
        "--rw write --engine threads --depth 4 --remount 300ms",
        // So slow that what is verified is what was read back.
        "--rw randrw --depth 1 --rate 1 --remount 300ms",
    ] {
        let words = disk.words(&format!("{settings} --duration 3s"));
        let outcome = Ctl::new(&ground).words(&format!("--output json {words}")).run();
        outcome.assert_status(0);
        let result = outcome.json();
        let burner = &result["hosts"][0]["burners"][0];
        let figure = |name: &str| burner["figures"][name]["value"].as_f64().expect("it is a number");
        assert!(figure("remounts") >= 1.0, "{settings}: {burner:#}");
        // Each round read all of the file.
        assert!(
            figure("verified_blocks") >= figure("remounts") * (SIZE / 4_096) as f64,
            "{settings}: {burner:#}"
        );
        assert_eq!(burner["errors"]["io"], 0, "{settings}: {burner:#}");
        assert!(burner["variant"].as_str().is_some_and(|text| text.contains("remounts")), "{burner:#}");
    }
    assert_eq!(mounts(&disk), [""; 0]);
    assert_eq!(disk.files(&ground), [""; 0]);
    assert_eq!(daemon.burners(), []);
    assert_eq!(records(&ground), [""; 0]);
}

/// The medium loses what was written, read back and found right: nothing but the remount shows it.
#[test]
fn what_the_medium_loses_meanwhile_is_found_after_the_remount() {
    let ground = Ground::new();
    let Some(disk) = Disk::new(&ground) else { return };
    let daemon = Daemon::start(&ground);
    // Hardly a write: what is spoiled stays so, and no write reads it back.
    let words = disk.words("--rw randwrite --rate 1 --remount 5s --duration 60s");
    let running = Ctl::new(&ground).words(&format!("--output json {words}")).spawn();
    let started = within(Duration::from_secs(20), || daemon.log().contains("phase burn-disk started"));
    assert!(started.is_some(), "{}", daemon.log());
    assert!(disk.spoil() > 100);
    let outcome = running.outcome();
    outcome.assert_status(6);
    let result = outcome.json();
    let message = result["cause_message"].as_str().expect("it is text");
    for part in [&*disk.node(), "after remount 1", "from its byte 2000 on", "checksum is wrong"] {
        assert!(message.contains(part), "'{part}' is missing: {message}");
    }
    assert_eq!(disk.files(&ground), [""; 0]);
}

#[test]
fn what_can_not_be_remounted_is_refused() {
    let ground = Ground::new();
    let Some(disk) = Disk::new(&ground) else { return };
    let _daemon = Daemon::start(&ground);
    let refused = |words: &str, parts: &[&str]| {
        Ctl::new(&ground).words(words).run().assert_status(2).assert_tells(parts);
    };
    refused(&disk.words("--remount 1s --duration 1s"), &["--remount", "longer phase"]);
    refused(&disk.words("--remount 1ms --duration 1s"), &["--remount", "100 ms"]);
    refused(&disk.words("--remount 1s --jobs 2 --duration 5s"), &["--remount", "one job"]);
    let words = format!("burn disk --path {} --size 1GiB --verify --remount 1s --duration 5s", disk.node());
    refused(&words, &["--size", "kept in reserve"]);
    let folder = ground.path("tmp");
    let words =
        format!("burn disk --path {} --size 1MiB --verify --remount 1s --duration 5s", folder.display());
    refused(&words, &["--path", "no block device", "findmnt"]);
    // In use: by whom is told.
    let mounted = Mount::ext4(ground.path("mounted"), disk.device.path());
    let place = mounted.path().display().to_string();
    refused(
        &disk.words("--remount 1s --duration 5s"),
        &["--path", &format!("mounted at {place}"), "unmount it"],
    );
    drop(mounted);
    // Without a file system.
    let image = File::options().write(true).open(&disk.image).expect("it is ours");
    image.write_all_at(&[0; 128 << 10], 0).expect("there is room");
    refused(&disk.words("--remount 1s --duration 5s"), &["--path", "has no ext4"]);
}

#[test]
fn a_device_that_is_not_listed_is_not_mounted() {
    let ground = Ground::new();
    let Some(disk) = Disk::new(&ground) else { return };
    ground.configure("");
    let _daemon = Daemon::start(&ground);
    Ctl::new(&ground)
        .words(&disk.words("--remount 1s --duration 5s"))
        .run()
        .assert_status(2)
        .assert_tells(&["--path", "limits.mountable_devices"]);
}

/// What is to be undone, as the daemon wrote it down.
fn records(ground: &Ground) -> Vec<String> {
    let entries = fs::read_dir(ground.state().join("undo")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

/// `kill -9` of the daemon while the file has a name, at several places of the round; the next daemon removes it.
#[test]
fn what_a_killed_daemon_leaves_the_next_one_removes() {
    prctl::set_child_subreaper(true).expect("Linux 3.4 and later can");
    let ground = Ground::new();
    let Some(disk) = Disk::new(&ground) else { return };
    for round in 0..8 {
        let mut daemon = Daemon::start(&ground);
        let words = disk.words("--rw randwrite --remount 100ms --duration 60s --detach");
        Ctl::new(&ground).words(&words).run().assert_status(0);
        let burners = daemon.burning(1);
        assert_eq!(records(&ground).len(), 1);
        std::thread::sleep(Duration::from_millis(100 + 13 * round));
        daemon.signal(Signal::SIGKILL);
        daemon.wait(Duration::from_secs(5)).expect("it was killed");
        let gone = within(Duration::from_secs(10), || !burners.iter().any(Process::is_alive));
        assert!(gone.is_some(), "burners outlive their daemon");
        burners.iter().for_each(Process::reap);
        assert_eq!(disk.files(&ground).len(), 1, "the burner was killed before it could remove its file");

        let daemon = Daemon::start(&ground);
        let settled = within(Duration::from_secs(20), || records(&ground).is_empty());
        assert!(settled.is_some(), "the record stays\n{}", daemon.log());
        assert_eq!(disk.files(&ground), [""; 0], "{}", daemon.log());
    }
}

/// A stop may kill a burner that is just waiting for the disk: the daemon removes the file then.
#[test]
fn a_stop_and_a_killed_burner_leave_nothing() {
    let ground = Ground::new();
    let Some(disk) = Disk::new(&ground) else { return };
    let daemon = Daemon::start(&ground);
    let words = disk.words("--rw randwrite --remount 100ms --duration 60s");
    for round in 0..6 {
        let running = Ctl::new(&ground).words(&format!("--output json {words}")).spawn();
        let burner = daemon.burning(1)[0];
        std::thread::sleep(Duration::from_millis(100 + 17 * round));
        if round % 2 == 0 {
            running.signal(Signal::SIGINT);
        } else {
            burner.kill();
        }
        running.outcome();
        assert_eq!(records(&ground), [""; 0], "{}", daemon.log());
        assert_eq!(disk.files(&ground), [""; 0], "{}", daemon.log());
    }
}
