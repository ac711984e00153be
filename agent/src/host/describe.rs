//! The inventory of this machine, as `Describe` and results carry it. Read when asked for: slow and wide, never at a tick.

use std::{fs, path::Path};

use procfs::FromRead as _;
use ssts_proto::v1::{Cache, Core, Disk, Host, Nic, NumaNode, Sensor};

use super::{
    HostRoots, cpuset,
    listing::{entries, line, number, numbered},
    platform::platform,
};
use crate::{burn::cpu::Isa, observe::sysfs::sensors};

/// What this machine is.
pub fn describe(roots: &HostRoots) -> Host {
    let uname = nix::sys::utsname::uname().ok();
    let word = |value: Option<&std::ffi::OsStr>| {
        value.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let meminfo = procfs::Meminfo::from_file(roots.proc("meminfo")).ok();
    Host {
        hostname: word(uname.as_ref().map(nix::sys::utsname::UtsName::nodename)),
        kernel_release: word(uname.as_ref().map(nix::sys::utsname::UtsName::release)),
        machine: word(uname.as_ref().map(nix::sys::utsname::UtsName::machine)),
        os: os_name().unwrap_or_default(),
        boot_id: line(&roots.proc("sys/kernel/random/boot_id")).unwrap_or_default(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        agent_uid: nix::unistd::geteuid().as_raw(),
        cpu_model: cpu_model(roots).unwrap_or_default(),
        cores: cores(roots),
        caches: caches(roots),
        cpu_features: Isa::available().into_iter().map(|isa| isa.name().to_owned()).collect(),
        numa_nodes: numa_nodes(roots),
        memory_total_bytes: meminfo.as_ref().map(|meminfo| meminfo.mem_total).unwrap_or_default(),
        memory_available_bytes: meminfo.and_then(|meminfo| meminfo.mem_available).unwrap_or_default(),
        disks: disks(roots),
        nics: nics(roots),
        sensors: sensors_of(roots),
        platform: Some(platform(roots)),
    }
}

/// PRETTY_NAME of os-release(5).
fn os_name() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned())
}

fn cpu_model(roots: &HostRoots) -> Option<String> {
    let text = fs::read_to_string(roots.proc("cpuinfo")).ok()?;
    let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    text.lines().find(|line| line.starts_with("model name")).and_then(value)
}

fn cores(roots: &HostRoots) -> Vec<Core> {
    let allowed = cpuset::allowed_cores().unwrap_or_default();
    let nodes = numbered(&roots.sys("devices/system/node"), "node");
    numbered(&roots.sys("devices/system/cpu"), "cpu")
        .into_iter()
        .map(|(cpu, folder)| Core {
            cpu,
            core_id: number(&folder.join("topology/core_id")),
            package_id: number(&folder.join("topology/physical_package_id")),
            numa_node: nodes
                .iter()
                .find(|(_, node)| node.join(format!("cpu{cpu}")).exists())
                .map(|(node, _)| *node),
            allowed: allowed.contains(&cpu),
        })
        .collect()
}

/// The caches that core 0 sees, nearest first.
pub fn caches(roots: &HostRoots) -> Vec<Cache> {
    let mut caches: Vec<_> = numbered(&roots.sys("devices/system/cpu/cpu0/cache"), "index")
        .into_iter()
        .filter_map(|(_, folder)| {
            Some(Cache {
                level: number(&folder.join("level"))?,
                kind: line(&folder.join("type"))?,
                size_bytes: cache_size(&line(&folder.join("size"))?)?,
                line_bytes: number(&folder.join("coherency_line_size")).unwrap_or_default(),
                shared_cpus: line(&folder.join("shared_cpu_list")).unwrap_or_default(),
            })
        })
        .collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

/// `32768K`: Documentation/ABI/testing/sysfs-devices-system-cpu.
fn cache_size(text: &str) -> Option<u64> {
    text.strip_suffix('K')
        .map_or_else(|| text.parse().ok(), |kib| kib.parse::<u64>().ok().map(|kib| kib << 10))
}

fn numa_nodes(roots: &HostRoots) -> Vec<NumaNode> {
    let memory = |folder: &Path| -> Option<u64> {
        let text = fs::read_to_string(folder.join("meminfo")).ok()?;
        let total = text.lines().find(|line| line.contains("MemTotal:"))?;
        total.split_whitespace().rev().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    numbered(&roots.sys("devices/system/node"), "node")
        .into_iter()
        .map(|(node, folder)| NumaNode {
            node,
            cpus: line(&folder.join("cpulist")).unwrap_or_default(),
            memory_total_bytes: memory(&folder).unwrap_or_default(),
        })
        .collect()
}

fn disks(roots: &HostRoots) -> Vec<Disk> {
    let disk = |(name, folder): (String, std::path::PathBuf)| {
        let sectors = number::<u64>(&folder.join("size"))?;
        (sectors > 0).then(|| Disk {
            name,
            model: line(&folder.join("device/model")).unwrap_or_default(),
            // A sector of sysfs is 512 bytes whatever the device's own: Documentation/ABI/stable/sysfs-block.
            size_bytes: sectors * 512,
            rotational: number::<u32>(&folder.join("queue/rotational")) == Some(1),
            logical_block_bytes: number(&folder.join("queue/logical_block_size")).unwrap_or_default(),
        })
    };
    entries(&roots.sys("block")).into_iter().filter_map(disk).collect()
}

fn nics(roots: &HostRoots) -> Vec<Nic> {
    entries(&roots.sys("class/net"))
        .into_iter()
        .filter(|(_, folder)| folder.is_dir())
        .map(|(name, folder)| Nic {
            name,
            state: line(&folder.join("operstate")).unwrap_or_default(),
            // -1 where the link is down; virtual drivers refuse to say.
            speed_mbit_per_s: number(&folder.join("speed")),
            mtu_bytes: number(&folder.join("mtu")).unwrap_or_default(),
        })
        .collect()
}

fn sensors_of(roots: &HostRoots) -> Vec<Sensor> {
    let read = |path: &Path| fs::read(path).ok().and_then(|text| sensors::celsius(&text));
    sensors::find(roots)
        .into_iter()
        .map(|sensor| Sensor {
            celsius: read(&sensor.input),
            critical_celsius: sensor.critical.as_deref().and_then(read),
            id: sensor.id,
            label: sensor.label,
            package_id: sensor.package,
            core_id: sensor.core,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::TestTree;

    #[test]
    fn a_tree_of_two_packages_is_described() {
        let tree = TestTree::new(&[
            ("proc/cpuinfo", "processor : 0\nmodel name\t: Imaginary 9000\n"),
            ("sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
            ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"),
            ("sys/devices/system/cpu/cpu10/topology/physical_package_id", "1\n"),
            ("sys/devices/system/cpu/cpu2/topology/physical_package_id", "1\n"),
            ("sys/devices/system/cpu/cpufreq/boost", "1\n"),
            ("sys/devices/system/cpu/cpu0/cache/index0/level", "3\n"),
            ("sys/devices/system/cpu/cpu0/cache/index0/type", "Unified\n"),
            ("sys/devices/system/cpu/cpu0/cache/index0/size", "32768K\n"),
            ("sys/devices/system/node/node1/cpulist", "2,10\n"),
            ("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:  4 kB\n"),
            ("sys/devices/system/node/node1/cpu2/x", ""),
            ("sys/block/vda/size", "2\n"),
            ("sys/block/vda/queue/logical_block_size", "4096\n"),
            ("sys/block/loop0/size", "0\n"),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/speed", "-1\n"),
        ]);
        let host = describe(&tree.roots());
        assert_eq!(host.cpu_model, "Imaginary 9000");
        let packages: Vec<_> =
            host.cores.iter().map(|core| (core.cpu, core.package_id, core.numa_node)).collect();
        assert_eq!(packages, [(0, Some(0), None), (2, Some(1), Some(1)), (10, Some(1), None)]);
        assert_eq!(host.caches[0].size_bytes, 32 << 20);
        assert_eq!((host.numa_nodes[0].node, host.numa_nodes[0].memory_total_bytes), (1, 4_096));
        assert_eq!(
            (host.disks.len(), host.disks[0].size_bytes, host.disks[0].logical_block_bytes),
            (1, 1_024, 4_096)
        );
        assert_eq!(host.nics[0].speed_mbit_per_s, None);
    }
}
