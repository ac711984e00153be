//! A kernel whose records are not what they seem: a probe that would misread them is off, and everybody is told why: who checks the
//! host, who looks at the stream, who reads the record.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use ssts_proto::v1::{ProbeStatus, WatchRequest, agent_client::AgentClient, watch_response::Item};
use ssts_tests::{Ctl, Daemon, Ground, Mount, Record, connect, note, privileged, soon};

/// A field that is not where the kernel's list of events says.
struct Wrong {
    probe: &'static str,
    events: &'static [&'static str],
    event: &'static str,
    field: &'static str,
    /// What is put before the field, in bytes: 0 moves it alone, by 4, and the record can't be one.
    before: u32,
    /// What the probe says.
    words: &'static str,
}

/// The list of a probe's events, as the kernel has it but for the one field.
fn write_tracefs(ground: &Ground, root: &Path, wrong: &Wrong) {
    let real = Mount::tracefs(ground.path("events"));
    for event in wrong.events {
        let (from, to) = (real.path().join("events").join(event), root.join("events").join(event));
        fs::create_dir_all(&to).expect("the folder is ours");
        fs::copy(from.join("id"), to.join("id")).expect("the event is known");
        let format = fs::read_to_string(from.join("format")).expect("the event is known");
        let format = if *event == wrong.event { moved(&format, wrong) } else { format };
        fs::write(to.join("format"), format).expect("the folder is ours");
    }
}

/// As if something stood before the field: all that follows is moved with it.
fn moved(format: &str, wrong: &Wrong) -> String {
    let mut found = false;
    let mut lines = String::new();
    for line in format.lines() {
        let declared = line.split(';').next().unwrap_or_default();
        let is_it = declared.ends_with(&format!(" {}", wrong.field));
        let moves = is_it || found && wrong.before > 0;
        found |= is_it;
        let offset =
            line.split_once("offset:").and_then(|(_, rest)| rest.split(';').next()?.parse::<u32>().ok());
        let Some(offset) = offset.filter(|_| moves) else {
            lines += &format!("{line}\n");
            continue;
        };
        if is_it && wrong.before > 0 {
            lines += &format!("\tfield:u64 more;\toffset:{offset};\tsize:{};\tsigned:0;\n", wrong.before);
        }
        let by = if wrong.before > 0 { wrong.before } else { 4 };
        lines += &line.replace(&format!("offset:{offset};"), &format!("offset:{};", offset + by));
        lines.push('\n');
    }
    assert!(found, "no {}: {format}", wrong.field);
    lines
}

/// `sstsd check`'s words of a probe.
fn checked(ground: &Ground, probe: &str) -> (String, String) {
    let mut command = Command::new(&ground.programs().sstsd);
    command.args(["check", "--output", "json", "--config"]).arg(ground.config());
    let output = command.arg("--state-dir").arg(ground.state()).output().expect("it can be executed");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let all = report["capabilities"].as_array().expect("they are a list");
    let told = all.iter().find(|one| one["name"] == format!("probe-{probe}")).expect("each probe is told");
    let word = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    (word("state"), word("detail"))
}

/// The probes as the stream's schema has them.
async fn streamed(ground: &Ground) -> Vec<ProbeStatus> {
    let mut client = AgentClient::new(connect(ground).await).max_decoding_message_size(16 << 20);
    let request = WatchRequest { frames: true, ..WatchRequest::default() };
    let mut stream = soon(client.watch(request)).await.expect("it is offered").into_inner();
    loop {
        let message = soon(stream.message()).await.expect("the stream goes on").expect("it does not end");
        if let Some(Item::Schema(schema)) = message.item {
            return schema.probes;
        }
    }
}

fn of<'a>(probes: &'a [ProbeStatus], probe: &str) -> &'a ProbeStatus {
    probes.iter().find(|status| status.name == probe).unwrap_or_else(|| panic!("no {probe}: {probes:#?}"))
}

async fn everybody_is_told(wrong: Wrong) {
    if !privileged() {
        return;
    }
    let ground = Ground::new();
    let tracefs = ground.path("tracefs");
    write_tracefs(&ground, &tracefs, &wrong);
    ground.configure(&format!(
        "[observe]\nhooks = \"tracepoint\"\n[roots]\ntracefs = \"{}\"\n",
        tracefs.display()
    ));

    let (state, detail) = checked(&ground, wrong.probe);
    note(format_args!("{}: {state}: {detail}", wrong.probe));
    assert_eq!(state, "missing", "{detail}");
    assert!(detail.contains(wrong.words), "{detail}");

    let _daemon = Daemon::start(&ground);
    let result = Ctl::new(&ground).words("burn cpu --load 20 --tolerance 100 --duration 500ms").json();
    assert_eq!(result["verdict"], "pass", "a run goes on without it: {result:#}");
    let record = Record::closed(&ground, result["run_id"].as_str().expect("a run has an id"));
    for probes in [streamed(&ground).await, record.probes] {
        let status = of(&probes, wrong.probe);
        assert!(!status.attached && !status.working && status.hooks.is_empty(), "{status:#?}");
        assert!(status.reason.contains(wrong.words), "{status:#?}");
    }
}

#[tokio::test]
async fn of_soft_interrupts() {
    everybody_is_told(Wrong {
        probe: "irq",
        events: &[
            "irq/irq_handler_entry",
            "irq/irq_handler_exit",
            "irq/softirq_raise",
            "irq/softirq_entry",
            "irq/softirq_exit",
        ],
        event: "irq/softirq_entry",
        field: "vec",
        before: 8,
        words: "its test at the start failed: ",
    })
    .await;
}

#[tokio::test]
async fn of_tcp() {
    everybody_is_told(Wrong {
        probe: "tcp",
        events: &["sock/inet_sock_set_state", "tcp/tcp_retransmit_skb"],
        event: "sock/inet_sock_set_state",
        field: "protocol",
        before: 8,
        words: "its test at the start failed: a connect over the loopback interface was not seen",
    })
    .await;
}

#[tokio::test]
async fn of_drops() {
    everybody_is_told(Wrong {
        probe: "drops",
        events: &["skb/kfree_skb"],
        event: "skb/kfree_skb",
        field: "reason",
        before: 8,
        words: "datagrams to a port that nobody has none was seen to be dropped",
    })
    .await;
}

/// The OOM killer takes nobody for a test.
#[tokio::test]
async fn of_victims_of_the_oom_killer() {
    everybody_is_told(Wrong {
        probe: "memory",
        events: &[
            "exceptions/page_fault_user",
            "vmscan/mm_vmscan_direct_reclaim_begin",
            "vmscan/mm_vmscan_direct_reclaim_end",
            "compaction/mm_compaction_begin",
            "compaction/mm_compaction_end",
            "oom/mark_victim",
        ],
        event: "oom/mark_victim",
        field: "pid",
        before: 0,
        words: "can't stand at byte",
    })
    .await;
}
