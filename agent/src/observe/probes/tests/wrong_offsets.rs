//! Each probe is told one wrong offset after the other, and finds out each time before anything is believed.

use std::path::Path;

use super::{
    wrong_kernel::{moved, status_of, sysfs},
    *,
};

/// What the test at the start and what the verifier say; the latter may know before.
const FOUND_OUT: [&str; 2] = ["its test at the start failed", "the verifier says"];

/// Members of the kernel's structs: probe, struct, member, how far it is moved, what the test at the start says.
type Moved = (&'static str, &'static str, &'static str, i32, &'static str);

fn are_found_out(members: &[Moved], kinds: &[HookChoice]) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").is_file() {
        skipped("it needs root and the kernel's types");
        return;
    }
    let sys = sysfs();
    let roots = HostRoots { sys: sys.path().into(), ..HostRoots::default() };
    for (probe, name, member, by, words) in members {
        fs::write(sys.path().join("kernel/btf/vmlinux"), moved(name, &[member], *by)).unwrap();
        for hooks in kinds {
            let status = status_of(probe, &roots, *hooks);
            println!("{name}.{member} {hooks:?}: {}", status.reason);
            assert!(!status.attached && !status.working, "{name}.{member} {hooks:?}: {status:?}");
            assert!(FOUND_OUT.iter().any(|words| status.reason.contains(words)), "{status:?}");
            if status.reason.contains(FOUND_OUT[0]) {
                assert!(status.reason.contains(words), "{status:?}");
            }
        }
    }
}

const TYPED: [HookChoice; 2] = [HookChoice::Raw, HookChoice::Btf];

#[test]
fn the_memory_probe_finds_out_where_victims_would_be_misread() {
    are_found_out(
        &[
            ("memory", "task_struct", "pid", 8, "can't find the number"),
            ("memory", "task_struct", "comm", -8, "can't find the name"),
            // Behind it is active_mm, of a process the same.
            ("memory", "task_struct", "mm", -8, "the memory that it has mapped"),
            ("memory", "", "total_vm", 8, "the memory that it has mapped"),
        ],
        &TYPED,
    );
}

#[test]
fn the_scheduler_and_block_probes_find_out_whose_name_would_be_misread() {
    are_found_out(&[("sched", "task_struct", "comm", -8, "can't find the name")], &TYPED);
    are_found_out(
        &[
            ("block", "task_struct", "comm", -8, "can't find the name"),
            ("block", "task_struct", "tgid", -4, "can't find the process's number"),
        ],
        // The others ask the kernel.
        &[HookChoice::Btf],
    );
}

#[test]
fn the_block_probe_finds_out_where_the_making_of_requests_would_be_misread() {
    // Behind it is when the driver began, which is as plausible.
    are_found_out(&[("block", "request", "start_time_ns", -8, "made")], &TYPED);
}

#[test]
fn the_tcp_probe_finds_out_where_sockets_would_be_misread() {
    are_found_out(
        &[
            ("tcp", "sock", "sk_protocol", -2, "was not seen"),
            ("tcp", "tcp_sock", "srtt_us", 4, "round trip"),
            ("tcp", "tcp_sock", "srtt_us", 8, "round trip"),
            ("tcp", "tcp_sock", "srtt_us", -4, "round trip"),
        ],
        &[HookChoice::Raw],
    );
}

#[test]
fn the_drops_probe_finds_out_where_packets_would_be_misplaced() {
    are_found_out(
        &[
            ("drops", "", "dev", 8, "have that device"),
            ("drops", "", "skb_iif", 4, "come in there"),
            // Behind it is how many queues it receives by: of lo the same, 1.
            ("drops", "net_device", "ifindex", -4, "dropped"),
            ("drops", "net_device", "nd_net", 8, "dropped"),
            ("drops", "net", "ns", 8, "dropped"),
            ("drops", "ns_common", "inum", 4, "dropped"),
            ("drops", "sock_common", "skc_net", 8, "be for a socket"),
        ],
        &[HookChoice::Raw],
    );
}

/// A tracefs with the events of a probe, one of which has a field elsewhere. As the kernel would have it, all that follows is moved
/// with it; or the field alone, and the record can't be one.
fn tracefs(events: &[&str], wrong: (&str, &str), alone: bool) -> tempfile::TempDir {
    let real = tracefs::Tracefs::open(&HostRoots::default()).unwrap();
    let root = tempfile::tempdir().unwrap();
    for event in events {
        let folder = root.path().join("events").join(event);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("id"), format!("{}\n", real.id(event).unwrap())).unwrap();
        let format = real.text(event, "format").unwrap();
        let format = if *event == wrong.0 { with_field_moved(&format, wrong.1, alone) } else { format };
        fs::write(folder.join("format"), format).unwrap();
    }
    root
}

/// By 8 bytes, which another field takes where the record is to be one; else by 4.
fn with_field_moved(format: &str, field: &str, alone: bool) -> String {
    let mut found = false;
    let mut lines = Vec::new();
    for line in format.lines() {
        let is_field = line.trim_start().starts_with("field:");
        let is_it =
            is_field && line.split(';').next().is_some_and(|words| words.ends_with(&format!(" {field}")));
        let moves = is_it || found && is_field && !alone;
        found |= is_it;
        let Some((before, offset)) = moves.then(|| line.split_once("offset:")).flatten() else {
            lines.push(line.to_owned());
            continue;
        };
        let (offset, after) = offset.split_once(';').unwrap();
        let offset: u32 = offset.parse().unwrap();
        if is_it && !alone {
            lines.push(format!("\tfield:u64 inserted;\toffset:{offset};\tsize:8;\tsigned:0;"));
        }
        let by = if alone { 4 } else { 8 };
        lines.push(format!("{before}offset:{};{after}", offset + by));
    }
    assert!(found, "{field}: {format}");
    lines.join("\n") + "\n"
}

/// `tested`: fields whose place the test at the start finds out. Of the others only what can't be is found out.
fn wrong_fields_are_found_out(
    probe: &str,
    events: &[&str],
    tested: &[(&str, &str)],
    untested: &[(&str, &str)],
) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !geteuid().is_root() {
        skipped("it needs root");
        return;
    }
    let with = |wrong: (&str, &str), alone| {
        let tracefs = tracefs(events, wrong, alone);
        let roots = HostRoots { tracefs: tracefs.path().into(), ..HostRoots::default() };
        let status = status_of(probe, &roots, HookChoice::Tracepoint);
        println!("{wrong:?}, alone {alone}: {}", status.reason);
        status
    };
    for wrong in tested.iter().chain(untested) {
        let status = with(*wrong, true);
        assert!(!status.attached && !status.working, "{wrong:?}: {status:?}");
        assert!(status.reason.contains("can't stand at byte"), "{wrong:?}: {}", status.reason);
    }
    for wrong in tested {
        let status = with(*wrong, false);
        assert!(!status.attached && !status.working, "{wrong:?}: {status:?}");
        assert!(status.reason.contains(FOUND_OUT[0]), "{wrong:?}: {}", status.reason);
    }
}

#[test]
fn the_irq_probe_finds_out_where_fields_of_its_records_are_not() {
    wrong_fields_are_found_out(
        irq::NAME,
        &[
            "irq/irq_handler_entry",
            "irq/irq_handler_exit",
            "irq/softirq_raise",
            "irq/softirq_entry",
            "irq/softirq_exit",
        ],
        &[
            ("irq/irq_handler_exit", "irq"),
            ("irq/softirq_raise", "vec"),
            ("irq/softirq_entry", "vec"),
            ("irq/softirq_exit", "vec"),
        ],
        &[],
    );
}

#[test]
fn the_tcp_probe_finds_out_where_fields_of_its_records_are_not() {
    let state = "sock/inet_sock_set_state";
    wrong_fields_are_found_out(
        tcp::NAME,
        &[state, "tcp/tcp_retransmit_skb"],
        &[(state, "skaddr"), (state, "oldstate"), (state, "newstate"), (state, "protocol")],
        &[("tcp/tcp_retransmit_skb", "skaddr")],
    );
}

#[test]
fn the_drops_probe_finds_out_where_fields_of_its_records_are_not() {
    wrong_fields_are_found_out(drops::NAME, &["skb/kfree_skb"], &[("skb/kfree_skb", "reason")], &[]);
}

#[test]
fn the_memory_probe_finds_out_where_fields_of_its_records_can_not_be() {
    let events = [
        "exceptions/page_fault_user",
        "vmscan/mm_vmscan_direct_reclaim_begin",
        "vmscan/mm_vmscan_direct_reclaim_end",
        "compaction/mm_compaction_begin",
        "compaction/mm_compaction_end",
        "oom/mark_victim",
    ];
    wrong_fields_are_found_out(memory::NAME, &events, &[], &[("oom/mark_victim", "pid")]);
}
