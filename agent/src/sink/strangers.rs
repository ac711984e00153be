//! Sessions with clients that speak the protocol and keep to nothing else.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{SinkPlan, gate::Gate, session};
use crate::burn::network::{
    Protocol,
    protocol::{DatagramHead, Hello, Order, Token, WORD_BYTES, Word, knock, stream_number},
};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

type Served = JoinHandle<Result<(), session::End>>;

struct Client {
    control: TcpStream,
    served: Served,
    data: SocketAddr,
    token: Token,
}

impl Client {
    /// Of a sink of its own that allows 1 Mbyte/s for a minute.
    fn new(protocol: Protocol) -> Self {
        Self::for_at_most(Duration::from_secs(60), protocol)
    }

    fn for_at_most(max_duration: Duration, protocol: Protocol) -> Self {
        let (mut control, served) = knock_at_the_door(max_duration);
        let hello = Hello {
            protocol,
            both: false,
            streams: 1,
            all_streams: 1,
            block_bytes: 1_000,
            buffer_bytes: 0,
            rate_bits_per_s: 0,
            duration_ms: 1,
        };
        control.write_all(&hello.encode()).unwrap();
        let Word::Accepted { port, token, .. } = word(&mut control) else { panic!("it is within the caps") };
        Self { control, served, data: (IP, port).into(), token }
    }

    /// Of a UDP stream that the sink knows.
    fn with_datagrams() -> (Self, UdpSocket) {
        let mut client = Self::new(Protocol::Udp);
        let socket = UdpSocket::bind((IP, 0)).unwrap();
        socket.connect(client.data).unwrap();
        socket.send(&knock(&client.token, 0)).unwrap();
        assert_eq!(word(&mut client.control), Word::Ready);
        (client, socket)
    }

    /// What the sink says in the end, while `send` is called more than ten thousand times a second.
    fn reason(mut self, mut send: impl FnMut(u64)) -> (String, Duration) {
        self.control.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let begin = Instant::now();
        let (mut heard, mut chunk) = (Vec::new(), [0; WORD_BYTES]);
        for n in 0.. {
            assert!(begin.elapsed() < Duration::from_secs(10), "it goes on and on");
            (0..100).for_each(|of| send(100 * n + of));
            let read = self.control.read(&mut chunk).unwrap_or(0);
            heard.extend_from_slice(&chunk[..read]);
            while heard.len() >= WORD_BYTES {
                let rest = heard.split_off(WORD_BYTES);
                let bytes = heard.try_into().unwrap();
                heard = rest;
                if let Word::Ended(reason) = Word::decode(&bytes).unwrap() {
                    assert!(self.served.join().unwrap().is_err());
                    return (reason, begin.elapsed());
                }
            }
        }
        unreachable!()
    }
}

/// A control connection on which nothing has been said.
fn knock_at_the_door(max_duration: Duration) -> (TcpStream, Served) {
    let gate = Arc::new(Gate::new(SinkPlan {
        listen: Vec::new(),
        allowed_peers: vec!["127.0.0.0/8".parse().unwrap()],
        data_ports: None,
        max_rate_bits_per_s: 8_000_000,
        max_streams: 4,
        max_duration,
        cores: Vec::new(),
    }));
    let listener = TcpListener::bind((IP, 0)).unwrap();
    let control = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    control.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let accepted = listener.accept().unwrap().0;
    (control, thread::spawn(move || session::serve(accepted, &gate)))
}

/// What a session that was served ended with, within so long.
fn end_of(served: Served, limit: Duration) -> String {
    let begin = Instant::now();
    while !served.is_finished() {
        assert!(begin.elapsed() < limit, "it goes on and on");
        thread::sleep(Duration::from_millis(10));
    }
    served.join().unwrap().unwrap_err().to_string()
}

fn word(control: &mut TcpStream) -> Word {
    let mut bytes = [0; WORD_BYTES];
    control.read_exact(&mut bytes).unwrap();
    Word::decode(&bytes).unwrap()
}

fn datagram(stream: u32, sequence: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1_000];
    DatagramHead { stream, sequence, sent_ns: sequence }.write(&mut bytes);
    bytes
}

#[test]
fn who_sends_more_than_granted_is_cut_off_whatever_it_sends() {
    for stray in [0, 1] {
        let (mut client, socket) = Client::with_datagrams();
        client.control.write_all(&Order::Start.encode()).unwrap();
        // Quiet time is not saved up.
        thread::sleep(Duration::from_secs(2));
        let stream = stream_number(&client.token, stray);
        let (reason, time) = client.reason(|n| {
            let _gone = socket.send(&datagram(stream, n));
        });
        assert!(reason.contains("8000000 bit/s were granted"), "{reason}");
        assert!(time < Duration::from_millis(1_500), "{time:?}");
    }
}

#[test]
fn who_sends_without_a_start_is_cut_off() {
    let (client, socket) = Client::with_datagrams();
    let stream = stream_number(&client.token, 0);
    let (reason, time) = client.reason(|n| {
        let _gone = socket.send(&datagram(stream, n));
    });
    assert!(reason.contains("has not started"), "{reason}");
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[test]
fn garbage_on_the_data_port_does_not_take_a_place() {
    let mut client = Client::new(Protocol::Tcp);
    let mut noise = TcpStream::connect(client.data).unwrap();
    noise.write_all(&[0xff; 4_096]).unwrap();
    let _silent = TcpStream::connect(client.data).unwrap();
    let mut stream = TcpStream::connect(client.data).unwrap();
    stream.write_all(&client.token).unwrap();
    assert_eq!(word(&mut client.control), Word::Ready);

    let mut client = Client::new(Protocol::Udp);
    let socket = UdpSocket::bind((IP, 0)).unwrap();
    socket.connect(client.data).unwrap();
    for garbage in [&[0; 18][..], &[], &[9; 1_400], &knock(&client.token, 7)] {
        socket.send(garbage).unwrap();
    }
    socket.send(&knock(&client.token, 0)).unwrap();
    assert_eq!(word(&mut client.control), Word::Ready);
}

#[test]
fn a_paused_burner_is_told_nothing() {
    let (mut client, _socket) = Client::with_datagrams();
    let words = |client: &mut Client| {
        client.control.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        client.control.read_exact(&mut [0; WORD_BYTES])
    };
    client.control.write_all(&Order::Start.encode()).unwrap();
    words(&mut client).unwrap();
    client.control.write_all(&Order::Pause.encode()).unwrap();
    thread::sleep(Duration::from_millis(50));
    client.control.set_nonblocking(true).unwrap();
    let _under_way = client.control.read(&mut [0; 10 * WORD_BYTES]);
    client.control.set_nonblocking(false).unwrap();
    words(&mut client).unwrap_err();
    client.control.write_all(&Order::Resume.encode()).unwrap();
    words(&mut client).unwrap();
}

#[test]
fn who_says_nothing_or_too_little_is_not_waited_for() {
    let limit = Duration::from_secs(8);
    let (silent, served) = knock_at_the_door(Duration::from_secs(60));
    end_of(served, limit);
    drop(silent);

    // Byte after byte, never done: the whole message has its time, not each byte of it.
    let (mut control, served) = knock_at_the_door(Duration::from_secs(60));
    let dripping = thread::spawn(move || {
        let begin = Instant::now();
        while control.write_all(&[0]).is_ok() && begin.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(250));
        }
    });
    end_of(served, limit);
    dripping.join().unwrap();
}

#[test]
fn a_first_message_that_is_none_ends_the_session_at_once() {
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: sink\r\nAccept: text/html,application/xhtml+xml\r\n\r\n"[..], &[0xff; 68]]
    {
        let (mut control, served) = knock_at_the_door(Duration::from_secs(60));
        control.write_all(garbage).unwrap();
        let end = end_of(served, Duration::from_secs(2));
        assert!(end.contains("no burner of this version"), "{end}");
    }
}

#[test]
fn half_an_order_is_waited_for_within_bounds_and_the_caps_hold_meanwhile() {
    let half = &Order::Pause.encode()[..7];
    let (mut client, _socket) = Client::with_datagrams();
    client.control.write_all(&Order::Start.encode()).unwrap();
    client.control.write_all(half).unwrap();
    let (reason, _) = client.reason(|_| thread::sleep(Duration::from_micros(100)));
    assert!(reason.contains("half an order"), "{reason}");

    let (mut client, socket) = Client::with_datagrams();
    client.control.write_all(&Order::Start.encode()).unwrap();
    client.control.write_all(half).unwrap();
    let stream = stream_number(&client.token, 0);
    let (reason, time) = client.reason(|n| {
        let _gone = socket.send(&datagram(stream, n));
    });
    assert!(reason.contains("8000000 bit/s were granted"), "{reason}");
    assert!(time < Duration::from_millis(2_500), "{time:?}");
}

#[test]
fn orders_in_pieces_are_orders() {
    let (mut client, _socket) = Client::with_datagrams();
    for byte in Order::Start.encode() {
        client.control.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(word(&mut client.control), Word::Progress(_)));
}

#[test]
fn orders_out_of_turn_and_garbage_end_the_session() {
    for (orders, reason) in
        [(vec![Order::Start, Order::Start], "started twice"), (vec![Order::Pause], "before it started")]
    {
        let (mut client, _socket) = Client::with_datagrams();
        for order in orders {
            client.control.write_all(&order.encode()).unwrap();
        }
        let (told, _) = client.reason(|_| thread::sleep(Duration::from_micros(10)));
        assert!(told.contains(reason), "{told}");
    }
    let (mut client, _socket) = Client::with_datagrams();
    client.control.write_all(&Order::Start.encode()).unwrap();
    client.control.write_all(&[0xff; 4_096]).unwrap();
    end_of(client.served, Duration::from_secs(2));
}

/// Whatever it said in its hello.
#[test]
fn a_session_ends_with_the_longest_duration() {
    let mut client = Client::for_at_most(Duration::from_millis(100), Protocol::Tcp);
    let mut stream = TcpStream::connect(client.data).unwrap();
    stream.write_all(&client.token).unwrap();
    assert_eq!(word(&mut client.control), Word::Ready);
    client.control.write_all(&Order::Start.encode()).unwrap();
    let (reason, time) = client.reason(|_| thread::sleep(Duration::from_micros(100)));
    assert!(reason.contains("max_duration of 100ms is over"), "{reason}");
    assert!(time < Duration::from_secs(8), "{time:?}");
}

/// More of them than the sink listens to at once, each silent or one byte short.
#[test]
fn a_crowd_on_the_data_port_does_not_keep_a_stream_out() {
    let mut client = Client::new(Protocol::Tcp);
    let crowd: Vec<_> = (0..150)
        .map(|n| {
            let mut one = TcpStream::connect(client.data).unwrap();
            one.write_all(&client.token[..n % 16]).unwrap();
            one
        })
        .collect();
    let mut stream = TcpStream::connect(client.data).unwrap();
    stream.write_all(&client.token[..9]).unwrap();
    thread::sleep(Duration::from_millis(20));
    stream.write_all(&client.token[9..]).unwrap();
    assert_eq!(word(&mut client.control), Word::Ready);
    drop(crowd);
}
