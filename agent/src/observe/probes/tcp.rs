//! Reads what the programs of `agent-ebpf/src/tcp.rs` count: connects, retransmits, round trips.
#![expect(unsafe_code, reason = "says what may stand in a mapping; asks for what nix has no option for")]

use std::{
    io,
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use ssts_agent_ebpf::shared::{BURNER_WORDS, LATENCY, TcpCounts};
use ssts_proto::catalogue;

use super::{
    Attached, Canary, Target,
    burner_watch::{Shared, set_burner},
    error::ProbeError,
    gains::Gains,
    program::{Constants, Definition, Hook, Programs},
    tracefs::Tracefs,
    types::KernelTypes,
    window::{Element, SharedCounts, Window},
};
use crate::observe::{
    frame::{BucketGain, Frame},
    schema::{Column, HistogramColumn, Schema},
    source::Source,
};

pub(super) const NAME: &str = "tcp";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcp"));

static HOOKS: [Hook; 2] =
    [Hook::new("sock", "inet_sock_set_state", "state"), Hook::new("tcp", "tcp_retransmit_skb", "retransmit")];

/// Whose sockets, in the order in which the programs count.
const WHO: [&str; 2] = ["burner", "others"];

/// How long the canary waits for what comes in soft interrupts.
const PATIENCE: Duration = Duration::from_millis(200);

/// [`TcpCounts`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
struct SharedTcp {
    connect: SharedCounts,
    rtt_at_end: SharedCounts,
    rtt_at_retransmit: SharedCounts,
    retransmits: AtomicU64,
    failed_connects: AtomicU64,
    accepted: AtomicU64,
}

const _: () = assert!(size_of::<SharedTcp>() == size_of::<TcpCounts>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedTcp {}

/// Loads the probe and tests it.
pub(super) fn load(target: &Target) -> Result<Attached, ProbeError> {
    let (source, burners) = Tcp::attach(target)?;
    let canary = source.canary(&burners)?;
    let shared = Shared { burners: Some(burners), ..Shared::default() };
    Ok(Attached { name: NAME, programs: source.programs.clone(), source: Box::new(source), canary, shared })
}

/// The source of the metrics that begin with `tcp.`.
#[derive(Debug)]
struct Tcp {
    programs: Arc<Programs>,
    cpus: usize,
    /// By whose sockets, then CPU.
    counts: Window<SharedTcp>,
    /// By whose sockets.
    tallies: Vec<Tally>,
    accepted: Option<Column>,
    /// Tracepoints don't tell round trips.
    has_rtt: bool,
}

/// The histograms of one kind of sockets as they were when last read.
#[derive(Debug)]
struct Tally {
    connect: Gains,
    rtt_at_end: Gains,
    rtt_at_retransmit: Gains,
    columns: Option<Columns>,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    connect: HistogramColumn,
    /// At the end of a connection, and when it sent something again.
    rtt: Option<[HistogramColumn; 2]>,
    retransmits: Column,
    failed_connects: Column,
}

impl Tcp {
    fn attach(target: &Target) -> Result<(Self, Window<AtomicU64>), ProbeError> {
        let cpus = target.cpus;
        let parts = WHO.len() * cpus;
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            has_btf: false,
            maps: vec![("TCP_COUNTS", parts as u32)],
            constants: vec![("CPUS", cpus as u32)],
            typed: typed_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, target)?;
        let counts = programs.window::<SharedTcp>("TCP_COUNTS", parts)?;
        let burners = programs.window("BURNERS", BURNER_WORDS as usize)?;
        let source = Self {
            cpus,
            tallies: (0..WHO.len()).map(|who| Tally::since_now(part(&counts, who, cpus))).collect(),
            counts,
            accepted: None,
            has_rtt: programs.hooks.iter().all(|hook| !hook.starts_with("tracepoint ")),
            programs: Arc::new(programs),
        };
        Ok((source, burners))
    }

    /// Connects over the loopback interface as a burner would, and looks whether that was counted, with its latency.
    fn canary(&self, burners: &[AtomicU64]) -> Result<Canary, ProbeError> {
        let own = std::process::id();
        set_burner(burners, own, true);
        let outcome = self.connect_once();
        set_burner(burners, own, false);
        outcome
    }

    fn connect_once(&self) -> Result<Canary, ProbeError> {
        let untestable = |error: io::Error| {
            Ok(Canary::Untestable(format!("connecting over the loopback interface for a test: {error}")))
        };
        let burner = part(&self.counts, 0, self.cpus);
        let mut gains = Gains::since_now(connects(burner));
        let (accepted, ended) = (self.accepted(), totals(burner, |cpu| &cpu.rtt_at_end));
        let mut round_trips = Gains::since_now(burner.iter().map(|cpu| &cpu.rtt_at_end));
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
            Ok(listener) => listener,
            Err(error) => return untestable(error),
        };
        let begin = Instant::now();
        let stream = match listener.local_addr().and_then(TcpStream::connect) {
            Ok(stream) => stream,
            Err(error) => return untestable(error),
        };
        let took = begin.elapsed().as_nanos() as u64;
        let (mut counted, mut plausible) = (0, false);
        gains.take(connects(burner), |bucket, gain| {
            counted += gain;
            plausible |= bucket > 0 && LATENCY.lower_bound(bucket as usize) <= took;
        });
        let round_trip_us = round_trip_us(&stream);
        drop(stream);
        if counted == 0 {
            return Err(ProbeError::Canary("a connect over the loopback interface was not seen".into()));
        }
        if !plausible {
            return Err(ProbeError::Canary(format!(
                "a connect over the loopback interface took {took} ns, and was counted as longer"
            )));
        }
        if !eventually(|| self.accepted() > accepted) {
            return Err(ProbeError::Canary(
                "a connection that came in over the loopback interface was not seen".into(),
            ));
        }
        if self.has_rtt && !eventually(|| totals(burner, |cpu| &cpu.rtt_at_end) > ended) {
            return Err(ProbeError::Canary("a connection ended, and its round trip was not seen".into()));
        }
        if let (true, Ok(us)) = (self.has_rtt, round_trip_us) {
            let mut is_known = false;
            round_trips.take(burner.iter().map(|cpu| &cpu.rtt_at_end), |bucket, _| {
                is_known |= counts_us(bucket, us);
            });
            if !is_known {
                return Err(ProbeError::Canary(format!(
                    "a connection ended whose round trip was {us} µs, and was counted with another one"
                )));
            }
        }
        Ok(Canary::Working)
    }

    fn accepted(&self) -> u64 {
        self.counts.iter().map(|cpu| cpu.accepted.load(Relaxed)).sum()
    }
}

impl Tally {
    fn since_now(parts: &[SharedTcp]) -> Self {
        Self {
            connect: Gains::since_now(connects(parts)),
            rtt_at_end: Gains::since_now(parts.iter().map(|cpu| &cpu.rtt_at_end)),
            rtt_at_retransmit: Gains::since_now(parts.iter().map(|cpu| &cpu.rtt_at_retransmit)),
            columns: None,
        }
    }

    fn describe(&mut self, schema: &mut Schema, who: &str, has_rtt: bool) {
        let mut rtt = |at| schema.histogram(&catalogue::TCP_RTT, &[who, at], LATENCY);
        let rtt = has_rtt.then(|| ["end", "retransmit"].map(&mut rtt));
        self.columns = Some(Columns {
            connect: schema.histogram(&catalogue::TCP_CONNECT_LATENCY, &[who], LATENCY),
            rtt,
            retransmits: schema.column(&catalogue::TCP_RETRANSMITS, &[who]),
            failed_connects: schema.column(&catalogue::TCP_FAILED_CONNECTS, &[who]),
        });
    }

    fn sample(&mut self, parts: &[SharedTcp], frame: &mut Frame) {
        let Some(columns) = self.columns else { return };
        let gain = |column| move |bucket, count| BucketGain { column, bucket, count };
        if let Some([at_end, at_retransmit]) = columns.rtt.map(|rtt| rtt.map(gain)) {
            let parts = parts.iter();
            self.rtt_at_end.take(parts.clone().map(|cpu| &cpu.rtt_at_end), |bucket, count| {
                frame.gain(at_end(bucket, count));
            });
            self.rtt_at_retransmit.take(parts.map(|cpu| &cpu.rtt_at_retransmit), |bucket, count| {
                frame.gain(at_retransmit(bucket, count));
            });
        }
        let connect = gain(columns.connect);
        self.connect.take(connects(parts), |bucket, count| frame.gain(connect(bucket, count)));
        let sum = |of: fn(&SharedTcp) -> &AtomicU64| {
            Ok(parts.iter().map(|cpu| of(cpu).load(Relaxed)).sum::<u64>() as f64)
        };
        frame.set(columns.retransmits, sum(|cpu| &cpu.retransmits));
        frame.set(columns.failed_connects, sum(|cpu| &cpu.failed_connects));
    }
}

impl Source for Tcp {
    fn describe(&mut self, schema: &mut Schema) {
        if self.accepted.is_none() {
            // What was counted since the load is left out.
            for (who, tally) in self.tallies.iter_mut().enumerate() {
                *tally = Tally::since_now(part(&self.counts, who, self.cpus));
            }
        }
        for (who, tally) in WHO.iter().zip(&mut self.tallies) {
            tally.describe(schema, who, self.has_rtt);
        }
        self.accepted = Some(schema.column(&catalogue::TCP_ACCEPTED, &[]));
    }

    fn sample(&mut self, frame: &mut Frame) {
        for (who, tally) in self.tallies.iter_mut().enumerate() {
            tally.sample(part(&self.counts, who, self.cpus), frame);
        }
        if let Some(column) = self.accepted {
            frame.set(column, Ok(self.accepted() as f64));
        }
    }
}

/// What is counted of one kind of sockets: by CPU.
fn part(counts: &[SharedTcp], who: usize, cpus: usize) -> &[SharedTcp] {
    &counts[who * cpus..][..cpus]
}

fn connects(counts: &[SharedTcp]) -> impl Iterator<Item = &SharedCounts> + Clone {
    counts.iter().map(|cpu| &cpu.connect)
}

fn totals(counts: &[SharedTcp], of: fn(&SharedTcp) -> &SharedCounts) -> u64 {
    counts.iter().map(|cpu| of(cpu).total.load(Relaxed)).sum()
}

/// Whether the bucket counts round trips of so many µs: the kernel tells whole ones.
fn counts_us(bucket: u32, us: u32) -> bool {
    let ns = u64::from(us) * 1_000;
    (LATENCY.index(ns)..=LATENCY.index(ns + 999)).contains(&(bucket as usize))
}

/// The smoothed round trip of a connection, as tcp(7) tells it.
fn round_trip_us(stream: &TcpStream) -> io::Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, and how many to `len`; both outlive the call.
    let outcome = unsafe {
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        libc::getsockopt(stream.as_raw_fd(), level, option, info.as_mut_ptr().cast(), &raw mut len)
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers, zero where the kernel wrote nothing.
    Ok(unsafe { info.assume_init() }.tcpi_rtt)
}

/// Whether it comes true before long.
pub(super) fn eventually(happened: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while !happened() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

fn typed_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
    let passes = |tracepoint, position, target| {
        types.argument(tracepoint, target).is_ok_and(|found| found == position)
    };
    if !passes("inet_sock_set_state", 0, "sock") || types.argument_count("inet_sock_set_state")? != 3 {
        return Err(ProbeError::Prototype { what: "inet_sock_set_state's socket and states" });
    }
    if !passes("tcp_retransmit_skb", 0, "sock") || !passes("tcp_retransmit_skb", 1, "sk_buff") {
        return Err(ProbeError::Prototype { what: "tcp_retransmit_skb's socket and buffer" });
    }
    Ok(vec![
        ("SOCK_PROTOCOL", types.member("sock", "sk_protocol")?),
        ("TCP_SRTT", types.number("tcp_sock", "srtt_us", 4)?),
        // Not tested: nothing is sent again just so.
        ("SKB_SEGMENTS", types.member("sk_buff", "cb")? + types.number("tcp_skb_cb", "tcp_gso_segs", 2)?),
    ])
}

fn recorded_constants(tracefs: &Tracefs) -> Result<Constants, ProbeError> {
    let mut constants = tracefs.format("sock/inet_sock_set_state", |format| {
        Ok(vec![
            ("STATE_SOCK", format.offset("skaddr", 8)?),
            ("STATE_OLD", format.offset("oldstate", 4)?),
            ("STATE_NEW", format.offset("newstate", 4)?),
            ("STATE_PROTOCOL", format.offset("protocol", 2)?),
        ])
    })?;
    constants.push((
        "RETRANSMIT_SOCK",
        tracefs.format("tcp/tcp_retransmit_skb", |format| format.offset("skaddr", 8))?,
    ));
    Ok(constants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_counts_in_the_buckets_of_its_microsecond_alone() {
        for us in [1, 7, 23, 400, 20_000] {
            let eighths = u64::from(us) * 8..u64::from(us) * 8 + 8;
            assert!(
                eighths.clone().all(|eighths| counts_us(LATENCY.index(eighths * 125) as u32, us)),
                "{us}"
            );
            // What stands beside it in the kernel: tcp_sock.mdev_us is a quarter of the first one.
            assert!(!counts_us(LATENCY.index(eighths.start / 4 * 125) as u32, us), "{us}");
        }
    }
}
