//! Every metric that an agent can report: name, unit, kind, labels, help. Frames, results, displays and documents take
//! them from here and from nowhere else.
//!
//! Names are dotted, in the order subject, thing, property. Units are UCUM's short forms: `s`, `By`, `Cel`, `1` for a
//! count or a ratio. A counter's rate has the unit `<unit>/s`.

use crate::v1::MetricKind;

/// What a metric's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The value at an instant.
    Gauge,
    /// A sum since some start; its rate is what counts.
    Counter,
    /// Counts by bucket since the previous frame.
    Histogram,
}

/// One metric of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Such as `host.memory.available`.
    pub name: &'static str,
    /// Such as `By`.
    pub unit: &'static str,
    /// What its samples are.
    pub kind: Kind,
    /// Names of its labels, in the order in which columns carry their values.
    pub labels: &'static [&'static str],
    /// One sentence for people, with the kernel's name for it where there is one.
    pub help: &'static str,
    /// Which change of it is a change for the worse. Absent where that depends on what was asked.
    pub worse: Option<Worse>,
}

/// Which change of a metric is one for the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worse {
    /// More of it, such as of a latency.
    Rising,
    /// Less of it, such as of operations.
    Falling,
    /// Any of it at all, such as wrong results.
    Present,
}

impl From<Kind> for MetricKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Gauge => Self::Gauge,
            Kind::Counter => Self::Counter,
            // Histograms have columns of their own, without a kind.
            Kind::Histogram => Self::Unspecified,
        }
    }
}

macro_rules! worse {
    () => {
        None
    };
    ($worse:ident) => {
        Some(Worse::$worse)
    };
}

macro_rules! catalogue {
    ($($id:ident = $name:literal, $unit:literal, $kind:ident, [$($label:literal),*], $help:literal
        $(, worse when $worse:ident)?;)*) => {
        $(#[doc = concat!("`", $name, "` (", $unit, "): ", $help)]
        pub static $id: Metric = Metric {
            name: $name, unit: $unit, kind: Kind::$kind, labels: &[$($label),*], help: $help, worse: worse!($($worse)?),
        };)*

        /// All metrics, in the order of this file.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

catalogue! {
    HOST_CPU_TIME = "host.cpu.time", "s", Counter, ["cpu", "mode"],
        "Time that a core spent in a mode (user, nice, system, idle, iowait, irq, softirq, steal): /proc/stat.";
    HOST_CPU_FORKS = "host.cpu.forks", "1", Counter, [], "Processes and threads created: processes of /proc/stat.";
    HOST_CPU_CONTEXT_SWITCHES = "host.cpu.context_switches", "1", Counter, [],
        "Context switches of all cores: ctxt of /proc/stat.";
    HOST_CPU_RUNNABLE = "host.cpu.runnable", "1", Gauge, [], "Runnable tasks: procs_running of /proc/stat.";
    HOST_CPU_BLOCKED = "host.cpu.blocked", "1", Gauge, [], "Tasks that wait for I/O: procs_blocked of /proc/stat.", worse when Rising;

    HOST_MEMORY_TOTAL = "host.memory.total", "By", Gauge, [], "MemTotal of /proc/meminfo.";
    HOST_MEMORY_FREE = "host.memory.free", "By", Gauge, [], "MemFree of /proc/meminfo.";
    HOST_MEMORY_AVAILABLE = "host.memory.available", "By", Gauge, [],
        "What can be had without swapping: MemAvailable of /proc/meminfo.", worse when Falling;
    HOST_MEMORY_CACHED = "host.memory.cached", "By", Gauge, [], "Page cache: Cached of /proc/meminfo.";
    HOST_MEMORY_DIRTY = "host.memory.dirty", "By", Gauge, [], "Waiting to be written: Dirty of /proc/meminfo.";
    HOST_MEMORY_WRITEBACK = "host.memory.writeback", "By", Gauge, [], "Being written: Writeback of /proc/meminfo.";
    HOST_MEMORY_ANONYMOUS = "host.memory.anonymous", "By", Gauge, [], "AnonPages of /proc/meminfo.";
    HOST_MEMORY_SLAB_UNRECLAIMABLE = "host.memory.slab_unreclaimable", "By", Gauge, [],
        "SUnreclaim of /proc/meminfo.";
    HOST_SWAP_TOTAL = "host.swap.total", "By", Gauge, [], "SwapTotal of /proc/meminfo.";
    HOST_SWAP_FREE = "host.swap.free", "By", Gauge, [], "SwapFree of /proc/meminfo.";

    HOST_VM_FAULTS = "host.vm.faults", "1", Counter, [], "Page faults: pgfault of /proc/vmstat.";
    HOST_VM_MAJOR_FAULTS = "host.vm.major_faults", "1", Counter, [],
        "Page faults that needed I/O: pgmajfault of /proc/vmstat.", worse when Rising;
    HOST_VM_SWAPPED_IN = "host.vm.swapped_in", "1", Counter, [], "Pages: pswpin of /proc/vmstat.", worse when Rising;
    HOST_VM_SWAPPED_OUT = "host.vm.swapped_out", "1", Counter, [], "Pages: pswpout of /proc/vmstat.", worse when Rising;
    HOST_VM_HUGE_PAGE_FALLBACKS = "host.vm.huge_page_fallbacks", "1", Counter, [],
        "Page faults that wanted a huge page and got small ones: thp_fault_fallback of /proc/vmstat.", worse when Rising;
    HOST_VM_OOM_KILLS = "host.vm.oom_kills", "1", Counter, [], "oom_kill of /proc/vmstat.", worse when Present;

    HOST_DISK_READS = "host.disk.reads", "1", Counter, ["device"], "Completed reads: /proc/diskstats.";
    HOST_DISK_READ_BYTES = "host.disk.read_bytes", "By", Counter, ["device"], "Bytes read: /proc/diskstats.";
    HOST_DISK_WRITES = "host.disk.writes", "1", Counter, ["device"], "Completed writes: /proc/diskstats.";
    HOST_DISK_WRITTEN_BYTES = "host.disk.written_bytes", "By", Counter, ["device"],
        "Bytes written: /proc/diskstats.";
    HOST_DISK_IN_FLIGHT = "host.disk.in_flight", "1", Gauge, ["device"], "I/Os in flight: /proc/diskstats.", worse when Rising;
    HOST_DISK_BUSY_TIME = "host.disk.busy_time", "s", Counter, ["device"],
        "Time with at least one I/O in flight: /proc/diskstats.";

    HOST_NETWORK_RECEIVED_BYTES = "host.network.received_bytes", "By", Counter, ["interface"], "/proc/net/dev.";
    HOST_NETWORK_RECEIVED_PACKETS = "host.network.received_packets", "1", Counter, ["interface"], "/proc/net/dev.";
    HOST_NETWORK_RECEIVE_ERRORS = "host.network.receive_errors", "1", Counter, ["interface"], "/proc/net/dev.", worse when Present;
    HOST_NETWORK_RECEIVE_DROPS = "host.network.receive_drops", "1", Counter, ["interface"], "/proc/net/dev.", worse when Rising;
    HOST_NETWORK_SENT_BYTES = "host.network.sent_bytes", "By", Counter, ["interface"], "/proc/net/dev.";
    HOST_NETWORK_SENT_PACKETS = "host.network.sent_packets", "1", Counter, ["interface"], "/proc/net/dev.";
    HOST_NETWORK_SEND_ERRORS = "host.network.send_errors", "1", Counter, ["interface"], "/proc/net/dev.", worse when Present;
    HOST_NETWORK_SEND_DROPS = "host.network.send_drops", "1", Counter, ["interface"], "/proc/net/dev.", worse when Rising;

    HOST_FILESYSTEM_AVAILABLE = "host.filesystem.available", "By", Gauge, ["folder"],
        "Room for users in the file system of a folder that a run writes to, or of the agent's records: statvfs(2).";
    HOST_FILESYSTEM_INODES_FREE = "host.filesystem.inodes_free", "1", Gauge, ["folder"],
        "Files that can still be made there, where the file system has a number of them: statvfs(2).";
    HOST_CLOCK_STEP = "host.clock.step", "s", Gauge, [],
        "By how much the wall clock was set since the frame before: CLOCK_REALTIME against CLOCK_BOOTTIME.";

    HOST_PRESSURE_STALLED = "host.pressure.stalled", "s", Counter, ["resource", "share"],
        "Time that some or all (full) tasks waited for a resource: /proc/pressure.", worse when Rising;

    HOST_TEMPERATURE = "host.temperature", "Cel", Gauge, ["sensor", "label", "package", "core"],
        "A thermal zone or hwmon sensor of /sys/class; package and core are empty where the driver does not say.", worse when Rising;
    HOST_CRITICAL_TEMPERATURE = "host.critical_temperature", "Cel", Gauge, ["sensor", "label", "package", "core"],
        "Where a sensor says that the hardware takes harm: temp*_crit of hwmon, or a zone's critical trip point.";
    HOST_FAN_SPEED = "host.fan.speed", "r/min", Gauge, ["sensor", "label"], "fan*_input of /sys/class/hwmon.";
    HOST_SENSOR_POWER = "host.sensor.power", "W", Gauge, ["sensor", "label"],
        "power*_average, or power*_input where there is none, of /sys/class/hwmon.", worse when Rising;
    HOST_COOLING_STATE = "host.cooling.state", "1", Gauge, ["device", "type"],
        "How far a cooling device is engaged, 0 for not at all: cur_state of /sys/class/thermal/cooling_device*.", worse when Rising;

    HOST_CPU_THROTTLES = "host.cpu.throttles", "1", Counter, ["cpu", "package", "core"],
        "Times a core was slowed for heat: core_throttle_count of /sys/devices/system/cpu.", worse when Rising;
    HOST_CPU_THROTTLED_TIME = "host.cpu.throttled_time", "s", Counter, ["cpu", "package", "core"],
        "Time a core was slowed for heat, counted when it ends: core_throttle_total_time_ms.", worse when Rising;
    HOST_CPU_THROTTLED = "host.cpu.throttled", "1", Gauge, ["cpu", "package", "core"],
        "1 while the counts of a core's throttling rose within the last second, else 0.", worse when Rising;
    HOST_PACKAGE_THROTTLES = "host.package.throttles", "1", Counter, ["package", "die"],
        "Times a package was slowed for heat: package_throttle_count.", worse when Rising;
    HOST_PACKAGE_THROTTLED_TIME = "host.package.throttled_time", "s", Counter, ["package", "die"],
        "Time a package was slowed for heat, counted when it ends: package_throttle_total_time_ms.", worse when Rising;
    HOST_PACKAGE_THROTTLED = "host.package.throttled", "1", Gauge, ["package", "die"],
        "1 while the counts of a package's throttling rose within the last second, else 0.", worse when Rising;

    HOST_CPU_FREQUENCY = "host.cpu.frequency", "Hz", Gauge, ["cpu"],
        "What cpufreq has for a core now: scaling_cur_freq.", worse when Falling;
    HOST_CPU_FREQUENCY_LIMIT = "host.cpu.frequency_limit", "Hz", Gauge, ["cpu"],
        "The highest that cpufreq may choose now: scaling_max_freq.", worse when Falling;
    HOST_CPU_CLOCK_RATIO = "host.cpu.clock_ratio", "1", Gauge, ["cpu"],
        "Mean clock of a core while it was not idle over its nominal one: APERF over MPERF of /dev/cpu/*/msr.", worse when Falling;
    HOST_ENERGY = "host.energy", "J", Counter, ["zone", "name", "package"],
        "Energy since the agent began: energy_uj of /sys/class/powercap, unwrapped.";
    HOST_POWER = "host.power", "W", Gauge, ["zone", "name", "package"],
        "Mean power between two readings of energy_uj.", worse when Rising;

    HOST_EDAC_CORRECTED = "host.edac.corrected", "1", Counter, ["controller", "dimm"],
        "Memory errors that ECC corrected, of a controller or of one DIMM: ce_count of /sys/devices/system/edac.", worse when Rising;
    HOST_EDAC_UNCORRECTED = "host.edac.uncorrected", "1", Counter, ["controller", "dimm"],
        "Memory errors that ECC could not correct: ue_count of /sys/devices/system/edac.", worse when Present;
    HOST_PCIE_ERRORS = "host.pcie.errors", "1", Counter, ["device", "severity"],
        "Errors that a PCIe device reported (correctable, nonfatal, fatal): aer_dev_* of /sys/bus/pci/devices.", worse when Present;
    HOST_NETWORK_FAULTS = "host.network.faults", "1", Counter, ["interface", "fault"],
        "What a NIC found wrong on its link: rx_crc_errors and others of /sys/class/net/*/statistics.", worse when Present;
    HOST_NETWORK_CARRIER_CHANGES = "host.network.carrier_changes", "1", Counter, ["interface"],
        "Times a NIC's link went up or down: carrier_changes of /sys/class/net.";
    HOST_NETWORK_LINK_DOWNS = "host.network.link_downs", "1", Counter, ["interface", "kind"],
        "Times an interface lost its link; kind is device, or virtual for one that the kernel makes up: carrier_down_count of /sys/class/net.", worse when Present;
    HOST_NVME_MEDIA_ERRORS = "host.nvme.media_errors", "1", Counter, ["device"],
        "Unrecovered data integrity errors of an NVMe drive: SMART log, bytes 160 to 175.", worse when Present;
    HOST_NVME_LOG_ENTRIES = "host.nvme.error_log_entries", "1", Counter, ["device"],
        "Entries that an NVMe drive's error log ever had: SMART log, bytes 176 to 191.", worse when Rising;
    HOST_NVME_WARNINGS = "host.nvme.critical_warnings", "1", Gauge, ["device"],
        "How many critical warnings an NVMe drive raises now: bits of byte 0 of the SMART log.", worse when Present;
    HOST_NVME_TEMPERATURE = "host.nvme.temperature", "Cel", Gauge, ["device"],
        "Composite temperature of an NVMe drive: SMART log, bytes 1 and 2.", worse when Rising;
    HOST_NVME_USED = "host.nvme.used", "1", Gauge, ["device"],
        "How much of an NVMe drive's life is used, 1 for all of it, and more: SMART log, byte 5.";

    HOST_NUMA_MEMORY_TOTAL = "host.numa.memory_total", "By", Gauge, ["node"],
        "MemTotal of /sys/devices/system/node/node*/meminfo.";
    HOST_NUMA_MEMORY_FREE = "host.numa.memory_free", "By", Gauge, ["node"],
        "MemFree of /sys/devices/system/node/node*/meminfo.";
    HOST_NUMA_MISSES = "host.numa.misses", "1", Counter, ["node"],
        "Pages that a node gave though another was wanted: numa_miss of node*/numastat.", worse when Rising;
    HOST_NUMA_FOREIGN = "host.numa.foreign", "1", Counter, ["node"],
        "Pages that were wanted of a node and came from another: numa_foreign of node*/numastat.", worse when Rising;

    HOST_INTERRUPTS = "host.interrupts", "1", Counter, ["cpu"], "Interrupts of a core: /proc/interrupts.";
    HOST_INTERRUPTS_BY_KIND = "host.interrupts_by_kind", "1", Counter, ["kind"],
        "Interrupts of all cores: the kernel's own kinds, such as LOC and TRM, and `device` for all others.";
    HOST_FILES_OPEN = "host.files.open", "1", Gauge, [], "Open file descriptions: /proc/sys/fs/file-nr.";
    HOST_FILES_MAX = "host.files.max", "1", Gauge, [], "How many there may be: /proc/sys/fs/file-nr.";
    CGROUP_PRESSURE_STALLED = "cgroup.pressure.stalled", "s", Counter, ["run", "cgroup", "resource", "share"],
        "Time that some or all (full) tasks of a cgroup waited for a resource; the cgroup `run` is a run's own.", worse when Rising;

    PROTECTED_PRESENT = "protected.present", "1", Gauge, ["unit"], "1 while a protected unit has a cgroup, 0 while it has none.", worse when Falling;
    PROTECTED_PRESSURE_STALLED = "protected.pressure.stalled", "s", Counter, ["unit", "resource", "share"],
        "Time that some or all (full) tasks of a protected unit waited for a resource: *.pressure of its cgroup.", worse when Rising;
    PROTECTED_CPU_TIME = "protected.cpu.time", "s", Counter, ["unit"],
        "CPU time of a protected unit: usage_usec of its cgroup's cpu.stat.";
    PROTECTED_MEMORY_SCANNED = "protected.memory.scanned", "1", Counter, ["unit"],
        "Pages of a protected unit that were looked at to be reclaimed: pgscan of its cgroup's memory.stat.", worse when Rising;
    PROTECTED_MEMORY_RECLAIMED = "protected.memory.reclaimed", "1", Counter, ["unit"],
        "Pages that were taken from a protected unit: pgsteal of its cgroup's memory.stat.", worse when Rising;
    PROTECTED_MEMORY_REFAULTS_ANONYMOUS = "protected.memory.refaults_anonymous", "1", Counter, ["unit"],
        "Anonymous pages that a protected unit wanted back soon after: workingset_refault_anon of memory.stat.", worse when Rising;
    PROTECTED_MEMORY_REFAULTS_FILE = "protected.memory.refaults_file", "1", Counter, ["unit"],
        "Pages of files that a protected unit wanted back soon after: workingset_refault_file of memory.stat.", worse when Rising;
    PROTECTED_MEMORY_THROTTLES = "protected.memory.throttles", "1", Counter, ["unit"],
        "Times a protected unit was held up over its memory.high: high of its cgroup's memory.events.", worse when Rising;
    PROTECTED_MEMORY_OOM_KILLS = "protected.memory.oom_kills", "1", Counter, ["unit"],
        "Processes of a protected unit that were killed for want of memory: oom_kill of memory.events.", worse when Present;
    PROTECTED_RUNQUEUE_LATENCY = "protected.runqueue.latency", "ns", Histogram, ["unit"],
        "How long tasks of a protected unit that could run waited for a core, counted when they leave it: sched probe.", worse when Rising;
    PROTECTED_BLOCK_LATENCY = "protected.block.latency", "ns", Histogram, ["unit"],
        "From the making of a request to its completion, of requests to disks that tasks of a protected unit issued: block probe.", worse when Rising;
    PROTECTED_HEALTH_LATENCY = "protected.health.latency", "s", Gauge, ["unit"],
        "From the connection to the end of the answer of a protected unit's health URL.", worse when Rising;
    PROTECTED_HEALTH_STATUS = "protected.health.status", "1", Gauge, ["unit"],
        "The HTTP status that a protected unit's health URL answers with.";
    PROTECTED_HEALTH_UP = "protected.health.up", "1", Gauge, ["unit"],
        "1 when a protected unit's health URL answered in time with 2xx, 0 when it did not.", worse when Falling;
    PROTECTED_QUERY_VALUE = "protected.query.value", "1", Gauge, ["unit"],
        "What Prometheus says to the query of a protected unit.";

    KERNEL_LOG_MESSAGES = "kernel_log.messages", "1", Counter, ["level"],
        "What the kernel logged since the agent began, by level (emerg to warning): /dev/kmsg.";
    KERNEL_LOG_MATCHES = "kernel_log.matches", "1", Counter, ["kind"],
        "Messages of the kernel's log that tell of trouble, such as hung_task, link_reset, io_error.";
    KERNEL_LOG_LOST = "kernel_log.lost", "1", Counter, [], "Messages that were overwritten before they were read.";

    BLOCK_LATENCY = "block.latency", "ns", Histogram, ["device", "operation"],
        "From a request's issue to the device to its completion: block probe.", worse when Rising;
    BLOCK_QUEUE = "block.queue", "ns", Histogram, ["device", "operation"],
        "From a request's making to its issue to the device: block probe, by BTF or raw tracepoints.", worse when Rising;
    BLOCK_SIZE = "block.size", "By", Histogram, ["device", "operation"], "Sizes of requests: block probe.";
    BLOCK_ERRORS = "block.errors", "1", Counter, ["device", "operation"],
        "Requests that were completed with an error: block probe.", worse when Present;
    BLOCK_REQUEUES = "block.requeues", "1", Counter, ["device", "operation"],
        "Requests that the driver gave back, to be issued again: block probe.", worse when Rising;
    BLOCK_SLOWEST_LATENCY = "block.slowest.latency", "ns", Gauge, ["device"],
        "Of the slowest request since the frame before, queue and service: block probe.", worse when Rising;
    BLOCK_SLOWEST_SECTOR = "block.slowest.sector", "1", Gauge, ["device"],
        "Where that request began, in sectors of 512 bytes: block probe.";
    BLOCK_SLOWEST_SIZE = "block.slowest.size", "By", Gauge, ["device"], "Its size: block probe.";
    BLOCK_SLOWEST_PID = "block.slowest.pid", "1", Gauge, ["device"], "The process that issued it: block probe.";
    BLOCK_IN_FLIGHT = "block.in_flight", "1", Gauge, ["device"],
        "Requests that were issued to the device and not completed yet: block probe.";
    RUNQUEUE_LATENCY = "runqueue.latency", "ns", Histogram, ["cpu"],
        "From the moment a task could run to the moment it ran, by the core it ran on: scheduler probe.", worse when Rising;
    RUNQUEUE_OTHERS_LATENCY = "runqueue.others.latency", "ns", Histogram, ["cpu"],
        "The same of tasks that are no burner's: scheduler probe, by BTF or raw tracepoints.", worse when Rising;
    SCHED_TIME = "sched.time", "s", Counter, ["cpu", "who"],
        "Time that a core ran burners, ran others, or was idle: scheduler probe.";
    SCHED_SWITCHES = "sched.switches", "1", Counter, ["cpu"], "Context switches of a core: scheduler probe.";
    SCHED_PREEMPTIONS = "sched.preemptions", "1", Counter, ["cpu"],
        "Switches away from a task that would have gone on: scheduler probe.";
    SCHED_BURNER_PREEMPTIONS = "sched.burner_preemptions", "1", Counter, ["task"],
        "How often a task of this name took a core from a burner that would have gone on: scheduler probe.", worse when Rising;
    SCHED_BURNER_PREEMPTED_TIME = "sched.burner_preempted_time", "s", Counter, ["task"],
        "How long tasks of this name then ran: scheduler probe.", worse when Rising;
    IRQ_HARD_COUNT = "irq.hard.count", "1", Counter, ["cpu", "irq"],
        "Runs of a device's interrupt handlers, by the interrupt's number and the handlers' names: irq probe.";
    IRQ_HARD_TIME = "irq.hard.time", "s", Counter, ["cpu", "irq"], "Time that these handlers ran: irq probe.";
    IRQ_HARD_DURATION = "irq.hard.duration", "ns", Histogram, ["cpu"],
        "How long a run of an interrupt handler took: irq probe.", worse when Rising;
    IRQ_SOFT_TIME = "irq.soft.time", "s", Counter, ["cpu", "vector"],
        "Time that soft interrupts ran, interrupts of devices left out: irq probe.";
    IRQ_SOFT_WAIT = "irq.soft.wait", "ns", Histogram, ["vector"],
        "From a soft interrupt's being raised to its run: irq probe.", worse when Rising;
    IRQ_SOFT_DURATION = "irq.soft.duration", "ns", Histogram, ["vector"],
        "How long a run of a soft interrupt took, interrupts of devices left out: irq probe.", worse when Rising;
    MEMORY_FAULTS = "memory.faults", "1", Counter, ["who"],
        "Page faults in user space, of burners and of others: memory probe.";
    MEMORY_STALL = "memory.stall", "ns", Histogram, ["stall"],
        "How long a task that asked for memory had to reclaim or compact some itself: memory probe.", worse when Rising;
    MEMORY_OOM_KILLS = "memory.oom_kills", "1", Counter, [],
        "Processes that the OOM killer chose; events tell which: memory probe.", worse when Present;
    TCP_CONNECT_LATENCY = "tcp.connect_latency", "ns", Histogram, ["who"],
        "From the call to connect to the established connection, of sockets of burners and of others: TCP probe.", worse when Rising;
    TCP_FAILED_CONNECTS = "tcp.failed_connects", "1", Counter, ["who"],
        "Connects that came to no connection: TCP probe.", worse when Rising;
    TCP_ACCEPTED = "tcp.accepted", "1", Counter, [], "Connections that came in: TCP probe.";
    TCP_RETRANSMITS = "tcp.retransmits", "1", Counter, ["who"],
        "Segments that were sent again, by sockets that burners connected and by all others: TCP probe.", worse when Rising;
    TCP_RTT = "tcp.rtt", "ns", Histogram, ["who", "at"],
        "The kernel's smoothed round trip of a connection at its end, and when it sent something again: TCP probe, by raw tracepoints.", worse when Rising;
    NETWORK_DROPS = "network.drops", "1", Counter, ["interface", "reason"],
        "Packets that the kernel threw away, by its own reason (enum skb_drop_reason): drops probe.", worse when Rising;
    HARDWARE_MACHINE_CHECKS = "hardware.machine_checks", "1", Counter, ["severity"],
        "Machine checks that the kernel logged, by whether the processor could correct it (corrected, uncorrected): mce_record, hardware probe.", worse when Present;
    HARDWARE_MEMORY_ERRORS = "hardware.memory_errors", "1", Counter, ["severity"],
        "Errors that memory controllers reported (corrected, uncorrected, deferred, fatal, info): mc_event, hardware probe.", worse when Present;
    HARDWARE_PCIE_ERRORS = "hardware.pcie_errors", "1", Counter, ["severity"],
        "Errors that PCIe devices reported (correctable, nonfatal, fatal): aer_event, hardware probe.", worse when Present;
    HARDWARE_FREQUENCY_CHANGES = "hardware.frequency_changes", "1", Counter, ["cpu"],
        "Times the kernel set a core to another frequency: cpu_frequency, hardware probe.";
    HARDWARE_FREQUENCY = "hardware.frequency", "Hz", Gauge, ["cpu"],
        "The frequency that the kernel last set a core to: cpu_frequency, hardware probe.", worse when Falling;
    HARDWARE_ZONE_READINGS = "hardware.zone_readings", "1", Counter, ["zone"],
        "Times the kernel read the temperature of a thermal zone for itself: thermal_temperature, hardware probe.";
    HARDWARE_ZONE_TEMPERATURE = "hardware.zone_temperature", "Cel", Gauge, ["zone"],
        "The temperature that the kernel last acted on: thermal_temperature, hardware probe.", worse when Rising;
    PROBE_WORKING = "probe.working", "1", Gauge, ["probe"],
        "1 while a probe is attached and was seen to tell the truth, else 0: the stream's schema, records and `sstsd check` say why.";
    PROBE_EVENTS = "probe.events", "1", Counter, ["probe"], "Times a probe's programs ran, while measured.";
    PROBE_TIME = "probe.time", "s", Counter, ["probe"], "Time a probe's programs ran, while measured.";
    PROBE_EVENT_COST = "probe.event_cost", "ns", Gauge, ["probe"],
        "Mean run time of a probe's programs at one event, in the latest measurement.";
    PROBE_EVENT_RATE = "probe.event_rate", "1/s", Gauge, ["probe"], "Events a second in the latest measurement.";
    PROBE_CORE_SHARE = "probe.core_share", "1", Gauge, ["probe"],
        "What a probe's programs took of one core in the latest measurement: 0.01 is 1 %.";
    PROBE_LOST = "probe.lost", "1", Counter, ["probe"], "Events that a probe saw and had no room to note.";

    BURNER_PREPARED = "burner.prepared", "1", Gauge, ["run", "burner", "kind"],
        "How much of what has to be done before it can burn is done, 0 to 1.";
    BURNER_TARGET = "burner.target", "1", Gauge, ["run", "burner", "kind", "worker"],
        "The load asked of a worker at this instant, as a share of its core.";
    BURNER_ON_CPU_TIME = "burner.on_cpu_time", "s", Counter, ["run", "burner", "kind", "worker"],
        "A worker's own CPU clock; its rate is the achieved load as a share of a core.", worse when Falling;
    BURNER_OPERATIONS = "burner.operations", "1", Counter, ["run", "burner", "kind"], "Operations done.", worse when Falling;
    BURNER_BYTES = "burner.bytes", "By", Counter, ["run", "burner", "kind"], "Bytes moved.", worse when Falling;
    BURNER_FLOPS = "burner.flops", "1", Counter, ["run", "burner", "kind"], "Floating-point operations done.", worse when Falling;
    BURNER_VERIFY_ERRORS = "burner.verify_errors", "1", Counter, ["run", "burner", "kind"],
        "Results that did not match their known answer.", worse when Present;
    BURNER_IO_ERRORS = "burner.io_errors", "1", Counter, ["run", "burner", "kind"], "I/Os that failed.", worse when Present;
    BURNER_LATENCY = "burner.latency", "ns", Histogram, ["run", "burner", "kind", "operation"],
        "From an I/O's submission (with a rate: from when it was due) to its completion, seen by the burner.", worse when Rising;

    AGENT_CPU_TIME = "agent.cpu_time", "s", Counter, [], "CPU time of the agent's process, burners left out.", worse when Rising;
    AGENT_RESIDENT = "agent.resident", "By", Gauge, [], "Resident memory of the agent's process.", worse when Rising;
    AGENT_TICK_TIME = "agent.tick_time", "s", Gauge, [], "What the previous tick took, reading and guarding.", worse when Rising;
    AGENT_SOURCE_AGE = "agent.source_age", "s", Gauge, ["source"],
        "How long ago the oldest reading was taken that a source beside the tick shows.";
    AGENT_TICKS_MISSED = "agent.ticks_missed", "1", Counter, [], "Ticks that began a whole period late or more.", worse when Rising;
}

/// The metric of that name.
pub fn find(name: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| metric.name == name).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_worse_is_known_where_a_change_can_be_judged() {
        assert_eq!(find("block.latency").unwrap().worse, Some(Worse::Rising));
        assert_eq!(find("burner.operations").unwrap().worse, Some(Worse::Falling));
        assert_eq!(find("burner.verify_errors").unwrap().worse, Some(Worse::Present));
        // What was asked decides.
        assert_eq!(find("burner.target").unwrap().worse, None);
        for metric in ALL.iter().filter(|metric| metric.worse == Some(Worse::Present)) {
            assert_ne!(metric.kind, Kind::Histogram, "{}", metric.name);
        }
    }

    #[test]
    fn names_are_unique_and_well_formed() {
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.split('.').count() >= 2, "{}", metric.name);
            assert!(
                metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'),
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert_eq!(find(metric.name), Some(*metric));
        }
    }
}
