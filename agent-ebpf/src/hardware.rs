//! What hardware tells the kernel of itself: errors of processors, memory and PCIe devices, and each change of a core's clock
//! and each temperature that the kernel acts on. Rare, but for clocks, so that each program may be dear.
//!
//! mce_record: <https://github.com/torvalds/linux/blob/v6.18/arch/x86/kernel/cpu/mce/core.c>; mc_event: drivers/edac/edac_mc.c;
//! aer_event: drivers/pci/pcie/aer.c; cpu_frequency: drivers/cpufreq; thermal_temperature: drivers/thermal/thermal_core.c.
//! Needs Linux 5.8.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "map elements are reached by pointer; the verifier checks each access")]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_MMAPABLE,
    macros::{map, raw_tracepoint, tracepoint},
    maps::Array,
    programs::{RawTracePointContext, TracePointContext},
};
use ssts_agent_ebpf::{
    kernel::{add_shared, constant, read},
    shared::{
        CoreClock, HardwareErrors, MACHINE_CHECK_SEVERITIES, MEMORY_SEVERITIES, MOST_ZONES, PCIE_SEVERITIES,
        ZoneReading,
    },
};

/// Of the whole host.
#[map]
static ERRORS: Array<HardwareErrors> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One a core.
#[map]
static CLOCKS: Array<CoreClock> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// By the zone's number.
#[map]
static ZONES: Array<ZoneReading> = Array::with_max_entries(MOST_ZONES, BPF_F_MMAPABLE);

/// `mce.status`, from the beginning of what mce_record passes.
#[unsafe(no_mangle)]
static MCE_STATUS: u32 = 0;
/// `thermal_zone_device.id`, `thermal_zone_device.temperature`.
#[unsafe(no_mangle)]
static ZONE_ID: u32 = 0;
#[unsafe(no_mangle)]
static ZONE_TEMPERATURE: u32 = 0;
/// Fields of the records that tracepoint programs are given.
#[unsafe(no_mangle)]
static MCE_RECORD_STATUS: u32 = 0;
#[unsafe(no_mangle)]
static MC_ERROR_TYPE: u32 = 0;
#[unsafe(no_mangle)]
static MC_ERROR_COUNT: u32 = 0;
#[unsafe(no_mangle)]
static AER_SEVERITY: u32 = 0;
#[unsafe(no_mangle)]
static FREQUENCY_STATE: u32 = 0;
#[unsafe(no_mangle)]
static FREQUENCY_CPU: u32 = 0;
#[unsafe(no_mangle)]
static THERMAL_ID: u32 = 0;
#[unsafe(no_mangle)]
static THERMAL_TEMPERATURE: u32 = 0;

/// UC of MCi_STATUS, the same on Intel's and AMD's processors: arch/x86/include/asm/mce.h.
const UNCORRECTED: u64 = 1 << 61;

#[raw_tracepoint]
fn raw_machine_check(ctx: RawTracePointContext) -> i32 {
    machine_check(read(ctx.arg(0), constant(&MCE_STATUS)));
    0
}

#[tracepoint]
fn tp_machine_check(ctx: TracePointContext) -> u32 {
    machine_check(read(ctx.as_ptr() as u64, constant(&MCE_RECORD_STATUS)));
    0
}

/// One whose status can't be read is one all the same.
#[inline(always)]
fn machine_check(status: Option<u64>) {
    let severity = u32::from(status.is_some_and(|status| status & UNCORRECTED != 0));
    if let Some(errors) = ERRORS.get_ptr_mut(0)
        && severity < MACHINE_CHECK_SEVERITIES.len() as u32
    {
        // SAFETY: the element is there for as long as the map is; the severity is in bounds.
        unsafe { add_shared((&raw mut (*errors).machine_checks).cast::<u64>().add(severity as usize), 1) }
    }
}

#[raw_tracepoint]
fn raw_memory_error(ctx: RawTracePointContext) -> i32 {
    memory_error(ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(3) as u32);
    0
}

#[tracepoint]
fn tp_memory_error(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(severity) = read(record, constant(&MC_ERROR_TYPE))
        && let Some(count) = read::<u16>(record, constant(&MC_ERROR_COUNT))
    {
        memory_error(severity, count.into());
    }
    0
}

/// `count`: of errors that one event stands for. The verifier wants the bound checked on what is added to the pointer, so
/// it is as wide as a register.
#[inline(always)]
fn memory_error(severity: u32, count: u32) {
    let severity = u64::from(severity);
    if let Some(errors) = ERRORS.get_ptr_mut(0)
        && severity < constant(&KINDS_OF_MEMORY)
    {
        // SAFETY: as in `machine_check`.
        unsafe { add_shared((&raw mut (*errors).memory).cast::<u64>().add(severity as usize), count.into()) }
    }
}

#[raw_tracepoint]
fn raw_pcie_error(ctx: RawTracePointContext) -> i32 {
    pcie_error(ctx.arg::<u64>(2) as u8);
    0
}

#[tracepoint]
fn tp_pcie_error(ctx: TracePointContext) -> u32 {
    if let Some(severity) = read(ctx.as_ptr() as u64, constant(&AER_SEVERITY)) {
        pcie_error(severity);
    }
    0
}

#[inline(always)]
fn pcie_error(severity: u8) {
    let severity = u64::from(severity);
    if let Some(errors) = ERRORS.get_ptr_mut(0)
        && severity < constant(&KINDS_OF_PCIE)
    {
        // SAFETY: as in `machine_check`.
        unsafe { add_shared((&raw mut (*errors).pcie).cast::<u64>().add(severity as usize), 1) }
    }
}

/// Set by nobody, but the compiler can't know: they keep the bound checks that the verifier wants to see.
static KINDS_OF_MEMORY: u64 = MEMORY_SEVERITIES.len() as u64;
static KINDS_OF_PCIE: u64 = PCIE_SEVERITIES.len() as u64;

#[raw_tracepoint]
fn raw_frequency(ctx: RawTracePointContext) -> i32 {
    frequency(ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) as u32);
    0
}

#[tracepoint]
fn tp_frequency(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(khz) = read(record, constant(&FREQUENCY_STATE))
        && let Some(core) = read(record, constant(&FREQUENCY_CPU))
    {
        frequency(khz, core);
    }
    0
}

/// Drivers tell of a frequency that was chosen again too: that is no change.
#[inline(always)]
fn frequency(khz: u32, core: u32) {
    let Some(clock) = CLOCKS.get_ptr_mut(core) else { return };
    // SAFETY: the element is there for as long as the map is. Cores that share a clock set it in turns.
    unsafe {
        if ptr::read_volatile(&raw const (*clock).khz) != u64::from(khz) {
            ptr::write_volatile(&raw mut (*clock).khz, khz.into());
            add_shared(&raw mut (*clock).changes, 1);
        }
    }
}

#[raw_tracepoint]
fn raw_temperature(ctx: RawTracePointContext) -> i32 {
    let zone: u64 = ctx.arg(0);
    if let Some(id) = read(zone, constant(&ZONE_ID))
        && let Some(temperature) = read(zone, constant(&ZONE_TEMPERATURE))
    {
        self::temperature(id, temperature);
    }
    0
}

#[tracepoint]
fn tp_temperature(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(id) = read(record, constant(&THERMAL_ID))
        && let Some(temperature) = read(record, constant(&THERMAL_TEMPERATURE))
    {
        self::temperature(id, temperature);
    }
    0
}

#[inline(always)]
fn temperature(zone: u32, millidegrees: u32) {
    let Some(reading) = ZONES.get_ptr_mut(zone) else { return };
    // SAFETY: the element is there for as long as the map is. The kernel holds the zone's lock.
    unsafe {
        ptr::write_volatile(&raw mut (*reading).millidegrees, millidegrees.into());
        add_shared(&raw mut (*reading).readings, 1);
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
