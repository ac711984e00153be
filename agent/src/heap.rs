//! The process's heap.
#![expect(unsafe_code, reason = "malloc_trim(3), which no crate wraps")]

/// Gives the kernel back what the allocator keeps and nobody uses. Reading the kernel's types takes some 30 MiB for a moment at
/// the start; without this a daemon that runs for months would hold them as long.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    // SAFETY: takes the allocator's own locks, and touches only what is free.
    let _whether_there_was_any = unsafe { libc::malloc_trim(0) };
}

/// Other allocators do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
