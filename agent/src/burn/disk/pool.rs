//! What stands in for io_uring where that can't be used: a thread for each I/O in flight, with pread(2) and pwrite(2).

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{
    buffer::AlignedBuffer,
    load::{Io, Operation},
};
use crate::clock;

/// The longest wait.
const TICK: Duration = Duration::from_millis(3);

/// An I/O on its way to a thread and back.
#[derive(Debug)]
struct Job {
    index: u32,
    io: Io,
    buffer: AlignedBuffer,
    result: Result<u32, i32>,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// CPU time of all threads.
    on_cpu_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

/// Threads that read and write one file, on the core of the thread that made them.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    buffers: Vec<Option<AlignedBuffer>>,
    queued: Vec<Job>,
    done: mpsc::Receiver<Job>,
    came: Vec<Job>,
}

impl Pool {
    /// Starts `depth` threads; buffers hold bytes that depend on `seed` alone.
    ///
    /// # Errors
    /// No memory, or no more threads.
    pub(super) fn new(file: &Arc<File>, depth: u32, buffer_bytes: u32, seed: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (sender, done) = mpsc::channel();
        let mut pool = Self { shared, buffers: Vec::new(), queued: Vec::new(), done, came: Vec::new() };
        for index in 0..u64::from(depth) {
            let buffer = AlignedBuffer::random(buffer_bytes as usize, seed.wrapping_add(index << 32))?;
            pool.buffers.push(Some(buffer));
            let (shared, file, sender) = (pool.shared.clone(), file.clone(), sender.clone());
            thread::Builder::new()
                .name(format!("io-{index}"))
                .spawn(move || serve(&shared, &file, &sender))?;
        }
        Ok(pool)
    }

    /// A buffer that is not in flight.
    pub(super) fn buffer(&mut self, index: u32) -> &mut [u8] {
        self.buffers[index as usize].as_mut().expect("it is not in flight").as_mut_slice()
    }

    /// Queues one I/O through a buffer that is not in flight.
    pub(super) fn start(&mut self, index: u32, io: Io) {
        let buffer = self.buffers[index as usize].take().expect("it is not in flight");
        self.queued.push(Job { index, io, buffer, result: Ok(0) });
    }

    /// Hands out what is queued and waits for a completion, for `timeout` at most.
    pub(super) fn submit_and_wait(&mut self, timeout: Duration) {
        if !self.queued.is_empty() {
            let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.jobs.extend(self.queued.drain(..));
            drop(queue);
            self.shared.ready.notify_all();
        }
        if let Ok(job) = self.done.recv_timeout(timeout.min(TICK)) {
            self.came.push(job);
            self.came.extend(self.done.try_iter());
        }
    }

    /// See `Ring::completed`.
    pub(super) fn completed(&mut self, mut each: impl FnMut(u32, Result<u32, i32>, &mut [u8])) {
        for mut job in self.came.drain(..) {
            each(job.index, job.result, job.buffer.as_mut_slice());
            self.buffers[job.index as usize] = Some(job.buffer);
        }
    }

    /// What its threads used.
    pub(super) fn on_cpu(&self) -> Duration {
        Duration::from_nanos(self.shared.on_cpu_ns.load(Ordering::Relaxed))
    }
}

impl Drop for Pool {
    /// Threads end after their current I/O, or with the process.
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.is_closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.ready.notify_all();
    }
}

/// What a thread does.
fn serve(shared: &Shared, file: &File, done: &mpsc::Sender<Job>) {
    let mut counted = Duration::ZERO;
    while let Some(mut job) = next_job(shared) {
        job.result = carry_out(file, job.io, job.buffer.as_mut_slice());
        let on_cpu = clock::thread_cpu();
        shared.on_cpu_ns.fetch_add(clock::ns(on_cpu.saturating_sub(counted)), Ordering::Relaxed);
        counted = on_cpu;
        if done.send(job).is_err() {
            return;
        }
    }
}

fn next_job(shared: &Shared) -> Option<Job> {
    let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if queue.is_closed {
            return None;
        }
        if let Some(job) = queue.jobs.pop_front() {
            return Some(job);
        }
        queue = shared.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

fn carry_out(file: &File, io: Io, buffer: &mut [u8]) -> Result<u32, i32> {
    let buffer = &mut buffer[..io.bytes as usize];
    let moved = match io.operation {
        Operation::Read => file.read_at(buffer, io.offset),
        Operation::Write => file.write_at(buffer, io.offset),
        Operation::Sync => file.sync_all().map(|()| 0),
    };
    moved.map(|bytes| bytes as u32).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_what_it_is_told_to() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut pool = Pool::new(&file, 4, 4_096, 1).unwrap();
        let written: Vec<Vec<u8>> = (0..4).map(|index| pool.buffer(index).to_vec()).collect();
        let all = |pool: &mut Pool, operation: Operation, bytes: u32| {
            for index in 0..4 {
                pool.start(index, Io { operation, bytes, offset: u64::from(3 - index) * 4_096 });
            }
            let mut results = Vec::new();
            while results.len() < 4 {
                pool.submit_and_wait(TICK);
                pool.completed(|_, result, _| results.push(result));
            }
            assert_eq!(results, vec![Ok(bytes); 4]);
        };
        all(&mut pool, Operation::Write, 4_096);
        (0..4).for_each(|index| pool.buffer(index).fill(0));
        all(&mut pool, Operation::Read, 4_096);
        all(&mut pool, Operation::Sync, 0);
        for index in 0..4 {
            assert_eq!(pool.buffer(index), written[index as usize]);
        }
        assert!(pool.on_cpu() > Duration::ZERO);
    }

    #[test]
    fn the_kernels_error_comes_back() {
        let file = Arc::new(File::open("/").unwrap());
        let mut pool = Pool::new(&file, 1, 512, 1).unwrap();
        pool.start(0, Io { operation: Operation::Read, bytes: 512, offset: 0 });
        let mut result = None;
        while result.is_none() {
            pool.submit_and_wait(TICK);
            pool.completed(|_, outcome, _| result = Some(outcome));
        }
        assert_eq!(result, Some(Err(libc::EISDIR)));
    }
}
