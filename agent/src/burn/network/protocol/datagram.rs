//! The head of each datagram, and what a UDP socket of a burner says so that the sink learns its address.

use super::{Token, wire::Reader};

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
        let mut reader = Reader::of(datagram.get(..Self::BYTES)?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let head = DatagramHead { stream: 1, sequence: u64::MAX - 1, sent_ns: 3 };
        let mut datagram = [9; 24];
        head.write(&mut datagram);
        assert_eq!(DatagramHead::read(&datagram), Some(head));
        assert_eq!(DatagramHead::read(&datagram[..19]), None);
    }

    #[test]
    fn a_knock_names_its_stream_to_who_gave_the_token() {
        let token = [7; 16];
        assert_eq!(knocked(&knock(&token, 513), &token), Some(513));
        assert_eq!(knocked(&knock(&[8; 16], 513), &token), None);
        assert_eq!(knocked(&knock(&token, 513)[..17], &token), None);
    }
}
