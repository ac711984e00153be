//! What is kept of a wrong result: what was computed where, and what the host said of itself at that instant.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{CpuLoad, kernel::Difference, recipe::Recipe, reproduce::Rerun};
use crate::{clock, host::HostRoots, observe::sensors};

/// A result that was wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Index of the worker.
    pub worker: u32,
    /// Unix time.
    pub at_unix_ns: i64,
    /// Where it was computed.
    pub place: Place,
    /// Every sensor that could be read: its id, its label and °C.
    pub temperatures: Vec<(String, String, f64)>,
    /// What was computed.
    pub recipe: Recipe,
    /// Units that the worker had computed before.
    pub unit: u64,
    /// Where the result is wrong.
    pub difference: Difference,
    /// It was made on purpose.
    pub injected: bool,
    /// The same seed again; none while that is still being done.
    pub reruns: Option<Vec<Rerun>>,
}

/// A core, as the host describes it. What it does not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// By the kernel's number.
    pub core: u32,
    /// Of the physical core, unique in its package.
    pub core_id: Option<u32>,
    /// The socket.
    pub package_id: Option<u32>,
    /// As the kernel writes it, such as `0x2b000590`.
    pub microcode: Option<String>,
    /// At this instant.
    pub frequency_khz: Option<u64>,
}

impl Mismatch {
    /// All that is known at this instant; what changes fastest is read first.
    pub(super) fn of(
        load: &CpuLoad,
        worker: u32,
        core: u32,
        recipe: &Recipe,
        unit: u64,
        difference: Difference,
    ) -> Self {
        let roots = HostRoots { proc: load.proc.clone(), sys: load.sys.clone(), ..HostRoots::default() };
        let temperatures = sensors::find(&roots)
            .into_iter()
            .filter_map(|sensor| {
                let celsius = sensors::celsius(&fs::read(&sensor.input).ok()?)?;
                Some((sensor.id, sensor.label, celsius))
            })
            .collect();
        Self {
            worker,
            at_unix_ns: clock::unix_ns(),
            place: Place::of(&roots, core),
            temperatures,
            recipe: recipe.clone(),
            unit,
            difference,
            injected: false,
            reruns: None,
        }
    }
}

impl Place {
    /// Reads it: Documentation/ABI/testing/sysfs-devices-system-cpu, Documentation/admin-guide/pm/cpufreq.rst, proc_cpuinfo(5).
    fn of(roots: &HostRoots, core: u32) -> Self {
        let folder = core_folder(&roots.sys, core);
        let cpuinfo = fs::read_to_string(roots.proc("cpuinfo")).unwrap_or_default();
        let said = |key| value_of(&cpuinfo, core, key);
        let megahertz = || said("cpu MHz")?.parse::<f64>().ok().map(|mhz| (mhz * 1e3) as u64);
        Self {
            core,
            frequency_khz: number(&folder.join("cpufreq/scaling_cur_freq")).or_else(megahertz),
            core_id: number(&folder.join("topology/core_id")),
            package_id: number(&folder.join("topology/physical_package_id")),
            microcode: said("microcode"),
        }
    }
}

pub(super) fn core_folder(sys: &Path, core: u32) -> PathBuf {
    sys.join(format!("devices/system/cpu/cpu{core}"))
}

/// The value of a key in the block of one processor.
fn value_of(cpuinfo: &str, core: u32, key: &str) -> Option<String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(':')?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    let block = cpuinfo.split("\n\n").map(|block| block.lines().filter_map(pair).collect::<Vec<_>>());
    let number = core.to_string();
    let is_ours = |block: &Vec<(String, String)>| {
        block.iter().any(|(key, value)| key == "processor" && *value == number)
    };
    let ours = block.into_iter().find(is_ours)?;
    ours.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn number<N: FromStr>(path: &Path) -> Option<N> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::TestTree;

    #[test]
    fn what_the_host_tells_of_a_core_is_kept_and_the_rest_is_absent() {
        let tree = TestTree::new(&[
            (
                "proc/cpuinfo",
                "processor\t: 0\nmicrocode\t: 0x1\ncpu MHz\t\t: 800.5\n\nprocessor\t: 1\nmicrocode\t: 0x2b000590\ncpu MHz\t\t: 3100.123\n",
            ),
            ("sys/devices/system/cpu/cpu0/topology/core_id", "7\n"),
            ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "1\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2900000\n"),
        ]);
        let roots = tree.roots();
        let known = Place::of(&roots, 0);
        assert_eq!(
            (known.core_id, known.package_id, known.frequency_khz),
            (Some(7), Some(1), Some(2_900_000))
        );
        let second = Place::of(&roots, 1);
        assert_eq!(second.microcode.as_deref(), Some("0x2b000590"));
        assert_eq!(second.frequency_khz, Some(3_100_123));
        assert_eq!(second.core_id, None);
        assert_eq!(Place::of(&roots, 2), Place { core: 2, ..Place::default() });
    }
}
