//! Memory as direct I/O needs it.
#![expect(unsafe_code, reason = "maps memory and hands out slices of it")]

use std::{io, num::NonZeroUsize, ptr::NonNull};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::burn::random;

/// Page-aligned memory.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    base: NonNull<std::ffi::c_void>,
    len: NonZeroUsize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for AlignedBuffer {}

impl AlignedBuffer {
    /// Zeroed memory of at least one byte.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)?
        };
        Ok(Self { base, len })
    }

    /// Memory of bytes that neither compress nor repeat, and depend on `seed` alone.
    pub(super) fn random(len: usize, seed: u64) -> io::Result<Self> {
        let mut buffer = Self::new(len)?;
        fill_random(buffer.as_mut_slice(), &mut seed.wrapping_add(1));
        Ok(buffer)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped readable for `len` bytes, borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.base.cast().as_ptr(), self.len.get()) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: mapped readable and writable for `len` bytes, borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.base.cast().as_ptr(), self.len.get()) }
    }

    /// Its first byte, for the kernel.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.base.cast().as_ptr()
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped.
        let unmapped = unsafe { munmap(self.base, self.len.get()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Bytes that neither compress nor repeat.
pub(super) fn fill_random(buffer: &mut [u8], state: &mut u64) {
    for chunk in buffer.chunks_mut(8) {
        let word = random::split_mix(state).to_ne_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}
