//! What a host is made of and how it was started.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{Dimm, Host, Platform};

use super::present;

/// As far as figures depend on it; what could not be read is absent.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Platform")]
pub(crate) struct PlatformOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_model: Option<String>,
    /// Of several packages, all that differ, joined by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    microcode: Option<String>,
    /// Vendor, version and date of the firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    bios: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<String>,
    /// Only the superuser's agent can read them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dimms: Vec<DimmOut>,
    /// Firmware revisions of the disks, by the kernel's names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    disk_firmware: BTreeMap<String, String>,
    /// What the disks are, by the kernel's names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    disk_models: BTreeMap<String, String>,
    /// What the network interfaces' links run at, by the kernel's names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    nic_mbit_per_s: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_command_line: Option<String>,
    /// Against the processor's weaknesses, in the kernel's words.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    mitigations: BTreeMap<String, String>,
    /// The agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Dimm")]
struct DimmOut {
    slot: String,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    megatransfers_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manufacturer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part_number: Option<String>,
}

impl From<&Dimm> for DimmOut {
    fn from(dimm: &Dimm) -> Self {
        Self {
            slot: dimm.slot.clone(),
            size_bytes: dimm.size_bytes,
            megatransfers_per_s: dimm.megatransfers_per_s,
            manufacturer: present(&dimm.manufacturer),
            part_number: present(&dimm.part_number),
        }
    }
}

impl PlatformOut {
    /// Of a host whose agent tells it.
    pub(crate) fn of(host: &Host) -> Option<Self> {
        let platform: &Platform = host.platform.as_ref()?;
        let bios = [&platform.bios_vendor, &platform.bios_version, &platform.bios_date].map(String::as_str);
        Some(Self {
            cpu_model: present(&host.cpu_model),
            microcode: present(&platform.microcode),
            bios: present(bios.join(" ").trim()),
            system: present(&platform.system),
            board: present(&platform.board),
            dimms: platform.dimms.iter().map(DimmOut::from).collect(),
            disk_firmware: (platform.disk_firmware.iter())
                .map(|firmware| (firmware.disk.clone(), firmware.revision.clone()))
                .collect(),
            disk_models: (host.disks.iter())
                .filter_map(|disk| Some((disk.name.clone(), present(&disk.model)?)))
                .collect(),
            nic_mbit_per_s: (host.nics.iter())
                .filter_map(|nic| Some((nic.name.clone(), nic.speed_mbit_per_s?)))
                .collect(),
            kernel_command_line: present(&platform.kernel_command_line),
            mitigations: (platform.mitigations.iter())
                .map(|mitigation| (mitigation.name.clone(), mitigation.state.clone()))
                .collect(),
            cgroup: present(&platform.cgroup),
        })
    }
}
