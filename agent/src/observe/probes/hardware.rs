//! Reads what the programs of `agent-ebpf/src/hardware.rs` count: errors that hardware reported, changes of clocks,
//! temperatures that the kernel took.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use ssts_agent_ebpf::shared::{
    CoreClock, HardwareErrors, MACHINE_CHECK_SEVERITIES, MEMORY_SEVERITIES, MOST_ZONES, PCIE_SEVERITIES,
    ZoneReading,
};
use ssts_proto::{
    catalogue::{self, Metric},
    v1::AbsenceReason,
};

use super::{
    Attached, Canary, Target,
    burner_watch::Shared,
    error::ProbeError,
    program::{Constants, Definition, Hook, Programs},
    tracefs::Tracefs,
    types::KernelTypes,
    window::{Element, Window},
};
use crate::{
    host::{HostRoots, listing::numbered},
    observe::{
        frame::Frame,
        schema::{Column, Schema},
        source::Source,
    },
};

pub(super) const NAME: &str = "hardware";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hardware"));

const MACHINE_CHECK: &str = "mce_record";
const MEMORY_ERROR: &str = "mc_event";
const PCIE_ERROR: &str = "aer_event";
const FREQUENCY: &str = "cpu_frequency";
const TEMPERATURE: &str = "thermal_temperature";

/// Each depends on how the kernel was built, and for what.
static HOOKS: [Hook; 5] = [
    Hook::new("mce", MACHINE_CHECK, "machine_check").optional(),
    Hook::new("ras", MEMORY_ERROR, "memory_error").optional(),
    Hook::new("ras", PCIE_ERROR, "pcie_error").optional(),
    Hook::new("power", FREQUENCY, "frequency").optional(),
    Hook::new("thermal", TEMPERATURE, "temperature").optional(),
];

/// [`HardwareErrors`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
struct SharedErrors {
    machine_checks: [AtomicU64; MACHINE_CHECK_SEVERITIES.len()],
    memory: [AtomicU64; MEMORY_SEVERITIES.len()],
    pcie: [AtomicU64; PCIE_SEVERITIES.len()],
}

/// [`CoreClock`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
struct SharedClock {
    changes: AtomicU64,
    khz: AtomicU64,
}

/// [`ZoneReading`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
struct SharedZone {
    readings: AtomicU64,
    millidegrees: AtomicU64,
}

const _: () = assert!(
    size_of::<SharedErrors>() == size_of::<HardwareErrors>()
        && size_of::<SharedClock>() == size_of::<CoreClock>()
        && size_of::<SharedZone>() == size_of::<ZoneReading>()
);

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedErrors {}
// SAFETY: as above.
unsafe impl Element for SharedClock {}
// SAFETY: as above.
unsafe impl Element for SharedZone {}

/// Loads the probe and tests it.
pub(super) fn load(target: &Target) -> Result<Attached, ProbeError> {
    let source = Hardware::attach(target)?;
    let canary = source.canary()?;
    Ok(Attached {
        name: NAME,
        programs: source.programs.clone(),
        source: Box::new(source),
        canary,
        shared: Shared::default(),
    })
}

/// The source of the metrics that begin with `hardware.`.
#[derive(Debug)]
pub(super) struct Hardware {
    pub(super) programs: Arc<Programs>,
    roots: HostRoots,
    errors: Window<SharedErrors>,
    /// By CPU.
    clocks: Window<SharedClock>,
    /// By number.
    zones: Window<SharedZone>,
    has_clocks: bool,
    has_temperatures: bool,
    /// Of errors, and whether this kernel tells of them; in the order of [`SharedErrors`].
    error_columns: Vec<(bool, Column)>,
    /// CPU, changes, frequency.
    clock_columns: Vec<(usize, Column, Column)>,
    /// Zone, readings, temperature.
    zone_columns: Vec<(usize, Column, Column)>,
}

impl Hardware {
    pub(super) fn attach(target: &Target) -> Result<Self, ProbeError> {
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            has_btf: false,
            maps: vec![("CLOCKS", target.cpus as u32)],
            constants: Vec::new(),
            typed: typed_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, target)?;
        if programs.hooks.is_empty() {
            return Err(ProbeError::Kernel {
                what: format!("attaching probe {NAME}"),
                reason: "this kernel has none of the tracepoints that hardware is told of by".into(),
            });
        }
        Ok(Self {
            has_clocks: has(&programs, FREQUENCY),
            has_temperatures: has(&programs, TEMPERATURE),
            roots: target.roots.clone(),
            errors: programs.window("ERRORS", 1)?,
            clocks: programs.window("CLOCKS", target.cpus)?,
            zones: programs.window("ZONES", MOST_ZONES as usize)?,
            error_columns: Vec::new(),
            clock_columns: Vec::new(),
            zone_columns: Vec::new(),
            programs: Arc::new(programs),
        })
    }

    /// Nobody can make hardware fail for a test, but the kernel runs programs of raw tracepoints with arguments that it is
    /// given (Linux 5.10): looks whether they counted, and takes that back.
    pub(super) fn canary(&self) -> Result<Canary, ProbeError> {
        if self.programs.are_recorded() {
            return Ok(Canary::Untestable("what hardware tells can't be caused for a test".into()));
        }
        let (errors, clock) = (&self.errors[0], &self.clocks[0]);
        // No status at address 0: it counts as one that was corrected.
        let tests: [(_, _, &[u64], _, u64); 4] = [
            (MACHINE_CHECK, "raw_machine_check", &[0], &errors.machine_checks[0], 1),
            (MEMORY_ERROR, "raw_memory_error", &[1, 0, 0, 3], &errors.memory[1], 3),
            (PCIE_ERROR, "raw_pcie_error", &[0, 0, 2], &errors.pcie[2], 1),
            (FREQUENCY, "raw_frequency", &[1, 0], &clock.changes, 1),
        ];
        let mut tested = 0;
        for (event, program, arguments, counter, by) in tests {
            if !has(&self.programs, event) {
                continue;
            }
            let before = counter.load(Relaxed);
            if let Err(error) = self.programs.run_once(program, arguments) {
                return Ok(Canary::Untestable(format!("running a program for a test: {error}")));
            }
            let counted = counter.load(Relaxed).wrapping_sub(before);
            if counted < by {
                return Err(ProbeError::Canary(format!("{by} of {event} came, and {counted} were counted")));
            }
            counter.fetch_sub(by, Relaxed);
            tested += 1;
        }
        // What was there before it is not known.
        clock.khz.store(0, Relaxed);
        match tested {
            0 => {
                Ok(Canary::Untestable("what this kernel tells of hardware can't be caused for a test".into()))
            }
            _ => Ok(Canary::Working),
        }
    }

    fn error_counters(&self) -> impl Iterator<Item = &AtomicU64> {
        let errors = &self.errors[0];
        errors.machine_checks.iter().chain(&errors.memory).chain(&errors.pcie)
    }
}

impl Source for Hardware {
    fn describe(&mut self, schema: &mut Schema) {
        let kinds: [(_, &'static Metric, &[&str]); 3] = [
            (MACHINE_CHECK, &catalogue::HARDWARE_MACHINE_CHECKS, &MACHINE_CHECK_SEVERITIES),
            (MEMORY_ERROR, &catalogue::HARDWARE_MEMORY_ERRORS, &MEMORY_SEVERITIES),
            (PCIE_ERROR, &catalogue::HARDWARE_PCIE_ERRORS, &PCIE_SEVERITIES),
        ];
        self.error_columns.clear();
        for (event, metric, severities) in kinds {
            let is_told = has(&self.programs, event);
            let columns = severities.iter().map(|severity| (is_told, schema.column(metric, &[severity])));
            self.error_columns.extend(columns);
        }
        // A core without cpufreq has no clock that anybody sets.
        let has_clock = |(cpu, clock): &(usize, &SharedClock)| {
            clock.changes.load(Relaxed) > 0
                || self.roots.sys(format!("devices/system/cpu/cpu{cpu}/cpufreq")).is_dir()
        };
        let clocks = self.clocks.iter().enumerate().filter(has_clock);
        self.clock_columns = clocks
            .map(|(cpu, _)| {
                let label = cpu.to_string();
                let changes = schema.column(&catalogue::HARDWARE_FREQUENCY_CHANGES, &[&label]);
                (cpu, changes, schema.column(&catalogue::HARDWARE_FREQUENCY, &[&label]))
            })
            .collect();
        let listed = numbered(&self.roots.sys("class/thermal"), "thermal_zone");
        let is_there = |(zone, reading): &(usize, &SharedZone)| {
            reading.readings.load(Relaxed) > 0 || listed.iter().any(|(number, _)| *number as usize == *zone)
        };
        let zones = self.zones.iter().enumerate().filter(is_there);
        self.zone_columns = zones
            .map(|(zone, _)| {
                let label = format!("thermal_zone{zone}");
                let readings = schema.column(&catalogue::HARDWARE_ZONE_READINGS, &[&label]);
                (zone, readings, schema.column(&catalogue::HARDWARE_ZONE_TEMPERATURE, &[&label]))
            })
            .collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for ((is_told, column), counter) in self.error_columns.iter().zip(self.error_counters()) {
            frame.set(*column, told(*is_told, Some(counter.load(Relaxed) as f64)));
        }
        for (cpu, changes, frequency) in &self.clock_columns {
            let clock = &self.clocks[*cpu];
            let khz = Some(clock.khz.load(Relaxed)).filter(|khz| *khz > 0);
            frame.set(*changes, told(self.has_clocks, Some(clock.changes.load(Relaxed) as f64)));
            frame.set(*frequency, told(self.has_clocks, khz.map(|khz| khz as f64 * 1e3)));
        }
        for (zone, readings, temperature) in &self.zone_columns {
            let zone = &self.zones[*zone];
            let count = zone.readings.load(Relaxed);
            // 32 bits with a sign.
            let millidegrees = zone.millidegrees.load(Relaxed) as u32 as i32;
            let celsius = (count > 0).then(|| f64::from(millidegrees) / 1e3);
            frame.set(*readings, told(self.has_temperatures, Some(count as f64)));
            frame.set(*temperature, told(self.has_temperatures, celsius));
        }
    }

    fn changed(&self) -> bool {
        let mut clocks = self.clocks.iter().enumerate().filter(|(_, clock)| clock.changes.load(Relaxed) > 0);
        let mut zones = self.zones.iter().enumerate().filter(|(_, zone)| zone.readings.load(Relaxed) > 0);
        clocks.any(|(cpu, _)| self.clock_columns.iter().all(|(known, ..)| *known != cpu))
            || zones.any(|(zone, _)| self.zone_columns.iter().all(|(known, ..)| *known != zone))
    }
}

/// Whether a program is attached to the event.
fn has(programs: &Programs, event: &str) -> bool {
    programs.hooks.iter().any(|hook| hook.ends_with(event))
}

/// Nothing where the kernel doesn't tell, or has not told yet.
fn told(is_told: bool, value: Option<f64>) -> Result<f64, AbsenceReason> {
    if is_told { value.ok_or(AbsenceReason::Pending) } else { Err(AbsenceReason::Unsupported) }
}

fn typed_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
    if !HOOKS.iter().any(|hook| types.has_tracepoint(hook.event)) {
        return Err(ProbeError::NoType { what: "tracepoint that hardware is told of by".into() });
    }
    let mut constants = Vec::new();
    if types.has_tracepoint(MACHINE_CHECK) {
        // Since Linux 6.13 it stands in another one.
        let record = match types.argument(MACHINE_CHECK, "mce") {
            Ok(_) => 0,
            Err(_) => {
                types.argument(MACHINE_CHECK, "mce_hw_err")?;
                types.member("mce_hw_err", "m")?
            }
        };
        constants.push(("MCE_STATUS", record + types.member("mce", "status")?));
    }
    if types.has_tracepoint(TEMPERATURE) {
        constants.push(("ZONE_ID", types.member("thermal_zone_device", "id")?));
        constants.push(("ZONE_TEMPERATURE", types.member("thermal_zone_device", "temperature")?));
    }
    Ok(constants)
}

/// The constant of a program, and the field of a record that it is the offset of, with its size in bytes.
type RecordField = (&'static str, &'static str, u32);

fn recorded_constants(tracefs: &Tracefs) -> Result<Constants, ProbeError> {
    let fields: [(&str, &[RecordField]); 5] = [
        ("mce/mce_record", &[("MCE_RECORD_STATUS", "status", 8)]),
        ("ras/mc_event", &[("MC_ERROR_TYPE", "error_type", 4), ("MC_ERROR_COUNT", "error_count", 2)]),
        ("ras/aer_event", &[("AER_SEVERITY", "severity", 1)]),
        ("power/cpu_frequency", &[("FREQUENCY_STATE", "state", 4), ("FREQUENCY_CPU", "cpu_id", 4)]),
        ("thermal/thermal_temperature", &[("THERMAL_ID", "id", 4), ("THERMAL_TEMPERATURE", "temp", 4)]),
    ];
    let mut constants = Vec::new();
    let mut none = Ok(0);
    for (event, fields) in fields {
        if let Err(error) = tracefs.id(event) {
            none = Err(error);
            continue;
        }
        for (constant, field, size) in fields {
            constants.push((*constant, tracefs.format(event, |format| format.offset(field, *size))?));
        }
    }
    if constants.is_empty() {
        none?;
    }
    Ok(constants)
}
