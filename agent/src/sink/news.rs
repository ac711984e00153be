//! What the sink process tells the daemon.

use std::{
    io,
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::News;

/// From now on a daemon that does not read blocks nobody here: the deadline must be looked at, come what may.
pub(super) fn never_wait() -> io::Result<()> {
    fcntl(io::stdout(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Best effort: a daemon that no longer reads is dead, or hangs.
pub(super) fn tell(news: &News) {
    tell_to(io::stdout(), news);
}

fn tell_to(daemon: impl AsFd, news: &News) {
    if let Ok(mut line) = serde_json::to_vec(news) {
        line.push(b'\n');
        // In one call: lines are below PIPE_BUF, which goes as a whole or not at all, pipe(7).
        let _best_effort = nix::unistd::write(daemon, &line);
    }
}

/// What others can cause, told once a second at most: they must not fill a log.
#[derive(Debug, Default)]
pub(super) struct Limited(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    left_out: u64,
}

impl Limited {
    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        if let Some(more) = self.may_tell() {
            tell(&News::Told(text() + &more));
        }
    }

    /// With what is to be said of those that were not told.
    fn may_tell(&self) -> Option<String> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            told.left_out += 1;
            return None;
        }
        told.last = Some(Instant::now());
        Some(match std::mem::take(&mut told.left_out) {
            0 => String::new(),
            left_out => format!("; {left_out} more such were not told"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_daemon_that_does_not_read_blocks_nobody() {
        let (_reader, writer): (OwnedFd, OwnedFd) = nix::unistd::pipe2(OFlag::O_NONBLOCK).unwrap();
        // Far more than a pipe holds.
        for _ in 0..10_000 {
            tell_to(&writer, &News::Told("a line of some length, as they come".into()));
        }
    }

    #[test]
    fn many_of_a_kind_are_told_as_one() {
        let limited = Limited::default();
        assert_eq!(limited.may_tell().as_deref(), Some(""));
        assert_eq!(limited.may_tell(), None);
        assert_eq!(limited.may_tell(), None);
        limited.0.lock().unwrap().last = None;
        assert_eq!(limited.may_tell().as_deref(), Some("; 2 more such were not told"));
    }
}
