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

struct Client {
    control: TcpStream,
    served: JoinHandle<Result<(), session::End>>,
    data: SocketAddr,
    token: Token,
}

impl Client {
    /// Of a sink of its own that allows 1 Mbyte/s.
    fn new(protocol: Protocol) -> Self {
        let gate = Arc::new(Gate::new(SinkPlan {
            listen: Vec::new(),
            allowed_peers: vec!["127.0.0.0/8".parse().unwrap()],
            data_ports: None,
            max_rate_bits_per_s: 8_000_000,
            max_streams: 4,
            max_duration: Duration::from_secs(60),
            cores: Vec::new(),
        }));
        let listener = TcpListener::bind((IP, 0)).unwrap();
        let mut control = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        control.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let accepted = listener.accept().unwrap().0;
        let served = thread::spawn(move || session::serve(accepted, &gate));
        let hello = Hello {
            protocol,
            both: false,
            streams: 1,
            all_streams: 1,
            block_bytes: 1_000,
            buffer_bytes: 0,
            rate_bits_per_s: 0,
            duration_ms: 60_000,
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
