//! What works on this host and what doesn't, found out by trying, with the mend.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use rustix::thread::CapabilitySet;
use ssts_proto::v1::{Capability, CapabilityState, ProbeStatus};

use super::{CgroupError, HostRoots, RunCgroup, cgroup::CHECK, cpuset};
use crate::{
    burn::disk::Ring,
    locked::LockedMemory,
    observe::sysfs::sensors,
    run::{DrillNote, Drilled},
};

use CapabilityState::{Degraded, Missing, Works};

/// Everything that the main job can use, tried. `probes` is what came of loading them, `locked` of locking memory.
pub fn check(
    roots: &HostRoots,
    state_dir: &Path,
    probes: &[ProbeStatus],
    locked: &LockedMemory,
) -> Vec<Capability> {
    let mut found =
        vec![cpus(), state_folder(state_dir), io_uring(), cgroup(roots), pressure(roots), temperature(roots)];
    found.extend(hardware(roots));
    found.push(btf(roots));
    found.push(tracefs(roots, probes));
    found.extend(probes.iter().map(probe));
    found.push(privileges(probes));
    found.push(memlock(probes));
    found.push(realtime());
    found.push(locked_memory(locked));
    found.push(drill(state_dir));
    found
}

/// Whether the main job can run in full.
pub fn is_complete(capabilities: &[Capability]) -> bool {
    capabilities.iter().all(|capability| capability.state() != Missing)
}

fn capability(
    name: &str,
    state: CapabilityState,
    detail: impl Into<String>,
    mend: impl Into<String>,
) -> Capability {
    Capability { name: name.into(), state: state.into(), detail: detail.into(), mend: mend.into() }
}

fn cpus() -> Capability {
    match cpuset::allowed_cores() {
        Ok(cores) => capability("cpus", Works, format!("burners may use cores {}", cpuset::list(&cores)), ""),
        Err(error) => capability(
            "cpus",
            Missing,
            format!("the cores could not be listed: {error}"),
            "run on Linux 2.6.39 or newer",
        ),
    }
}

fn state_folder(state_dir: &Path) -> Capability {
    let tried = fs::create_dir_all(state_dir).and_then(|()| tempfile::tempfile_in(state_dir).map(|_| ()));
    match tried {
        Ok(()) => capability("state-dir", Works, format!("records are kept in {}", state_dir.display()), ""),
        Err(error) => capability(
            "state-dir",
            Missing,
            format!("{}: {error}", state_dir.display()),
            "make it writable or choose another with --state-dir",
        ),
    }
}

fn io_uring() -> Capability {
    let tried = tempfile::tempfile().and_then(|file| Ring::new(file, 1, 4_096, 0));
    match tried {
        Ok(_) => capability("io-uring", Works, "a ring with a registered file was set up", ""),
        Err(error) => {
            let mend = match error.raw_os_error() {
                Some(libc::EPERM) => {
                    "allow it: sysctl kernel.io_uring_disabled=0, or the container's seccomp profile"
                }
                Some(libc::ENOSYS) => "use a kernel with CONFIG_IO_URING, 5.11 or newer",
                _ => "use Linux 5.11 or newer, and see `ulimit -l`",
            };
            capability("io-uring", Missing, error.to_string(), mend)
        }
    }
}

fn cgroup(roots: &HostRoots) -> Capability {
    // Two may check at once, and names are taken.
    static CHECKS: AtomicU32 = AtomicU32::new(0);
    let name = format!("{CHECK}{}", CHECKS.fetch_add(1, Ordering::Relaxed));
    match RunCgroup::create(roots, &name) {
        Ok(_) => {
            let folder = super::own_folder(roots).unwrap_or_default();
            capability("cgroup", Works, format!("version 2 with cgroup.kill below {}", folder.display()), "")
        }
        Err(error) => {
            let mend = match &error {
                CgroupError::NotMounted | CgroupError::NoOwn => "mount a cgroup2 hierarchy (systemd does)",
                CgroupError::NoKill(_) => "use Linux 5.14 or newer",
                CgroupError::Refused { .. } => "run as root, or as a service with Delegate=yes",
            };
            capability("cgroup", Degraded, format!("{error}; burners are killed one by one"), mend)
        }
    }
}

fn pressure(roots: &HostRoots) -> Capability {
    match fs::read(roots.proc("pressure/cpu")) {
        Ok(_) => capability("pressure", Works, "stall times can be read (PSI)", ""),
        Err(error) => capability(
            "pressure",
            Degraded,
            format!("{}: {error}", roots.proc("pressure").display()),
            "boot with psi=1 on a kernel with CONFIG_PSI",
        ),
    }
}

fn temperature(roots: &HostRoots) -> Capability {
    let sensors = sensors::find(roots);
    let readable = sensors
        .iter()
        .filter(|sensor| fs::read(&sensor.input).is_ok_and(|text| sensors::celsius(&text).is_some()));
    match readable.count() {
        0 => capability(
            "sensors",
            Degraded,
            "no temperature can be read, so none is guarded",
            "load the driver of the host's sensors (coretemp, k10temp, drivetemp); virtual machines have none",
        ),
        count => capability(
            "sensors",
            Works,
            format!("{count} of {} temperature sensors can be read", sensors.len()),
            "",
        ),
    }
}

/// What of the hardware can be followed beside its temperature. Virtual machines have little of it.
fn hardware(roots: &HostRoots) -> [Capability; 4] {
    let tried = |name, path: PathBuf, what: &str, mend: &str| match File::open(&path) {
        Ok(_) => capability(name, Works, format!("{what} can be read"), ""),
        Err(error) => {
            capability(name, Degraded, format!("{}: {error}; {what} can't be read", path.display()), mend)
        }
    };
    [
        tried(
            "kernel-log",
            roots.dev("kmsg"),
            "what the kernel logs",
            "run as root or with CAP_SYSLOG, or set sysctl kernel.dmesg_restrict=0",
        ),
        tried(
            "energy",
            roots.sys("class/powercap/intel-rapl:0/energy_uj"),
            "the processor's energy",
            "run as root, and load intel_rapl_msr; virtual machines have none",
        ),
        tried(
            "frequency",
            roots.sys("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"),
            "the cores' frequency",
            "load a cpufreq driver; virtual machines have none",
        ),
        tried(
            "memory-errors",
            roots.sys("devices/system/edac/mc/mc0/ce_count"),
            "what ECC corrects",
            "load the EDAC driver of the memory controller; virtual machines and memory without ECC have none",
        ),
    ]
}

fn btf(roots: &HostRoots) -> Capability {
    match fs::metadata(roots.sys("kernel/btf/vmlinux")) {
        Ok(metadata) => capability(
            "btf",
            Works,
            format!("the kernel's types are there, {} KiB", metadata.len() >> 10),
            "",
        ),
        Err(error) => capability(
            "btf",
            Degraded,
            format!("{}: {error}; probes need tracefs", roots.sys("kernel/btf/vmlinux").display()),
            "use a kernel with CONFIG_DEBUG_INFO_BTF",
        ),
    }
}

/// Needed only where the kernel has no BTF: raw tracepoints do without it.
fn tracefs(roots: &HostRoots, probes: &[ProbeStatus]) -> Capability {
    let events = roots.tracefs("events/block/block_rq_issue/format");
    match fs::read_to_string(&events) {
        Ok(_) => capability("tracefs", Works, format!("{} can be read", roots.tracefs.display()), ""),
        Err(error) if probes.iter().all(|probe| probe.working) && !probes.is_empty() => capability(
            "tracefs",
            Works,
            format!("{}: {error}; not needed, the probes are attached without it", roots.tracefs.display()),
            "",
        ),
        Err(error) => capability(
            "tracefs",
            Degraded,
            format!("{}: {error}", events.display()),
            format!("as root: mount -t tracefs tracefs {}", roots.tracefs.display()),
        ),
    }
}

fn probe(status: &ProbeStatus) -> Capability {
    let name = format!("probe-{}", status.name);
    if status.attached && status.working {
        return capability(
            &name,
            Works,
            format!("attached to {}, and told the truth of a known event", status.hooks.join(", ")),
            "",
        );
    }
    // Attached but without a known event to test it with: what it shows may well be right.
    let state = if status.attached { Degraded } else { Missing };
    capability(
        &name,
        state,
        &status.reason,
        "see what the reason says; probes need root or CAP_BPF and CAP_PERFMON",
    )
}

/// The capabilities that matter.
const WANTED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::PERFMON, "CAP_PERFMON"),
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::SYS_NICE, "CAP_SYS_NICE"),
];

/// Those that the daemon began with: its threads have given up what they don't need.
fn privileges(probes: &[ProbeStatus]) -> Capability {
    let begun_with = crate::privileges::at_start();
    let missing: Vec<_> =
        WANTED.iter().filter(|(wanted, _)| !begun_with.contains(*wanted)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return capability("privileges", Works, "CAP_BPF, CAP_PERFMON and CAP_SYS_NICE are there", "");
    }
    let needed = probes.iter().any(|probe| !probe.attached);
    let state = if needed { Missing } else { Degraded };
    capability(
        "privileges",
        state,
        format!("{} are missing", missing.join(", ")),
        "run as root or as the service",
    )
}

/// Before 5.11 eBPF maps count against RLIMIT_MEMLOCK: kernel commit d5299b67dd59.
fn memlock(probes: &[ProbeStatus]) -> Capability {
    let limit = match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => "no limit".to_owned(),
        Ok((soft, _)) => format!("{} KiB", soft >> 10),
        Err(errno) => return capability("memlock", Degraded, io::Error::from(errno).to_string(), ""),
    };
    if probes.iter().any(|probe| probe.attached) {
        return capability(
            "memlock",
            Works,
            format!("RLIMIT_MEMLOCK is {limit}, and the probes' maps fit"),
            "",
        );
    }
    capability(
        "memlock",
        Degraded,
        format!("RLIMIT_MEMLOCK is {limit}; no probe is attached that would have tried it"),
        "on a kernel older than 5.11: LimitMEMLOCK=infinity, or `ulimit -l unlimited`",
    )
}

fn realtime() -> Capability {
    match crate::realtime::try_out() {
        Ok(()) => capability(
            "realtime",
            Works,
            "the tick runs with real-time priority, so that burners can't starve it",
            "",
        ),
        Err(error) => capability(
            "realtime",
            Degraded,
            format!("the tick gets no real-time priority: {error}; under full load guards may be late"),
            "run as root, or give CAP_SYS_NICE (LimitRTPRIO=10 in the unit)",
        ),
    }
}

fn locked_memory(locked: &LockedMemory) -> Capability {
    match locked {
        LockedMemory::Whole { code_bytes } => capability(
            "locked-memory",
            Works,
            format!(
                "what sstsd uses stays in RAM, {} KiB of code among it: no reaction waits for a disk",
                code_bytes >> 10
            ),
            "",
        ),
        LockedMemory::Nothing { reason } => capability(
            "locked-memory",
            Degraded,
            format!("{reason}; where the host runs short of memory guards may be late"),
            "run as root, or give CAP_IPC_LOCK (LimitMEMLOCK=infinity in the unit)",
        ),
    }
}

/// Whether the guards of this host were put to the test, and when.
fn drill(state_dir: &Path) -> Capability {
    const MEND: &str = "run `sstsctl drill` on this host, with its sstsd running";
    let ago = |ago: Duration| humantime::format_duration(Duration::from_secs(ago.as_secs()));
    match DrillNote::open(state_dir).latest() {
        Drilled::Passed { ago: time } => {
            capability("drill", Works, format!("every fault passed, {} ago", ago(time)), "")
        }
        Drilled::Incomplete { ago: time } => {
            let detail = format!("the latest one, {} ago, did not pass in full", ago(time));
            capability("drill", Degraded, detail, MEND)
        }
        Drilled::Never => capability("drill", Degraded, "this host's guards were never drilled", MEND),
    }
}
