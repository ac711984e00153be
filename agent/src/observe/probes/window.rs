//! Views of array maps, mapped into this process: readings without a system call.
#![expect(unsafe_code, reason = "a shared mapping is reached by pointer")]

use std::{
    io,
    ops::Deref,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU32, AtomicU64},
};

use ssts_agent_ebpf::shared::{Counts, LATENCY};

/// [`Counts`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct SharedCounts {
    pub(super) total: AtomicU64,
    pub(super) buckets: [AtomicU32; LATENCY.buckets()],
}

const _: () = assert!(size_of::<SharedCounts>() == size_of::<Counts>());

/// What may stand in a window.
///
/// # Safety
/// Only atomics, valid for any bits; of a size that is a multiple of 8, as the kernel lays out an array's elements.
pub(super) unsafe trait Element {}

// SAFETY: an atomic of 8 bytes.
unsafe impl Element for AtomicU64 {}
// SAFETY: atomics, and the assertion above with that of `Counts`.
unsafe impl Element for SharedCounts {}

/// Some elements of an array map that was created with BPF_F_MMAPABLE (Linux 5.5).
#[derive(Debug)]
pub(super) struct Window<T> {
    elements: NonNull<T>,
    len: usize,
    mapping: NonNull<libc::c_void>,
    mapping_len: usize,
}

// SAFETY: it is a view of atomics that this value alone unmaps.
unsafe impl<T: Element> Send for Window<T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for Window<T> {}

impl<T: Element> Window<T> {
    /// Maps `len` elements from element `first` on. The kernel refuses what the map doesn't hold.
    pub(super) fn open(map: BorrowedFd<'_>, first: usize, len: usize) -> io::Result<Self> {
        // SAFETY: the call has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let begin = first * size_of::<T>();
        let into_page = begin % page;
        let mapping_len = into_page + len * size_of::<T>();
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapping_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                (begin - into_page) as libc::off_t,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = NonNull::new(mapping).ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: within the mapping.
        let elements = unsafe { mapping.byte_add(into_page) }.cast();
        Ok(Self { elements, len, mapping, mapping_len })
    }
}

impl<T: Element> Deref for Window<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `len` elements for as long as `self` lives; a page is aligned for any of them, and
        // elements follow each other at multiples of their size. All are atomics, so that the kernel may write them.
        unsafe { slice::from_raw_parts(self.elements.as_ptr(), self.len) }
    }
}

impl<T> Drop for Window<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `open` with that length; references to it ended with `self`.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.mapping_len) };
    }
}
