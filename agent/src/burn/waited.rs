//! How long a thread had to wait for a core.

use std::{fs::File, os::unix::fs::FileExt as _, time::Duration};

/// The calling thread's run-queue wait: the second number of /proc/thread-self/schedstat, in ns
/// (Documentation/scheduler/sched-stats.rst).
#[derive(Debug)]
pub(super) struct Waited {
    file: Option<File>,
    begin: Duration,
}

impl Waited {
    /// From now on, of this thread.
    pub(super) fn begin() -> Self {
        let file = File::open("/proc/thread-self/schedstat").ok();
        let mut waited = Self { file, begin: Duration::ZERO };
        waited.begin = waited.read().unwrap_or_default();
        waited
    }

    /// Nothing where the kernel does not count it (CONFIG_SCHED_INFO).
    pub(super) fn since_begin(&self) -> Option<Duration> {
        self.read().map(|now| now.saturating_sub(self.begin))
    }

    fn read(&self) -> Option<Duration> {
        let mut text = [0; 96];
        let length = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = str::from_utf8(&text[..length]).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_and_never_shrinks() {
        let waited = Waited::begin();
        let first = waited.since_begin().unwrap();
        (0..3).for_each(|_| std::thread::yield_now());
        assert!(waited.since_begin().unwrap() >= first);
    }
}
