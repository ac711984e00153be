//! Names of OpenTelemetry's semantic conventions. Those of hosts and hardware are in development, and still change.

use crate::catalogue::{self as metrics, Metric};

/// A metric that OpenTelemetry has a name for.
#[derive(Debug)]
pub struct SameAs {
    /// Ours.
    pub metric: &'static Metric,
    /// Theirs.
    pub name: &'static str,
    /// What their name needs to mean the same: values that are fixed, and our labels by their names.
    pub attributes: &'static [(&'static str, Attribute)],
}

/// The value of an attribute.
#[derive(Debug, Clone, Copy)]
pub enum Attribute {
    /// Always this.
    Is(&'static str),
    /// That of a label of ours.
    Label(&'static str),
}

use Attribute::{Is, Label};

macro_rules! same_as {
    ($($metric:ident: $name:literal $(, $attribute:literal = $kind:ident($value:literal))*;)*) => {
        /// Names and attributes of version 1.40 of the semantic conventions, by our metrics in the catalogue's order.
        pub static OPENTELEMETRY: &[SameAs] = &[$(SameAs {
            metric: &metrics::$metric,
            name: $name,
            attributes: &[$(($attribute, $kind($value))),*],
        }),*];
    };
}

same_as! {
    HOST_CPU_TIME: "system.cpu.time", "cpu.logical_number" = Label("cpu"), "cpu.mode" = Label("mode");
    HOST_CPU_FORKS: "system.process.created";
    HOST_MEMORY_TOTAL: "system.memory.limit";
    HOST_MEMORY_FREE: "system.memory.usage", "system.memory.state" = Is("free");
    HOST_MEMORY_AVAILABLE: "system.memory.linux.available";
    HOST_MEMORY_CACHED: "system.memory.usage", "system.memory.state" = Is("cached");
    HOST_MEMORY_SLAB_UNRECLAIMABLE: "system.memory.linux.slab.usage",
        "system.memory.linux.slab.state" = Is("unreclaimable");
    HOST_SWAP_FREE: "system.paging.usage", "system.paging.state" = Is("free");
    HOST_VM_MAJOR_FAULTS: "system.paging.faults", "system.paging.fault.type" = Is("major");
    HOST_VM_SWAPPED_IN: "system.paging.operations", "system.paging.direction" = Is("in");
    HOST_VM_SWAPPED_OUT: "system.paging.operations", "system.paging.direction" = Is("out");
    HOST_DISK_READS: "system.disk.operations", "disk.io.direction" = Is("read"), "system.device" = Label("device");
    HOST_DISK_READ_BYTES: "system.disk.io", "disk.io.direction" = Is("read"), "system.device" = Label("device");
    HOST_DISK_WRITES: "system.disk.operations", "disk.io.direction" = Is("write"), "system.device" = Label("device");
    HOST_DISK_WRITTEN_BYTES: "system.disk.io", "disk.io.direction" = Is("write"), "system.device" = Label("device");
    HOST_DISK_BUSY_TIME: "system.disk.io_time", "system.device" = Label("device");
    HOST_NETWORK_RECEIVED_BYTES: "system.network.io", "network.io.direction" = Is("receive"),
        "network.interface.name" = Label("interface");
    HOST_NETWORK_RECEIVED_PACKETS: "system.network.packet.count", "network.io.direction" = Is("receive"),
        "system.device" = Label("interface");
    HOST_NETWORK_RECEIVE_ERRORS: "system.network.errors", "network.io.direction" = Is("receive"),
        "network.interface.name" = Label("interface");
    HOST_NETWORK_RECEIVE_DROPS: "system.network.packet.dropped", "network.io.direction" = Is("receive"),
        "network.interface.name" = Label("interface");
    HOST_NETWORK_SENT_BYTES: "system.network.io", "network.io.direction" = Is("transmit"),
        "network.interface.name" = Label("interface");
    HOST_NETWORK_SENT_PACKETS: "system.network.packet.count", "network.io.direction" = Is("transmit"),
        "system.device" = Label("interface");
    HOST_NETWORK_SEND_ERRORS: "system.network.errors", "network.io.direction" = Is("transmit"),
        "network.interface.name" = Label("interface");
    HOST_NETWORK_SEND_DROPS: "system.network.packet.dropped", "network.io.direction" = Is("transmit"),
        "network.interface.name" = Label("interface");
    HOST_TEMPERATURE: "hw.temperature", "hw.id" = Label("sensor"), "hw.name" = Label("label");
    HOST_FAN_SPEED: "hw.fan.speed", "hw.id" = Label("sensor"), "hw.name" = Label("label");
    HOST_SENSOR_POWER: "hw.power", "hw.id" = Label("sensor"), "hw.name" = Label("label");
    HOST_CPU_FREQUENCY: "system.cpu.frequency", "cpu.logical_number" = Label("cpu");
    HOST_ENERGY: "hw.energy", "hw.id" = Label("zone"), "hw.name" = Label("name");
    HOST_POWER: "hw.power", "hw.id" = Label("zone"), "hw.name" = Label("name");
    HOST_EDAC_CORRECTED: "hw.errors", "hw.type" = Is("memory"), "hw.id" = Label("dimm"),
        "error.type" = Is("corrected");
    HOST_EDAC_UNCORRECTED: "hw.errors", "hw.type" = Is("memory"), "hw.id" = Label("dimm"),
        "error.type" = Is("uncorrected");
    HOST_NVME_MEDIA_ERRORS: "hw.errors", "hw.type" = Is("physical_disk"), "hw.id" = Label("device"),
        "error.type" = Is("media");
    HOST_NVME_TEMPERATURE: "hw.temperature", "hw.id" = Label("device");
    AGENT_CPU_TIME: "process.cpu.time";
    AGENT_RESIDENT: "process.memory.usage";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_name_labels_that_are_there() {
        for same in OPENTELEMETRY {
            for (name, value) in same.attributes {
                if let Label(label) = value {
                    assert!(same.metric.labels.contains(label), "{}: {name}", same.metric.name);
                }
            }
        }
    }
}
