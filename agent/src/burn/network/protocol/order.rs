//! What a burner tells a sink after the handshake.

use super::{
    Garbled,
    wire::{MAGIC, Reader, Writer},
};

/// Bytes of the message, its length included.
pub const ORDER_BYTES: usize = 4 + 24;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard() {
        for order in [Order::Start, Order::Done(u64::MAX), Order::Pause, Order::Resume] {
            assert_eq!(Order::decode(&order.encode()), Ok(order));
        }
    }
}
