//! Sending from memory without copying: `MSG_ZEROCOPY` (Linux 4.14, Documentation/networking/msg_zerocopy.rst). The kernel
//! reads the pages until the peer has them, then says so on the socket's error queue, and whether it copied them all the
//! same: over loopback and to another namespace of the host it does.
#![expect(unsafe_code, reason = "hands buffers to the kernel")]

use std::{
    io::{self, Write as _},
    mem,
    net::TcpStream,
    os::fd::AsRawFd as _,
    ptr,
};

/// Sends of a stream that the kernel has not finished with. Each holds a notification's memory, of which
/// net.core.optmem_max (20 KiB until Linux 6.7) has room for some 26.
const MOST_IN_FLIGHT: u64 = 24;
/// Notifications taken off the error queue at once. The kernel joins those that follow each other.
const BATCH: usize = 16;
/// Of one notification: its head, a `sock_extended_err` and the address after it.
const ANCILLARY_BYTES: usize = 128;
/// SO_EE_ORIGIN_ZEROCOPY of linux/errqueue.h.
const ORIGIN: u8 = 5;
/// SO_EE_CODE_ZEROCOPY_COPIED, the same.
const COPIED: u8 = 1;

/// One stream's sends.
#[derive(Debug, Default)]
pub(super) struct ZeroCopy {
    begun: u64,
    /// Sends that the kernel has finished with.
    pub(super) finished: u64,
    /// Of those: whose bytes were copied all the same.
    pub(super) copied: u64,
}

impl ZeroCopy {
    /// Of a socket that has sent nothing this way.
    ///
    /// # Errors
    /// The kernel's, where it can't.
    pub(super) fn of(socket: &TcpStream) -> io::Result<Self> {
        let on: libc::c_int = 1;
        // SAFETY: the option reads one int, which lives through the call.
        let outcome = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ZEROCOPY,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if outcome == 0 { Ok(Self::default()) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether no more can be sent before something is finished: `poll` tells that by POLLERR.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight() >= MOST_IN_FLIGHT
    }

    /// Sends what fits, without waiting. The memory is read after the call, even after the socket is closed.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when nothing fits or too much is in flight.
    pub(super) fn send(&mut self, socket: &TcpStream, data: &'static [u8]) -> io::Result<usize> {
        if self.is_full() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // SAFETY: the memory is `data`'s, which lives and stays as it is for as long as the process.
        let sent = unsafe {
            libc::send(
                socket.as_raw_fd(),
                data.as_ptr().cast(),
                data.len(),
                libc::MSG_ZEROCOPY | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if let Ok(sent) = usize::try_from(sent) {
            self.begun += 1;
            return Ok(sent);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ENOBUFS) {
            return Err(error);
        }
        if self.in_flight() > 0 {
            // Room for notifications, or locked memory, comes back with what is finished.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // There is none at all, such as under a tight RLIMIT_MEMLOCK: then this one is copied.
        let sent = (&*socket).write(data)?;
        self.begun += 1;
        self.finished += 1;
        self.copied += 1;
        Ok(sent)
    }

    /// Takes in which sends the kernel has finished with.
    ///
    /// # Errors
    /// The kernel's; that none is finished is none.
    pub(super) fn take_finished(&mut self, socket: &TcpStream) -> io::Result<()> {
        while self.in_flight() > 0 {
            let mut ancillary = [Ancillary([0; ANCILLARY_BYTES]); BATCH];
            // SAFETY: the structures consist of integers and pointers, for which zeros are values.
            let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
            for (header, ancillary) in headers.iter_mut().zip(&mut ancillary) {
                header.msg_hdr.msg_control = ancillary.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = ANCILLARY_BYTES as _;
            }
            // SAFETY: each header names an ancillary buffer of that length and nothing else; all live through the call.
            let taken = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    (libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) as _,
                    ptr::null_mut(),
                )
            };
            let Ok(taken) = usize::try_from(taken) else {
                match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::WouldBlock => break,
                    error if error.kind() == io::ErrorKind::Interrupted => continue,
                    error => return Err(error),
                }
            };
            for header in headers.iter().take(taken) {
                self.take_notification(header);
            }
            if taken < BATCH {
                break;
            }
        }
        Ok(())
    }

    fn in_flight(&self) -> u64 {
        self.begun - self.finished
    }

    /// One notification tells of a range of sends, numbered from 0 by 32 bits, both ends included.
    fn take_notification(&mut self, header: &libc::mmsghdr) {
        // SAFETY: the kernel has filled the ancillary buffer that the header names, and its length.
        let cmsg = unsafe { libc::CMSG_FIRSTHDR(&raw const header.msg_hdr) };
        if cmsg.is_null() {
            return;
        }
        // SAFETY: not null, so inside the ancillary buffer, aligned by the kernel's rules, and whole.
        let (head, data) = unsafe { (*cmsg, libc::CMSG_DATA(cmsg)) };
        let kind = (head.cmsg_level, head.cmsg_type);
        if !matches!(kind, (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)) {
            return;
        }
        // SAFETY: ip(7), ipv6(7): the data of these kinds begins with this structure.
        let told = unsafe { ptr::read_unaligned(data.cast::<libc::sock_extended_err>()) };
        if told.ee_errno != 0 || told.ee_origin != ORIGIN {
            return;
        }
        let sends = u64::from(told.ee_data.wrapping_sub(told.ee_info)) + 1;
        // Never more than there are, whatever comes: what is in flight is their difference.
        let sends = sends.min(self.in_flight());
        self.finished += sends;
        if told.ee_code & COPIED != 0 {
            self.copied += sends;
        }
    }
}

/// Ancillary data, aligned as `cmsghdr` wants it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
struct Ancillary([u8; ANCILLARY_BYTES]);

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::TcpListener,
        time::{Duration, Instant},
    };

    use super::*;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn wait_for(sends: u64, zero_copy: &mut ZeroCopy, socket: &TcpStream) {
        let end = Instant::now() + Duration::from_secs(10);
        while zero_copy.finished < sends {
            assert!(Instant::now() < end, "{zero_copy:?}");
            std::thread::sleep(Duration::from_millis(1));
            zero_copy.take_finished(socket).unwrap();
        }
    }

    #[test]
    fn what_is_sent_arrives_and_loopback_copies_it() {
        let (client, mut server) = connection();
        let data: &'static [u8] = (0..100_000u32).map(|n| n as u8).collect::<Vec<_>>().leak();
        let mut zero_copy = ZeroCopy::of(&client).unwrap();
        let mut read = vec![0; data.len()];
        for sends in 1..=5 {
            assert_eq!(zero_copy.send(&client, data).unwrap(), data.len());
            server.read_exact(&mut read).unwrap();
            assert_eq!(read, data);
            wait_for(sends, &mut zero_copy, &client);
        }
        assert_eq!((zero_copy.finished, zero_copy.copied), (5, 5));
    }

    /// Nobody reads: what is in flight stays bounded, and nothing fails.
    #[test]
    fn no_more_is_in_flight_than_notifications_have_room() {
        let (client, mut server) = connection();
        let mut zero_copy = ZeroCopy::of(&client).unwrap();
        let mut sent = 0;
        for _ in 0..10_000 {
            match zero_copy.send(&client, &[7; 100]) {
                Ok(bytes) => sent += bytes,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
            assert!(zero_copy.in_flight() <= MOST_IN_FLIGHT);
        }
        let mut read = vec![0; sent];
        server.read_exact(&mut read).unwrap();
        let begun = zero_copy.begun;
        wait_for(begun, &mut zero_copy, &client);
        assert!(!zero_copy.is_full());
    }

    #[test]
    fn an_end_of_the_peer_is_told() {
        let (client, server) = connection();
        let mut zero_copy = ZeroCopy::of(&client).unwrap();
        drop(server);
        let end = Instant::now() + Duration::from_secs(10);
        let error = loop {
            assert!(Instant::now() < end);
            match zero_copy.send(&client, &[7; 100]) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break error,
                _ => zero_copy.take_finished(&client).unwrap(),
            }
        };
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }
}
