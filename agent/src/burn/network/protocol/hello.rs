//! What one worker of a burner wants of a sink.

use super::{
    super::{MAX_BLOCK_BYTES, MAX_BUFFER_BYTES, MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES},
    Garbled, Protocol,
    wire::{MAGIC, Reader, Writer},
};

/// Bytes of the message, its length included.
pub const HELLO_BYTES: usize = 4 + 64;

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
            Protocol::Udp => MIN_DATAGRAM_BYTES..=MAX_DATAGRAM_BYTES,
            Protocol::Tcp | Protocol::RequestResponse | Protocol::Connect => 1..=MAX_BLOCK_BYTES,
        };
        if !bounds.contains(&block_bytes) {
            return Err(Garbled::Field("block size"));
        }
        if buffer_bytes > MAX_BUFFER_BYTES {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_said_is_what_is_heard() {
        assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
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
}
