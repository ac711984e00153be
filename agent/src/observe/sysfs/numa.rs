//! Memory by NUMA node: `meminfo` and `numastat` of each, Documentation/admin-guide/numastat.rst of the kernel.

use ssts_proto::{catalogue as metrics, catalogue::Metric};

use super::attributes::{Attribute, Attributes};
use crate::{
    host::{HostRoots, listing::numbered},
    observe::kernel_file::{lines, numbers},
};

/// The file, the metric, and how its number is found.
type Number = (&'static str, &'static Metric, fn(&[u8]) -> Option<f64>);
const NUMBERS: [Number; 4] = [
    ("meminfo", &metrics::HOST_NUMA_MEMORY_TOTAL, |text| bytes(text, b"MemTotal:")),
    ("meminfo", &metrics::HOST_NUMA_MEMORY_FREE, |text| bytes(text, b"MemFree:")),
    ("numastat", &metrics::HOST_NUMA_MISSES, |text| pages(text, b"numa_miss ")),
    ("numastat", &metrics::HOST_NUMA_FOREIGN, |text| pages(text, b"numa_foreign ")),
];

/// Every node.
pub(super) fn nodes(roots: &HostRoots) -> Attributes {
    Attributes::new(roots, find)
}

fn find(roots: &HostRoots) -> Vec<Attribute> {
    numbered(&roots.sys("devices/system/node"), "node")
        .into_iter()
        .flat_map(|(node, folder)| {
            NUMBERS.map(|(file, metric, parse)| Attribute {
                path: folder.join(file),
                metric,
                labels: vec![node.to_string()],
                parse,
            })
        })
        .collect()
}

/// `Node 0 MemFree:  123 kB`, in kB of 1,024 bytes.
fn bytes(text: &[u8], name: &[u8]) -> Option<f64> {
    let after = |line: &[u8]| {
        let at = line.windows(name.len()).position(|window| window == name)?;
        numbers(&line[at + name.len()..]).next()
    };
    lines(text).find_map(after).map(|kib| (kib * 1_024) as f64)
}

/// `numa_miss 123`.
fn pages(text: &[u8], name: &[u8]) -> Option<f64> {
    lines(text).find_map(|line| numbers(line.strip_prefix(name)?).next()).map(|pages| pages as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn each_node_has_its_memory_and_its_misses() {
        let tree = TestTree::new(&[
            (
                "sys/devices/system/node/node1/meminfo",
                "Node 1 MemTotal:       16384 kB\nNode 1 MemFree:         1024 kB\nNode 1 MemUsed: 15360 kB\n",
            ),
            (
                "sys/devices/system/node/node1/numastat",
                "numa_hit 100\nnuma_miss 7\nnuma_foreign 3\ninterleave_hit 0\nlocal_node 90\nother_node 10\n",
            ),
        ]);
        let (schema, frame) = tree.sample(&mut nodes(&tree.roots()));
        for (metric, expected) in [
            ("host.numa.memory_total", 16_384.0 * 1_024.0),
            ("host.numa.memory_free", 1_024.0 * 1_024.0),
            ("host.numa.misses", 7.0),
            ("host.numa.foreign", 3.0),
        ] {
            assert_eq!(value(&schema, &frame, metric, &["1"]), Ok(expected), "{metric}");
        }
    }
}
