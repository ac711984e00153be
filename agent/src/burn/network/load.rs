//! What a network burner is told to do.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use super::protocol::Protocol;
use crate::burn::{
    plan::{Figure, Sum},
    profile::Shape,
    rise::Rise,
};

/// What a network burner does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkLoad {
    /// The sink's control port.
    pub peer: SocketAddr,
    /// What the data connections carry.
    pub protocol: Protocol,
    /// Data streams of all workers together.
    pub streams: u16,
    /// All streams together, one way: payload in bits a second for `tcp` and `udp`, requests or connections a second for
    /// the others; none for as much as goes.
    pub rate: Option<u64>,
    /// Where the rate of `tcp` and `udp` comes from, of a phase that is ramped into.
    #[serde(default)]
    pub rise: Option<Rise>,
    /// Of `tcp`'s rate, over time; none for all of it.
    pub rate_share: Option<Shape>,
    /// Of a datagram, a request, or one write.
    pub block_bytes: u32,
    /// `SO_SNDBUF` and `SO_RCVBUF` of data sockets; none leaves them to the kernel.
    pub buffer_bytes: Option<u32>,
    /// Send without copying.
    pub zerocopy: Option<ZeroCopyMethod>,
    /// TCP's congestion control, by the kernel's name.
    pub congestion: Option<String>,
    /// The sink sends as well.
    pub both: bool,
}

/// How TCP's bytes are sent without copying them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroCopyMethod {
    /// sendfile(2), from pages of a memory file.
    Sendfile,
    /// `MSG_ZEROCOPY`, from this process's memory.
    Msg,
}

/// What is counted beyond what all burners do. `Sink`: there; `Returned`: of what the sink sent, here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    SinkBytes,
    SinkReceived,
    Sent,
    NoBuffers,
    Lost,
    Reordered,
    Duplicates,
    Jitter,
    ReturnedBytes,
    ReturnedReceived,
    ReturnedLost,
    ReturnedReordered,
    ReturnedJitter,
    Retransmits,
    RoundTrip,
    SinkCpu,
    Unanswered,
    ZeroCopySends,
    ZeroCopyCopied,
}

impl Count {
    const fn figure(self) -> Figure {
        let (name, unit, sum) = match self {
            Self::SinkBytes => ("sink_received_bytes", "By", Sum::Total),
            Self::SinkReceived => ("sink_received", "1", Sum::Total),
            Self::Sent => ("sent", "1", Sum::Total),
            Self::NoBuffers => ("no_buffers", "1", Sum::Total),
            Self::Lost => ("lost", "1", Sum::Total),
            Self::Reordered => ("reordered", "1", Sum::Total),
            Self::Duplicates => ("duplicates", "1", Sum::Total),
            Self::Jitter => ("jitter", "ns", Sum::Max),
            Self::ReturnedBytes => ("returned_bytes", "By", Sum::Total),
            Self::ReturnedReceived => ("returned_received", "1", Sum::Total),
            Self::ReturnedLost => ("returned_lost", "1", Sum::Total),
            Self::ReturnedReordered => ("returned_reordered", "1", Sum::Total),
            Self::ReturnedJitter => ("returned_jitter", "ns", Sum::Max),
            Self::Retransmits => ("retransmits", "1", Sum::Total),
            Self::RoundTrip => ("tcp_rtt", "ns", Sum::Max),
            Self::SinkCpu => ("sink_cpu", "ns", Sum::Total),
            Self::Unanswered => ("unanswered", "1", Sum::Total),
            Self::ZeroCopySends => ("zerocopy_sends", "1", Sum::Total),
            Self::ZeroCopyCopied => ("zerocopy_copied", "1", Sum::Total),
        };
        Figure { name, unit, sum }
    }
}

const fn figures<const N: usize>(counts: [Count; N]) -> [Figure; N] {
    let mut figures = [Count::Sent.figure(); N];
    let mut n = 0;
    while n < N {
        figures[n] = counts[n].figure();
        n += 1;
    }
    figures
}

/// A list of counts, and the figures that they are in the result.
macro_rules! counted {
    ($counts:ident, $figures:ident, $($count:ident),+) => {
        const $counts: &[Count] = &[$(Count::$count),+];
        const $figures: &[Figure] = &figures([$(Count::$count),+]);
    };
}

counted!(TCP, TCP_FIGURES, SinkBytes, Retransmits, RoundTrip, SinkCpu);
counted!(TCP_BOTH, TCP_BOTH_FIGURES, SinkBytes, ReturnedBytes, Retransmits, RoundTrip, SinkCpu);
counted!(TCP_MSG, TCP_MSG_FIGURES, SinkBytes, Retransmits, RoundTrip, SinkCpu, ZeroCopySends, ZeroCopyCopied);
counted!(
    TCP_MSG_BOTH,
    TCP_MSG_BOTH_FIGURES,
    SinkBytes,
    ReturnedBytes,
    Retransmits,
    RoundTrip,
    SinkCpu,
    ZeroCopySends,
    ZeroCopyCopied
);
counted!(
    UDP,
    UDP_FIGURES,
    Sent,
    NoBuffers,
    SinkReceived,
    SinkBytes,
    Lost,
    Reordered,
    Duplicates,
    Jitter,
    SinkCpu
);
counted!(
    UDP_BOTH,
    UDP_BOTH_FIGURES,
    Sent,
    NoBuffers,
    SinkReceived,
    SinkBytes,
    Lost,
    Reordered,
    Duplicates,
    Jitter,
    SinkCpu,
    ReturnedReceived,
    ReturnedBytes,
    ReturnedLost,
    ReturnedReordered,
    ReturnedJitter
);
counted!(REQUESTS, REQUESTS_FIGURES, Sent, Unanswered, SinkBytes, Retransmits, RoundTrip, SinkCpu);
counted!(CONNECTS, CONNECTS_FIGURES, Sent, Unanswered, SinkReceived, SinkCpu);

impl NetworkLoad {
    /// From when a request or connection was due to its answer.
    const LATENCIES: &'static [&'static str] = &["round_trip"];

    /// Names of the latency histograms.
    pub fn latencies(&self) -> &'static [&'static str] {
        match self.protocol {
            Protocol::Tcp | Protocol::Udp => &[],
            Protocol::RequestResponse | Protocol::Connect => Self::LATENCIES,
        }
    }

    /// What is counted beyond what all burners do.
    pub fn figures(&self) -> &'static [Figure] {
        self.counted().1
    }

    /// In the order of [`NetworkLoad::figures`].
    pub(super) fn counts(&self) -> &'static [Count] {
        self.counted().0
    }

    fn counted(&self) -> (&'static [Count], &'static [Figure]) {
        let is_msg = self.zerocopy == Some(ZeroCopyMethod::Msg);
        match (self.protocol, self.both) {
            (Protocol::Tcp, false) if is_msg => (TCP_MSG, TCP_MSG_FIGURES),
            (Protocol::Tcp, true) if is_msg => (TCP_MSG_BOTH, TCP_MSG_BOTH_FIGURES),
            (Protocol::Tcp, false) => (TCP, TCP_FIGURES),
            (Protocol::Tcp, true) => (TCP_BOTH, TCP_BOTH_FIGURES),
            (Protocol::Udp, false) => (UDP, UDP_FIGURES),
            (Protocol::Udp, true) => (UDP_BOTH, UDP_BOTH_FIGURES),
            (Protocol::RequestResponse, _) => (REQUESTS, REQUESTS_FIGURES),
            (Protocol::Connect, _) => (CONNECTS, CONNECTS_FIGURES),
        }
    }

    /// What one of so many workers does: its share of streams (the first ones take the rest) and of the rate.
    pub(super) fn share(&self, worker: usize, workers: usize) -> (u16, Option<f64>) {
        let (streams, workers) = (usize::from(self.streams), workers.max(1));
        let mine = streams / workers + usize::from(worker < streams % workers);
        let rate = self.rate.map(|rate| rate as f64 * mine as f64 / streams.max(1) as f64);
        (mine as u16, rate)
    }

    /// What a rate that is so much of the whole one comes from.
    pub(super) fn rise_of(&self, rate: f64) -> Option<Rise> {
        let rise = self.rise?;
        Some(Rise { from: rise.from * rate / (self.rate? as f64).max(1.0), ..rise })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::burn::control::MAX_FIGURES;

    #[test]
    fn streams_and_rate_are_shared_out_whole() {
        let load = NetworkLoad {
            peer: ([127, 0, 0, 1], 1).into(),
            protocol: Protocol::Tcp,
            streams: 5,
            rate: Some(1_000),
            rise: Some(Rise { from: 100.0, over: std::time::Duration::from_secs(1) }),
            rate_share: None,
            block_bytes: 1,
            buffer_bytes: None,
            zerocopy: None,
            congestion: None,
            both: false,
        };
        assert_eq!(load.share(0, 2), (3, Some(600.0)));
        assert_eq!(load.share(1, 2), (2, Some(400.0)));
        assert_eq!(load.rise_of(400.0).map(|rise| rise.from), Some(40.0));
    }

    #[test]
    fn figures_fit_the_control_block_and_have_one_name_each() {
        for figures in [TCP_MSG_BOTH_FIGURES, UDP_BOTH_FIGURES, REQUESTS_FIGURES, CONNECTS_FIGURES] {
            assert!(figures.len() <= MAX_FIGURES);
            let names: HashSet<_> = figures.iter().map(|figure| figure.name).collect();
            assert_eq!(names.len(), figures.len());
        }
        let lost = UDP.iter().position(|count| *count == Count::Lost).unwrap();
        assert_eq!(UDP_FIGURES[lost].name, "lost");
    }
}
