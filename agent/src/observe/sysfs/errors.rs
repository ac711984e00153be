//! Counters of hardware errors: memory controllers (Documentation/admin-guide/RAS of the kernel), PCIe devices
//! (Documentation/ABI/testing/sysfs-bus-pci-devices-aer) and NICs (Documentation/ABI/testing/sysfs-class-net-statistics).

use ssts_proto::catalogue as metrics;

use super::attributes::{Attribute, Attributes, whole};
use crate::{
    host::{
        HostRoots,
        listing::{entries, line, numbered},
    },
    observe::kernel_file::{lines, numbers},
};

/// What a NIC tells apart of a bad link or cable, and of its own trouble.
const FAULTS: [&str; 7] = [
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_length_errors",
    "rx_over_errors",
    "rx_fifo_errors",
    "tx_carrier_errors",
    "tx_aborted_errors",
];
const SEVERITIES: [&str; 3] = ["correctable", "nonfatal", "fatal"];

/// Memory controllers, their DIMMs, and PCIe devices.
pub(super) fn errors(roots: &HostRoots) -> Attributes {
    Attributes::new(roots, |roots| {
        let mut found = edac(roots);
        found.extend(aer(roots));
        found
    })
}

/// NICs that are devices, and of all interfaces how often they lost their link.
pub(super) fn links(roots: &HostRoots) -> Attributes {
    Attributes::new(roots, |roots| {
        let mut found = nics(roots);
        found.extend(link_downs(roots));
        found
    })
}

/// Since Linux 4.16: Documentation/ABI/testing/sysfs-class-net.
fn link_downs(roots: &HostRoots) -> Vec<Attribute> {
    let of = |(interface, folder): (String, std::path::PathBuf)| Attribute {
        path: folder.join("carrier_down_count"),
        metric: &metrics::HOST_NETWORK_LINK_DOWNS,
        labels: vec![interface, if folder.join("device").exists() { "device" } else { "virtual" }.into()],
        parse: whole,
    };
    let all = entries(&roots.sys("class/net")).into_iter().filter(|(interface, _)| interface != "lo");
    all.map(of).filter(|attribute| attribute.path.exists()).collect()
}

fn edac(roots: &HostRoots) -> Vec<Attribute> {
    let mut found = Vec::new();
    for (controller, folder) in numbered(&roots.sys("devices/system/edac/mc"), "mc") {
        let mut add = |place: &std::path::Path, prefix: &str, dimm: &str| {
            for (file, metric) in
                [("ce_count", &metrics::HOST_EDAC_CORRECTED), ("ue_count", &metrics::HOST_EDAC_UNCORRECTED)]
            {
                let path = place.join(format!("{prefix}{file}"));
                if path.exists() {
                    let labels = vec![format!("mc{controller}"), dimm.to_owned()];
                    found.push(Attribute { path, metric, labels, parse: whole });
                }
            }
        };
        // The whole controller, with errors whose DIMM is unknown.
        add(&folder, "", "");
        // Drivers that know no DIMMs call them ranks.
        for kind in ["dimm", "rank"] {
            for (number, place) in numbered(&folder, kind) {
                let label = line(&place.join("dimm_label")).unwrap_or_else(|| format!("{kind}{number}"));
                add(&place, "dimm_", &label);
            }
        }
    }
    found
}

fn aer(roots: &HostRoots) -> Vec<Attribute> {
    entries(&roots.sys("bus/pci/devices"))
        .into_iter()
        .flat_map(|(device, folder)| {
            SEVERITIES.map(|severity| Attribute {
                path: folder.join(format!("aer_dev_{severity}")),
                metric: &metrics::HOST_PCIE_ERRORS,
                labels: vec![device.clone(), severity.into()],
                parse: aer_total,
            })
        })
        .filter(|attribute| attribute.path.exists())
        .collect()
}

/// A line for each kind of error, then `TOTAL_ERR_COR 123`.
fn aer_total(text: &[u8]) -> Option<f64> {
    let total = lines(text).find(|line| line.starts_with(b"TOTAL_ERR_"))?;
    numbers(total).next().map(|count| count as f64)
}

fn nics(roots: &HostRoots) -> Vec<Attribute> {
    entries(&roots.sys("class/net"))
        .into_iter()
        .filter(|(_, folder)| folder.join("device").exists())
        .flat_map(|(interface, folder)| {
            let changes = Attribute {
                path: folder.join("carrier_changes"),
                metric: &metrics::HOST_NETWORK_CARRIER_CHANGES,
                labels: vec![interface.clone()],
                parse: whole,
            };
            let faults = FAULTS.map(|fault| Attribute {
                path: folder.join("statistics").join(fault),
                metric: &metrics::HOST_NETWORK_FAULTS,
                labels: vec![interface.clone(), fault.into()],
                parse: whole,
            });
            std::iter::once(changes).chain(faults)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::AbsenceReason;

    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    #[test]
    fn controllers_and_their_dimms_are_told_apart() {
        let mc = "sys/devices/system/edac/mc/mc0";
        let tree = TestTree::new(&[]);
        for (file, content) in [
            ("mc_name", "Skylake Socket#0 IMC#0\n"),
            ("ce_count", "5\n"),
            ("ue_count", "1\n"),
            ("dimm0/dimm_ce_count", "4\n"),
            ("dimm0/dimm_ue_count", "0\n"),
            ("dimm0/dimm_label", "CPU_SrcID#0_MC#0_Chan#0_DIMM#0\n"),
            ("rank3/dimm_ce_count", "2\n"),
        ] {
            tree.write(format!("{mc}/{file}"), content);
        }
        let (schema, frame) = tree.sample(&mut errors(&tree.roots()));
        let read = |metric, labels: [&str; 2]| value(&schema, &frame, metric, &labels);
        assert_eq!(read("host.edac.corrected", ["mc0", ""]), Ok(5.0));
        assert_eq!(read("host.edac.uncorrected", ["mc0", ""]), Ok(1.0));
        assert_eq!(read("host.edac.corrected", ["mc0", "CPU_SrcID#0_MC#0_Chan#0_DIMM#0"]), Ok(4.0));
        assert_eq!(read("host.edac.corrected", ["mc0", "rank3"]), Ok(2.0));
        assert_eq!(schema.columns.len(), 5);
    }

    /// The example of Documentation/ABI/testing/sysfs-bus-pci-devices-aer.
    #[test]
    fn pcie_errors_are_the_totals() {
        let tree = TestTree::new(&[
            (
                "sys/bus/pci/devices/0000:00:1c.0/aer_dev_correctable",
                "Receiver Error 2\nBad TLP 0\nBad DLLP 0\nRELAY_NUM Rollover 0\nReplay Timer Timeout 0\n\
                 Advisory Non-Fatal 0\nCorrected Internal Error 0\nHeader Log Overflow 0\nTOTAL_ERR_COR 2\n",
            ),
            ("sys/bus/pci/devices/0000:00:1c.0/aer_dev_fatal", "Undefined 0\nData Link Protocol 0\n"),
            ("sys/bus/pci/devices/0000:00:1d.0/vendor", "0x8086\n"),
        ]);
        let (schema, frame) = tree.sample(&mut errors(&tree.roots()));
        let read = |severity| value(&schema, &frame, "host.pcie.errors", &["0000:00:1c.0", severity]);
        assert_eq!(read("correctable"), Ok(2.0));
        assert_eq!(read("fatal"), Err(AbsenceReason::Malformed));
        assert_eq!(schema.columns.len(), 2);
    }

    #[test]
    fn only_nics_that_are_devices_have_a_link() {
        let tree = TestTree::new(&[
            ("sys/class/net/eth0/device/vendor", "0x8086\n"),
            ("sys/class/net/eth0/carrier_changes", "3\n"),
            ("sys/class/net/eth0/statistics/rx_crc_errors", "9\n"),
            ("sys/class/net/lo/statistics/rx_crc_errors", "0\n"),
            ("sys/class/net/bonding_masters", "\n"),
        ]);
        let (schema, frame) = tree.sample(&mut links(&tree.roots()));
        assert_eq!(value(&schema, &frame, "host.network.faults", &["eth0", "rx_crc_errors"]), Ok(9.0));
        assert_eq!(value(&schema, &frame, "host.network.carrier_changes", &["eth0"]), Ok(3.0));
        // What this driver does not count is absent.
        let none = value(&schema, &frame, "host.network.faults", &["eth0", "rx_over_errors"]);
        assert_eq!(none, Err(AbsenceReason::Unsupported));
        assert_eq!(schema.columns.len(), FAULTS.len() + 1);
    }
}
