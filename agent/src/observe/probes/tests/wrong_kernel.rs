//! Probes on a kernel that is not as it seems: what is missing is told, and what is wrong is found out before it is believed.

use std::{os::unix::fs::symlink, path::Path};

use super::*;

/// A sysfs with what probes need, but for the kernel's types.
pub(super) fn sysfs() -> tempfile::TempDir {
    let sys = tempfile::tempdir().unwrap();
    for below in ["devices", "block", "dev"] {
        symlink(Path::new("/sys").join(below), sys.path().join(below)).unwrap();
    }
    fs::create_dir_all(sys.path().join("kernel/btf")).unwrap();
    symlink("/sys/kernel/irq", sys.path().join("kernel/irq")).unwrap();
    sys
}

fn u32_at(types: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(types[at..at + 4].try_into().unwrap())
}

/// The kernel's types with some members of a struct moved by so many bytes: Documentation/bpf/btf.rst. Without a name: of all
/// unnamed structs and unions that have one.
pub(super) fn moved(name: &str, members: &[&str], by: i32) -> Vec<u8> {
    let mut types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let header = u32_at(&types, 4) as usize;
    let [begin, len, strings] = [8, 12, 16].map(|at| u32_at(&types, at) as usize);
    let is_called = |types: &[u8], at: usize, name: &str| {
        let begin = header + strings + u32_at(types, at) as usize;
        types[begin..].starts_with(name.as_bytes()) && types[begin + name.len()] == 0
    };
    let (mut at, mut found) = (header + begin, 0);
    let end = at + len;
    while at < end {
        let info = u32_at(&types, at + 4);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let of_each = match kind {
            // Integers, variables, tags of declarations.
            1 | 14 | 17 => 4,
            3 => 12,
            // Structs, unions; sections; enums of 64 bits.
            4 | 5 | 15 | 19 => 12 * count,
            6 | 13 => 8 * count,
            _ => 0,
        };
        if (kind == 4 || kind == 5 && name.is_empty()) && is_called(&types, at, name) {
            for member in (0..count).map(|index| at + 12 + 12 * index) {
                if members.iter().any(|name| is_called(&types, member, name)) {
                    let bits = u32_at(&types, member + 8).checked_add_signed(8 * by).unwrap();
                    types[member + 8..member + 12].copy_from_slice(&bits.to_ne_bytes());
                    found += 1;
                }
            }
        }
        at += 12 + of_each;
    }
    assert!(found == members.len() || name.is_empty() && found > 0, "{name} {members:?}");
    types
}

pub(super) fn status_of(probe: &str, roots: &HostRoots, hooks: HookChoice) -> v1::ProbeStatus {
    let probes = load(roots, &ProbeSettings { hooks, ..ProbeSettings::default() });
    probes.statuses.snapshot().into_iter().find(|status| status.name == probe).unwrap()
}

#[test]
fn a_probe_that_is_told_wrong_offsets_is_off_and_says_why() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").is_file() {
        skipped("it needs root and the kernel's types");
        return;
    }
    let sys = sysfs();
    let roots = HostRoots { sys: sys.path().into(), ..HostRoots::default() };
    for (probe, name, members, by) in [
        ("sched", "task_struct", &["pid", "tgid"][..], 8),
        ("block", "request", &["cmd_flags"][..], 4),
        ("block", "request", &["__data_len"][..], 4),
        ("block", "request_queue", &["disk"][..], -8),
        ("block", "gendisk", &["major", "first_minor"][..], 4),
    ] {
        fs::write(sys.path().join("kernel/btf/vmlinux"), moved(name, members, by)).unwrap();
        for hooks in [HookChoice::Raw, HookChoice::Btf] {
            let status = status_of(probe, &roots, hooks);
            println!("{name}.{members:?} {hooks:?}: {}", status.reason);
            assert!(!status.attached && !status.working, "{name}.{members:?} {hooks:?}: {status:?}");
            // The verifier may know before the test does.
            let is_known = ["its test at the start failed", "the verifier says"];
            assert!(is_known.iter().any(|words| status.reason.contains(words)), "{}", status.reason);
        }
        // Another kind of hook doesn't need that.
        let status = status_of(probe, &roots, HookChoice::Tracepoint);
        assert!(status.working, "{status:?}");
    }
}

#[test]
fn without_types_and_events_each_probe_says_what_it_lacks() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (sys, tracefs) = (sysfs(), tempfile::tempdir().unwrap());
    fs::create_dir(tracefs.path().join("events")).unwrap();
    let roots = HostRoots { sys: sys.path().into(), tracefs: tracefs.path().into(), ..HostRoots::default() };
    let probes = load(&roots, &ProbeSettings { hooks: HookChoice::Auto, ..ProbeSettings::default() });
    assert_eq!(probes.sources.len(), 1, "nothing but what tells how they are");
    for status in probes.statuses.snapshot() {
        assert!(!status.attached && !status.working, "{status:?}");
        // What is rare has no programs of BTF tracepoints.
        assert!(status.reason.contains("raw tracepoints: no kernel types at "), "{}", status.reason);
        assert!(status.reason.contains("; by tracepoints: tracefs, events/"), "{}", status.reason);
    }
}
