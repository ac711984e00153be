//! How much a TCP stream may hold that it has not sent.

use std::net::TcpStream;

use socket2::SockRef;

/// Where BBR paces: TCP_NOTSENT_LOWAT, tcp(7). BBR lets each segment of a queue wait for a timer; what is written when its time
/// has come needs none. With 128 to 192 KiB a virtual cable carries over three times of what it does with the kernel's
/// unlimited queue (docs/performance.md); with less or more the gain is smaller, or none.
const UNSENT_BYTES: u32 = 160 << 10;
/// Only over frames of usual length: loopback's segments are half of that already, and twice as slow with it.
const LONGEST_SEGMENT_BYTES: u32 = 9_216;

/// Keeps the queue of a connected stream short where that makes it faster. Best effort: without it a stream is slower, nothing
/// more.
pub(crate) fn keep_short(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let is_paced = socket.tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr"));
    if is_paced && socket.tcp_mss().is_ok_and(|bytes| bytes <= LONGEST_SEGMENT_BYTES) {
        let _best_effort = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    #[test]
    fn only_bbr_over_short_segments_is_kept_short() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Established with segments of the length that was set before.
        let unsent = |congestion: &str, segment_bytes: Option<u32>| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // A kernel without it can't show anything.
            socket.set_tcp_congestion(congestion.as_bytes()).ok()?;
            if let Some(bytes) = segment_bytes {
                socket.set_tcp_mss(bytes).unwrap();
            }
            socket.connect(&SockAddr::from(listener.local_addr().unwrap())).unwrap();
            let stream = TcpStream::from(socket);
            let before = SockRef::from(&stream).tcp_notsent_lowat().unwrap();
            keep_short(&stream);
            let after = SockRef::from(&stream).tcp_notsent_lowat().unwrap();
            Some(if before == after { None } else { Some(after) })
        };
        for (congestion, segment_bytes, expected) in
            [("reno", Some(1_448), None), ("bbr", None, None), ("bbr", Some(1_448), Some(UNSENT_BYTES))]
        {
            if let Some(unsent) = unsent(congestion, segment_bytes) {
                assert_eq!(unsent, expected, "{congestion}, {segment_bytes:?}");
            }
        }
    }
}
