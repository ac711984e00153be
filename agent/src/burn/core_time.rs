//! How long others ran on a worker's core.

use std::{
    fs::File,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    time::Duration,
};

use crate::{
    clock,
    observe::probes::core_busy::{CoreBusy, CoreWindow},
};

/// Between two readings of a file of the kernel.
const FILE_INTERVAL: Duration = Duration::from_millis(10);

/// Time that a core was not idle, less that of the worker that asks.
#[derive(Debug)]
pub(super) struct CoreTime {
    source: Source,
    /// What the source says beyond the worker's own clock: at the beginning, moved on by pauses.
    begin: Duration,
    latest: Duration,
}

#[derive(Debug)]
enum Source {
    /// What the scheduler probe counts: exact, and read without a system call.
    Probe(CoreWindow),
    /// The core's idle time in /proc/stat: exact where the kernel stops its tick when idle, in steps of 10 ms.
    Stat(Stat),
    Nothing,
}

#[derive(Debug)]
struct Stat {
    file: File,
    line: String,
    text: Vec<u8>,
    next: Duration,
    latest: Duration,
}

impl CoreTime {
    /// Of a core from now on, by the best source there is. `own` is the calling worker's CPU clock.
    pub(super) fn begin(core: u32, probe: Option<&OwnedFd>, own: Duration) -> Self {
        let window = probe.and_then(|fd| CoreWindow::open(fd.as_fd(), core).ok());
        let source = match window {
            Some(window) => Source::Probe(window),
            None => Stat::open(core).map_or(Source::Nothing, Source::Stat),
        };
        let mut time = Self { source, begin: Duration::ZERO, latest: Duration::ZERO };
        time.begin = time.beyond(own);
        time
    }

    /// What others used since the beginning.
    pub(super) fn used(&mut self, own: Duration) -> Duration {
        // The two clocks are read one after the other: they may seem to go back by as much.
        self.latest = self.beyond(own).saturating_sub(self.begin).max(self.latest);
        self.latest
    }

    /// What was used since the last reading does not count.
    pub(super) fn leave_out(&mut self, own: Duration) {
        self.begin = self.beyond(own).saturating_sub(self.latest);
    }

    fn beyond(&mut self, own: Duration) -> Duration {
        let busy = match &mut self.source {
            Source::Probe(window) => window.read().until(clock::monotonic()),
            Source::Stat(stat) => stat.busy(),
            Source::Nothing => return Duration::ZERO,
        };
        busy.saturating_sub(own)
    }
}

impl Stat {
    fn open(core: u32) -> Option<Self> {
        let file = File::open("/proc/stat").ok()?;
        let mut stat = Self {
            file,
            line: format!("\ncpu{core} "),
            text: vec![0; 64 << 10],
            next: Duration::ZERO,
            latest: Duration::ZERO,
        };
        stat.read().map(|_| stat)
    }

    /// Time since the boot less idle time, which counts up to the beginning of the idle time that is on.
    fn busy(&mut self) -> Duration {
        let now = clock::boottime();
        if now >= self.next {
            self.next = now + FILE_INTERVAL;
            self.latest = self.read().map_or(self.latest, |idle| now.saturating_sub(idle));
        }
        self.latest
    }

    /// The core's idle time and that of waiting for I/O, in ticks of USER_HZ, which is 100 on every architecture that we
    /// build for: proc_stat(5).
    fn read(&mut self) -> Option<Duration> {
        let length = self.file.read_at(&mut self.text, 0).ok()?;
        let text = str::from_utf8(&self.text[..length]).ok()?;
        let numbers = text.split_once(&self.line)?.1.split('\n').next()?;
        let mut numbers = numbers.split_ascii_whitespace().skip(3).map(str::parse);
        let (Some(Ok(idle)), Some(Ok(iowait))) = (numbers.next(), numbers.next()) else { return None };
        let ticks: u64 = idle;
        let waits: u64 = iowait;
        Some(Duration::from_millis(10 * (ticks + waits)))
    }
}

/// Time that the core was busy, up to an instant of CLOCK_MONOTONIC.
impl CoreBusy {
    fn until(self, now: Duration) -> Duration {
        let since = Duration::from_nanos(self.since_ns);
        let current = if self.is_running { now.saturating_sub(since) } else { Duration::ZERO };
        Duration::from_nanos(self.busy_ns) + current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_file_knows_of_busy_time() {
        let mut time = CoreTime::begin(0, None, Duration::ZERO);
        assert!(matches!(time.source, Source::Stat(_)));
        let begin = clock::boottime();
        std::thread::sleep(Duration::from_millis(60));
        let used = time.used(Duration::ZERO);
        let elapsed = clock::boottime() - begin;
        assert!(used <= elapsed + Duration::from_millis(20), "{used:?} of {elapsed:?}");
        assert!(time.used(Duration::ZERO) >= used);
    }

    #[test]
    fn time_counts_to_now_while_something_runs() {
        let busy = |is_running| CoreBusy { busy_ns: 5, since_ns: 100, is_running };
        assert_eq!(busy(true).until(Duration::from_nanos(130)), Duration::from_nanos(35));
        assert_eq!(busy(false).until(Duration::from_nanos(130)), Duration::from_nanos(5));
    }
}
