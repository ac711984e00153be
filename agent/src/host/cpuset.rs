//! Which cores this process may use.

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

/// The cores of the inherited cpuset and affinity, by the kernel's numbers, rising.
///
/// # Errors
/// The kernel's; none is known on a host of up to 1,024 cores.
pub fn allowed_cores() -> nix::Result<Vec<u32>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    (0..CpuSet::count())
        .filter_map(|core| set.is_set(core).map(|in_it| in_it.then_some(core as u32)).transpose())
        .collect()
}

/// Cores as the kernel writes lists: `0-3,8`.
pub fn list(cores: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &core in cores {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let text = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_the_kernel_does() {
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[0, 1, 2, 8, 10, 11]), "0-2,8,10-11");
    }

    #[test]
    fn this_process_may_use_some_core() {
        assert!(!allowed_cores().unwrap().is_empty());
    }
}
