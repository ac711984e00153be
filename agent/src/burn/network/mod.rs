//! The network burner: streams of TCP or UDP, requests, or connections, to the sink of another agent.

mod connect;
mod datagrams;
mod error;
mod load;
pub mod protocol;
pub(crate) mod queue;
mod requests;
pub(crate) mod sequence;
mod session;
pub(crate) mod socket;
mod streams;
pub(crate) mod udp;
mod worker;
mod zerocopy;

pub use error::NetworkError;
pub use load::{NetworkLoad, Protocol, ZeroCopyMethod};
pub use protocol::DEFAULT_PORT;
pub use requests::DEFAULT_RATE_PER_S;
pub(crate) use session::set_buffers;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::worker::NetworkWorker;
use super::{plan::Plan, worker::Worker};

/// Of a datagram: its head.
pub const MIN_DATAGRAM_BYTES: u32 = protocol::DatagramHead::BYTES as u32;
/// Of a datagram: what IPv4 carries.
pub const MAX_DATAGRAM_BYTES: u32 = 65_507;
/// Of a write or a request.
pub const MAX_BLOCK_BYTES: u32 = 16 << 20;
/// Of a socket's buffer.
pub const MAX_BUFFER_BYTES: u32 = 1 << 30;

/// Streams are descriptors, and the usual soft limit is 1,024 of those: up to the hard one, getrlimit(2). Best effort: who
/// needs more than there are is told when it comes to that.
pub(crate) fn allow_many_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _best_effort = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// A worker for each of the plan's cores.
pub(super) fn crew(plan: &Plan, load: &NetworkLoad) -> Vec<Box<dyn Worker>> {
    allow_many_descriptors();
    let worker = |index| -> Box<dyn Worker> {
        Box::new(NetworkWorker::new(load.clone(), plan.phase, plan.seed.wrapping_add(index as u64)))
    };
    (0..plan.cores.len()).map(worker).collect()
}
