//! How much memory a process may still take before its host, its NUMA node or a cgroup around it runs short.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::HostRoots;

/// On top of the reserve: what other processes take while this one grows, and the kernel's own tables for it.
const SLACK_BYTES: u64 = 32 << 20;
/// Of a NUMA node, so many times the watermarks at which the kernel's own reclaim rests stay free.
const TIMES_WATERMARK: u64 = 2;
/// The unit of `/proc/zoneinfo`.
const PAGE_BYTES: u64 = 4_096;
/// Of a cgroup's limit, at least this part stays free, for what is counted late (per-CPU charges, page tables).
const CGROUP_RESERVE: u64 = 16;
/// Limits above this are none: version 1 writes `PAGE_COUNTER_MAX` pages.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// Who may run short.
#[derive(Debug, Clone)]
pub struct MemoryRoom {
    meminfo: PathBuf,
    /// Its meminfo, and bytes that have to stay free on it.
    node: Option<(PathBuf, u64)>,
    cgroups: Vec<Limited>,
}

/// A cgroup with a limit of its own.
#[derive(Debug, Clone)]
struct Limited {
    folder: PathBuf,
    limit_bytes: u64,
    usage: &'static str,
    /// In `memory.stat`: what the kernel takes back first.
    inactive_file: &'static str,
}

/// What one of them has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Such as `the host`.
    pub whose: String,
    /// What it could give at most.
    pub available_bytes: u64,
    /// What has to stay.
    pub reserve_bytes: u64,
}

impl Left {
    /// What may be taken.
    pub fn usable_bytes(&self) -> u64 {
        self.available_bytes.saturating_sub(self.reserve_bytes)
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whose, available_bytes, reserve_bytes } = self;
        write!(
            f,
            "{whose} has {available_bytes} bytes available, {reserve_bytes} of them are kept in reserve"
        )
    }
}

impl MemoryRoom {
    /// Of this process, for memory of one NUMA node where one is given.
    pub fn new(roots: &HostRoots, node: Option<u32>) -> Self {
        let folder = |node| roots.sys(format!("devices/system/node/node{node}/meminfo"));
        // With a single node its figures are the host's, without what can be reclaimed.
        let several = folder(1).exists();
        Self {
            meminfo: roots.proc("meminfo"),
            node: node.filter(|_| several).map(|node| (folder(node), node_reserve(roots, node))),
            cgroups: limited(roots),
        }
    }

    /// Whoever has the least to give when `floor_bytes` of the host must stay available. None where nobody tells.
    pub fn tightest(&self, floor_bytes: u64) -> Option<Left> {
        let host = host_left(&self.meminfo, floor_bytes);
        let node = self.node.as_ref().and_then(|(path, reserve_bytes)| node_left(path, *reserve_bytes));
        let cgroups = self.cgroups.iter().filter_map(|cgroup| cgroup.left(floor_bytes));
        cgroups.chain(host).chain(node).min_by_key(Left::usable_bytes)
    }
}

fn host_left(meminfo: &Path, floor_bytes: u64) -> Option<Left> {
    // Every kernel that this runs on has MemAvailable (3.14).
    let available_bytes = field_bytes(&fs::read_to_string(meminfo).ok()?, "MemAvailable:")?;
    Some(Left {
        whose: "the host".into(),
        available_bytes,
        reserve_bytes: floor_bytes.saturating_add(SLACK_BYTES),
    })
}

/// Free memory and what of the page cache is taken back first: `Node 0 MemFree: 1 kB`.
fn node_left(path: &Path, reserve_bytes: u64) -> Option<Left> {
    let text = fs::read_to_string(path).ok()?;
    let available_bytes =
        field_bytes(&text, "MemFree:")? + field_bytes(&text, "Inactive(file):").unwrap_or(0);
    Some(Left { whose: format!("the NUMA node of {}", path.display()), available_bytes, reserve_bytes })
}

/// What free memory of a node can't be used without waking its reclaim: it grows with the node, unlike the slack.
fn node_reserve(roots: &HostRoots, node: u32) -> u64 {
    let zoneinfo = fs::read_to_string(roots.proc("zoneinfo")).unwrap_or_default();
    SLACK_BYTES.max(TIMES_WATERMARK * PAGE_BYTES * high_pages(&zoneinfo, node))
}

/// The sum of the `high` watermarks of a node's zones, in pages: `Node 0, zone   Normal`, then lines such as `high     16`.
fn high_pages(zoneinfo: &str, node: u32) -> u64 {
    let head = format!("Node {node},");
    let mut inside = false;
    let mut pages = 0;
    for line in zoneinfo.lines() {
        if line.starts_with("Node ") {
            inside = line.starts_with(&head);
        } else if inside && let Some(high) = line.trim().strip_prefix("high ") {
            pages += high.trim().parse::<u64>().unwrap_or(0);
        }
    }
    pages
}

/// Of a line such as `MemFree: 1 kB` or `Node 0 MemFree: 1 kB`: proc_meminfo(5).
pub(crate) fn field_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.split_whitespace().any(|word| word == name))?;
    let kb: u64 = line.split_whitespace().rev().nth(1)?.parse().ok()?;
    Some(kb << 10)
}

impl Limited {
    fn left(&self, floor_bytes: u64) -> Option<Left> {
        let usage = number(&self.folder.join(self.usage))?;
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let cache = stat.lines().find_map(|line| line.strip_prefix(self.inactive_file)?.trim().parse().ok());
        let used = usage.saturating_sub(cache.unwrap_or(0));
        Some(Left {
            whose: format!("the cgroup {}", self.folder.display()),
            available_bytes: self.limit_bytes.saturating_sub(used),
            reserve_bytes: (self.limit_bytes / CGROUP_RESERVE).min(floor_bytes.saturating_add(SLACK_BYTES)),
        })
    }
}

/// The cgroups around this process that have a limit, of version 1 and of version 2.
fn limited(roots: &HostRoots) -> Vec<Limited> {
    let read = |name| fs::read_to_string(roots.proc(name)).unwrap_or_default();
    let (mountinfo, own) = (read("self/mountinfo"), read("self/cgroup"));
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, own)) = memory_mount(line, &own) else { continue };
        let version_2 = line.contains(" - cgroup2 ");
        let (limit, usage, inactive_file) = if version_2 {
            ("memory.max", "memory.current", "inactive_file ")
        } else {
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
        };
        for folder in own.ancestors().take_while(|folder| folder.starts_with(&mount)) {
            let limit_bytes = number(&folder.join(limit)).filter(|limit| *limit < NO_LIMIT_BYTES);
            found.extend(limit_bytes.map(|limit_bytes| Limited {
                folder: folder.to_owned(),
                limit_bytes,
                usage,
                inactive_file,
            }));
        }
    }
    found
}

/// Where a hierarchy with the memory controller is mounted, and this process's folder in it: proc_pid_mountinfo(5),
/// cgroups(7).
fn memory_mount(mountinfo_line: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let (left, right) = mountinfo_line.split_once(" - ")?;
    let mut right = right.split(' ');
    let kind = right.next()?;
    let is_memory = |controllers: &str| controllers.split(',').any(|name| name == "memory");
    let path = match kind {
        "cgroup2" => own.lines().find_map(|line| line.strip_prefix("0::"))?,
        "cgroup" if right.next_back().is_some_and(is_memory) => own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            is_memory(controllers).then_some(path)
        })?,
        _ => return None,
    };
    let mut fields = left.split(' ').skip(3);
    let (root, mount) = (fields.next()?, PathBuf::from(fields.next()?));
    // In a container the mount may show only a part of the tree.
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let folder = mount.join(below.strip_prefix("/").unwrap_or(below));
    Some((mount, folder))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::TestTree;

    const MEMINFO: &str = "MemTotal: 9000000 kB\nMemFree: 1 kB\nMemAvailable: 1000000 kB\n";

    #[test]
    fn the_host_gives_what_is_above_the_floor_and_the_slack() {
        let tree = TestTree::new(&[("proc/meminfo", MEMINFO)]);
        let left = MemoryRoom::new(&tree.roots(), None).tightest(1 << 20).unwrap();
        assert_eq!(left.usable_bytes(), (1_000_000 << 10) - (33 << 20));
        assert!(left.to_string().contains("1024000000"), "{left}");
    }

    #[test]
    fn a_cgroup_with_a_limit_gives_less_than_the_host() {
        let tree = TestTree::new(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "4:memory:/a/b\n0::/x\n"),
            ("m/memory.limit_in_bytes", "9223372036854771712\n"),
            ("m/a/memory.limit_in_bytes", "104857600\n"),
            ("m/a/memory.usage_in_bytes", "20971520\n"),
            ("m/a/memory.stat", "cache 1\ntotal_inactive_file 10485760\n"),
            ("m/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("u/x/memory.max", "max\n"),
        ]);
        let root = tree.roots().proc.parent().unwrap().to_owned();
        let mountinfo = format!(
            "35 31 0:32 / {0}/m rw,relatime - cgroup cgroup rw,memory\n41 31 0:38 / {0}/u rw - cgroup2 cgroup2 rw\n",
            root.display()
        );
        fs::write(tree.roots().proc("self/mountinfo"), mountinfo).unwrap();
        let left = MemoryRoom::new(&tree.roots(), None).tightest(1 << 28).unwrap();
        assert!(left.whose.ends_with("/m/a"), "{left}");
        assert_eq!((left.available_bytes, left.reserve_bytes), (90 << 20, (100 << 20) / 16));
    }

    #[test]
    fn a_node_gives_what_is_free_and_what_is_taken_back_first() {
        let node = "Node 1 MemTotal:  8000 kB\nNode 1 MemFree:  1000 kB\nNode 1 Inactive(file):  500 kB\n";
        let tree = TestTree::new(&[("sys/devices/system/node/node1/meminfo", node)]);
        let left = MemoryRoom::new(&tree.roots(), Some(1)).tightest(0).unwrap();
        assert_eq!((left.available_bytes, left.reserve_bytes), (1_500 << 10, SLACK_BYTES));
    }

    #[test]
    fn a_node_keeps_twice_its_watermarks() {
        let zones = "Node 0, zone   Normal\n  pages free 9\n        high     7\n\
                     Node 1, zone    DMA32\n        high     1000\n  pagesets\n              high: 378\n\
                     Node 1, zone   Normal\n        low      1\n        high     20000\n";
        assert_eq!(high_pages(zones, 1), 21_000);
        let node = "Node 1 MemTotal:  8000 kB\nNode 1 MemFree:  1000 kB\n";
        let tree =
            TestTree::new(&[("sys/devices/system/node/node1/meminfo", node), ("proc/zoneinfo", zones)]);
        let left = MemoryRoom::new(&tree.roots(), Some(1)).tightest(0).unwrap();
        assert_eq!(left.reserve_bytes, 2 * 21_000 * 4_096);
    }
}
