//! What all programs in the kernel use: constants set when loading, reads of kernel memory, counting.
#![expect(
    unsafe_code,
    reason = "kernel memory and map elements are reached by pointer; the verifier checks each access"
)]

use core::{arch::asm, mem, panic::PanicInfo, ptr};

use aya_ebpf::{helpers, maps::Array};

use crate::shared::{Counts, LATENCY, MOST_WATCHED, Name, Watched, burner_bit};

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

/// The member `offset` bytes into what `base` points to in the kernel, for programs that are given typed pointers: `base`
/// is one of their arguments, or a pointer that was read in this way. A load, not a call. 0 when that address is not mapped.
#[inline(always)]
pub fn member<T>(base: u64, offset: u32) -> T {
    // SAFETY: the verifier knows the type and refuses what is not one member of it.
    unsafe { ptr::read_volatile((base + u64::from(offset)) as *const T) }
}

/// A task's name, as two words: the verifier takes no wider load.
#[inline(always)]
pub fn name(task: u64, offset: u32) -> Name {
    [member(task, offset), member(task, offset + 8)]
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

/// The task that runs: its thread group and its own number, as the first pid namespace has them.
#[inline(always)]
pub fn current() -> Task {
    let ids = helpers::bpf_get_current_pid_tgid();
    Task { tgid: (ids >> 32) as u32, pid: ids as u32 }
}

/// The name of the task that runs.
#[inline(always)]
pub fn own_name() -> Name {
    let name = helpers::bpf_get_current_comm().unwrap_or_default();
    // SAFETY: of one size, and valid for any bits.
    unsafe { mem::transmute::<[u8; 16], Name>(name) }
}

/// The task that runs, as an address for [`read`].
#[inline(always)]
pub fn own_task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { helpers::bpf_get_current_task() }
}

/// `bit` if the task that runs has its own number at that offset.
#[inline(always)]
pub fn if_own_pid(offset: u32, bit: u32) -> u32 {
    if read(own_task(), offset) == Some(current().pid) { bit } else { 0 }
}

/// `bit` if it has the number of its process there.
#[inline(always)]
pub fn if_own_tgid(offset: u32, bit: u32) -> u32 {
    if read(own_task(), offset) == Some(current().tgid) { bit } else { 0 }
}

/// `bit` if it has its name there, as far as `masks` go: older kernels leave anything behind a name's end.
#[inline(always)]
pub fn if_own_name(offset: u32, masks: Name, bit: u32) -> u32 {
    let Some([first, second]) = read::<Name>(own_task(), offset) else { return 0 };
    let own = own_name();
    if ((first ^ own[0]) & masks[0]) | ((second ^ own[1]) & masks[1]) == 0 { bit } else { 0 }
}

/// Puts a number where the daemon reads it.
#[inline(always)]
pub fn put_down(place: &Array<u64>, number: u32) {
    if let Some(place) = place.get_ptr_mut(0) {
        // SAFETY: the element is there for as long as the map is.
        unsafe { ptr::write_volatile(place, number.into()) }
    }
}

/// A task, known by its numbers.
#[derive(Clone, Copy)]
pub struct Task {
    /// Its thread group; 0 where that is not known.
    pub tgid: u32,
    /// Its own; 0 for the idle task.
    pub pid: u32,
}

/// Whether the thread group is a burner's: see [`burner_bit`].
#[inline(always)]
pub fn is_burner(burners: &Array<u64>, tgid: u32) -> bool {
    let (word, bit) = burner_bit(tgid);
    burners.get(word).is_some_and(|word| {
        // SAFETY: the element is there for as long as the map is; the daemon may write it at any moment.
        unsafe { ptr::read_volatile(word) & bit != 0 }
    })
}

/// Which of the first `count` cgroups that are watched the task that runs belongs to, or one below it. Linux 5.15 tells it to
/// tracepoints (commit 95b861a7935b).
#[inline(always)]
pub fn watched_cgroup(cgroups: &Array<Watched>, count: u32) -> Option<u32> {
    for slot in 0..MOST_WATCHED {
        if slot >= count {
            break;
        }
        let watched = cgroups.get_ptr(slot)?;
        // SAFETY: the element is there for as long as the map is; the daemon may write it at any moment. The helper has no
        // preconditions.
        let is_its = unsafe {
            let (id, level) = (
                ptr::read_volatile(&raw const (*watched).id),
                ptr::read_volatile(&raw const (*watched).level),
            );
            id != 0 && helpers::bpf_get_current_ancestor_cgroup_id(level as i32) == id
        };
        if is_its {
            return Some(slot);
        }
    }
    None
}

/// Adds to a number in a map that only this CPU writes.
///
/// # Safety
/// `number` must point into a map's element.
#[inline(always)]
pub unsafe fn add(number: *mut u64, value: u64) {
    // SAFETY: the caller's promise. Volatile, so that a reader finds writes in their order.
    unsafe { ptr::write_volatile(number, ptr::read_volatile(number).wrapping_add(value)) }
}

/// Adds to a number in a map that other CPUs may write too.
///
/// # Safety
/// `number` must point to 8 aligned bytes of a map's element.
#[inline(always)]
pub unsafe fn add_shared(number: *mut u64, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "lock *(u64 *)({number} + 0) += {value}",
            number = in(reg) number,
            value = in(reg) value,
            options(nostack)
        );
    }
}

/// Makes a word in a map `new` if it is `old`, whatever other CPUs do meanwhile. Linux has the instruction since 5.12.
///
/// # Safety
/// `word` must point to 8 aligned bytes of a map's element.
#[inline(always)]
pub unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> bool {
    let mut found = old;
    // SAFETY: the caller's promise. In assembly for Rust gives this target no such operation: compare with r0, which takes
    // what was there.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {new})",
            word = in(reg) word,
            new = in(reg) new,
            inlateout("r0") found,
            options(nostack)
        );
    }
    found == old
}

/// Counts `value` in the histogram at `index`, which only this CPU writes.
#[inline(always)]
pub fn count(histograms: &Array<Counts>, index: u32, value: u64) {
    if let Some(counts) = histograms.get_ptr_mut(index) {
        // SAFETY: the element is there for as long as the map is.
        unsafe { count_in(counts, value) }
    }
}

/// Counts `value` in a histogram that only this CPU writes.
///
/// # Safety
/// `counts` must point into a map's element.
#[inline(always)]
pub unsafe fn count_in(counts: *mut Counts, value: u64) {
    let bucket = LATENCY.index(value) as u64;
    if bucket >= constant(&BUCKETS) {
        return;
    }
    // SAFETY: the caller's promise; the bucket is in bounds. Volatile, so that `total` follows the bucket it accounts for.
    unsafe {
        let cell = (&raw mut (*counts).buckets).cast::<u32>().add(bucket as usize);
        ptr::write_volatile(cell, ptr::read_volatile(cell).wrapping_add(1));
        add(&raw mut (*counts).total, 1);
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // No path leads here: the verifier refuses a loop without end.
    loop {}
}
