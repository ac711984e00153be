//! What a host is and what the agent can do on it.

use ssts_proto::v1::{CapabilityState, DescribeResponse, Host, Limits, Policy};

use super::{
    document::{Align, Document, Table, Tone},
    guards,
    run::probes,
};
use crate::{json, text};

/// The whole inventory.
pub(crate) fn host_document(description: &DescribeResponse) -> Document {
    let mut document = Document::default();
    let host = description.host.clone().unwrap_or_default();
    document.title(&host.hostname, Tone::Plain);
    document.fact("system", format!("{}, Linux {} {}", host.os, host.kernel_release, host.machine));
    let tick = text::trimmed(description.tick_rate_hz, 1);
    document.fact(
        "agent",
        format!("sstsd {}, uid {}, {tick} ticks a second", host.agent_version, host.agent_uid),
    );
    if let Some(halt) = &description.halt {
        document.fact(
            "halted",
            format!("since {} by {}: {}", json::rfc3339(halt.since_unix_ns), halt.by, halt.reason),
        );
    }
    processors(&host, &mut document);
    let (available, total) = (host.memory_available_bytes as f64, host.memory_total_bytes as f64);
    document.fact("memory", format!("{} available of {}", text::bytes(available), text::bytes(total)));
    document.fact("limits", limits(description.limits.as_ref()));
    if let Some(allowed) = &description.policy {
        document.fact("policy", policy(allowed));
        document.fact("you are", &allowed.your_role);
    }
    devices(&host, &mut document);
    capabilities(description, &mut document);
    document.section("Probes", probes(&description.probes));
    document.section("Guards", guards::table(&description.guards));
    document
}

fn processors(host: &Host, document: &mut Document) {
    document.fact("CPU", &host.cpu_model);
    let all: Vec<_> = host.cores.iter().map(|core| core.cpu).collect();
    let allowed: Vec<_> = host.cores.iter().filter(|core| core.allowed).map(|core| core.cpu).collect();
    let mut cores = format!("{} ({})", all.len(), text::core_list(&all));
    if allowed.len() < all.len() {
        cores += &format!(", burners may use {}", text::core_list(&allowed));
    }
    document.fact("cores", cores);
    document.fact("features", host.cpu_features.join(" "));
    let caches = host.caches.iter().map(|cache| {
        let kind =
            if cache.kind == "Unified" { String::new() } else { format!(" {}", cache.kind.to_lowercase()) };
        format!("L{}{kind} {}", cache.level, text::bytes(cache.size_bytes as f64))
    });
    platform(host, document);
    document.fact("caches", caches.collect::<Vec<_>>().join(", "));
    let nodes = host.numa_nodes.iter().map(|node| {
        format!("{}: cores {}, {}", node.node, node.cpus, text::bytes(node.memory_total_bytes as f64))
    });
    document.fact("NUMA nodes", nodes.collect::<Vec<_>>().join("; "));
}

/// Firmware, microcode, memory modules, and how the kernel was started.
fn platform(host: &Host, document: &mut Document) {
    let Some(platform) = &host.platform else { return };
    document.fact("microcode", &platform.microcode);
    let bios = [&platform.bios_vendor, &platform.bios_version, &platform.bios_date].map(String::as_str);
    document.fact("firmware", bios.join(" ").trim());
    document.fact(
        "machine",
        [&platform.system, &platform.board].map(String::as_str).join(", ").trim_matches([',', ' ']),
    );
    let dimms = platform.dimms.iter().map(|dimm| {
        let speed = dimm.megatransfers_per_s.map(|speed| format!(" at {speed} MT/s")).unwrap_or_default();
        let made = format!("{} {}", dimm.manufacturer, dimm.part_number);
        format!("{} {}{speed} {}", dimm.slot, text::bytes(dimm.size_bytes as f64), made.trim())
            .trim()
            .to_owned()
    });
    document.fact("memory modules", dimms.collect::<Vec<_>>().join("; "));
    let firmware = platform.disk_firmware.iter().map(|it| format!("{} {}", it.disk, it.revision));
    document.fact("disk firmware", firmware.collect::<Vec<_>>().join(", "));
    document.fact("kernel started with", &platform.kernel_command_line);
    // Those that nothing is to be said of are in the JSON.
    let mitigated = platform.mitigations.iter().filter(|it| it.state != "Not affected");
    let mitigated =
        mitigated.map(|it| format!("{}: {}", it.name, it.state.trim_start_matches("Mitigation: ")));
    document.fact("mitigations", mitigated.collect::<Vec<_>>().join("; "));
    document.fact("cgroup", &platform.cgroup);
}

/// What is narrower than all there is.
fn policy(policy: &Policy) -> String {
    let listed = |what: &str, items: &[String]| format!("{what} {}", items.join(", "));
    let mut parts = vec![format!("at most {} runs at once", policy.max_runs)];
    if policy.max_load_percent < 100.0 {
        parts.push(format!("a load of at most {} %", text::trimmed(policy.max_load_percent, 1)));
    }
    if !policy.never_cores.is_empty() {
        parts.push(format!("never cores {}", text::core_list(&policy.never_cores)));
    }
    parts.push(format!("{} of disks kept free", text::bytes(policy.disk_reserve_bytes as f64)));
    parts.push(listed("files below", &policy.paths));
    parts.push(listed("hours", &policy.hours));
    if !policy.peers.is_empty() {
        parts.push(listed("peers", &policy.peers));
    }
    if !policy.urls.is_empty() {
        parts.push(listed("services", &policy.urls));
    }
    let devices = [&policy.expendable_devices[..], &policy.mountable_devices[..]].concat();
    if !devices.is_empty() {
        parts.push(listed("devices", &devices));
    }
    if !policy.users.is_empty() {
        parts.push(format!("{} rules for users", policy.users.len()));
    }
    text::printable(&parts.join(", ")).into_owned()
}

fn limits(limits: Option<&Limits>) -> String {
    let Some(limits) = limits else { return String::new() };
    let parts = [
        limits.max_duration_ms.map(|ms| format!("runs of at most {}", text::duration(ms))),
        limits
            .min_available_memory_bytes
            .map(|bytes| format!("{} of memory kept available", text::bytes(bytes as f64))),
        limits.max_temperature_celsius.map(|celsius| format!("at most {} °C", text::trimmed(celsius, 1))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn devices(host: &Host, document: &mut Document) {
    use Align::{Left, Right};
    let mut disks =
        Table::new(&[("disk", Left), ("size", Right), ("kind", Left), ("sector", Right), ("model", Left)]);
    for disk in &host.disks {
        disks.row([
            disk.name.clone(),
            text::bytes(disk.size_bytes as f64),
            if disk.rotational { "rotating" } else { "solid" }.into(),
            text::bytes(f64::from(disk.logical_block_bytes)),
            disk.model.clone(),
        ]);
    }
    document.section("Disks", disks);

    let mut nics = Table::new(&[("interface", Left), ("state", Left), ("speed", Right), ("MTU", Right)]);
    for nic in &host.nics {
        let speed = nic.speed_mbit_per_s.map(|speed| format!("{speed} Mbit/s")).unwrap_or_default();
        nics.row([nic.name.clone(), nic.state.clone(), speed, nic.mtu_bytes.to_string()]);
    }
    document.section("Network", nics);

    document.heading("Sensors");
    if host.sensors.is_empty() {
        document.line("no sensor");
        return;
    }
    let mut sensors = Table::new(&[("sensor", Left), ("label", Left), ("now", Right), ("critical", Right)]);
    for sensor in &host.sensors {
        let celsius = |value: Option<f64>| value.map(|value| format!("{value:.1} °C")).unwrap_or_default();
        let now = sensor.celsius.map_or_else(|| "no reading".into(), |value| format!("{value:.1} °C"));
        sensors.row([sensor.id.clone(), sensor.label.clone(), now, celsius(sensor.critical_celsius)]);
    }
    document.table(sensors);
}

fn capabilities(description: &DescribeResponse, document: &mut Document) {
    use Align::Left;
    let mut table = Table::new(&[("capability", Left), ("state", Left), ("detail", Left)]);
    for capability in &description.capabilities {
        let state = match capability.state() {
            CapabilityState::Unspecified => "unknown",
            CapabilityState::Works => "works",
            CapabilityState::Degraded => "degraded",
            CapabilityState::Missing => "missing",
        };
        table.row([capability.name.clone(), state.into(), capability.detail.clone()]);
    }
    document.section("Capabilities", table);
    let mends = description.capabilities.iter().filter(|capability| !capability.mend.is_empty());
    for (index, capability) in mends.enumerate() {
        if index == 0 {
            document.heading("Mends");
        }
        document.fact(&capability.name, &capability.mend);
    }
}
