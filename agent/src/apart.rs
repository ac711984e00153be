//! Work that may hang in the kernel, for a disk that does not answer: on a thread of its own, which holds nothing of the daemon's
//! while it hangs. Else the daemon's locks and sockets would outlive it, and keep the next one from starting.
#![expect(unsafe_code, reason = "close_range(2) for one thread alone")]

use std::{io, sync::mpsc, thread, time::Duration};

/// Above those that every process has.
const FIRST: libc::c_uint = 3;

/// Carries out `work`, and waits for it at most so long; nothing where it is not done by then, and goes on. It must open what it
/// needs itself: no descriptor of the daemon's is open to it.
///
/// # Errors
/// The kernel has no thread left.
pub(crate) fn apart<T: Send + 'static>(
    name: &str,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (done, outcome) = mpsc::channel();
    let body = move || {
        leave_descriptors();
        // Whoever asked may no longer wait.
        let _gave_up = done.send(work());
    };
    thread::Builder::new().name(name.into()).spawn(body)?;
    Ok(outcome.recv_timeout(patience).ok())
}

/// Gives the calling thread a table of descriptors of its own, with the standard ones alone. Before Linux 5.9 it keeps the daemon's.
fn leave_descriptors() {
    // SAFETY: plain numbers. With CLOSE_RANGE_UNSHARE the table that other threads use is not touched, and nothing on this thread's
    // stack owns a descriptor yet.
    let _best_effort =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) };
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn what_is_apart_sees_no_descriptor_of_others_and_closes_none() {
        let file = tempfile::tempfile().unwrap();
        let fd = file.as_raw_fd();
        let is_open = move || fs::read_link(format!("/proc/thread-self/fd/{fd}")).is_ok();
        assert!(is_open());
        assert_eq!(apart("test", Duration::from_secs(10), is_open).unwrap(), Some(false));
        assert!(is_open() && file.metadata().is_ok());
    }

    #[test]
    fn what_takes_too_long_is_not_waited_for() {
        let (go_on, told) = mpsc::channel::<()>();
        let outcome = apart("test", Duration::from_millis(10), move || told.recv()).unwrap();
        assert!(outcome.is_none());
        drop(go_on);
    }
}
