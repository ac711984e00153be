//! The kernel's own log while the agent lives: counts by level and by kind of trouble, and what a run should be told. Read from
//! `/dev/kmsg`, Documentation/ABI/testing/dev-kmsg of the kernel, on a thread that sleeps until there is something.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use ssts_proto::{catalogue as metrics, v1::AbsenceReason};
use tracing::{error, info};

use super::{
    frame::Frame,
    kernel_file::absence,
    schema::{Column, Schema},
    source::Source,
};
use crate::{clock, host::HostRoots};

mod record;

pub use record::{KIND_NAMES, LEVEL_NAMES, MACHINE_CHECK, Record};

/// Longest record, and a little: `PRINTK_MESSAGE_MAX` of kernel/printk/internal.h.
const MAX_RECORD_BYTES: usize = 8_192;
/// Records that are passed on to the run in a second; the others are counted.
const TOLD_A_SECOND: u32 = 10;

/// Takes in what a run should be told.
pub trait Listener: Send + fmt::Debug {
    /// A record that tells of trouble.
    fn hear(&self, record: &Record<'_>);
    /// So many more came than are passed on in a second.
    fn hear_of_more(&self, records: u64);
    /// So many were overwritten before they were read.
    fn hear_of_lost(&self, records: u64);
}

/// Records that are read before the reader looks whether it is to stop.
const RECORDS_A_TURN: usize = 1_000;

/// What was counted so far.
#[derive(Debug, Default)]
struct Counts {
    /// Nobody counts any more.
    ended: AtomicBool,
    by_level: [AtomicU64; LEVEL_NAMES.len()],
    by_kind: [AtomicU64; KIND_NAMES.len()],
    lost: AtomicU64,
}

/// Shows the counts. The thread that counts ends when this is dropped.
#[derive(Debug)]
pub struct KernelLog {
    counts: Result<Arc<Counts>, AbsenceReason>,
    columns: Vec<Column>,
    stop: Option<(Arc<EventFd>, JoinHandle<()>)>,
}

impl KernelLog {
    /// Reads what is logged from now on. Where it can't be read, the counts are absent, with the reason.
    pub fn start(roots: &HostRoots, listener: Box<dyn Listener>) -> Self {
        let path = roots.dev("kmsg");
        let opened =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(&path);
        let started = opened.and_then(|mut log| {
            log.seek(SeekFrom::End(0))?;
            let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
            let counts = Arc::new(Counts::default());
            let reader =
                Reader { log, counts: counts.clone(), listener, next: None, second: Second::default() };
            let stopped = stop.clone();
            let thread =
                thread::Builder::new().name("kernel-log".into()).spawn(move || reader.run(&stopped))?;
            Ok((counts, (stop, thread)))
        });
        match started {
            Ok((counts, stop)) => Self { counts: Ok(counts), columns: Vec::new(), stop: Some(stop) },
            Err(error) => {
                info!(%error, "{} can't be read: the kernel's log is not followed", path.display());
                Self { counts: Err(absence(&error)), columns: Vec::new(), stop: None }
            }
        }
    }
}

impl Source for KernelLog {
    fn describe(&mut self, schema: &mut Schema) {
        let levels = LEVEL_NAMES.iter().map(|level| (&metrics::KERNEL_LOG_MESSAGES, *level));
        let kinds = KIND_NAMES.iter().map(|kind| (&metrics::KERNEL_LOG_MATCHES, *kind));
        self.columns = levels.chain(kinds).map(|(metric, label)| schema.column(metric, &[label])).collect();
        self.columns.push(schema.column(&metrics::KERNEL_LOG_LOST, &[]));
    }

    fn sample(&mut self, frame: &mut Frame) {
        let counts = match &self.counts {
            Ok(counts) if counts.ended.load(Ordering::Relaxed) => Err(AbsenceReason::ReadFailed),
            Ok(counts) => Ok(counts),
            Err(reason) => Err(*reason),
        };
        match counts {
            Ok(counts) => {
                let Counts { ended: _, by_level, by_kind, lost } = &**counts;
                let all = by_level.iter().chain(by_kind).chain([lost]);
                for (column, count) in self.columns.iter().zip(all) {
                    frame.set(*column, Ok(count.load(Ordering::Relaxed) as f64));
                }
            }
            Err(reason) => self.columns.iter().for_each(|column| frame.set(*column, Err(reason))),
        }
    }
}

impl Drop for KernelLog {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            // It fails only when it was told already.
            let _told = stop.write(1);
            let _it_panicked = thread.join();
        }
    }
}

/// Says, however the reader ends, that nobody counts any more.
#[derive(Debug)]
struct End(Arc<Counts>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Reader {
    log: File,
    counts: Arc<Counts>,
    listener: Box<dyn Listener>,
    /// The number that the next record has unless some were lost.
    next: Option<u64>,
    second: Second,
}

/// How much was passed on in the present second.
#[derive(Debug, Default)]
struct Second {
    began: Duration,
    told: u32,
    withheld: u64,
}

impl Reader {
    fn run(mut self, stop: &EventFd) {
        let _end = End(self.counts.clone());
        let mut buffer = vec![0; MAX_RECORD_BYTES];
        loop {
            // What was withheld is told when the second is over, though nothing more may come.
            let timeout =
                if self.second.withheld > 0 { PollTimeout::from(1_000u16) } else { PollTimeout::NONE };
            let mut waited = [
                PollFd::new(self.log.as_fd(), PollFlags::POLLIN),
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            ];
            let _interrupted = poll(&mut waited, timeout);
            if waited[1].any().unwrap_or_default() {
                return;
            }
            if let Err(error) = self.read_some(&mut buffer) {
                error!(%error, "the kernel's log can no longer be read");
                return;
            }
            self.turn_second();
        }
    }

    /// Reads until there is no more, or the turn is over; one read gives one record.
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..RECORDS_A_TURN {
            match self.log.read(buffer) {
                // No log that a kernel keeps has an end: /dev/null, say, in a container.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.take(&buffer[..length]),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(()),
                    // Overwritten: the next read goes on with what is still there, and its number tells how many are lost.
                    Some(libc::EPIPE | libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let Some(record) = Record::parse(&text) else { return };
        let lost = self.next.map_or(0, |next| record.sequence.saturating_sub(next));
        self.next = Some(record.sequence + 1);
        if lost > 0 {
            self.counts.lost.fetch_add(lost, Ordering::Relaxed);
            self.listener.hear_of_lost(lost);
        }
        if !record.is_of_interest() {
            return;
        }
        if let Some(count) = self.counts.by_level.get(record.level) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(kind) = record.kind {
            self.counts.by_kind[kind].fetch_add(1, Ordering::Relaxed);
        }
        self.turn_second();
        if self.second.told < TOLD_A_SECOND {
            self.second.told += 1;
            self.listener.hear(&record);
        } else {
            self.second.withheld += 1;
        }
    }

    fn turn_second(&mut self) {
        let now = clock::monotonic();
        if now.saturating_sub(self.second.began) >= Duration::from_secs(1) {
            let ended = std::mem::replace(&mut self.second, Second { began: now, ..Second::default() });
            if ended.withheld > 0 {
                self.listener.hear_of_more(ended.withheld);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default, Clone)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Listener for Heard {
        fn hear(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.message.to_owned());
        }

        fn hear_of_more(&self, records: u64) {
            self.0.lock().unwrap().push(format!("{records} more"));
        }

        fn hear_of_lost(&self, records: u64) {
            self.0.lock().unwrap().push(format!("{records} lost"));
        }
    }

    fn reader(heard: &Heard) -> Reader {
        let log = File::open("/dev/null").unwrap();
        let listener = Box::new(heard.clone());
        Reader { log, counts: Arc::default(), listener, next: None, second: Second::default() }
    }

    #[test]
    fn a_storm_is_counted_and_told_in_part() {
        let heard = Heard::default();
        let mut reader = reader(&heard);
        for sequence in 0..500 {
            reader.take(format!("4,{sequence},1,-;trouble {sequence}\n").as_bytes());
        }
        reader.second.began = Duration::ZERO;
        reader.turn_second();
        assert_eq!(reader.counts.by_level[4].load(Ordering::Relaxed), 500);
        let heard = heard.0.lock().unwrap();
        // A slow machine may turn a second in between.
        let withheld: u64 =
            heard.iter().filter_map(|line| line.strip_suffix(" more")?.parse::<u64>().ok()).sum();
        let told = heard.iter().filter(|line| line.starts_with("trouble")).count() as u64;
        assert_eq!(told + withheld, 500);
        assert!(told >= u64::from(TOLD_A_SECOND) && withheld > 0, "{heard:?}");
    }

    #[test]
    fn counts_of_a_log_that_can_no_longer_be_read_are_absent() {
        let folder = tempfile::tempdir().unwrap();
        // It ends, as no log of a kernel does.
        std::fs::write(folder.path().join("kmsg"), "").unwrap();
        let roots = HostRoots { dev: folder.path().into(), ..HostRoots::default() };
        let mut log = KernelLog::start(&roots, Box::new(Heard::default()));
        let mut schema = Schema::new(1);
        log.describe(&mut schema);
        let mut frame = Frame::default();
        assert!((0..5_000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            frame.reset(&schema, 1);
            log.sample(&mut frame);
            frame.readings().iter().all(|reading| *reading == Err(AbsenceReason::ReadFailed))
        }));
    }

    #[test]
    fn lost_records_are_told() {
        let heard = Heard::default();
        let mut reader = reader(&heard);
        reader.take(b"6,7,1,-;quiet\n");
        reader.take(b"4,10,1,-;trouble\n");
        assert_eq!(*heard.0.lock().unwrap(), ["2 lost", "trouble"]);
        assert_eq!(reader.counts.lost.load(Ordering::Relaxed), 2);
    }
}
