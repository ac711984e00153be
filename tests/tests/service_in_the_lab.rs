//! The unit where nothing is in the way: a systemd that is the first process of a machine with a stock kernel, pure cgroup v2 and
//! every controller. One boot; slow, so for behaviour and never for figures.

use serde_json::Value;
use ssts_tests::{Machine, lab, note, tools};

const TOOLS: [&str; 7] = ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "setpriv", "timeout", "make"];

/// The check runs before the daemon with the rights, the view and the system calls of the unit. On an emulated processor all
/// takes a hundred times as long.
const SCRIPT: &str = r#"
make --no-print-directory install PREFIX=/usr BUILD="$(basename "$(dirname "$SSTSD")")" >&2 || exit 99
systemd-sysusers ssts.conf && systemd-tmpfiles --create ssts.conf || exit 99
mkdir -p /etc/systemd/system/sstsd.service.d
cat >/etc/systemd/system/sstsd.service.d/lab.conf <<'UNIT'
[Service]
ExecStartPre=/usr/bin/sstsd check --output json
Environment=SSTSD_OBSERVE__PROBE_BUDGET_CORE_PERCENT=100.0 SSTSD_OBSERVE__PROBE_BUDGET_HOST_PERCENT=100.0
TimeoutStartSec=180
WatchdogSec=60
UNIT
systemctl daemon-reload
cgroup=/sys/fs/cgroup/system.slice/sstsd.service

section start systemctl start sstsd.service
section check journalctl --unit=sstsd --no-pager --output=cat
section status systemctl show --property=StatusText --value sstsd
section controllers cat $cgroup/cgroup.subtree_control
section run sstsctl --output json burn memory --size 16MiB --duration 1s
section detached sstsctl --output json burn cpu --load 10 --tolerance 100 --duration 5m --detach
run_cgroup() { for ((i = 0; i < 300; i++)); do compgen -G "$cgroup/ssts-*" && return; sleep 0.1; done; false; }
section run_cgroup run_cgroup

# With controllers given to its children, no process may be put where the next daemon is to begin.
killed() {
  local first; first=$(systemctl show --property=MainPID --value sstsd)
  kill -9 "$first"
  for ((i = 0; i < 600; i++)); do
    [[ $(systemctl show --property=MainPID --value sstsd) != "$first" && $(systemctl is-active sstsd) == active ]] && return
    sleep 0.1
  done
  false
}
section killed killed
section runs sstsctl --output json runs
section stop systemctl stop sstsd.service sstsd.socket
left() { ls -d $cgroup 2>/dev/null; pgrep sstsd; true; }
section left left
"#;

#[test]
fn the_unit_does_the_main_job_in_full_on_pure_cgroup_v2() {
    if !tools(&TOOLS) {
        return;
    }
    let _machine = Machine::exclusive();
    let sections = lab::carry_out_under_systemd(SCRIPT);
    let section = |name: &str| sections.get(name).unwrap_or_else(|| panic!("section {name} is missing"));
    let passed = |name: &str| {
        let section = section(name);
        assert_eq!(section.status, 0, "{name}: {}", section.text);
        section
    };
    let log = &section("check").text;
    note(format_args!("{log}"));
    passed("start");

    // By its own account everything that the main job takes is there, each probe included.
    let from = log.find("\n{").expect("the check is in the journal");
    let until = log[from..].find("\n}").expect("the check came to its end");
    let check: Value = serde_json::from_str(&log[from..from + until + 2]).expect("it is JSON");
    assert_eq!(check["complete"], true, "{check:#}");
    for name in
        ["probe-block", "probe-sched", "probe-memory", "probe-tcp", "privileges", "realtime", "cgroup"]
    {
        let all = check["capabilities"].as_array().expect("capabilities are a list");
        let works = all.iter().any(|one| one["name"] == name && one["state"] == "works");
        assert!(works, "{name}: {check:#}");
    }
    assert_eq!(passed("status").text.trim(), "idle; all 7 probes work");

    // Runs have the memory controller, beside the daemon and not below it.
    assert_eq!(passed("controllers").text.trim(), "memory");
    assert_eq!(passed("run").json()["verdict"], "pass", "{}", section("run").text);
    passed("detached");
    assert!(!passed("run_cgroup").text.contains("daemon"), "{}", section("run_cgroup").text);

    passed("killed");
    let runs = passed("runs").json();
    let causes: Vec<_> =
        runs["runs"].as_array().expect("runs are a list").iter().map(|run| &run["cause"]).collect();
    assert!(causes.contains(&&"agent_lost".into()), "{runs:#}");
    passed("stop");
    assert_eq!(section("left").text, "", "something was left");
}
