//! Which capabilities each thread and burner of the daemon goes on with: capabilities(7). They belong to threads, and what a
//! thread has given up, those that it starts don't have either. Without privileges all of this does nothing.

use std::{io, sync::OnceLock};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What the daemon was started with.
static AT_START: OnceLock<CapabilitySet> = OnceLock::new();

/// What threads that answer callers, and those of runs, act with: they make files, start burners and mark them in the probes'
/// maps. They keep `CAP_SYS_ADMIN` in reserve, for burners alone: a disk burner mounts its file system, a memory burner learns
/// where in the modules a bad word is.
const ANSWERING: CapabilitySet = UNPRIVILEGED_MAPS
    .union(FILES)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::SYSLOG);

/// What the tick acts with: probes' maps, and their run time (`BPF_ENABLE_STATS` takes `CAP_SYS_ADMIN`).
const TICKING: CapabilitySet = ANSWERING.union(CapabilitySet::PERFMON).union(CapabilitySet::SYS_ADMIN);

/// Where `kernel.unprivileged_bpf_disabled` is set, maps can't be used without it before Linux 5.19 (commit c8644cd0efe7).
const UNPRIVILEGED_MAPS: CapabilitySet = CapabilitySet::BPF;

/// Files of others: where the daemon runs as plain root and not as the unit, which leaves them out.
const FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER);

/// What whoever waits for the end keeps. All threads keep CAP_IPC_LOCK: without it what they allocate counts against
/// RLIMIT_MEMLOCK once the process is locked, and is refused (`mlock_future_ok` of mm/mmap.c).
const WAITING: CapabilitySet = FILES.union(CapabilitySet::IPC_LOCK);

/// What every burner keeps: the files of others, as above, and memory that is locked beyond a limit.
const BURNING: CapabilitySet = FILES.union(CapabilitySet::IPC_LOCK).union(CapabilitySet::SYS_RESOURCE);

/// What a thread of the daemon is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It answers callers, or carries out runs.
    Answer,
    /// It ticks.
    Tick,
    /// It has put everything together, and only waits for the end.
    Wait,
}

/// Notes what the daemon was started with. To be called before any thread gives something up.
pub fn remember() {
    let _noted_already = AT_START.set(effective());
}

/// What the daemon was started with.
pub fn at_start() -> CapabilitySet {
    AT_START.get().copied().unwrap_or_else(effective)
}

/// Gives up what the calling thread, and those that it starts, don't need for their duty. `mounts` tells whether callers may
/// have file systems mounted, by the configuration.
///
/// # Errors
/// The kernel's; none is known for giving up.
pub fn settle(duty: Duty, mounts: bool) -> io::Result<()> {
    let admin = CapabilitySet::SYS_ADMIN;
    match duty {
        Duty::Answer if mounts => keep(ANSWERING.union(admin), ANSWERING.union(admin)),
        Duty::Answer => keep(ANSWERING, ANSWERING.union(admin)),
        Duty::Tick => keep(TICKING, TICKING),
        // It removes its socket at the end, and what it allocates until then is locked.
        Duty::Wait => keep(WAITING, WAITING),
    }
}

/// For a burner, first thing: it never gets more than it has, and keeps only what it burns with. `mounts` tells whether it
/// mounts a file system.
///
/// # Errors
/// The kernel's; none is known for giving up.
pub fn settle_burner(mounts: bool) -> io::Result<()> {
    set_no_new_privs(true)?;
    let kept = if mounts { BURNING.union(CapabilitySet::SYS_ADMIN) } else { BURNING };
    keep(kept, kept)
}

/// For the sink, once it listens: what comes from the network is answered with next to nothing. Its data ports may be below
/// 1024.
///
/// # Errors
/// The kernel's; none is known for giving up.
pub fn settle_sink() -> io::Result<()> {
    set_no_new_privs(true)?;
    let kept = CapabilitySet::NET_BIND_SERVICE.union(CapabilitySet::IPC_LOCK);
    keep(kept, kept)
}

fn keep(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective & effective,
        permitted: now.permitted & permitted,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// On threads of their own: they are the threads' and can't be had back.
    fn on_a_thread(settle: impl FnOnce() -> io::Result<()> + Send + 'static) -> CapabilitySets {
        thread::spawn(move || {
            settle().unwrap();
            capabilities(None).unwrap()
        })
        .join()
        .unwrap()
    }

    #[test]
    fn a_thread_keeps_what_its_duty_takes_and_nothing_more() {
        let all = capabilities(None).unwrap();
        let admin = CapabilitySet::SYS_ADMIN;
        let answering = on_a_thread(|| settle(Duty::Answer, false));
        assert_eq!(answering.effective, all.effective & ANSWERING);
        assert!(!answering.effective.contains(admin));
        assert_eq!(answering.permitted.contains(admin), all.permitted.contains(admin));
        assert!(!answering.permitted.contains(CapabilitySet::SYS_RAWIO));
        let mounting = on_a_thread(|| settle(Duty::Answer, true));
        assert_eq!(mounting.effective.contains(admin), all.effective.contains(admin));
        let ticking = on_a_thread(|| settle(Duty::Tick, false));
        assert_eq!(ticking.effective, all.effective & TICKING);
        let waiting = on_a_thread(|| settle(Duty::Wait, true));
        assert_eq!(waiting.permitted, all.permitted & FILES);
        assert_eq!(capabilities(None).unwrap(), all, "others keep theirs");
    }

    #[test]
    fn a_burner_keeps_the_right_to_mount_only_where_it_mounts() {
        let all = capabilities(None).unwrap();
        let admin = CapabilitySet::SYS_ADMIN;
        assert!(!on_a_thread(|| settle_burner(false)).permitted.contains(admin));
        assert_eq!(on_a_thread(|| settle_burner(true)).permitted & admin, all.permitted & admin);
        assert!(!on_a_thread(settle_sink).permitted.intersects(FILES.union(admin)));
    }
}
