//! The receipt of a run: what is looked for on the host once its burners are to be gone, and what is seen. Nothing in it is
//! taken from an order that was given: what can't be seen is unknown.

use std::{fs, io, path::Path};

use ssts_proto::v1::{Receipt, ReceiptCheck, ReceiptState, TracedProcess, Trail};

use super::{
    alive,
    traced::{life, whereabouts},
    undo::Undone,
};
use crate::{
    burn::disk::{CLAIM_LASTS_AT_MOST, open_claimed},
    clock,
    host::{CgroupEnd, HostRoots, end_cgroup, field_bytes},
};

use ReceiptState::{Clean, Left, Unknown};

/// Each of ours is named so; a record that says otherwise must not get anything else killed.
const CGROUP_PREFIX: &str = "ssts-";

/// What whoever looks knows beside the trail.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Burner processes whose end this daemon waited for. None where it did not start them.
    pub(super) waited_for: Option<usize>,
}

/// Looks for all that a run may have left.
pub(super) fn look(trail: &Trail, undone: &[Undone], witness: &Witness, roots: &HostRoots) -> Receipt {
    let processes = processes(trail, witness, roots);
    let ended = processes.state() == Clean;
    let mut checks = vec![processes];
    checks.extend(cgroup(trail));
    checks.push(memory(trail, ended, roots));
    checks.extend(devices(trail, ended));
    checks.push(changes("files", undone.iter().filter(|undone| !undone.is_setting), "no file had a name"));
    checks.push(changes("settings", undone.iter().filter(|undone| undone.is_setting), "none was changed"));
    of(checks)
}

/// Of what the undo journal has for a run of which nothing else is known.
pub(super) fn of_changes(undone: &[Undone]) -> Receipt {
    let (settings, files): (Vec<_>, Vec<_>) = undone.iter().partition(|undone| undone.is_setting);
    let mut checks = Vec::new();
    for (what, undone) in [("files", files), ("settings", settings)] {
        if !undone.is_empty() {
            checks.push(changes(what, undone.into_iter(), ""));
        }
    }
    if checks.is_empty() {
        checks.push(check("files", Clean, "nothing is left to be undone", ""));
    }
    of(checks)
}

/// As bad as the worst of its checks: what was seen to be left is worse than what could not be seen.
pub(super) fn of(checks: Vec<ReceiptCheck>) -> Receipt {
    let any = |state| checks.iter().any(|check| check.state() == state);
    let all_clean = !checks.is_empty() && checks.iter().all(|check| check.state() == Clean);
    let state = match (any(Left), all_clean) {
        (true, _) => Left,
        (false, true) => Clean,
        (false, false) => Unknown,
    };
    let mut receipt = Receipt { observed_at_unix_ns: clock::unix_ns(), checks, ..Receipt::default() };
    receipt.set_state(state);
    receipt
}

/// What is wrong, in words; empty where nothing is.
pub(super) fn trouble(receipt: &Receipt) -> String {
    let bad = receipt.checks.iter().filter(|check| check.state() != Clean);
    bad.map(|check| format!("{}: {}", check.what, check.detail)).collect::<Vec<_>>().join("; ")
}

fn check(what: &str, state: ReceiptState, detail: impl Into<String>, mend: &str) -> ReceiptCheck {
    ReceiptCheck { what: what.into(), state: state.into(), detail: detail.into(), mend: mend.into() }
}

fn processes(trail: &Trail, witness: &Witness, roots: &HostRoots) -> ReceiptCheck {
    const WHAT: &str = "processes";
    if boot_id(roots).is_some_and(|now| !trail.boot_id.is_empty() && now != trail.boot_id) {
        return check(WHAT, Clean, "the host was booted since", "");
    }
    let mut seen: Vec<_> = trail.processes.iter().map(|process| (process, life(process))).collect();
    seen.retain(|(_, life)| !matches!(life, Ok(None)));
    let there: Vec<_> = seen
        .iter()
        .map(|(TracedProcess { pid, kind, .. }, life)| match life {
            Ok(where_it_is) => format!(
                "{kind} burner {pid} was killed and is still there: {}",
                where_it_is.as_deref().unwrap_or_default()
            ),
            Err(error) => format!("{kind} burner {pid} can't be seen: {error}"),
        })
        .collect();
    if !there.is_empty() {
        let state = if seen.iter().any(|(_, life)| life.is_err()) { Unknown } else { Left };
        let mend = "it hangs in the kernel, mostly for a device: mend that, then `sstsctl recover`; else boot the host anew";
        return check(WHAT, state, there.join("; "), mend);
    }
    if let Some(count) = witness.waited_for {
        let mut detail = format!("{count} burner processes were waited for");
        if trail.cgroup.is_empty() {
            detail += ", one by one: there was no cgroup";
        }
        return check(WHAT, Clean, detail, "");
    }
    if trail.lock.is_empty() {
        let mend =
            "look for processes `sstsd burn` and end them, then `sstsctl recover --force --reason TEXT`";
        return check(WHAT, Unknown, "nothing tells whether its burners have ended", mend);
    }
    match alive::is_free(Path::new(&trail.lock)) {
        Ok(true) => check(WHAT, Clean, format!("none has a hold on {} any more", trail.lock), ""),
        Ok(false) => {
            let detail = format!("a burner of an sstsd that is gone still has a hold on {}", trail.lock);
            check(
                WHAT,
                Left,
                detail,
                "`fuser` of that file names it; it hangs in the kernel, or is stopped: end it",
            )
        }
        Err(error) => check(
            WHAT,
            Unknown,
            format!("{}: {error}", trail.lock),
            "make it readable, then `sstsctl recover`",
        ),
    }
}

fn cgroup(trail: &Trail) -> Option<ReceiptCheck> {
    const WHAT: &str = "cgroup";
    if trail.cgroup.is_empty() {
        return None;
    }
    let folder = Path::new(&trail.cgroup);
    let is_ours =
        folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(CGROUP_PREFIX.as_bytes()));
    if !is_ours {
        return Some(check(
            WHAT,
            Unknown,
            format!("{} is no cgroup of a run", trail.cgroup),
            "see the run's record",
        ));
    }
    Some(match end_cgroup(folder) {
        CgroupEnd::Gone => check(WHAT, Clean, format!("{} is gone", trail.cgroup), ""),
        CgroupEnd::Populated(pids) => {
            let there: Vec<_> = pids.iter().map(|pid| whereabouts(*pid)).collect();
            let detail =
                format!("{} still has processes that were killed: {}", trail.cgroup, there.join(", "));
            check(
                WHAT,
                Left,
                detail,
                "they hang in the kernel, mostly for a device: mend that, then `sstsctl recover`",
            )
        }
        CgroupEnd::Unknown(error) => check(
            WHAT,
            Unknown,
            format!("{}: {error}", trail.cgroup),
            "remove it by rmdir, then `sstsctl recover`",
        ),
    })
}

/// A process gives its memory back before it can be waited for: `exit_mm` comes before `exit_notify` in kernel/exit.c.
fn memory(trail: &Trail, ended: bool, roots: &HostRoots) -> ReceiptCheck {
    let available = fs::read_to_string(roots.proc("meminfo")).ok();
    let available = available.and_then(|text| field_bytes(&text, "MemAvailable:"));
    let now = available.map_or_else(String::new, |bytes| format!("; {bytes} bytes are available now"));
    if ended {
        return check("memory", Clean, format!("the kernel has it back from processes that ended{now}"), "");
    }
    let detail = format!("up to {} bytes may still be held{now}", trail.memory_bytes);
    check("memory", Unknown, detail, "it comes back with the end of the processes")
}

/// A device that burners overwrote or mounted is theirs alone while they have it: `O_EXCL` of open(2).
fn devices(trail: &Trail, ended: bool) -> Option<ReceiptCheck> {
    const WHAT: &str = "devices";
    if trail.devices.is_empty() {
        return None;
    }
    let names = trail.devices.join(", ");
    if !ended {
        // Who tries might hang with them.
        return Some(check(WHAT, Unknown, format!("{names} may still be in use"), "see the processes"));
    }
    for device in &trail.devices {
        match open_claimed(Path::new(device), CLAIM_LASTS_AT_MOST) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let mend = "see who has it: `findmnt`, `lsblk`, `fuser`; then `sstsctl recover`";
                return Some(check(WHAT, Left, format!("{device} is still in use"), mend));
            }
            // Nobody can have what is not there.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENXIO | libc::ENODEV)) => {
            }
            Err(error) => {
                let mend = "make it usable, then `sstsctl recover`";
                return Some(check(WHAT, Unknown, format!("{device} could not be tried: {error}"), mend));
            }
        }
    }
    Some(check(WHAT, Clean, format!("nobody has {names}"), ""))
}

fn changes<'a>(what: &str, undone: impl Iterator<Item = &'a Undone>, none: &str) -> ReceiptCheck {
    let undone: Vec<_> = undone.collect();
    let Some(worst) = undone.iter().max_by_key(|undone| undone.state) else {
        return check(what, Clean, none, "");
    };
    let told: Vec<_> = undone.iter().map(|undone| undone.detail.as_str()).collect();
    check(what, worst.state, told.join("; "), &worst.mend)
}

/// Which boot of the host this is.
pub(super) fn boot_id(roots: &HostRoots) -> Option<String> {
    let text = fs::read_to_string(roots.proc("sys/kernel/random/boot_id")).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_unknown_and_the_worst_counts() {
        let roots = HostRoots::default();
        let receipt = look(&Trail::default(), &[], &Witness::default(), &roots);
        assert_eq!(receipt.state(), Unknown, "{receipt:?}");
        assert!(trouble(&receipt).starts_with("processes: nothing tells"), "{receipt:?}");
        let receipt = look(&Trail::default(), &[], &Witness { waited_for: Some(2) }, &roots);
        assert_eq!((receipt.state(), trouble(&receipt)), (Clean, String::new()), "{receipt:?}");
        let undone = |state| Undone {
            run_id: "a".into(),
            is_setting: true,
            state,
            detail: "x".into(),
            mend: "y".into(),
        };
        let undone = [undone(Clean), undone(Left)];
        let receipt = look(&Trail::default(), &undone, &Witness { waited_for: Some(2) }, &roots);
        assert_eq!((receipt.state(), trouble(&receipt).as_str()), (Left, "settings: x; x"));
        assert_eq!(of(Vec::new()).state(), Unknown);
        let both = [check("a", Left, "", ""), check("b", Unknown, "", ""), check("c", Clean, "", "")];
        assert_eq!(of(both.to_vec()).state(), Left, "what is there is worse than what may be there");
    }

    #[test]
    fn another_boot_has_taken_all_processes() {
        let trail = Trail { boot_id: "another".into(), ..Trail::default() };
        assert_eq!(look(&trail, &[], &Witness::default(), &HostRoots::default()).state(), Clean);
    }

    #[test]
    fn a_record_gets_no_other_cgroup_killed() {
        let trail = Trail { cgroup: "/sys/fs/cgroup/user.slice".into(), ..Trail::default() };
        assert_eq!(cgroup(&trail).unwrap().state(), Unknown);
        let trail = Trail { cgroup: "/sys/fs/cgroup/ssts-no-such".into(), ..Trail::default() };
        assert_eq!(cgroup(&trail).unwrap().state(), Clean);
    }
}
