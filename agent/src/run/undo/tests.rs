use std::{fs, thread};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};

use super::*;
use crate::observe::procfs::test_tree::TestTree;

const GOVERNOR: &str = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";

fn tree() -> TestTree {
    TestTree::new(&[
        ("proc/sys/vm/swappiness", "60\n"),
        ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
        (GOVERNOR, "schedutil\n"),
    ])
}

fn sysctl(name: &str) -> Setting {
    Setting::Sysctl { name: name.into() }
}

fn read(tree: &TestTree, below: &str) -> String {
    let root = tree.roots().proc.parent().unwrap().to_owned();
    fs::read_to_string(root.join(below)).unwrap().trim().to_owned()
}

fn states(outcomes: &[Undone]) -> Vec<ReceiptState> {
    outcomes.iter().map(|undone| undone.state).collect()
}

#[test]
fn settings_are_written_down_changed_and_set_back_the_last_first() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tree());
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    journal.begin("a");
    let governor = Setting::Governor { cpu: 1 };
    journal.change("a", &governor, "performance").unwrap();
    journal.change("a", &sysctl("vm.swappiness"), "10").unwrap();
    journal.change("a", &sysctl("vm.swappiness"), "20").unwrap();
    journal.change("a", &sysctl("net.ipv4.tcp_rmem"), "1 2 3").unwrap();
    // Nothing to change, nothing to undo.
    journal.change("a", &sysctl("net.ipv4.tcp_rmem"), "1 2 3").unwrap();
    assert_eq!(
        (read(&tree, GOVERNOR), read(&tree, "proc/sys/vm/swappiness")),
        ("performance".into(), "20".into())
    );
    assert_eq!(journal.settle_lost(), [], "the run is on");
    let outcomes = journal.settle_run("a");
    assert_eq!(states(&outcomes), [ReceiptState::Clean; 4], "{outcomes:?}");
    // In the other order swappiness would have been found at 20 where 10 was meant, and stayed.
    assert_eq!(
        (read(&tree, GOVERNOR), read(&tree, "proc/sys/vm/swappiness")),
        ("schedutil".into(), "60".into())
    );
    assert_eq!(read(&tree, "proc/sys/net/ipv4/tcp_rmem"), "4096\t131072\t6291456");
    assert_eq!(records(&dir.path().join("undo")).unwrap(), [""; 0].map(PathBuf::from));
}

/// A daemon that was killed in between leaves its journal; a record that was written and never carried out harms nobody.
#[test]
fn the_next_daemon_undoes_what_a_dead_one_has_left() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tree());
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    journal.begin("a");
    journal.change("a", &sysctl("vm.swappiness"), "10").unwrap();
    let change = Change::Setting {
        setting: Setting::Governor { cpu: 1 },
        original: "schedutil".into(),
        intended: "powersave".into(),
    };
    journal.write_down(&Record::new("b", change)).unwrap();
    drop(journal);
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    let outcomes = journal.settle_lost();
    assert_eq!(states(&outcomes), [ReceiptState::Clean; 2], "{outcomes:?}");
    assert_eq!((outcomes[0].run_id.as_str(), outcomes[1].run_id.as_str()), ("b", "a"));
    assert_eq!(
        (read(&tree, GOVERNOR), read(&tree, "proc/sys/vm/swappiness")),
        ("schedutil".into(), "60".into())
    );
    assert_eq!(journal.settle_lost(), []);
}

#[test]
fn what_somebody_else_changed_meanwhile_is_left_alone_and_unknown() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tree());
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    journal.change("a", &sysctl("vm.swappiness"), "10").unwrap();
    fs::write(tree.roots().proc("sys/vm/swappiness"), "33\n").unwrap();
    let outcomes = journal.settle_run("a");
    assert_eq!(states(&outcomes), [ReceiptState::Unknown]);
    let detail = &outcomes[0].detail;
    assert!(["'33'", "'60'", "'10'", "somebody else"].iter().all(|part| detail.contains(part)), "{detail}");
    assert_eq!(read(&tree, "proc/sys/vm/swappiness"), "33");
    // It is looked at again until it is as it was, or given up.
    assert_eq!(states(&journal.settle_lost()), [ReceiptState::Unknown]);
    journal.waive();
    assert_eq!(journal.settle_lost(), []);
}

#[test]
fn torn_and_newer_records_are_unknown_and_stay_and_those_without_a_version_are_carried_out() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tree());
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join("undo").join(name), text).unwrap();
    write("00000000000000000007.json", "{\"version\":1,\"run_");
    write("00000000000000000008.json", "{\"version\":2,\"something\":[]}");
    let device = dir.path().join("no-such-device");
    let uuid = vec!["7"; 16].join(",");
    write(
        "ssts-1-0.json",
        &format!(
            "{{\"file_system\":{{\"device\":\"{}\",\"kind\":\"ext4\",\"uuid\":[{uuid}]}},\"name\":\".ssts-1-0\"}}",
            device.display()
        ),
    );
    let outcomes = journal.settle_lost();
    assert_eq!(states(&outcomes), [ReceiptState::Unknown; 3], "{outcomes:?}");
    let told = |part: &str| outcomes.iter().any(|undone| undone.detail.contains(part));
    assert!(told("can't be read") && told("newer") && told(".ssts-1-0"), "{outcomes:?}");
    assert_eq!(records(&dir.path().join("undo")).unwrap().len(), 3);
    // What comes next stands behind what is there.
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    journal.change("a", &sysctl("vm.swappiness"), "10").unwrap();
    assert!(
        records(&dir.path().join("undo")).unwrap().iter().filter_map(|path| sequence_of(path)).any(|n| n > 8)
    );
}

#[test]
fn a_change_that_the_host_does_not_take_is_refused_and_forgotten() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tree());
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    let refusal = journal.change("a", &sysctl("vm.no_such"), "1").unwrap_err().to_string();
    assert!(refusal.contains("vm.no_such"), "{refusal}");
    assert!(journal.change("a", &sysctl("../../etc/x"), "1").is_err());
    assert_eq!(journal.settle_run("a"), []);
}

/// A sysctl of the kernel's, in a network namespace of the test's own.
#[test]
fn a_real_sysctl_is_changed_and_set_back() {
    if !geteuid().is_root() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "it needs root");
        return;
    }
    let story = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let (dir, roots) = (tempfile::tempdir().unwrap(), HostRoots::default());
        let setting = sysctl("net.ipv4.ip_default_ttl");
        let journal = UndoJournal::open(dir.path(), &roots).unwrap();
        let before = setting.read(&roots).unwrap();
        journal.change("a", &setting, "77").unwrap();
        assert_eq!(setting.read(&roots).unwrap(), "77");
        // Out of its bounds: the kernel says no, and what was there is there.
        assert!(journal.change("a", &setting, "7777").is_err());
        assert_eq!(setting.read(&roots).unwrap(), "77");
        // `settle_run` works on a thread of its own, which has this thread's namespace.
        let outcomes = journal.settle_run("a");
        assert_eq!(states(&outcomes), [ReceiptState::Clean], "{outcomes:?}");
        assert_eq!(setting.read(&roots).unwrap(), before);
    };
    thread::spawn(story).join().unwrap();
}

/// A device that a burner hangs for must not get the one who looks to hang as well.
#[test]
fn settings_are_set_back_while_a_burner_hangs_and_files_are_left_for_later() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tree());
    let journal = UndoJournal::open(dir.path(), &tree.roots()).unwrap();
    journal.begin("a");
    journal.change("a", &sysctl("vm.swappiness"), "10").unwrap();
    let uuid = vec!["7"; 16].join(",");
    let file = format!(
        "{{\"file_system\":{{\"device\":\"/no/such\",\"kind\":\"ext4\",\"uuid\":[{uuid}]}},\"name\":\".ssts-1-0\"}}"
    );
    journal.write_down(&Record::new("a", Change::File(serde_json::from_str(&file).unwrap()))).unwrap();
    let outcomes = journal.settle_settings("a");
    assert_eq!(states(&outcomes), [ReceiptState::Clean, ReceiptState::Unknown], "{outcomes:?}");
    assert!(outcomes[0].is_setting && outcomes[1].detail.contains("was not looked for"), "{outcomes:?}");
    assert_eq!(read(&tree, "proc/sys/vm/swappiness"), "60");
    // The run is over: the next look finds the file's record.
    assert_eq!(journal.settle_lost().len(), 1);
}
