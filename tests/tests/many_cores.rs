//! A host of a thousand cores, as far as its files tell: the daemon reads it all, and its memory grows by what is stated for a core.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ssts_tests::{Ctl, Daemon, Ground, note, privileged};

/// What docs/performance.md states, in KiB a core.
const MOST_KIB_A_CORE: f64 = 260.0;

/// Links to everything below a folder but for some, on a new folder.
fn mirror(of: &Path, at: &Path, but: &[&str]) {
    fs::create_dir_all(at).expect("the folder is ours");
    for entry in fs::read_dir(of).expect("it is there").flatten() {
        let name = entry.file_name();
        if !but.iter().any(|left_out| *name == **left_out) {
            symlink(of.join(&name), at.join(&name)).expect("the name is new");
        }
    }
}

/// The sysfs and the procfs of this host, but with so many cores, and with one disk: others of the machine come and go.
fn host_of(ground: &Ground, cores: usize) -> (PathBuf, PathBuf) {
    let (proc, sys) = (ground.path(format!("proc-{cores}")), ground.path(format!("sys-{cores}")));
    mirror(Path::new("/proc"), &proc, &["stat", "interrupts"]);
    let mut stat = "cpu  1000 0 1000 100000 0 0 0 0 0 0\n".to_owned();
    let mut interrupts = " ".repeat(10);
    for cpu in 0..cores {
        let _infallible = writeln!(stat, "cpu{cpu} 10 0 10 1000 0 0 0 0 0 0");
        let _infallible = write!(interrupts, " CPU{cpu}");
    }
    stat.push_str("intr 5 5\nctxt 77\nbtime 1790000000\nprocesses 5\nprocs_running 1\nprocs_blocked 0\n");
    interrupts.push_str("\n LOC:");
    interrupts.push_str(&" 7".repeat(cores));
    interrupts.push_str("   Local timer interrupts\n");
    fs::write(proc.join("stat"), stat).expect("the folder is ours");
    fs::write(proc.join("interrupts"), interrupts).expect("the folder is ours");

    let real = Path::new("/sys");
    mirror(real, &sys, &["devices", "block"]);
    mirror(&real.join("devices"), &sys.join("devices"), &["system"]);
    mirror(&real.join("devices/system"), &sys.join("devices/system"), &["cpu"]);
    let all = sys.join("devices/system/cpu");
    fs::create_dir(&all).expect("the folder is ours");
    for list in ["possible", "present", "online"] {
        fs::write(all.join(list), format!("0-{}\n", cores - 1)).expect("the folder is ours");
    }
    for cpu in 0..cores {
        let topology = all.join(format!("cpu{cpu}/topology"));
        fs::create_dir_all(&topology).expect("the folder is ours");
        for (file, value) in [("core_id", cpu % 64), ("physical_package_id", cpu / 64)] {
            fs::write(topology.join(file), format!("{value}\n")).expect("the folder is ours");
        }
    }
    fs::create_dir(sys.join("block")).expect("the folder is ours");
    let disks = fs::read_dir("/sys/block").expect("it is there").flatten();
    let real_disk = disks.map(|entry| entry.path()).find(|disk| disk.join("device").exists());
    if let Some(disk) = real_disk {
        let name = disk.file_name().expect("it has one");
        let target = fs::canonicalize(&disk).expect("it is there");
        symlink(target, sys.join("block").join(name)).expect("the name is new");
    }
    (proc, sys)
}

/// A daemon of a host with so many cores, when it has read all of it for a while: its memory in KiB, and its frames' columns.
fn resident_kib(ground: &Ground, cores: usize) -> f64 {
    let (proc, sys) = host_of(ground, cores);
    ground.configure(&format!("[roots]\nproc = \"{}\"\nsys = \"{}\"\n", proc.display(), sys.display()));
    let daemon = Daemon::start(ground);
    let info = Ctl::new(ground).words("info").json();
    for probe in info["probes"].as_array().expect("they are a list") {
        assert_eq!(probe["working"], true, "{cores} cores: {probe:#}");
    }
    thread::sleep(Duration::from_secs(4));
    let told = Ctl::new(ground).words("telemetry --metric host.cpu.time").run();
    told.assert_status(0);
    let last = format!("cpu={};", cores - 1);
    assert!(told.stdout.contains(&last), "{last} is not told");
    daemon.process().resident_bytes().expect("it runs") as f64 / 1_024.0
}

#[test]
fn memory_grows_with_cores_as_stated() {
    if !privileged() {
        return;
    }
    let ground = Ground::alone();
    let sizes = [64, 256, 1_024].map(|cores| (cores, resident_kib(&ground, cores)));
    for (cores, kib) in sizes {
        note(format_args!("{cores} cores: {:.1} MiB", kib / 1_024.0));
    }
    let [(few, small), .., (many, large)] = sizes;
    let each = (large - small) / (many - few) as f64;
    note(format_args!("{each:.1} KiB a core"));
    assert!(each <= MOST_KIB_A_CORE, "{each:.1} KiB a core");
}
