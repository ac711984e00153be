//! What a host is and what an agent can do on it.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{
    Cache, Capability, Core, DescribeResponse, Disk, Nic, NumaNode, ProbeCost, ProbeStatus, Sensor,
};

use super::{GuardOut, HaltOut, PlatformOut, known, plain, policy::PolicyOut, present, run::LimitsOut};

/// Of `info`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Info")]
pub(crate) struct InfoOut {
    host: String,
    kernel_release: String,
    machine: String,
    os: String,
    boot_id: String,
    agent_version: String,
    /// The user that the agent runs as.
    agent_uid: u32,
    cpu_model: String,
    cores: Vec<CoreOut>,
    caches: Vec<CacheOut>,
    cpu_features: Vec<String>,
    numa_nodes: Vec<NumaNodeOut>,
    memory_total_bytes: u64,
    memory_available_bytes: u64,
    disks: Vec<DiskOut>,
    nics: Vec<NicOut>,
    sensors: Vec<SensorOut>,
    /// What it is made of and how it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformOut>,
    /// What works and what doesn't, and the mend.
    capabilities: Vec<CapabilityOut>,
    probes: Vec<ProbeOut>,
    /// The agent's own; a run may only tighten them.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsOut>,
    /// All that the agent's configuration allows, the limits included.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyOut>,
    /// As they stand now.
    guards: Vec<GuardOut>,
    tick_rate_hz: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<HaltOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Core")]
struct CoreOut {
    cpu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numa_node: Option<u32>,
    /// Whether burners may use it.
    allowed: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cache")]
struct CacheOut {
    level: u32,
    kind: String,
    size_bytes: u64,
    line_bytes: u32,
    shared_cpus: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NumaNode")]
struct NumaNodeOut {
    node: u32,
    cpus: String,
    memory_total_bytes: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Disk")]
struct DiskOut {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    size_bytes: u64,
    rotational: bool,
    logical_block_bytes: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Nic")]
struct NicOut {
    name: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_mbit_per_s: Option<u64>,
    mtu_bytes: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sensor")]
struct SensorOut {
    id: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    celsius: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    critical_celsius: Option<f64>,
    /// The physical package that it measures, where the driver says.
    #[serde(skip_serializing_if = "Option::is_none")]
    package_id: Option<u32>,
    /// The core in it, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    core_id: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Capability")]
struct CapabilityOut {
    name: String,
    /// `works`, `degraded` or `missing`.
    state: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl From<&Capability> for CapabilityOut {
    fn from(capability: &Capability) -> Self {
        Self {
            name: capability.name.clone(),
            state: plain(capability.state().as_str_name(), "CAPABILITY_STATE_"),
            detail: capability.detail.clone(),
            mend: present(&capability.mend),
        }
    }
}

/// An eBPF probe.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Probe")]
pub(crate) struct ProbeOut {
    name: String,
    attached: bool,
    /// Whether it was seen to tell the truth of a known event.
    working: bool,
    /// Why it is not attached or not working.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    hooks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<ProbeCostOut>,
    /// Events that it saw and had no room to note.
    lost: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProbeCost")]
struct ProbeCostOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    ns_per_event: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_s: Option<f64>,
    /// Of one core: 0.01 is 1 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    core_share: Option<f64>,
}

impl From<&ProbeStatus> for ProbeOut {
    fn from(probe: &ProbeStatus) -> Self {
        let cost =
            probe.cost.as_ref().map(|ProbeCost { ns_per_event, events_per_s, core_share }| ProbeCostOut {
                ns_per_event: known(*ns_per_event),
                events_per_s: known(*events_per_s),
                core_share: known(*core_share),
            });
        Self {
            name: probe.name.clone(),
            attached: probe.attached,
            working: probe.working,
            reason: present(&probe.reason),
            hooks: probe.hooks.clone(),
            cost,
            lost: probe.lost,
        }
    }
}

impl From<&DescribeResponse> for InfoOut {
    fn from(description: &DescribeResponse) -> Self {
        let host = description.host.clone().unwrap_or_default();
        Self {
            platform: PlatformOut::of(&host),
            host: host.hostname,
            kernel_release: host.kernel_release,
            machine: host.machine,
            os: host.os,
            boot_id: host.boot_id,
            agent_version: host.agent_version,
            agent_uid: host.agent_uid,
            cpu_model: host.cpu_model,
            cores: host.cores.into_iter().map(CoreOut::from).collect(),
            caches: host.caches.into_iter().map(CacheOut::from).collect(),
            cpu_features: host.cpu_features,
            numa_nodes: host.numa_nodes.into_iter().map(NumaNodeOut::from).collect(),
            memory_total_bytes: host.memory_total_bytes,
            memory_available_bytes: host.memory_available_bytes,
            disks: host.disks.into_iter().map(DiskOut::from).collect(),
            nics: host.nics.into_iter().map(NicOut::from).collect(),
            sensors: host.sensors.into_iter().map(SensorOut::from).collect(),
            capabilities: description.capabilities.iter().map(CapabilityOut::from).collect(),
            probes: description.probes.iter().map(ProbeOut::from).collect(),
            limits: description.limits.as_ref().map(LimitsOut::from),
            policy: description.policy.as_ref().map(PolicyOut::from),
            guards: description.guards.iter().map(GuardOut::from).collect(),
            tick_rate_hz: description.tick_rate_hz,
            halt: description.halt.as_ref().map(HaltOut::from),
        }
    }
}

impl From<Core> for CoreOut {
    fn from(Core { cpu, core_id, package_id, numa_node, allowed }: Core) -> Self {
        Self { cpu, core_id, package_id, numa_node, allowed }
    }
}

impl From<Cache> for CacheOut {
    fn from(Cache { level, kind, size_bytes, line_bytes, shared_cpus }: Cache) -> Self {
        Self { level, kind, size_bytes, line_bytes, shared_cpus }
    }
}

impl From<NumaNode> for NumaNodeOut {
    fn from(NumaNode { node, cpus, memory_total_bytes }: NumaNode) -> Self {
        Self { node, cpus, memory_total_bytes }
    }
}

impl From<Disk> for DiskOut {
    fn from(Disk { name, model, size_bytes, rotational, logical_block_bytes }: Disk) -> Self {
        Self { name, model: present(&model), size_bytes, rotational, logical_block_bytes }
    }
}

impl From<Nic> for NicOut {
    fn from(Nic { name, state, speed_mbit_per_s, mtu_bytes }: Nic) -> Self {
        Self { name, state, speed_mbit_per_s, mtu_bytes }
    }
}

impl From<Sensor> for SensorOut {
    fn from(Sensor { id, label, celsius, critical_celsius, package_id, core_id }: Sensor) -> Self {
        Self {
            id,
            label,
            celsius: celsius.and_then(known),
            critical_celsius: critical_celsius.and_then(known),
            package_id,
            core_id,
        }
    }
}
