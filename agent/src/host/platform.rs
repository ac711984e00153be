//! What the machine is made of and how it was started, as far as figures depend on it: firmware, microcode, memory modules, the
//! kernel's command line and its mitigations.

use std::{collections::BTreeSet, fs};

use ssts_proto::v1::{Dimm, DiskFirmware, Mitigation, Platform};

use super::{
    HostRoots,
    listing::{entries, line},
};

/// Bytes of the firmware's tables: large machines have some tens of KB.
const MOST_DMI_BYTES: usize = 1 << 20;

/// What can be read of it; what can't is empty.
pub(super) fn platform(roots: &HostRoots) -> Platform {
    let dmi = |name: &str| line(&roots.sys("class/dmi/id").join(name)).unwrap_or_default();
    let joined = |names: [&str; 2]| names.map(dmi).join(" ").trim().to_owned();
    Platform {
        microcode: microcode(roots),
        bios_vendor: dmi("bios_vendor"),
        bios_version: dmi("bios_version"),
        bios_date: dmi("bios_date"),
        system: joined(["sys_vendor", "product_name"]),
        board: joined(["board_vendor", "board_name"]),
        dimms: fs::read(roots.sys("firmware/dmi/tables/DMI")).map(|table| dimms(&table)).unwrap_or_default(),
        kernel_command_line: line(&roots.proc("cmdline")).unwrap_or_default(),
        mitigations: entries(&roots.sys("devices/system/cpu/vulnerabilities"))
            .into_iter()
            .filter_map(|(name, path)| Some(Mitigation { name, state: line(&path)? }))
            .collect(),
        cgroup: cgroup(roots),
        disk_firmware: entries(&roots.sys("block"))
            .into_iter()
            .filter_map(|(disk, folder)| {
                // NVMe's name of it, and SCSI's.
                let read = |name: &str| line(&folder.join("device").join(name));
                let revision = read("firmware_rev").or_else(|| read("rev"))?;
                Some(DiskFirmware { disk, revision })
            })
            .collect(),
    }
}

/// All that differ: a host that was updated in part has two.
fn microcode(roots: &HostRoots) -> String {
    let text = fs::read_to_string(roots.proc("cpuinfo")).unwrap_or_default();
    let values: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with("microcode"))
        .filter_map(|line| line.split_once(':').map(|(_, value)| value.trim()))
        .collect();
    values.into_iter().collect::<Vec<_>>().join(", ")
}

/// The unified hierarchy's; on a host of the first version that of the memory controller.
fn cgroup(roots: &HostRoots) -> String {
    let text = fs::read_to_string(roots.proc("self/cgroup")).unwrap_or_default();
    let path = |wanted: fn(&str) -> bool| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            wanted(controllers).then(|| path.to_owned())
        })
    };
    let unified = path(str::is_empty);
    let memory = path(|controllers| controllers.split(',').any(|controller| controller == "memory"));
    memory.or(unified).unwrap_or_default()
}

/// SMBIOS 3.7, 7.18: a memory device.
const MEMORY_DEVICE: u8 = 17;
/// The end of the table.
const END: u8 = 127;
/// The size is in another field: 7.18.5.
const EXTENDED: u16 = 0x7fff;
const UNKNOWN: u16 = 0xffff;
/// The size is in KiB.
const IN_KIB: u16 = 0x8000;

/// The modules in the firmware's tables, as they lie in memory. A table that ends too early ends there.
fn dimms(table: &[u8]) -> Vec<Dimm> {
    let mut dimms = Vec::new();
    let mut rest = &table[..table.len().min(MOST_DMI_BYTES)];
    while let [kind, length, ..] = *rest {
        let Some((formatted, after)) = rest.split_at_checked(usize::from(length)) else { break };
        // Strings follow, each with its zero, and one zero more.
        let Some(end) = after.windows(2).position(|pair| pair == [0, 0]) else { break };
        if kind == END || length < 4 {
            break;
        }
        if kind == MEMORY_DEVICE {
            dimms.extend(dimm(formatted, &after[..end]));
        }
        rest = after.get(end + 2..).unwrap_or_default();
    }
    dimms
}

/// One module; nothing of an empty slot.
fn dimm(formatted: &[u8], strings: &[u8]) -> Option<Dimm> {
    let byte = |at: usize| formatted.get(at).copied();
    let word = |at: usize| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
    let double = |at: usize| Some(u32::from(word(at)?) | u32::from(word(at + 2)?) << 16);
    let string = |at: usize| {
        let number = usize::from(byte(at).unwrap_or(0)).checked_sub(1)?;
        let text = strings.split(|byte| *byte == 0).nth(number)?;
        Some(String::from_utf8_lossy(text).trim().to_owned())
    };
    let size_bytes = match word(0x0c)? {
        0 | UNKNOWN => return None,
        EXTENDED => u64::from(double(0x1c)? & 0x7fff_ffff) << 20,
        kib if kib & IN_KIB != 0 => u64::from(kib & !IN_KIB) << 10,
        mib => u64::from(mib) << 20,
    };
    // What it runs at, where that is told, or what it could; neither is known as 0 or 0xffff.
    let speed = [word(0x20), word(0x15)].into_iter().flatten().find(|speed| !matches!(*speed, 0 | UNKNOWN));
    Some(Dimm {
        slot: string(0x10).unwrap_or_default(),
        size_bytes,
        megatransfers_per_s: speed.map(u32::from),
        manufacturer: string(0x17).unwrap_or_default(),
        part_number: string(0x1a).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::TestTree;

    /// A memory device of 0x28 bytes, as SMBIOS 2.8 has it.
    fn device(size: u16, extended_mib: u32, strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0; 0x28];
        bytes[0] = MEMORY_DEVICE;
        bytes[1] = 0x28;
        bytes[0x0c..0x0e].copy_from_slice(&size.to_le_bytes());
        bytes[0x10] = 1;
        bytes[0x15..0x17].copy_from_slice(&3_200u16.to_le_bytes());
        bytes[0x17] = 2;
        bytes[0x1a] = 3;
        bytes[0x1c..0x20].copy_from_slice(&extended_mib.to_le_bytes());
        bytes[0x20..0x22].copy_from_slice(&2_933u16.to_le_bytes());
        for string in strings {
            bytes.extend(string.as_bytes());
            bytes.push(0);
        }
        if strings.is_empty() {
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn modules_are_read_from_the_firmwares_tables() {
        let other = [&[1, 6, 0, 0, 1, 2][..], b"Maker\0Product\0\0"].concat();
        let table = [
            other,
            device(16_384, 0, &["DIMM_A1", "ACME ", "X-1"]),
            device(0, 0, &["DIMM_A2"]),
            device(EXTENDED, 65_536, &["DIMM_B1", "ACME", "X-2"]),
            device(IN_KIB | 512, 0, &[]),
            vec![END, 4, 0, 0, 0, 0],
            device(1, 0, &["beyond"]),
        ]
        .concat();
        let found = dimms(&table);
        let sizes: Vec<_> = found.iter().map(|dimm| dimm.size_bytes).collect();
        assert_eq!(sizes, [16 << 30, 64 << 30, 512 << 10]);
        assert_eq!((found[0].slot.as_str(), found[0].manufacturer.as_str()), ("DIMM_A1", "ACME"));
        assert_eq!((found[1].part_number.as_str(), found[1].megatransfers_per_s), ("X-2", Some(2_933)));
        assert_eq!(found[2].slot, "");
    }

    #[test]
    fn a_broken_table_ends_where_it_breaks() {
        let whole = device(16_384, 0, &["DIMM_A1", "ACME", "X-1"]);
        for length in 0..whole.len() {
            assert_eq!(dimms(&whole[..length]), [], "{length}");
        }
        assert_eq!(dimms(&[[17, 0, 0, 0, 0, 0].as_slice(), &whole].concat()), []);
    }

    #[test]
    fn a_tree_of_facts_is_read() {
        let tree = TestTree::new(&[
            ("proc/cpuinfo", "microcode\t: 0x2b\nprocessor : 1\nmicrocode\t: 0x2c\nmicrocode\t: 0x2b\n"),
            ("proc/cmdline", "quiet mitigations=off\n"),
            ("proc/self/cgroup", "4:memory:/a\n0::/b/c\n"),
            ("sys/class/dmi/id/bios_vendor", "ACME\n"),
            ("sys/class/dmi/id/bios_version", "1.2\n"),
            ("sys/class/dmi/id/product_name", "Server 9\n"),
            ("sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n"),
            ("sys/block/nvme0n1/device/firmware_rev", "GXA7 \n"),
            ("sys/block/sda/device/rev", "0003\n"),
            ("sys/block/vda/size", "2\n"),
        ]);
        let read = platform(&tree.roots());
        assert_eq!((read.microcode.as_str(), read.cgroup.as_str()), ("0x2b, 0x2c", "/a"));
        assert_eq!(read.kernel_command_line, "quiet mitigations=off");
        assert_eq!(
            (read.bios_vendor.as_str(), read.bios_version.as_str(), read.system.as_str()),
            ("ACME", "1.2", "Server 9")
        );
        assert_eq!(read.mitigations[0].state, "Mitigation: PTI");
        let firmware: Vec<_> =
            read.disk_firmware.iter().map(|it| (it.disk.as_str(), it.revision.as_str())).collect();
        assert_eq!(firmware, [("nvme0n1", "GXA7"), ("sda", "0003")]);
        assert_eq!((read.board.as_str(), read.dimms.len()), ("", 0));
    }
}
