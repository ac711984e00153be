//! The few system calls on sockets that no crate wraps in the form needed here: receiving without copying, sending without
//! copying, datagrams in batches.
#![expect(unsafe_code, reason = "hands buffers to the kernel")]

use std::{
    fs::File,
    io, mem,
    net::TcpStream,
    os::fd::{AsFd, AsRawFd as _, RawFd},
    ptr,
};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Bytes of the largest datagram that the kernel coalesces, and room to tell a longer one: net/ipv4/udp_offload.c keeps
/// a super-packet within an IP packet.
const SUPER_BYTES: usize = 65_535;
/// Ancillary data of one received message: `UDP_GRO`'s segment size and `SO_TIMESTAMPNS`'s time, with room to spare.
const ANCILLARY_BYTES: usize = 128;

/// Takes up to `len` bytes off a TCP socket and throws them away in the kernel: tcp(7), MSG_TRUNC. 0 is the peer's end.
///
/// # Errors
/// The kernel's; `WouldBlock` when nothing is there (on a blocking socket: within its timeout).
pub(crate) fn discard(socket: &TcpStream, len: usize) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC TCP copies nothing, so that no memory is needed; were it to copy, address 0 would only fail.
    let taken = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), len, libc::MSG_TRUNC) };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

/// What is sent when nothing shall be copied: pages of a file in memory.
#[derive(Debug)]
pub(crate) struct Pages {
    file: File,
    len: usize,
}

impl Pages {
    /// A file that holds `data`.
    ///
    /// # Errors
    /// The kernel's, when it has no memory or descriptor left.
    pub(crate) fn new(data: &[u8]) -> io::Result<Self> {
        use std::io::Write as _;
        let mut file = File::from(memfd_create(c"ssts-network", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(data)?;
        Ok(Self { file, len: data.len() })
    }

    /// Sends from the front of the file: sendfile(2). The socket refers to the file's pages.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when nothing fits.
    pub(crate) fn send(&self, socket: &TcpStream, len: usize) -> io::Result<usize> {
        let mut offset: libc::off_t = 0;
        // SAFETY: two open descriptors, and `offset` lives through the call.
        let sent = unsafe {
            libc::sendfile(socket.as_raw_fd(), self.file.as_raw_fd(), &raw mut offset, len.min(self.len))
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Sets SO_RCVLOWAT: a blocked receiver is woken when so much is there: socket(7).
///
/// # Errors
/// The kernel's.
pub(crate) fn set_low_water(socket: &TcpStream, bytes: i32) -> io::Result<()> {
    // SAFETY: the option reads one int, which lives through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes that were written to a TCP socket and not yet acknowledged by the peer: tcp(7), SIOCOUTQ.
pub(crate) fn unacknowledged(socket: &TcpStream) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, which lives through the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if outcome == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// What the kernel knows of a TCP connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TcpHealth {
    /// Segments sent again.
    pub(crate) retransmits: u64,
    /// The smoothed round trip.
    pub(crate) rtt_ns: u64,
}

/// Reads `TCP_INFO`: tcp(7).
pub(crate) fn tcp_health(socket: &TcpStream) -> TcpHealth {
    // SAFETY: the structure consists of integers, for which zeros are values.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to a structure that is as long and lives through the call.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if outcome != 0 {
        return TcpHealth::default();
    }
    TcpHealth { retransmits: info.tcpi_total_retrans.into(), rtt_ns: u64::from(info.tcpi_rtt) * 1_000 }
}

/// Sends batches of super-packets: `sendmmsg` of messages that the kernel or the device cuts into datagrams (`UDP_SEGMENT`,
/// Linux 4.18, set on the socket).
#[derive(Debug)]
pub(crate) struct BatchSender {
    memory: Box<[u8]>,
    stride: usize,
}

impl BatchSender {
    /// With room for `messages` of at most `message_bytes`.
    pub(crate) fn new(messages: usize, message_bytes: usize) -> Self {
        Self { memory: vec![0; messages * message_bytes].into(), stride: message_bytes }
    }

    /// How many messages there is room for.
    pub(crate) fn room(&self) -> usize {
        self.memory.len() / self.stride
    }

    /// The bytes of the n-th message.
    pub(crate) fn message(&mut self, n: usize) -> &mut [u8] {
        &mut self.memory[n * self.stride..(n + 1) * self.stride]
    }

    /// Sends the first so many bytes of the first messages; gives how many messages the kernel took.
    ///
    /// # Errors
    /// The kernel's, when it took none.
    pub(crate) fn send(&self, socket: &impl AsFd, lengths: &[usize]) -> io::Result<usize> {
        assert!(lengths.len() <= self.room() && lengths.iter().all(|length| *length <= self.stride));
        let mut vectors: Vec<libc::iovec> = lengths
            .iter()
            .zip(self.memory.chunks(self.stride))
            .map(|(length, message)| libc::iovec {
                iov_base: message.as_ptr().cast_mut().cast(),
                iov_len: *length,
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors.iter_mut().map(|vector| header(vector, None)).collect();
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: each header names one vector, each vector memory of ours that is as long; all live through the call, which
        // only reads what the vectors point at.
        let sent = unsafe {
            libc::sendmmsg(fd, headers.as_mut_ptr(), headers.len() as libc::c_uint, libc::MSG_DONTWAIT)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// One received message: one datagram, or several of one length that the kernel coalesced (`UDP_GRO`, Linux 5.0).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    /// All of it.
    pub(crate) bytes: &'a [u8],
    /// Of each datagram but the last.
    pub(crate) segment_bytes: usize,
    /// When the kernel got it: CLOCK_REALTIME.
    pub(crate) arrived_ns: Option<u64>,
}

/// Ancillary data, aligned as `cmsghdr` wants it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
struct Ancillary([u8; ANCILLARY_BYTES]);

/// Receives in batches: `recvmmsg` of coalesced datagrams.
pub(crate) struct BatchReceiver {
    memory: Box<[u8]>,
    ancillary: Box<[Ancillary]>,
    messages: usize,
}

impl std::fmt::Debug for BatchReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchReceiver").field("messages", &self.messages).finish_non_exhaustive()
    }
}

impl BatchReceiver {
    /// With room for so many messages.
    pub(crate) fn new(messages: usize) -> Self {
        Self {
            memory: vec![0; messages * SUPER_BYTES].into(),
            ancillary: vec![Ancillary([0; ANCILLARY_BYTES]); messages].into(),
            messages,
        }
    }

    /// Takes what is there, without waiting, and calls `each` with every message; gives their number.
    ///
    /// # Errors
    /// The kernel's; that nothing is there is none.
    pub(crate) fn receive(
        &mut self,
        socket: &impl AsFd,
        mut each: impl FnMut(Received<'_>),
    ) -> io::Result<usize> {
        let mut vectors: Vec<libc::iovec> = self
            .memory
            .chunks_mut(SUPER_BYTES)
            .map(|message| libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: SUPER_BYTES })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .zip(self.ancillary.iter_mut())
            .map(|(vector, ancillary)| header(vector, Some(ancillary)))
            .collect();
        let taken = receive_into(socket.as_fd().as_raw_fd(), &mut headers)?;
        for (n, header) in headers.iter().take(taken).enumerate() {
            let bytes = &self.memory[n * SUPER_BYTES..][..header.msg_len as usize];
            let (segment, arrived_ns) = ancillary_of(header);
            let segment_bytes = segment.filter(|bytes| *bytes > 0).unwrap_or(bytes.len().max(1));
            each(Received { bytes, segment_bytes, arrived_ns });
        }
        Ok(taken)
    }
}

fn receive_into(fd: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: each header names one vector and one ancillary buffer of the caller's, all alive; the kernel writes no further
    // than their lengths. No timeout is given.
    let taken = unsafe {
        libc::recvmmsg(
            fd,
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    match usize::try_from(taken) {
        Ok(taken) => Ok(taken),
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            error => Err(error),
        },
    }
}

fn header(vector: &mut libc::iovec, ancillary: Option<&mut Ancillary>) -> libc::mmsghdr {
    // SAFETY: the structure consists of integers and pointers, for which zeros are values.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    if let Some(ancillary) = ancillary {
        header.msg_hdr.msg_control = ancillary.0.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = ANCILLARY_BYTES;
    }
    header
}

/// The size of the segments, and when they came.
fn ancillary_of(header: &libc::mmsghdr) -> (Option<usize>, Option<u64>) {
    let (mut segment, mut arrived) = (None, None);
    // SAFETY: the kernel has filled the ancillary buffer that the header names, and its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header.msg_hdr) };
    while !next.is_null() {
        // SAFETY: not null, so inside the ancillary buffer, aligned by the kernel's rules, and whole.
        let (cmsg, data) = unsafe { (*next, libc::CMSG_DATA(next)) };
        match (cmsg.cmsg_level, cmsg.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: udp(7): the data is an int.
                let bytes = unsafe { ptr::read_unaligned(data.cast::<libc::c_int>()) };
                segment = usize::try_from(bytes).ok();
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: socket(7): the data is a timespec.
                let time = unsafe { ptr::read_unaligned(data.cast::<libc::timespec>()) };
                arrived = Some(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned());
            }
            _ => {}
        }
        // SAFETY: as for the first one; null after the last.
        next = unsafe { libc::CMSG_NXTHDR(&raw const header.msg_hdr, next) };
    }
    (segment, arrived)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, UdpSocket},
        thread,
        time::Duration,
    };

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn what_is_discarded_is_counted() {
        let (mut client, server) = connection();
        client.write_all(&[1; 3_000]).unwrap();
        Pages::new(&[2; 5_000]).unwrap().send(&client, 5_000).unwrap();
        drop(client);
        let mut total = 0;
        loop {
            match discard(&server, 1 << 20).unwrap() {
                0 => break,
                taken => total += taken,
            }
        }
        assert_eq!(total, 8_000);
    }

    #[test]
    fn pages_carry_their_bytes() {
        use std::io::Read as _;
        let (client, mut server) = connection();
        let data: Vec<u8> = (0..5_000u32).map(|n| n as u8).collect();
        assert_eq!(Pages::new(&data).unwrap().send(&client, 4_000).unwrap(), 4_000);
        drop(client);
        let mut read = Vec::new();
        server.read_to_end(&mut read).unwrap();
        assert_eq!(read, data[..4_000]);
    }

    #[test]
    fn the_unacknowledged_become_none() {
        let (mut client, _server) = connection();
        client.write_all(&[1; 100]).unwrap();
        thread::sleep(Duration::from_millis(20));
        assert_eq!(unacknowledged(&client), 0);
        assert_eq!(tcp_health(&client).retransmits, 0);
        assert!(tcp_health(&client).rtt_ns > 0);
    }

    #[test]
    fn a_super_packet_arrives_as_the_datagrams_it_is_made_of() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        setsockopt(&sender, sockopt::UdpGsoSegment, &100).unwrap();
        setsockopt(&receiver, sockopt::UdpGroSegment, &true).unwrap();
        setsockopt(&receiver, sockopt::ReceiveTimestampns, &true).unwrap();
        let mut batch = BatchSender::new(2, 1_000);
        for message in 0..2 {
            for (n, segment) in batch.message(message).chunks_mut(100).enumerate() {
                segment.fill((message * 10 + n) as u8);
            }
        }
        assert_eq!(batch.send(&sender, &[1_000, 250]).unwrap(), 2);
        thread::sleep(Duration::from_millis(20));
        let mut got = Vec::new();
        let mut receive = BatchReceiver::new(4);
        let mut look = |receive: &mut BatchReceiver| {
            receive
                .receive(&receiver, |message| {
                    assert!(message.arrived_ns.is_some());
                    got.extend(message.bytes.chunks(message.segment_bytes).map(|part| (part.len(), part[0])));
                })
                .unwrap()
        };
        while look(&mut receive) > 0 {}
        let whole: Vec<_> = (0..10).map(|n| (100, n)).collect();
        assert_eq!(got, [&whole[..], &[(100, 10), (100, 11), (50, 12)]].concat());
    }
}
