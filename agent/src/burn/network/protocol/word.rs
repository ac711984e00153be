//! What a sink tells a burner.

use super::{
    Garbled, Token,
    wire::{MAGIC, Reader, Writer},
};

/// Bytes of the message, its length included.
pub const WORD_BYTES: usize = 4 + 384;

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

impl<const N: usize> Writer<N> {
    fn counts(&mut self, counts: &Counts) -> &mut Self {
        let Counts { received_bytes, received, lost, reordered, duplicates, jitter_ns, .. } = counts;
        for value in [received_bytes, received, lost, reordered, duplicates, jitter_ns] {
            self.u64(*value);
        }
        self.u64(counts.sent_bytes).u64(counts.sent).u64(counts.cpu_ns)
    }
}

impl Reader<'_> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for word in words() {
            assert_eq!(Word::decode(&word.encode()), Ok(word));
        }
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
}
