//! Anonymous memory of a worker: reserved, bound to a NUMA node, made resident piece by piece, proven to be so, given back.
//! mmap(2), madvise(2), mbind(2), mincore(2). `MADV_POPULATE_WRITE` is there since Linux 5.14; before, pages are touched.
#![expect(unsafe_code, reason = "maps memory and hands out slices of it")]

use std::{io, ops::Range, ptr::NonNull};

use serde::{Deserialize, Serialize};

/// The least page of every architecture that Linux runs burners on, and the unit of everything here.
pub const BLOCK_BYTES: usize = 4_096;
/// Words of a block.
pub(super) const BLOCK_WORDS: usize = BLOCK_BYTES / size_of::<u64>();
/// A huge page of x86-64 and of aarch64 with pages of 4 KiB.
pub const HUGE_BYTES: usize = 2 << 20;
/// `MPOL_BIND` of include/uapi/linux/mempolicy.h.
const MPOL_BIND: libc::c_ulong = 2;
/// Kernels are built for at most this many nodes: `NODES_SHIFT` 10 of arch/x86/Kconfig.
const MAX_NODES: usize = 1_024;

/// A page's worth of words, aligned for the widest registers.
#[derive(Debug, Clone)]
#[repr(C, align(4096))]
pub(super) struct Block(pub(super) [u64; BLOCK_WORDS]);

impl Block {
    /// All zero.
    pub(super) const ZERO: Self = Self([0; BLOCK_WORDS]);
}

/// Which pages hold the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    /// Of 4 KiB: `MADV_NOHUGEPAGE`.
    Small,
    /// Of 2 MiB where the kernel has them at hand: `MADV_HUGEPAGE`.
    Transparent,
    /// Of 2 MiB, out of the pool of `/proc/sys/vm/nr_hugepages`: `MAP_HUGETLB`.
    Huge,
}

/// A private mapping that is resident from its start up to a mark.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<Block>,
    blocks: usize,
    resident_blocks: usize,
    pages: Pages,
}

// SAFETY: the mapping belongs to this value alone and is reached only through borrows of it.
unsafe impl Send for Region {}

impl Region {
    /// Reserves addresses, a multiple of [`HUGE_BYTES`] from a boundary of such; no page is there yet.
    ///
    /// # Errors
    /// The kernel's: no addresses left, or for [`Pages::Huge`] a pool without as many free pages.
    pub(super) fn reserve(bytes: usize, pages: Pages) -> io::Result<Self> {
        let overflow = || io::Error::from(io::ErrorKind::OutOfMemory);
        let bytes = bytes.max(1).checked_next_multiple_of(HUGE_BYTES).ok_or_else(overflow)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let base = if pages == Pages::Huge {
            map(bytes, flags | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB)?
        } else {
            let whole = bytes.checked_add(HUGE_BYTES).ok_or_else(overflow)?;
            let start = map(whole, flags | libc::MAP_NORESERVE)?;
            let before = start.as_ptr().align_offset(HUGE_BYTES);
            // SAFETY: the offset is below HUGE_BYTES, so it stays in the mapping, with `bytes` after it.
            let base = unsafe { start.byte_add(before) };
            // SAFETY: both ends belong to the mapping just made, to which nothing refers yet.
            unsafe {
                unmap(start, before);
                unmap(base.byte_add(bytes), HUGE_BYTES - before);
            }
            base
        };
        let region = Self { base: base.cast(), blocks: bytes / BLOCK_BYTES, resident_blocks: 0, pages };
        match pages {
            Pages::Small => region.advise(0..region.blocks, libc::MADV_NOHUGEPAGE)?,
            // Kernels without huge pages refuse: small ones it is, as the look at them afterwards will tell.
            Pages::Transparent => drop(region.advise(0..region.blocks, libc::MADV_HUGEPAGE)),
            Pages::Huge => {}
        }
        // A core dump of the memory under test helps nobody.
        let _best_effort = region.advise(0..region.blocks, libc::MADV_DONTDUMP);
        Ok(region)
    }

    /// Takes pages from one NUMA node only. To be called before any page is there.
    ///
    /// # Errors
    /// The kernel's: no such node, or a kernel without NUMA.
    pub(super) fn bind(&self, node: u32) -> io::Result<()> {
        const BITS: usize = libc::c_ulong::BITS as usize;
        let mut mask = [0 as libc::c_ulong; MAX_NODES / BITS];
        let node = node as usize;
        let word = mask.get_mut(node / BITS).ok_or(io::ErrorKind::InvalidInput)?;
        *word = 1 << (node % BITS);
        // SAFETY: the range is this mapping's and the mask lives through the call; the policy changes no content.
        let outcome = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.base.as_ptr(),
                self.bytes(),
                MPOL_BIND,
                mask.as_ptr(),
                MAX_NODES as libc::c_ulong + 1,
                0 as libc::c_ulong,
            )
        };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes the next `bytes` resident, up to the mapping's end.
    ///
    /// # Errors
    /// The kernel's when it has no memory to give; what became resident before stays.
    pub(super) fn grow(&mut self, bytes: usize) -> io::Result<()> {
        let end = (self.resident_blocks + bytes / BLOCK_BYTES).min(self.blocks);
        let range = self.resident_blocks..end;
        match self.advise(range.clone(), libc::MADV_POPULATE_WRITE) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            outcome => outcome?,
        }
        self.resident_blocks = end;
        // Pages of zeros can be merged, or dropped from huge pages under pressure (mm/huge_memory.c, underused):
        // one word in each keeps them.
        for (index, block) in self.blocks_mut()[range.clone()].iter_mut().enumerate() {
            block.0[0] = !((range.start + index) as u64);
        }
        Ok(())
    }

    /// Gives back what is resident beyond `bytes`, as far as it is whole pages of the pool where it is of such.
    ///
    /// # Errors
    /// The kernel's; none is known for memory of one's own.
    pub(super) fn shrink_to(&mut self, bytes: usize) -> io::Result<()> {
        let page_blocks = self.page_blocks();
        let keep = bytes.div_ceil(BLOCK_BYTES).next_multiple_of(page_blocks);
        if keep >= self.resident_blocks {
            return Ok(());
        }
        // The last page is there as a whole, and madvise(2) takes none of the pool in parts.
        let range = keep..self.resident_blocks.next_multiple_of(page_blocks);
        self.resident_blocks = keep;
        self.advise(range, libc::MADV_DONTNEED)
    }

    /// Keeps what is resident from being swapped out: mlock(2).
    ///
    /// # Errors
    /// The kernel's, such as `RLIMIT_MEMLOCK` for a user without privilege.
    pub(super) fn lock(&self) -> io::Result<()> {
        // SAFETY: locks pages of this mapping; contents don't change.
        let outcome = unsafe { libc::mlock(self.base.as_ptr().cast(), self.resident_bytes()) };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// How many bytes of `range` (in blocks) the kernel's page tables say are in RAM: mincore(2).
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn proven_bytes(&self, range: Range<usize>) -> io::Result<usize> {
        assert!(range.start <= range.end && range.end <= self.blocks);
        let mut pages = vec![0u8; range.len()];
        // SAFETY: the range is inside the mapping, and the vector has a byte for each of its pages.
        let outcome = unsafe {
            libc::mincore(
                self.base.as_ptr().add(range.start).cast(),
                range.len() * BLOCK_BYTES,
                pages.as_mut_ptr(),
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(pages.iter().filter(|page| **page & 1 == 1).count() * BLOCK_BYTES)
    }

    /// Of the mapping.
    pub(super) fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    /// From the start of the mapping up to where it was made resident.
    pub(super) fn resident_bytes(&self) -> usize {
        self.resident_blocks * BLOCK_BYTES
    }

    /// Which pages were asked for.
    pub(super) fn pages(&self) -> Pages {
        self.pages
    }

    /// What is resident.
    pub(super) fn blocks(&self) -> &[Block] {
        // SAFETY: mapped, readable, and any bytes are a `Block`; borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.resident_blocks) }
    }

    /// What is resident.
    pub(super) fn blocks_mut(&mut self) -> &mut [Block] {
        // SAFETY: as in `blocks`, and writable.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.resident_blocks) }
    }

    /// What is resident, word by word.
    pub(super) fn words(&self) -> &[u64] {
        // SAFETY: as in `blocks`; a block is so many words and nothing else.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast(), self.resident_blocks * BLOCK_WORDS) }
    }

    /// What is resident, word by word.
    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`, and writable.
        unsafe {
            std::slice::from_raw_parts_mut(self.base.as_ptr().cast(), self.resident_blocks * BLOCK_WORDS)
        }
    }

    /// Of the least page that this mapping may be made of: transparent huge pages may be missing anywhere.
    pub(super) fn page_blocks(&self) -> usize {
        if self.pages == Pages::Huge { HUGE_BYTES / BLOCK_BYTES } else { 1 }
    }

    /// Writes one word of each of the least pages of the mapping, whether it is there or not; gives how many that were.
    pub(super) fn touch(&mut self) -> usize {
        let page_blocks = self.page_blocks();
        self.resident_blocks = self.blocks;
        let pages = self.blocks_mut().iter_mut().step_by(page_blocks);
        pages.map(|page| std::hint::black_box(&mut page.0[0])).map(|word| *word = 1).count()
    }

    fn advise(&self, range: Range<usize>, advice: libc::c_int) -> io::Result<()> {
        assert!(range.start <= range.end && range.end <= self.blocks);
        // SAFETY: inside the mapping; of the kinds of advice in use only MADV_DONTNEED changes contents, to zeros, and
        // `shrink_to` has taken those blocks out of reach before.
        let outcome = unsafe {
            libc::madvise(self.base.as_ptr().add(range.start).cast(), range.len() * BLOCK_BYTES, advice)
        };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly this mapping; no borrow of it outlives `self`.
        unsafe { unmap(self.base.cast(), self.bytes()) };
    }
}

fn map(bytes: usize, flags: libc::c_int) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice aliases nothing of this process.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// # Safety
/// The range is mapped by this module and nothing refers to it.
unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the caller's promise.
        let outcome = unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
        debug_assert_eq!(outcome, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_grown_is_resident_and_what_was_given_back_is_not() {
        for pages in [Pages::Small, Pages::Transparent] {
            let mut region = Region::reserve(8 << 20, pages).unwrap();
            assert_eq!(region.bytes(), 8 << 20);
            assert_eq!(region.proven_bytes(0..2_048).unwrap(), 0, "{pages:?}");
            region.grow(6 << 20).unwrap();
            assert_eq!(region.proven_bytes(0..1_536).unwrap(), 6 << 20, "{pages:?}");
            assert_eq!(region.blocks().len(), 1_536);
            region.shrink_to(2 << 20).unwrap();
            assert_eq!(region.blocks().len(), 512);
            assert_eq!(region.proven_bytes(0..2_048).unwrap(), 2 << 20, "{pages:?}");
            assert_eq!(region.blocks()[511].0[0], !511, "{pages:?}");
        }
    }

    #[test]
    fn growth_ends_at_the_end_of_the_mapping() {
        let mut region = Region::reserve(1, Pages::Small).unwrap();
        region.grow(1 << 30).unwrap();
        assert_eq!(region.resident_bytes(), HUGE_BYTES);
    }

    #[test]
    fn memory_bound_to_a_node_is_there_and_a_node_that_is_not_is_refused() {
        let mut region = Region::reserve(2 << 20, Pages::Small).unwrap();
        region.bind(0).unwrap();
        region.grow(2 << 20).unwrap();
        let maps = std::fs::read_to_string("/proc/self/numa_maps").unwrap();
        let address = format!("{:x} bind:0", region.base.as_ptr() as usize);
        assert!(maps.lines().any(|line| line.starts_with(&address)), "{address}\n{maps}");
        assert!(region.bind(1_000).is_err());
        assert!(region.bind(100_000).is_err());
    }

    #[test]
    fn more_than_there_are_addresses_is_refused() {
        assert!(Region::reserve(usize::MAX - 10, Pages::Small).is_err());
        assert!(Region::reserve(1 << 60, Pages::Transparent).is_err());
    }
}
