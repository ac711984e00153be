//! One io_uring with a registered file, registered buffers and a registered descriptor of its own.
//!
//! I/Os are handed over [`FEED`] at a time. One system call for all that a wake-up found would be cheapest, but then the
//! device idles while they are prepared: with 32 in flight that cost a sixth of a virtual disk's IOPS. Waiting has no timeout
//! of its own: arming and cancelling a timer for every call costs more than the call, above all in a virtual machine, where
//! each is an exit. One timeout lies in the ring instead and ends a wait after [`TICK`], whatever the device does.
#![expect(unsafe_code, reason = "hands buffers to the kernel")]

use std::{fs::File, io, os::fd::AsRawFd as _, time::Duration};

use io_uring::{EnterFlags, IoUring, opcode, squeue, types};

use super::{
    buffer::AlignedBuffer,
    load::{Io, Operation},
};

/// The longest wait.
const TICK: Duration = Duration::from_millis(3);
/// How many I/Os are queued before the kernel gets them.
const FEED: u32 = 4;
/// Of the entry that ends a wait; buffers have smaller numbers.
const TICK_USER_DATA: u64 = u64::MAX;

/// A ring that reads and writes one file through `depth` buffers.
pub struct Ring {
    ring: IoUring,
    /// In the table of registered rings: 5.18.
    registered: Option<u32>,
    buffers: Vec<AlignedBuffer>,
    /// Buffers could be registered; without, the kernel pins them for each I/O.
    fixed_buffers: bool,
    in_flight: u32,
    tick: types::Timespec,
    tick_is_armed: bool,
    // Closed last: the ring refers to it.
    _file: File,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("buffers", &self.buffers).field("in_flight", &self.in_flight).finish()
    }
}

impl Ring {
    /// Sets one up for the calling thread; its buffers hold bytes that depend on `seed` alone.
    ///
    /// # Errors
    /// The kernel's: no io_uring (5.1; its timeouts need 5.11), forbidden by sysctl or seccomp, out of memory.
    pub fn new(file: File, depth: u32, buffer_bytes: u32, seed: u64) -> io::Result<Self> {
        // One more for the tick.
        let ring = build(depth + 1)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel is older than 5.11"));
        }
        ring.submitter().register_files(&[file.as_raw_fd()])?;
        let mut buffers = Vec::with_capacity(depth as usize);
        for index in 0..u64::from(depth) {
            buffers.push(AlignedBuffer::random(buffer_bytes as usize, seed.wrapping_add(index << 32))?);
        }
        let vectors: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer_bytes as usize,
            })
            .collect();
        // SAFETY: the buffers live as long as the ring: `drop` waits for what is in flight before either goes.
        // RLIMIT_MEMLOCK may forbid registration; then each I/O names its buffer.
        let fixed_buffers = unsafe { ring.submitter().register_buffers(&vectors) }.is_ok();
        keep_kernel_threads_here(&ring);
        let registered = register_itself(&ring);
        Ok(Self {
            ring,
            registered,
            buffers,
            fixed_buffers,
            in_flight: 0,
            tick: types::Timespec::from(TICK),
            tick_is_armed: false,
            _file: file,
        })
    }

    /// A buffer that is not in flight.
    pub(super) fn buffer(&mut self, buffer: u32) -> &mut [u8] {
        self.buffers[buffer as usize].as_mut_slice()
    }

    /// Queues one I/O through a buffer that is not in flight.
    ///
    /// # Panics
    /// When there is no such buffer, or it is too small.
    pub fn start(&mut self, buffer: u32, io: Io) {
        assert!(self.in_flight < self.buffers.len() as u32);
        let memory = &mut self.buffers[buffer as usize];
        assert!(io.bytes as usize <= memory.as_slice().len());
        let memory = memory.as_mut_ptr();
        let file = types::Fixed(0);
        // Not more buffers than fit u16: depth is at most 1,024.
        let index = buffer as u16;
        let Io { operation, bytes, offset } = io;
        let entry = match (operation, self.fixed_buffers) {
            (Operation::Read, true) => {
                opcode::ReadFixed::new(file, memory, bytes, index).offset(offset).build()
            }
            (Operation::Write, true) => {
                opcode::WriteFixed::new(file, memory, bytes, index).offset(offset).build()
            }
            (Operation::Read, false) => opcode::Read::new(file, memory, bytes).offset(offset).build(),
            (Operation::Write, false) => opcode::Write::new(file, memory, bytes).offset(offset).build(),
            (Operation::Sync, _) => opcode::Fsync::new(file).build(),
        };
        // SAFETY: `memory` is one buffer of at least `bytes`, which outlives the I/O (see `drop`) and is not looked at
        // while in flight.
        unsafe { self.push(&entry.user_data(u64::from(buffer))) };
        self.in_flight += 1;
        if self.queued() >= FEED {
            // What the kernel does not take now, it takes, or refuses, when it is waited for.
            let _later = self.enter(0);
        }
    }

    /// Submits what is queued and waits for a completion, for [`TICK`] at most.
    ///
    /// # Errors
    /// The kernel's; a signal is none.
    pub fn submit_and_wait(&mut self) -> io::Result<()> {
        if !self.tick_is_armed {
            let entry = opcode::Timeout::new(&raw const self.tick).build().user_data(TICK_USER_DATA);
            // SAFETY: the kernel copies the time when the entry is submitted, which is below.
            unsafe { self.push(&entry) };
            self.tick_is_armed = true;
        }
        forgive(self.enter(1))
    }

    /// Submits what is queued and waits for a completion, for `timeout` at most.
    ///
    /// # Errors
    /// The kernel's; a timeout or a signal is none.
    pub fn submit_and_wait_for(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = types::Timespec::from(timeout.min(TICK));
        let args = types::SubmitArgs::new().timespec(&timeout);
        forgive(self.ring.submitter().submit_with_args(1, &args).map(drop))
    }

    /// Calls `each` with the buffer, its number and the outcome of every I/O that completed: bytes moved, or the kernel's
    /// errno.
    pub fn completed(&mut self, mut each: impl FnMut(u32, Result<u32, i32>, &mut [u8])) {
        let Self { ring, buffers, in_flight, tick_is_armed, .. } = self;
        for entry in ring.completion() {
            if entry.user_data() == TICK_USER_DATA {
                *tick_is_armed = false;
                continue;
            }
            *in_flight -= 1;
            let buffer = entry.user_data() as u32;
            let result = u32::try_from(entry.result()).map_err(|_| -entry.result());
            each(buffer, result, buffers[buffer as usize].as_mut_slice());
        }
    }

    fn queued(&mut self) -> u32 {
        self.ring.submission().len() as u32
    }

    /// Submits what is queued and waits for so many completions.
    fn enter(&mut self, wanted: u32) -> io::Result<()> {
        match self.registered {
            Some(index) => enter_registered(index, self.queued(), wanted),
            None => self.ring.submitter().submit_and_wait(wanted as usize).map(drop),
        }
    }

    /// # Safety
    /// What the entry points to must live until its I/O completes.
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: as the caller promises.
        let pushed = unsafe { self.ring.submission().push(entry) };
        assert!(pushed.is_ok(), "the queue has an entry for every buffer and the tick");
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel must be done with the buffers before they go. A device that never answers keeps this thread here;
        // the daemon kills the process then.
        while self.in_flight > 0 {
            if self.submit_and_wait_for(TICK).is_err() {
                std::process::abort();
            }
            self.completed(|_, _, _| {});
        }
        // Else the kernel lets go of the file some time after the ring is closed, and of the ring with the thread.
        let _best_effort = self.ring.submitter().unregister_files();
        if let Some(index) = self.registered {
            unregister(&self.ring, index);
        }
    }
}

/// The cheapest ring that this kernel offers.
fn build(entries: u32) -> io::Result<IoUring> {
    // Completions are processed by the submitting thread when it waits, without interrupts: 6.1.
    let newest = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(entries);
    newest.or_else(|_| IoUring::new(entries))
}

/// What the kernel can't do without blocking (fsync, buffered I/O) it hands to threads of its own; they share the core of
/// this one: 5.14. Without, they run where they like, which is no error.
fn keep_kernel_threads_here(ring: &IoUring) {
    // SAFETY: zeros are an empty set.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes at most the size of `cores`.
    let known = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut cores) };
    if known == 0 {
        let _best_effort = ring.submitter().register_iowq_aff(&cores);
    }
}

/// io_uring_rsrc_update of linux/io_uring.h.
#[repr(C)]
struct Update {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Spares the kernel to look up the ring's descriptor at each call.
fn register_itself(ring: &IoUring) -> Option<u32> {
    const IORING_REGISTER_RING_FDS: libc::c_uint = 20;
    let fd = ring.as_raw_fd();
    let mut update = Update { offset: u32::MAX, reserved: 0, data: fd as u64 };
    // SAFETY: one entry, which lives through the call; the kernel writes the index that it chose into `offset`.
    let registered = unsafe {
        libc::syscall(libc::SYS_io_uring_register, fd, IORING_REGISTER_RING_FDS, &raw mut update, 1)
    };
    (registered == 1).then_some(update.offset)
}

/// Undoes [`register_itself`].
fn unregister(ring: &IoUring, index: u32) {
    const IORING_UNREGISTER_RING_FDS: libc::c_uint = 21;
    let mut update = Update { offset: index, reserved: 0, data: 0 };
    // SAFETY: one entry, which lives through the call. Should the kernel refuse, it drops the entry with the thread.
    unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            IORING_UNREGISTER_RING_FDS,
            &raw mut update,
            1,
        );
    }
}

/// io_uring_enter(2) by the index of the calling thread's registered ring.
fn enter_registered(index: u32, queued: u32, wanted: u32) -> io::Result<()> {
    const IORING_ENTER_REGISTERED_RING: u32 = 1 << 4;
    let events = if wanted > 0 { EnterFlags::GETEVENTS.bits() } else { 0 };
    let flags = events | IORING_ENTER_REGISTERED_RING;
    let no_mask = std::ptr::null::<libc::sigset_t>();
    // SAFETY: no pointer is handed over; entries that are queued were promised to be sound when pushed.
    let submitted =
        unsafe { libc::syscall(libc::SYS_io_uring_enter, index, queued, wanted, flags, no_mask, 0) };
    if submitted < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What only means "look again" is no error.
fn forgive(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Seek as _},
        time::Instant,
    };

    use super::*;

    fn io(operation: Operation, offset: u64) -> Io {
        Io { operation, bytes: 4_096, offset }
    }

    fn wait_for_one(ring: &mut Ring) -> (u32, Result<u32, i32>) {
        let mut outcome = None;
        while outcome.is_none() {
            ring.submit_and_wait().unwrap();
            ring.completed(|buffer, result, _| outcome = Some((buffer, result)));
        }
        outcome.unwrap()
    }

    #[test]
    fn what_is_written_is_in_the_file_and_what_is_read_completes() {
        let mut file = tempfile::tempfile().unwrap();
        let mut ring = Ring::new(file.try_clone().unwrap(), 4, 4_096, 1).unwrap();
        ring.start(3, io(Operation::Write, 8_192));
        assert_eq!(wait_for_one(&mut ring), (3, Ok(4_096)));
        let mut content = vec![0; 4_096];
        file.seek(io::SeekFrom::Start(8_192)).unwrap();
        file.read_exact(&mut content).unwrap();
        assert_eq!(content, ring.buffer(3));
        ring.start(0, io(Operation::Read, 8_192));
        assert_eq!(wait_for_one(&mut ring).1, Ok(4_096));
        assert_eq!(content, ring.buffer(0));
        ring.start(1, Io { operation: Operation::Sync, bytes: 0, offset: 0 });
        assert_eq!(wait_for_one(&mut ring), (1, Ok(0)));
    }

    #[test]
    fn an_io_beyond_the_end_moves_no_bytes() {
        let mut ring = Ring::new(tempfile::tempfile().unwrap(), 1, 4_096, 1).unwrap();
        ring.start(0, io(Operation::Read, 1 << 20));
        assert_eq!(wait_for_one(&mut ring).1, Ok(0));
    }

    #[test]
    fn a_wait_with_nothing_in_flight_ends_by_itself_each_time() {
        let mut ring = Ring::new(tempfile::tempfile().unwrap(), 1, 512, 1).unwrap();
        let begin = Instant::now();
        for _ in 0..10 {
            ring.submit_and_wait().unwrap();
            ring.completed(|_, _, _| panic!("nothing was started"));
            ring.submit_and_wait_for(Duration::from_millis(1)).unwrap();
        }
        assert!(begin.elapsed() > TICK, "it does sleep");
    }
}
