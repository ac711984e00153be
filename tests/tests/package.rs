//! The Debian package, from its installation to its purge, on a machine of its own: what runs found outlives an upgrade and a
//! removal, and a purge leaves nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use ssts_tests::{Booted, Machine, Programs, make, possible, tools};

/// Packed of the programs under test, stripped, so that no release build is needed.
fn packed(version: &str, folder: &Path) -> PathBuf {
    let package = folder.join(format!("ssts_{version}.deb"));
    let arguments = format!("--deb-version={version} --fast --output={}", package.display());
    make("deb", &[("DEB_ARGS", &arguments)]);
    package
}

fn runs(machine: &Booted) -> Vec<String> {
    let listed: Value = machine.run("sstsctl --output json runs --agent").assert_status(0).json();
    let ids = listed["runs"].as_array().expect("runs are a list").iter();
    ids.map(|run| run["run_id"].as_str().expect("it is text").to_owned()).collect()
}

fn exists(machine: &Booted, path: &str) -> bool {
    machine.run(&format!("test -e {path}")).status == Some(0)
}

#[test]
fn it_installs_upgrades_and_goes_without_a_trace() {
    let _machine = Machine::shared();
    let cargo_deb = Programs::built().target.join("tools/bin/cargo-deb");
    let can_pack = || possible(cargo_deb.is_file(), "cargo-deb is not there: run `.ci/setup deb`");
    if !(tools(&["dpkg-deb", "dpkg-shlibdeps"]) && can_pack() && Booted::possible()) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("ssts-").tempdir_in("/tmp").expect("/tmp takes a folder");
    let (old, new) = (packed("0.1.0-1", folder.path()), packed("0.1.0-2", folder.path()));
    let machine = Booted::with(|root| {
        for (package, name) in [(&old, "old.deb"), (&new, "new.deb")] {
            fs::copy(package, root.join("root").join(name)).expect("the layer takes it");
        }
    });

    // Installed: the socket is there for the group, and the daemon comes with the first command.
    machine.run("dpkg --install /root/old.deb").assert_status(0);
    assert_eq!(machine.property("sstsd.socket", "ActiveState"), "active");
    assert_eq!(machine.run("systemctl is-enabled sstsd.socket").stdout.trim(), "enabled");
    assert_eq!(machine.property("sstsd.service", "ActiveState"), "inactive");
    machine.run("getent group ssts").assert_status(0);
    machine.run("sstsctl burn cpu --load 20 --tolerance 100 --duration 300ms").assert_status(0);
    let first = machine.main_process("sstsd.service").expect("the command started it");
    let kept = runs(&machine);
    assert_eq!(kept.len(), 1);
    for command in ["man --where sstsctl", "test -s /usr/share/bash-completion/completions/sstsctl"] {
        if tools(&[command.split(' ').next().expect("it has words")]) {
            machine.run(command).assert_status(0);
        }
    }

    // Upgraded: another daemon, the same records, the administrator's configuration.
    machine.run("sed -i s/x/x/;$a#mine /etc/ssts/sstsd.toml").assert_status(0);
    machine.run("dpkg --install /root/new.deb").assert_status(0);
    let second = machine.main_process("sstsd.service").expect("it was restarted");
    assert_ne!(first, second);
    assert_eq!(runs(&machine), kept);
    machine.run("grep --quiet ^#mine /etc/ssts/sstsd.toml").assert_status(0);
    let version = machine.run("dpkg-query --show --showformat=${Version} ssts").assert_status(0).stdout;
    assert_eq!(version, "0.1.0-2");

    // Removed: nothing runs, nothing can be commanded, and what was found is there.
    machine.run("dpkg --remove ssts").assert_status(0);
    assert!(!second.is_alive());
    assert!(!exists(&machine, "/usr/bin/sstsd") && !exists(&machine, "/run/ssts/sstsd.sock"));
    assert!(exists(&machine, "/var/lib/ssts/runs") && exists(&machine, "/etc/ssts/sstsd.toml"));

    // Come back, it knows its runs.
    machine.run("dpkg --install /root/new.deb").assert_status(0);
    assert_eq!(runs(&machine), kept);

    // Purged: no file, no group, no unit.
    let files = machine.run("dpkg --listfiles ssts").assert_status(0).stdout;
    let files: Vec<_> = files.lines().filter(|path| machine.root().join(&path[1..]).is_file()).collect();
    assert!(files.len() > 10, "{files:?}");
    machine.run("dpkg --purge ssts").assert_status(0);
    for path in files.into_iter().chain(["/var/lib/ssts", "/etc/ssts", "/run/ssts", "/usr/share/doc/ssts"]) {
        assert!(!exists(&machine, path), "{path} is left");
    }
    assert_eq!(machine.run("getent group ssts").status, Some(2));
    let left = machine.run("find /etc /usr /var/lib /run -xdev -name *ssts*").stdout;
    assert_eq!(left, "", "these are left");
}

/// What `make install` puts somewhere `make uninstall` takes away, and what is the operator's stays.
#[test]
fn make_uninstall_takes_away_what_make_install_brought() {
    if !tools(&["make"]) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("ssts-").tempdir_in("/tmp").expect("/tmp takes a folder");
    let variables = [("DESTDIR", folder.path().to_str().expect("it is ASCII")), ("PREFIX", "/opt/ssts")];
    make("install", &variables);
    let unit = folder.path().join("opt/ssts/lib/systemd/system/sstsd.service");
    let unit = fs::read_to_string(unit).expect("it is installed");
    assert!(unit.contains("ExecStart=/opt/ssts/bin/sstsd serve"), "{unit}");
    // An administrator's configuration is left alone by the next installation.
    let configuration = folder.path().join("etc/ssts/sstsd.toml");
    fs::write(&configuration, "[log]\n").expect("the folder is ours");
    make("install", &variables);
    assert_eq!(fs::read_to_string(&configuration).expect("it is there"), "[log]\n");
    let told = make("uninstall", &variables);
    assert!(told.contains("/var/lib/ssts"), "{told}");
    assert_eq!(files_below(folder.path()), [configuration]);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries.flat_map(|entry| below(entry.path())).collect()
}
