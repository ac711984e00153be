//! What all programs in the kernel use: constants set when loading, reads of kernel memory, counting.
#![expect(
    unsafe_code,
    reason = "kernel memory and map elements are reached by pointer; the verifier checks each access"
)]

use core::{panic::PanicInfo, ptr};

use aya_ebpf::{helpers, maps::Array};

use crate::shared::{Counts, LATENCY};

/// Set by nobody, but the compiler can't know: it keeps the bound check that the verifier wants to see.
/// As wide as a register, so that the value that is checked is the one that is used.
static BUCKETS: u64 = LATENCY.buckets() as u64;

/// A constant that the daemon sets when it loads the program. The verifier folds it.
#[inline(always)]
pub fn constant<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference is valid to read. Volatile, else the compiler would fold the initial value.
    unsafe { ptr::read_volatile(value) }
}

/// Reads `offset` bytes into what `base` points to in the kernel. Nothing when that address is not mapped.
#[inline(always)]
pub fn read<T>(base: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address and copies, so that any value of `base` will do.
    unsafe { helpers::bpf_probe_read_kernel((base + u64::from(offset)) as *const T).ok() }
}

/// Nanoseconds of CLOCK_MONOTONIC.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { helpers::bpf_ktime_get_ns() }
}

/// The CPU that runs this program; it stays there to its end.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { helpers::bpf_get_smp_processor_id() }
}

/// Counts `value` in the histogram at `index`, which only this CPU writes.
#[inline(always)]
pub fn count(histograms: &Array<Counts>, index: u32, value: u64) {
    let bucket = LATENCY.index(value) as u64;
    if bucket >= constant(&BUCKETS) {
        return;
    }
    let Some(counts) = histograms.get_ptr_mut(index) else { return };
    // SAFETY: the element is there for as long as the map is; no other CPU writes it; the bucket is in bounds.
    // Volatile, so that `total` follows the bucket it accounts for.
    unsafe {
        let cell = (&raw mut (*counts).buckets).cast::<u32>().add(bucket as usize);
        ptr::write_volatile(cell, ptr::read_volatile(cell).wrapping_add(1));
        let total = &raw mut (*counts).total;
        ptr::write_volatile(total, ptr::read_volatile(total).wrapping_add(1));
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // No path leads here: the verifier refuses a loop without end.
    loop {}
}
