//! Who may come in, and with how much.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{SinkPlan, bucket::Bucket};
use crate::burn::network::{Protocol, protocol::Hello};

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) plan: SinkPlan,
    /// Bytes that come in.
    pub(super) inward: Bucket,
    /// Bytes that go out.
    pub(super) outward: Bucket,
    streams: AtomicU64,
    /// Promised to UDP sessions, for a receiver can't slow their senders down.
    promised_bits_per_s: AtomicU64,
    next_core: AtomicUsize,
    /// The host is halted.
    pub(super) closed: AtomicBool,
}

impl Gate {
    pub(super) fn new(plan: SinkPlan) -> Self {
        Self {
            inward: Bucket::new(plan.max_rate_bits_per_s),
            outward: Bucket::new(plan.max_rate_bits_per_s),
            plan,
            streams: AtomicU64::new(0),
            promised_bits_per_s: AtomicU64::new(0),
            next_core: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Lets a session in, or says why not: the rule, both values, and the key that would have to change.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, hello: &Hello) -> Result<Pass, String> {
        let plan = &self.plan;
        if self.closed.load(Ordering::Relaxed) {
            return Err("its host is halted".into());
        }
        self.lets_in(peer)?;
        let duration = Duration::from_millis(hello.duration_ms);
        if duration > plan.max_duration {
            return Err(format!(
                "{duration:?} is longer than its network.sink.max_duration of {:?}",
                plan.max_duration
            ));
        }
        if hello.all_streams > plan.max_streams {
            return Err(format!(
                "{} streams are more than its network.sink.max_streams of {}",
                hello.all_streams, plan.max_streams
            ));
        }
        if hello.rate_bits_per_s > plan.max_rate_bits_per_s {
            return Err(format!(
                "{} bit/s are more than its network.sink.max_rate_bits_per_s of {}",
                hello.rate_bits_per_s, plan.max_rate_bits_per_s
            ));
        }
        let streams = u64::from(hello.streams);
        let most = u64::from(plan.max_streams);
        let used = reserve(&self.streams, streams, most).map_err(|used| {
            format!(
                "{used} of its network.sink.max_streams of {most} are in use, and {streams} more are asked"
            )
        });
        used?;
        let mut pass = Pass {
            gate: self.clone(),
            streams,
            promised_bits_per_s: 0,
            granted_bits_per_s: self.share(hello),
        };
        if hello.protocol == Protocol::Udp {
            let most = plan.max_rate_bits_per_s;
            let asked = pass.granted_bits_per_s;
            reserve(&self.promised_bits_per_s, asked, most).map_err(|used| {
                format!(
                    "{used} bit/s of its network.sink.max_rate_bits_per_s of {most} are promised, and {asked} more \
                     are asked"
                )
            })?;
            pass.promised_bits_per_s = asked;
        }
        Ok(pass)
    }

    /// What one worker's session may send: its streams' share of what its burner asked, or of the cap.
    fn share(&self, hello: &Hello) -> u64 {
        let whole = match hello.rate_bits_per_s {
            0 => self.plan.max_rate_bits_per_s,
            asked => asked,
        };
        let share = u128::from(whole) * u128::from(hello.streams) / u128::from(hello.all_streams);
        u64::try_from(share).unwrap_or(u64::MAX).max(1)
    }

    /// What one receiver may take off a TCP stream at once, of `most` bytes: what the cap allows it in 50 ms. Were it more, a
    /// stream would stand still for as long as it costs.
    pub(super) fn most_at_once(&self, most: usize) -> usize {
        let streams = self.streams.load(Ordering::Relaxed).max(1);
        let share = self.plan.max_rate_bits_per_s / 8 / 20 / streams;
        usize::try_from(share).unwrap_or(most).clamp(1, most)
    }

    /// Whether burners may come from there; else the reason.
    pub(super) fn lets_in(&self, peer: IpAddr) -> Result<(), String> {
        // A dual-stack socket shows IPv4 peers as mapped addresses.
        let peer = peer.to_canonical();
        let nets = &self.plan.allowed_peers;
        if nets.iter().any(|net| net.contains(&peer)) {
            return Ok(());
        }
        Err(format!(
            "{peer} is in none of its networks ({}); add it to network.sink.allowed_peers there",
            list(nets)
        ))
    }

    /// The core for the next receiver.
    pub(super) fn next_core(&self) -> Option<u32> {
        let n = self.next_core.fetch_add(1, Ordering::Relaxed);
        let cores = &self.plan.cores;
        cores.get(n.checked_rem(cores.len())?).copied()
    }
}

/// A session that was let in. What it holds is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) gate: Arc<Gate>,
    streams: u64,
    promised_bits_per_s: u64,
    /// What it may send.
    pub(super) granted_bits_per_s: u64,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.streams.fetch_sub(self.streams, Ordering::Relaxed);
        self.gate.promised_bits_per_s.fetch_sub(self.promised_bits_per_s, Ordering::Relaxed);
    }
}

/// Adds to what is used unless that goes over the most; then gives what is used.
fn reserve(used: &AtomicU64, more: u64, most: u64) -> Result<(), u64> {
    let update = |used: u64| used.checked_add(more).filter(|sum| *sum <= most);
    used.try_update(Ordering::Relaxed, Ordering::Relaxed, update).map(|_| ())
}

fn list(nets: &[ipnet::IpNet]) -> String {
    let names: Vec<_> = nets.iter().take(4).map(ToString::to_string).collect();
    if names.is_empty() {
        return "there are none".into();
    }
    let more = nets.len().saturating_sub(names.len());
    names.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new(SinkPlan {
            listen: Vec::new(),
            allowed_peers: vec!["10.0.0.0/8".parse().unwrap()],
            data_ports: None,
            max_rate_bits_per_s: 1_000,
            max_streams: 4,
            max_duration: Duration::from_secs(10),
            cores: vec![3, 5],
        }))
    }

    fn hello() -> Hello {
        Hello {
            protocol: Protocol::Udp,
            both: false,
            streams: 1,
            all_streams: 2,
            block_bytes: 100,
            buffer_bytes: 0,
            rate_bits_per_s: 600,
            duration_ms: 10_000,
        }
    }

    fn peer() -> IpAddr {
        "10.1.2.3".parse().unwrap()
    }

    #[test]
    fn each_cap_refuses_with_both_values() {
        let gate = gate();
        let refused = |peer: &str, hello: &Hello, parts: [&str; 2]| {
            let reason = gate.admit(peer.parse().unwrap(), hello).unwrap_err();
            assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
            assert!(reason.len() <= 256, "{reason}");
        };
        refused("11.0.0.1", &hello(), ["11.0.0.1", "10.0.0.0/8"]);
        refused("::ffff:11.0.0.1", &hello(), ["11.0.0.1", "allowed_peers"]);
        refused("10.0.0.1", &Hello { duration_ms: 10_001, ..hello() }, ["10.001s", "10s"]);
        refused("10.0.0.1", &Hello { all_streams: 5, ..hello() }, ["5 streams", "of 4"]);
        refused("10.0.0.1", &Hello { rate_bits_per_s: 1_001, ..hello() }, ["1001 bit/s", "of 1000"]);
    }

    #[test]
    fn what_is_in_use_is_not_given_twice_and_comes_back() {
        let gate = gate();
        let hello = Hello { streams: 2, ..hello() };
        let first = gate.admit(peer(), &hello).unwrap();
        assert_eq!(first.granted_bits_per_s, 600);
        let reason = gate.admit(peer(), &hello).unwrap_err();
        assert!(reason.contains("600") && reason.contains("1000"), "{reason}");
        let tcp = Hello { protocol: Protocol::Tcp, ..hello };
        let second = gate.admit(peer(), &tcp).unwrap();
        assert!(gate.admit(peer(), &tcp).unwrap_err().contains("4 of"));
        drop((first, second));
        let again = [gate.admit(peer(), &hello).unwrap(), gate.admit(peer(), &tcp).unwrap()];
        assert_eq!(again.len(), 2);
    }

    #[test]
    fn without_a_rate_the_cap_is_shared_out_and_cores_take_turns() {
        let gate = gate();
        let pass = gate.admit(peer(), &Hello { rate_bits_per_s: 0, ..hello() }).unwrap();
        assert_eq!(pass.granted_bits_per_s, 500);
        assert_eq!(gate.most_at_once(1 << 20), 6, "50 ms of 125 bytes a second");
        assert_eq!([gate.next_core(), gate.next_core(), gate.next_core()], [Some(3), Some(5), Some(3)]);
    }

    #[test]
    fn a_halted_host_takes_nobody() {
        let gate = gate();
        gate.closed.store(true, Ordering::Relaxed);
        assert!(gate.admit(peer(), &hello()).unwrap_err().contains("halted"));
    }
}
