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

mod datagram;
mod hello;
mod order;
mod wire;
mod word;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    datagram::{DatagramHead, KNOCK_BYTES, knock, knocked, stream_number},
    hello::{HELLO_BYTES, Hello},
    order::{ORDER_BYTES, Order},
    word::{Counts, WORD_BYTES, Word},
};

/// The control port of a sink, unless configured: in no registry of assigned ports.
pub const DEFAULT_PORT: u16 = 7471;
/// How often a sink tells what it counted.
pub const PROGRESS: Duration = Duration::from_millis(200);
/// A side that says nothing for so long is taken for dead. Above what TCP needs to repair a few lost segments in a row.
pub const SILENCE: Duration = Duration::from_secs(5);
/// How long each step of the handshake may take.
pub const STEP: Duration = Duration::from_secs(3);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::random::split_mix;

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
