//! Signs of life from the tick thread: whoever guards burners is the one whose silence matters.

use std::{env, process, time::Duration};

use super::Notify;

/// Tells the service manager that the tick ticks, at half the interval in which it wants to hear: sd_watchdog_enabled(3).
#[derive(Debug)]
pub struct Watchdog {
    notify: Notify,
    every: Duration,
    /// When the next sign is due, CLOCK_MONOTONIC.
    next: Duration,
}

impl Watchdog {
    /// As `WATCHDOG_USEC` and `WATCHDOG_PID` ask for, if they mean this process.
    pub fn from_environment(notify: &Notify) -> Option<Self> {
        let interval = interval(
            env::var("WATCHDOG_USEC").ok().as_deref(),
            env::var("WATCHDOG_PID").ok().as_deref(),
            process::id(),
        )?;
        notify.is_heard().then(|| Self { notify: notify.clone(), every: interval / 2, next: Duration::ZERO })
    }

    /// To be called at every tick. Allocates nothing and never waits.
    pub fn tick(&mut self, now: Duration) {
        if now >= self.next {
            self.notify.alive();
            self.next = now + self.every;
        }
    }
}

fn interval(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    meant.then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn the_interval_is_taken_where_this_process_is_meant() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(interval(Some("1000000"), Some("7"), 7), second);
        assert_eq!(interval(Some("1000000"), None, 7), second);
        for (usec, pid) in [
            (None, None),
            (Some("0"), None),
            (Some("x"), None),
            (Some("1"), Some("8")),
            (Some("1"), Some("x")),
        ] {
            assert_eq!(interval(usec, pid, 7), None, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn a_sign_is_given_at_half_the_interval() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let notify = Notify::to(&listener.local_addr().unwrap());
        let mut watchdog = Watchdog { notify, every: Duration::from_secs(3), next: Duration::ZERO };
        let mut signs = Vec::new();
        for tenth in 0..100_u32 {
            watchdog.tick(Duration::from_millis(100) * (1_000 + tenth));
            let mut buffer = [0; 16];
            if let Ok(length) = listener.recv(&mut buffer) {
                assert_eq!(&buffer[..length], b"WATCHDOG=1");
                signs.push(tenth);
            }
        }
        assert_eq!(signs, [0, 30, 60, 90]);
    }
}
