//! What the threads of a session's streams do: each takes, sends or answers what flows over one, until everything ends.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{
    count::{Flow, Tally},
    gate::Gate,
    paths::{LOOK, readable},
};
use crate::{
    burn::network::{
        queue::keep_short,
        socket::discard,
        udp::{Sent, UdpReceiver, UdpSender},
    },
    clock,
};

/// Bytes taken off a TCP socket at once.
const READ_BYTES: usize = 4 << 20;
/// The longest write: memory for each stream.
const MOST_WRITE_BYTES: usize = 1 << 20;
/// A receiver of a steady stream is woken when so much is there, not for each segment; what is less is taken when the
/// timeout ends.
const LOW_WATER_BYTES: i32 = 256 << 10;

/// Takes a TCP stream's bytes, no faster than the cap allows.
pub(super) fn receive(stream: &TcpStream, gate: &Gate, flow: &Flow, tally: &Tally) {
    let _best_effort = set_low_water(stream);
    while !flow.is_over() {
        match discard(stream, gate.most_at_once(READ_BYTES)) {
            Ok(0) => return,
            Ok(taken) => {
                tally.received_bytes.fetch_add(taken as u64, Ordering::Relaxed);
                tally.received.fetch_add(1, Ordering::Relaxed);
                sleep(gate.inward.take(taken as u64), flow);
            }
            Err(error) if waits(&error) => {}
            // The control connection tells why, or ends too.
            Err(_) => return,
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Fills a TCP stream, no faster than asked and than the cap allows.
pub(super) fn send(
    stream: &TcpStream,
    rate_bits_per_s: f64,
    block_bytes: usize,
    gate: &Gate,
    flow: &Flow,
    tally: &Tally,
) {
    let ms = (rate_bits_per_s / 8.0 / 1_000.0) as usize;
    let data = vec![0xa5; block_bytes.min(ms).clamp(1, MOST_WRITE_BYTES)];
    keep_short(stream);
    wait_for_start(flow);
    let mut origin = Instant::now();
    let mut sent = 0;
    while !flow.is_over() {
        origin += wait_while_paused(flow);
        match (&*stream).write(&data) {
            Ok(written) => {
                sent += written as u64;
                tally.sent_bytes.store(sent, Ordering::Relaxed);
                let due = Duration::from_secs_f64(sent as f64 * 8.0 / rate_bits_per_s);
                sleep(gate.outward.take(written as u64).max(due.saturating_sub(origin.elapsed())), flow);
            }
            Err(error) if waits(&error) => {}
            Err(_) => return,
        }
        tally.sender_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Gives back what comes.
pub(super) fn answer(stream: &TcpStream, gate: &Gate, flow: &Flow, tally: &Tally) {
    let mut buffer = vec![0; 64 << 10];
    while !flow.is_over() {
        match (&*stream).read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                tally.received_bytes.fetch_add(read as u64, Ordering::Relaxed);
                let mut given = 0;
                while given < read && !flow.is_over() {
                    match (&*stream).write(&buffer[given..read]) {
                        Ok(written) => given += written,
                        Err(error) if waits(&error) => {}
                        Err(_) => return,
                    }
                }
                tally.sent_bytes.fetch_add(given as u64, Ordering::Relaxed);
                let back = gate.outward.take(given as u64);
                sleep(gate.inward.take(read as u64).max(back), flow);
            }
            Err(error) if waits(&error) => {}
            Err(_) => return,
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Takes connections, proves each with a byte, and closes it.
pub(super) fn accept(listener: &TcpListener, peer: IpAddr, flow: &Flow) {
    let Some(tally) = flow.tallies.first() else { return };
    while !flow.is_over() {
        if readable(listener, LOOK) {
            while !flow.is_over() {
                match listener.accept() {
                    Ok((stream, from)) if from.ip() == peer && (&stream).write_all(&[1]).is_ok() => {
                        tally.received.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                    Err(error) if waits(&error) => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    // Such as EMFILE: whoever waits makes the socket readable all the while.
                    Err(_) => sleep(LOOK, flow),
                }
            }
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

/// Follows a stream of datagrams.
pub(super) fn receive_datagrams(socket: &UdpSocket, number: u32, flow: &Flow, tally: &Tally) {
    let Ok(mut receiver) = UdpReceiver::new(socket.as_fd(), number) else { return };
    while !flow.is_over() {
        if readable(socket, LOOK) {
            // An error is an ICMP message that belongs to what was sent; more datagrams may come.
            while receiver.receive(socket).is_ok_and(|messages| messages > 0) {
                tally.follow(&receiver);
                if flow.is_over() {
                    break;
                }
            }
        }
        tally.receiver_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

pub(super) fn send_datagrams(
    socket: &UdpSocket,
    mut sender: UdpSender,
    gate: &Gate,
    flow: &Flow,
    tally: &Tally,
) {
    wait_for_start(flow);
    sender.start(clock::boottime());
    while !flow.is_over() {
        sender.resumed(wait_while_paused(flow));
        let now = clock::boottime();
        match sender.send_due(socket, now) {
            Ok(Sent::Datagrams(_)) => {
                let bytes = sender.sent_bytes();
                let gain = bytes - tally.sent_bytes.swap(bytes, Ordering::Relaxed);
                tally.sent.store(sender.sent, Ordering::Relaxed);
                sleep(gate.outward.take(gain), flow);
            }
            Ok(Sent::NextDue(due)) => sleep(due.saturating_sub(now), flow),
            Ok(Sent::Full) => sleep(Duration::from_micros(100), flow),
            Err(_) => sleep(LOOK, flow),
        }
        tally.sender_cpu_ns.store(clock::ns(clock::thread_cpu()), Ordering::Relaxed);
    }
}

fn wait_for_start(flow: &Flow) {
    while !flow.started.load(Ordering::Relaxed) && !flow.is_over() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for the end of a pause; gives how long it was.
fn wait_while_paused(flow: &Flow) -> Duration {
    let since = Instant::now();
    let mut waited = Duration::ZERO;
    while flow.paused.load(Ordering::Relaxed) && !flow.is_over() {
        thread::sleep(Duration::from_millis(1));
        waited = since.elapsed();
    }
    waited
}

/// Sleeps, less when everything ends.
fn sleep(time: Duration, flow: &Flow) {
    let end = Instant::now() + time;
    while !flow.is_over() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(LOOK));
    }
}

/// Nothing came or went within the socket's timeout.
pub(super) fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// SO_RCVLOWAT: socket(7). Without it every segment wakes the receiver.
fn set_low_water(stream: &TcpStream) -> io::Result<()> {
    crate::burn::network::socket::set_low_water(stream, LOW_WATER_BYTES)
}
