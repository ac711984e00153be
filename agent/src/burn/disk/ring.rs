//! One io_uring with one registered file and registered buffers.
#![expect(unsafe_code, reason = "hands buffers to the kernel")]

use std::{fs::File, io, num::NonZeroUsize, os::fd::AsRawFd as _, ptr::NonNull, time::Duration};

use io_uring::{IoUring, opcode, squeue, types};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::{file::fill_random, load::Direction};

/// Page-aligned memory, as direct I/O needs it.
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

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: mapped readable and writable for `len` bytes, borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.base.cast().as_ptr(), self.len.get()) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped.
        let unmapped = unsafe { munmap(self.base, self.len.get()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A ring that reads and writes one file through `depth` buffers of one block each.
pub struct Ring {
    ring: IoUring,
    buffers: AlignedBuffer,
    block_bytes: u32,
    depth: u32,
    /// Buffers could be registered; without, the kernel pins them for each I/O.
    fixed_buffers: bool,
    in_flight: u32,
    // Closed last: the ring refers to it.
    _file: File,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("depth", &self.depth).field("block_bytes", &self.block_bytes).finish()
    }
}

impl Ring {
    /// Sets one up; its buffers hold bytes that depend on `seed` alone.
    ///
    /// # Errors
    /// The kernel's: no io_uring (5.1; its timeouts need 5.11), forbidden by sysctl or seccomp, out of memory.
    pub fn new(file: File, depth: u32, block_bytes: u32, seed: u64) -> io::Result<Self> {
        let ring = build(depth)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel is older than 5.11"));
        }
        ring.submitter().register_files(&[file.as_raw_fd()])?;
        let mut buffers = AlignedBuffer::new(depth as usize * block_bytes as usize)?;
        fill_random(buffers.as_mut_slice(), &mut seed.wrapping_add(1));
        let vectors: Vec<_> = (0..depth)
            .map(|buffer| libc::iovec {
                iov_base: block(&buffers, buffer, block_bytes).cast(),
                iov_len: block_bytes as usize,
            })
            .collect();
        // SAFETY: the buffers live as long as the ring: `drop` waits for what is in flight before either goes.
        // RLIMIT_MEMLOCK may forbid registration; then each I/O names its buffer.
        let fixed_buffers = unsafe { ring.submitter().register_buffers(&vectors) }.is_ok();
        Ok(Self { ring, buffers, block_bytes, depth, fixed_buffers, in_flight: 0, _file: file })
    }

    /// Queues one I/O of a whole block through a buffer that is not in flight.
    ///
    /// # Panics
    /// When there is no such buffer.
    pub fn start(&mut self, buffer: u32, direction: Direction, offset: u64) {
        assert!(buffer < self.depth && self.in_flight < self.depth);
        let memory = block(&self.buffers, buffer, self.block_bytes);
        let file = types::Fixed(0);
        // Not more buffers than fit u16: depth is at most 1,024.
        let index = buffer as u16;
        let entry: squeue::Entry = match (direction, self.fixed_buffers) {
            (Direction::Read, true) => {
                opcode::ReadFixed::new(file, memory, self.block_bytes, index).offset(offset).build()
            }
            (Direction::Write, true) => {
                opcode::WriteFixed::new(file, memory, self.block_bytes, index).offset(offset).build()
            }
            (Direction::Read, false) => {
                opcode::Read::new(file, memory, self.block_bytes).offset(offset).build()
            }
            (Direction::Write, false) => {
                opcode::Write::new(file, memory, self.block_bytes).offset(offset).build()
            }
        };
        let entry = entry.user_data(u64::from(buffer));
        // SAFETY: `memory` is one block inside `buffers`, which outlives the I/O (see `drop`) and is not looked at
        // while in flight.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the queue has an entry for every buffer");
        self.in_flight += 1;
    }

    /// Submits what is queued and waits for one completion, at most for `timeout`.
    ///
    /// # Errors
    /// The kernel's; a timeout or a signal is none.
    pub fn submit_and_wait(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = types::Timespec::from(timeout);
        let args = types::SubmitArgs::new().timespec(&timeout);
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with the buffer and the outcome of every I/O that completed: bytes moved, or the kernel's error.
    pub fn completed(&mut self, mut each: impl FnMut(u32, io::Result<u32>)) {
        for entry in self.ring.completion() {
            self.in_flight -= 1;
            let result =
                u32::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
            each(entry.user_data() as u32, result);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel must be done with the buffers before they go. A device that never answers keeps this thread here;
        // the daemon kills the process then.
        while self.in_flight > 0 {
            if self.submit_and_wait(Duration::from_secs(1)).is_err() {
                std::process::abort();
            }
            self.completed(|_, _| {});
        }
    }
}

/// The cheapest ring that this kernel offers.
fn build(depth: u32) -> io::Result<IoUring> {
    // Completions are processed by the submitting thread when it waits, without interrupts: 6.1.
    let newest = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(depth);
    newest.or_else(|_| IoUring::new(depth))
}

fn block(buffers: &AlignedBuffer, buffer: u32, block_bytes: u32) -> *mut u8 {
    let offset = buffer as usize * block_bytes as usize;
    assert!(offset + block_bytes as usize <= buffers.len.get());
    // SAFETY: in bounds as just checked.
    unsafe { buffers.base.byte_add(offset).cast().as_ptr() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    fn wait_for_one(ring: &mut Ring) -> (u32, io::Result<u32>) {
        let mut outcome = None;
        while outcome.is_none() {
            ring.submit_and_wait(Duration::from_secs(1)).unwrap();
            ring.completed(|buffer, result| outcome = Some((buffer, result)));
        }
        outcome.unwrap()
    }

    #[test]
    fn what_is_written_is_in_the_file_and_what_is_read_completes() {
        let mut file = tempfile::tempfile().unwrap();
        let mut ring = Ring::new(file.try_clone().unwrap(), 4, 4_096, 1).unwrap();
        ring.start(3, Direction::Write, 8_192);
        let (buffer, result) = wait_for_one(&mut ring);
        assert_eq!((buffer, result.unwrap()), (3, 4_096));
        let mut content = vec![0; 4_096];
        file.seek(io::SeekFrom::Start(8_192)).unwrap();
        file.read_exact(&mut content).unwrap();
        assert_eq!(content, &ring.buffers.as_mut_slice()[3 * 4_096..]);
        ring.start(0, Direction::Read, 8_192);
        assert_eq!(wait_for_one(&mut ring).1.unwrap(), 4_096);
    }

    #[test]
    fn an_io_beyond_the_end_moves_no_bytes() {
        let mut ring = Ring::new(tempfile::tempfile().unwrap(), 1, 512, 1).unwrap();
        ring.start(0, Direction::Read, 1 << 20);
        assert_eq!(wait_for_one(&mut ring).1.unwrap(), 0);
    }

    #[test]
    fn a_wait_with_nothing_in_flight_ends_at_its_timeout() {
        let mut ring = Ring::new(tempfile::tempfile().unwrap(), 1, 512, 1).unwrap();
        ring.submit_and_wait(Duration::from_millis(5)).unwrap();
    }
}
