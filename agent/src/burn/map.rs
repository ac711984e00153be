//! Memory that two processes share, seen only through atomics.
#![expect(unsafe_code, reason = "maps memory and hands out references into it")]

use std::{
    ffi::CStr,
    fs::File,
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::AtomicU64,
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
    },
};

/// A shared mapping of a sealed `memfd`.
#[derive(Debug)]
pub(super) struct SharedMap {
    base: NonNull<std::ffi::c_void>,
    len: NonZeroUsize,
    fd: OwnedFd,
}

// SAFETY: the mapping is reached only through references to types that are sound under concurrent writes (see `Shared`).
unsafe impl Send for SharedMap {}
// SAFETY: as above.
unsafe impl Sync for SharedMap {}

/// Types that may be seen in shared memory.
///
/// # Safety
/// Every bit pattern, zeros included, is a value, and every field is an atomic.
pub(super) unsafe trait Shared {}

// SAFETY: all of its fields are atomic integers.
unsafe impl Shared for super::control::Slot {}
// SAFETY: all of its fields are atomic integers.
unsafe impl Shared for super::control::Header {}

impl SharedMap {
    /// Zeroed memory of `len` bytes that can neither shrink nor grow, so that no access can fault.
    pub(super) fn create(name: &CStr, len: usize) -> io::Result<Self> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let file = File::from(fd);
        file.set_len(len as u64)?;
        fcntl(
            &file,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
        )?;
        Self::open(file.into())
    }

    /// Maps the whole of what `create` made.
    pub(super) fn open(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| invalid("too long to map"))?;
        let len = NonZeroUsize::new(len).ok_or_else(|| invalid("an empty file can't be mapped"))?;
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map_err(|_| invalid("not a memfd"))?;
        if !SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK) {
            return Err(invalid("the memfd may shrink"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing of this process.
        let base = unsafe {
            mmap(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0)?
        };
        Ok(Self { base, len, fd: file.into() })
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// The `T` at a byte offset.
    ///
    /// # Panics
    /// When it would reach beyond the mapping or is not aligned.
    pub(super) fn at<T: Shared>(&self, offset: usize) -> &T {
        assert!(offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len()));
        assert!(offset.is_multiple_of(align_of::<T>()));
        // SAFETY: in bounds and aligned as just checked (the base is page-aligned); the mapping lives as long as
        // `self`, can't shrink (sealed), and `T: Shared` makes any bytes and any concurrent write sound.
        unsafe { self.base.byte_add(offset).cast::<T>().as_ref() }
    }

    /// `len` counters at a byte offset.
    ///
    /// # Panics
    /// When they would reach beyond the mapping or are not aligned.
    pub(super) fn slice(&self, offset: usize, len: usize) -> &[AtomicU64] {
        let bytes = len.checked_mul(size_of::<AtomicU64>());
        assert!(bytes.and_then(|bytes| offset.checked_add(bytes)).is_some_and(|end| end <= self.len()));
        assert!(offset.is_multiple_of(align_of::<AtomicU64>()));
        // SAFETY: as in `at`.
        unsafe { std::slice::from_raw_parts(self.base.byte_add(offset).cast().as_ptr(), len) }
    }
}

impl AsFd for SharedMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: exactly what `open` mapped; no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.base, self.len.get()) };
        debug_assert!(unmapped.is_ok());
    }
}
