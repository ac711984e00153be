//! What the kernel's bandwidth control held burners back from their cores: the quotas of the cgroups that they are in, of
//! whichever version. cgroups(7); Documentation/admin-guide/cgroup-v2.rst and Documentation/scheduler/sched-bwc.rst of the
//! kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use procfs::process::{MountInfo, Process};

/// Shorter is not told.
const WORTH_TELLING: Duration = Duration::from_millis(10);

/// Quotas above a burner, and what each has held back since the first look.
#[derive(Debug, Default)]
pub(super) struct Throttled(Vec<Group>);

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    at_first: Count,
    latest: Count,
}

/// Of `cpu.stat`: periods in which the group stood still, and for how long.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    periods: u64,
    time: Duration,
}

impl Throttled {
    /// The groups above a process, its own first. None where it has ended, or no hierarchy knows quotas.
    pub(super) fn above(pid: i32) -> Self {
        let group = |folder: PathBuf| {
            let at_first = Count::read(&folder)?;
            Some(Group { folder, at_first, latest: at_first })
        };
        Self(folders(pid).unwrap_or_default().into_iter().filter_map(group).collect())
    }

    /// Takes the counts as they are now.
    pub(super) fn look(&mut self) {
        for group in &mut self.0 {
            // What is gone keeps its last count.
            group.latest = Count::read(&group.folder).unwrap_or(group.latest);
        }
    }

    /// The quota that held most back, in words.
    pub(super) fn told(&self) -> Option<String> {
        let held = self.0.iter().map(|group| (group, group.held()));
        let (group, held) = held.max_by_key(|(_, held)| held.time)?;
        (held.time >= WORTH_TELLING).then(|| {
            format!(
                "the CPU quota of the cgroup {} throttled it in {} periods, {:.2} s over all cores",
                group.folder.display(),
                held.periods,
                held.time.as_secs_f64()
            )
        })
    }
}

impl Group {
    fn held(&self) -> Count {
        let Count { periods, time } = self.at_first;
        Count {
            periods: self.latest.periods.saturating_sub(periods),
            time: self.latest.time.saturating_sub(time),
        }
    }
}

impl Count {
    fn read(folder: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(folder.join("cpu.stat")).ok()?)
    }

    /// None of a group without a controller for it.
    fn parse(stat: &str) -> Option<Self> {
        let number = |name: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line?.trim().parse::<u64>().ok()
        };
        // Version 2 counts in microseconds, version 1 in nanoseconds.
        let time = number("throttled_usec").map(Duration::from_micros);
        let time = time.or_else(|| number("throttled_time").map(Duration::from_nanos))?;
        Some(Self { periods: number("nr_throttled")?, time })
    }
}

/// Each folder from a process's own group up to the root of what is mounted.
fn folders(pid: i32) -> Option<Vec<PathBuf>> {
    let process = Process::new(pid).ok()?;
    let mounts = process.mountinfo().ok()?.0;
    let mut folders = Vec::new();
    for of in process.cgroups().ok()?.0 {
        let is_quota = of.hierarchy == 0 || of.controllers.iter().any(|controller| controller == "cpu");
        let Some(mount) = mounts.iter().find(|mount| is_quota && is_of(mount, of.hierarchy)) else {
            continue;
        };
        // In a container the mount may show a part of the tree only.
        let own = Path::new(&of.pathname);
        let below = own.strip_prefix(&mount.root).unwrap_or(own);
        let below = below.strip_prefix("/").unwrap_or(below);
        let own = mount.mount_point.join(below);
        folders.extend(
            own.ancestors().take_while(|folder| folder.starts_with(&mount.mount_point)).map(Path::to_owned),
        );
    }
    Some(folders)
}

fn is_of(mount: &MountInfo, hierarchy: u32) -> bool {
    if hierarchy == 0 {
        return mount.fs_type == "cgroup2";
    }
    mount.fs_type == "cgroup" && mount.super_options.contains_key("cpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_counts_are_read() {
        let second = "usage_usec 5\nnr_periods 9\nnr_throttled 7\nthrottled_usec 1500000\nnr_bursts 0\n";
        let first = "nr_periods 9\nnr_throttled 7\nthrottled_time 1500000000\n";
        let wanted = Some(Count { periods: 7, time: Duration::from_millis(1_500) });
        assert_eq!((Count::parse(second), Count::parse(first)), (wanted, wanted));
        assert_eq!(Count::parse("usage_usec 5\nuser_usec 4\nsystem_usec 1\n"), None);
    }

    #[test]
    fn the_quota_that_held_most_back_is_told_and_what_was_before_is_not() {
        let count = |periods, ms| Count { periods, time: Duration::from_millis(ms) };
        let group = |folder: &str, at_first, latest| Group { folder: folder.into(), at_first, latest };
        let mut throttled = Throttled(vec![
            group("/sys/fs/cgroup/a/b", count(90, 9_000), count(95, 9_005)),
            group("/sys/fs/cgroup/a", count(1, 100), count(11, 1_100)),
        ]);
        assert_eq!(
            throttled.told().unwrap(),
            "the CPU quota of the cgroup /sys/fs/cgroup/a throttled it in 10 periods, 1.00 s over all cores"
        );
        throttled.0.pop();
        assert_eq!(throttled.told(), None);
    }
}
