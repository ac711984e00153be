//! What a network burner and a sink say to each other on the control connection, and the head of each datagram.
//!
//! Every message is a length (u32) and so many bytes, all numbers big-endian, of a size fixed by its type: whoever reads
//! knows beforehand how much may come, and what is not exactly that is refused. Version 2:
//!
//! ```text
//! burner → sink   Hello     what it wants                              once, first
//! sink → burner   Word      Accepted (port, token) | Refused (reason)  once
//! burner → sink   data connections to the port, each begins with the token (not those of `connect`)
//! sink → burner   Word      Ready                                      once all are there
//! burner → sink   Order     Start
//! sink → burner   Word      Progress (counts so far)                   every 200 ms | Ended (reason)
//! burner → sink   Order     Pause | Resume: in between neither sends  as often as there is one
//! burner → sink   Order     Done (datagrams sent)
//! sink → burner   Word      Final (counts)                             then both close
//! ```

use std::{array, time::Duration};

use serde::{Deserialize, Serialize};

/// "SSTSNET" and the version: what any other program sends first differs in the first bytes.
const MAGIC: u64 = u64::from_be_bytes(*b"SSTSNET\x02");

/// The control port of a sink, unless configured: in no registry of assigned ports.
pub const DEFAULT_PORT: u16 = 7471;
/// How often a sink tells what it counted.
pub const PROGRESS: Duration = Duration::from_millis(200);
/// A side that says nothing for so long is taken for dead. Above what TCP needs to repair a few lost segments in a row.
pub const SILENCE: Duration = Duration::from_secs(5);
/// How long each step of the handshake may take.
pub const STEP: Duration = Duration::from_secs(3);

/// Bytes of the messages, length included.
pub const HELLO_BYTES: usize = 4 + 64;
/// See [`HELLO_BYTES`].
pub const ORDER_BYTES: usize = 4 + 24;
/// See [`HELLO_BYTES`].
pub const WORD_BYTES: usize = 4 + 384;
/// Of a text in a [`Word`], NUL-padded.
const TEXT_BYTES: usize = 256;

/// Stands before the data of a data connection.
pub type Token = [u8; 16];

/// What the data connections carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// As many bytes as TCP carries, or a rate.
    Tcp,
    /// Datagrams, paced.
    Udp,
    /// Requests over TCP, each answered with as many bytes, at a fixed open-loop rate.
    RequestResponse,
    /// TCP connections, one after the other.
    Connect,
}

impl Protocol {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::RequestResponse => "rr",
            Self::Connect => "connect",
        }
    }
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Not of this protocol.
    #[error("it is no message of sstsd's network protocol, version 2")]
    Foreign,
    /// A value that has no meaning.
    #[error("its {0} is outside what the protocol knows")]
    Field(&'static str),
}

/// What one worker of a burner wants of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What the data connections carry.
    pub protocol: Protocol,
    /// The sink sends as well as it receives.
    pub both: bool,
    /// Data streams of this worker: 1 to 1,024.
    pub streams: u16,
    /// Data streams of all workers of its burner.
    pub all_streams: u16,
    /// Bytes of a datagram, a request, or one write.
    pub block_bytes: u32,
    /// `SO_SNDBUF` and `SO_RCVBUF` of data sockets; 0 leaves them to the kernel.
    pub buffer_bytes: u32,
    /// Of all workers of the burner, one way, in bits a second; 0 for no limit of its own.
    pub rate_bits_per_s: u64,
    /// How long the data will flow, pauses not counted.
    pub duration_ms: u64,
}

impl Hello {
    /// As it is sent.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = Writer::<HELLO_BYTES>::new();
        let protocol = match self.protocol {
            Protocol::Tcp => 1,
            Protocol::Udp => 2,
            Protocol::RequestResponse => 3,
            Protocol::Connect => 4,
        };
        out.u64(MAGIC).u8(protocol).u8(self.both.into()).u16(self.streams).u16(self.all_streams).u16(0);
        out.u32(self.block_bytes).u32(self.buffer_bytes).u64(self.rate_bits_per_s).u64(self.duration_ms);
        out.finish()
    }

    /// Of what was received.
    ///
    /// # Errors
    /// For anything that [`Hello::encode`] can't have made.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, Garbled> {
        let mut input = Reader::new(bytes)?;
        if input.u64() != MAGIC {
            return Err(Garbled::Foreign);
        }
        let protocol = match input.u8() {
            1 => Protocol::Tcp,
            2 => Protocol::Udp,
            3 => Protocol::RequestResponse,
            4 => Protocol::Connect,
            _ => return Err(Garbled::Field("protocol")),
        };
        let both = match input.u8() {
            0 => false,
            1 => true,
            _ => return Err(Garbled::Field("direction")),
        };
        let (streams, all_streams) = (input.u16(), input.u16());
        if !(1..=1_024).contains(&streams) || all_streams < streams || input.u16() != 0 {
            return Err(Garbled::Field("number of streams"));
        }
        let (block_bytes, buffer_bytes) = (input.u32(), input.u32());
        let bounds = match protocol {
            Protocol::Udp => super::MIN_DATAGRAM_BYTES..=super::MAX_DATAGRAM_BYTES,
            Protocol::Tcp | Protocol::RequestResponse | Protocol::Connect => 1..=super::MAX_BLOCK_BYTES,
        };
        if !bounds.contains(&block_bytes) {
            return Err(Garbled::Field("block size"));
        }
        if buffer_bytes > super::MAX_BUFFER_BYTES {
            return Err(Garbled::Field("buffer size"));
        }
        let (rate_bits_per_s, duration_ms) = (input.u64(), input.u64());
        input.rest_is_zero()?;
        Ok(Self {
            protocol,
            both,
            streams,
            all_streams,
            block_bytes,
            buffer_bytes,
            rate_bits_per_s,
            duration_ms,
        })
    }
}

/// What a burner tells a sink after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Data flows from now on.
    Start,
    /// No more data comes; so many datagrams were sent.
    Done(u64),
    /// Nothing is sent nor read on this side for a while.
    Pause,
    /// The while is over.
    Resume,
}

impl Order {
    /// As it is sent.
    pub fn encode(self) -> [u8; ORDER_BYTES] {
        let mut out = Writer::<ORDER_BYTES>::new();
        let (kind, datagrams) = match self {
            Self::Start => (1, 0),
            Self::Done(datagrams) => (2, datagrams),
            Self::Pause => (3, 0),
            Self::Resume => (4, 0),
        };
        out.u64(MAGIC).u64(kind).u64(datagrams);
        out.finish()
    }

    /// Of what was received.
    ///
    /// # Errors
    /// For anything that [`Order::encode`] can't have made.
    pub fn decode(bytes: &[u8; ORDER_BYTES]) -> Result<Self, Garbled> {
        let mut input = Reader::new(bytes)?;
        if input.u64() != MAGIC {
            return Err(Garbled::Foreign);
        }
        match (input.u64(), input.u64()) {
            (1, 0) => Ok(Self::Start),
            (2, datagrams) => Ok(Self::Done(datagrams)),
            (3, 0) => Ok(Self::Pause),
            (4, 0) => Ok(Self::Resume),
            _ => Err(Garbled::Field("order")),
        }
    }
}

/// What a sink counted of one worker's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Payload that arrived.
    pub received_bytes: u64,
    /// Datagrams, requests or connections that arrived; each datagram once.
    pub received: u64,
    /// Datagrams that were sent and have not arrived.
    pub lost: u64,
    /// Datagrams that arrived after one that was sent later.
    pub reordered: u64,
    /// Datagrams that arrived again.
    pub duplicates: u64,
    /// Interarrival jitter, RFC 3550 section 6.4.1; the worst stream's.
    pub jitter_ns: u64,
    /// Payload that the sink sent.
    pub sent_bytes: u64,
    /// Datagrams that the sink sent.
    pub sent: u64,
    /// CPU time that the sink's threads spent on this.
    pub cpu_ns: u64,
}

/// What a sink tells a burner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Come in.
    Accepted {
        /// For data, at the sink's address.
        port: u16,
        /// To begin data connections with.
        token: Token,
        /// What this worker may send, and will be sent; 0 for as much as it can.
        rate_bits_per_s: u64,
    },
    /// No, with the reason and the mend.
    Refused(String),
    /// All data connections are there.
    Ready,
    /// What was counted so far.
    Progress(Counts),
    /// What was counted, for good.
    Final(Counts),
    /// The sink ended it, with the reason.
    Ended(String),
}

impl Word {
    /// As it is sent. Texts are cut to what fits.
    pub fn encode(&self) -> [u8; WORD_BYTES] {
        let mut out = Writer::<WORD_BYTES>::new();
        out.u64(MAGIC);
        match self {
            Self::Accepted { port, token, rate_bits_per_s } => {
                out.u8(1).u16(*port).bytes(token).u64(*rate_bits_per_s);
            }
            Self::Refused(reason) => {
                out.u8(2).text(reason);
            }
            Self::Ready => {
                out.u8(3);
            }
            Self::Progress(counts) => {
                out.u8(4).counts(counts);
            }
            Self::Final(counts) => {
                out.u8(5).counts(counts);
            }
            Self::Ended(reason) => {
                out.u8(6).text(reason);
            }
        }
        out.finish()
    }

    /// Of what was received.
    ///
    /// # Errors
    /// For anything that [`Word::encode`] can't have made.
    pub fn decode(bytes: &[u8; WORD_BYTES]) -> Result<Self, Garbled> {
        let mut input = Reader::new(bytes)?;
        if input.u64() != MAGIC {
            return Err(Garbled::Foreign);
        }
        let word = match input.u8() {
            1 => Self::Accepted { port: input.u16(), token: input.bytes(), rate_bits_per_s: input.u64() },
            2 => Self::Refused(input.text()),
            3 => Self::Ready,
            4 => Self::Progress(input.counts()),
            5 => Self::Final(input.counts()),
            6 => Self::Ended(input.text()),
            _ => return Err(Garbled::Field("kind")),
        };
        input.rest_is_zero()?;
        Ok(word)
    }
}

/// The first bytes of each datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatagramHead {
    /// Which session and stream: a stray one is not counted.
    pub stream: u32,
    /// Counts from 0.
    pub sequence: u64,
    /// When it was handed to the kernel, by the sender's clock.
    pub sent_ns: u64,
}

impl DatagramHead {
    /// Length on the wire.
    pub const BYTES: usize = 20;

    /// Writes it to the front of a datagram.
    pub fn write(&self, datagram: &mut [u8]) {
        datagram[..4].copy_from_slice(&self.stream.to_be_bytes());
        datagram[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        datagram[12..20].copy_from_slice(&self.sent_ns.to_be_bytes());
    }

    /// Of a datagram, unless it is too short.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: datagram.get(..Self::BYTES)? };
        Some(Self { stream: reader.u32(), sequence: reader.u64(), sent_ns: reader.u64() })
    }
}

/// The stream number of a session's n-th stream.
pub fn stream_number(token: &Token, n: u16) -> u32 {
    u32::from_be_bytes([token[0], token[1], token[2], token[3]]).wrapping_add(n.into())
}

/// Of what a UDP socket of a burner says so that the sink learns its address.
pub const KNOCK_BYTES: usize = 18;

/// Of the session's n-th stream. Shorter than a datagram's head, so that one that comes late counts as none.
pub fn knock(token: &Token, n: u16) -> [u8; KNOCK_BYTES] {
    let mut bytes = [0; KNOCK_BYTES];
    bytes[..16].copy_from_slice(token);
    bytes[16..].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// Which stream knocks, with the session's token.
pub fn knocked(bytes: &[u8], token: &Token) -> Option<u16> {
    let number = bytes.strip_prefix(token.as_slice())?;
    Some(u16::from_be_bytes(number.try_into().ok()?))
}

struct Writer<const N: usize> {
    out: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    fn new() -> Self {
        let mut writer = Self { out: [0; N], at: 0 };
        writer.u32(N as u32 - 4);
        writer
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let end = (0..=TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        self.bytes(&text.as_bytes()[..end.unwrap_or(0)])
    }

    fn counts(&mut self, counts: &Counts) -> &mut Self {
        let Counts { received_bytes, received, lost, reordered, duplicates, jitter_ns, .. } = counts;
        for value in [received_bytes, received, lost, reordered, duplicates, jitter_ns] {
            self.u64(*value);
        }
        self.u64(counts.sent_bytes).u64(counts.sent).u64(counts.cpu_ns)
    }

    fn finish(self) -> [u8; N] {
        self.out
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(message: &'a [u8]) -> Result<Self, Garbled> {
        let mut reader = Self { rest: message };
        if reader.u32() as usize == message.len() - 4 { Ok(reader) } else { Err(Garbled::Foreign) }
    }

    /// Messages have a fixed size above what is read of them: see the constants.
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.rest.split_at(N);
        self.rest = rest;
        array::from_fn(|n| bytes[n])
    }

    fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.bytes())
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// Control characters could play tricks on a terminal.
    fn text(&mut self) -> String {
        let bytes: [u8; TEXT_BYTES] = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end_matches('\0').chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    }

    fn counts(&mut self) -> Counts {
        Counts {
            received_bytes: self.u64(),
            received: self.u64(),
            lost: self.u64(),
            reordered: self.u64(),
            duplicates: self.u64(),
            jitter_ns: self.u64(),
            sent_bytes: self.u64(),
            sent: self.u64(),
            cpu_ns: self.u64(),
        }
    }

    fn rest_is_zero(&self) -> Result<(), Garbled> {
        if self.rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Garbled::Field("padding")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::random::split_mix;

    fn hello() -> Hello {
        Hello {
            protocol: Protocol::Udp,
            both: true,
            streams: 3,
            all_streams: 9,
            block_bytes: 1_448,
            buffer_bytes: 1 << 20,
            rate_bits_per_s: u64::MAX,
            duration_ms: 7,
        }
    }

    fn words() -> [Word; 6] {
        let counts = Counts { received: 1, lost: 2, cpu_ns: u64::MAX, ..Counts::default() };
        [
            Word::Accepted { port: 65_535, token: [7; 16], rate_bits_per_s: 9 },
            Word::Refused("asked 4, the cap is 2".into()),
            Word::Ready,
            Word::Progress(counts),
            Word::Final(counts),
            Word::Ended("é".repeat(128)),
        ]
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
        for order in [Order::Start, Order::Done(u64::MAX), Order::Pause, Order::Resume] {
            assert_eq!(Order::decode(&order.encode()), Ok(order));
        }
        for word in words() {
            assert_eq!(Word::decode(&word.encode()), Ok(word));
        }
        let head = DatagramHead { stream: 1, sequence: u64::MAX - 1, sent_ns: 3 };
        let mut datagram = [9; 24];
        head.write(&mut datagram);
        assert_eq!(DatagramHead::read(&datagram), Some(head));
        assert_eq!(DatagramHead::read(&datagram[..19]), None);
    }

    #[test]
    fn a_text_is_cut_between_characters_and_bears_no_control_characters() {
        let Ok(Word::Refused(text)) = Word::decode(&Word::Refused("é".repeat(300)).encode()) else {
            panic!()
        };
        assert_eq!(text, "é".repeat(128));
        let Ok(Word::Ended(text)) = Word::decode(&Word::Ended("a\x1b[2Jb".into()).encode()) else { panic!() };
        assert_eq!(text, "a?[2Jb");
    }

    /// Each byte of each message changed to each other value: refused, or the message that those bytes stand for.
    #[test]
    fn no_byte_is_ignored() {
        let good = hello().encode();
        for at in 0..HELLO_BYTES {
            for value in 0..=255 {
                let mut bytes = good;
                bytes[at] = value;
                if let Ok(read) = Hello::decode(&bytes) {
                    assert_eq!(read.encode(), bytes, "byte {at} = {value}");
                }
            }
        }
    }

    #[test]
    fn garbage_is_refused_and_breaks_nothing() {
        let mut state = 1;
        for _ in 0..20_000 {
            let mut hello = [0; HELLO_BYTES];
            let mut word = [0; WORD_BYTES];
            let mut order = [0; ORDER_BYTES];
            for bytes in [&mut hello[..], &mut word[..], &mut order[..]] {
                bytes.iter_mut().for_each(|byte| *byte = split_mix(&mut state) as u8);
            }
            assert_eq!(Hello::decode(&hello), Err(Garbled::Foreign));
            assert_eq!(Word::decode(&word), Err(Garbled::Foreign));
            assert_eq!(Order::decode(&order), Err(Garbled::Foreign));
        }
    }
}
