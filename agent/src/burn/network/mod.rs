//! The network burner: streams of TCP or UDP, requests, or connections, to the sink of another agent.

pub(crate) mod protocol;
pub(crate) mod sequence;
pub(crate) mod socket;
pub(crate) mod udp;

/// Of a datagram: its head.
pub const MIN_DATAGRAM_BYTES: u32 = protocol::DatagramHead::BYTES as u32;
/// Of a datagram: what IPv4 carries.
pub const MAX_DATAGRAM_BYTES: u32 = 65_507;
/// Of a write or a request.
pub const MAX_BLOCK_BYTES: u32 = 16 << 20;
/// Of a socket's buffer.
pub const MAX_BUFFER_BYTES: u32 = 1 << 30;
