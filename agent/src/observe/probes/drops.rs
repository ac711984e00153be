//! Reads what the programs of `agent-ebpf/src/drops.rs` count: packets thrown away, by interface and reason.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::{
    collections::HashMap,
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nix::{
    net::if_::{if_indextoname, if_nametoindex},
    sys::socket::{setsockopt, sockopt::RcvBuf},
};
use ssts_agent_ebpf::shared::{DropTest, Place};
use ssts_proto::catalogue;

use super::{
    Attached, Canary, Target,
    burner_watch::Shared,
    drop_counts::{DropReader, Pair},
    error::ProbeError,
    program::{Constants, Definition, Hook, Programs},
    tcp::eventually,
    tracefs::Tracefs,
    types::KernelTypes,
    window::Element,
};
use crate::observe::{
    frame::Frame,
    schema::{Column, Schema},
    source::Source,
};

pub(super) const NAME: &str = "drops";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/drops"));

static HOOKS: [Hook; 1] = [Hook::new("skb", "kfree_skb", "drop")];

/// include/net/dropreason-core.h
const ENUM: &str = "skb_drop_reason";
const PREFIX: &str = "SKB_DROP_REASON_";

/// Datagrams that the canary sends: one may be lost to programs that the kernel leaves out.
const DATAGRAMS: u64 = 8;

/// Datagrams of 1 KiB that the canary sends to a socket with the least room that Linux gives: SOCK_MIN_RCVBUF of
/// include/net/sock.h, two of them or three.
const TOO_MANY: u32 = 32;

/// What takes all that has no column of its own.
const OTHER: &str = "other";

/// [`DropTest`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
struct SharedTest {
    interface: AtomicU64,
    by_device: AtomicU64,
    by_arrival: AtomicU64,
    by_socket: AtomicU64,
}

const _: () = assert!(size_of::<SharedTest>() == size_of::<DropTest>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedTest {}

/// Loads the probe and tests it.
pub(super) fn load(target: &Target) -> Result<Attached, ProbeError> {
    let mut source = PacketDrops::attach(target)?;
    let canary = source.canary()?;
    Ok(Attached {
        name: NAME,
        programs: source.programs.clone(),
        source: Box::new(source),
        canary,
        shared: Shared::default(),
    })
}

/// The source of `network.drops`.
#[derive(Debug)]
struct PacketDrops {
    programs: Arc<Programs>,
    /// Whether the kernel passes the socket that a packet is for.
    tells_sockets: bool,
    reader: DropReader,
    /// Names of reasons by their numbers.
    reasons: HashMap<u32, String>,
    /// Of the reader's pairs that are told apart.
    columns: Vec<PairColumn>,
    /// Of all that are not among them.
    others: Option<Column>,
    /// By pair: what was last shown of it.
    shown: Vec<u64>,
}

#[derive(Debug)]
struct PairColumn {
    /// The pair's place among the reader's.
    pair: usize,
    column: Column,
    /// It was in no frame yet.
    is_new: bool,
}

impl PacketDrops {
    fn attach(target: &Target) -> Result<Self, ProbeError> {
        let (roots, cpus) = (&target.roots, target.cpus);
        let path = roots.proc("self/ns/net");
        // Names of inodes in nsfs are numbers of 32 bits: include/linux/ns_common.h.
        let namespace = fs::metadata(&path)
            .map(|metadata| metadata.ino() as u32)
            .map_err(|error| ProbeError::call(path.display().to_string(), &error))?;
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            has_btf: false,
            maps: vec![("DROPS", cpus as u32)],
            constants: vec![("OWN_NAMESPACE", namespace)],
            typed: typed_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, target)?;
        let reasons = if programs.hooks.iter().any(|hook| hook.starts_with("tracepoint ")) {
            symbols(&Tracefs::open(roots)?)?
        } else {
            KernelTypes::open(roots)?.enumerators(ENUM, PREFIX)?
        };
        Ok(Self {
            reader: DropReader::new(programs.window("DROPS", cpus)?),
            reasons: reasons.into_iter().collect(),
            columns: Vec::new(),
            others: None,
            shown: Vec::new(),
            tells_sockets: !programs.are_recorded() && passes_socket(&KernelTypes::open(roots)?),
            programs: Arc::new(programs),
        })
    }

    /// Sends datagrams to a port that nobody has, and more than a socket takes, and looks whether their end was counted, and
    /// where.
    fn canary(&mut self) -> Result<Canary, ProbeError> {
        self.reader.read();
        let before = self.unwanted();
        let test = self.programs.window::<SharedTest>("TEST", 1)?;
        // What is not told the interface looks at nothing more.
        let interface = if self.programs.are_recorded() { 0 } else { if_nametoindex("lo").unwrap_or(0) };
        test[0].interface.store(interface.into(), Relaxed);
        let sent = send_unwanted().and_then(|()| send_too_many());
        let outcome = match sent {
            Ok(()) => self.were_seen(before, &test[0]),
            Err(error) => {
                Ok(Canary::Untestable(format!("sending over the loopback interface for a test: {error}")))
            }
        };
        test[0].interface.store(0, Relaxed);
        outcome
    }

    fn were_seen(&mut self, before: u64, test: &SharedTest) -> Result<Canary, ProbeError> {
        let reader = std::cell::RefCell::new(&mut *self);
        let seen = || {
            let mut source = reader.borrow_mut();
            source.reader.read();
            source.unwanted() - before
        };
        if !eventually(|| seen() > 0) {
            return Err(ProbeError::Canary(format!(
                "of {DATAGRAMS} datagrams to a port that nobody has none was seen to be dropped"
            )));
        }
        if test.interface.load(Relaxed) != 0 {
            let found = |count: &AtomicU64, what| match eventually(|| count.load(Relaxed) > 0) {
                true => Ok(()),
                false => Err(ProbeError::Canary(format!("of packets dropped at lo none was seen to {what}"))),
            };
            found(&test.by_device, "have that device")?;
            found(&test.by_arrival, "come in there")?;
            if self.tells_sockets {
                found(&test.by_socket, "be for a socket of its network namespace")?;
            }
        }
        Ok(Canary::Working)
    }

    /// Packets without a socket on the loopback interface.
    fn unwanted(&self) -> u64 {
        let is_it = |place: Place, reason: u32| {
            (place == Place::UNKNOWN || interface(place) == "lo")
                && self.reasons.get(&reason).is_some_and(|name| name == "NO_SOCKET")
        };
        let pairs = self.reader.pairs().iter();
        pairs.filter(|pair| is_it(pair.place, pair.reason)).map(|pair| pair.count).sum()
    }

    /// As the kernel has it; a number for those of other subsystems, which have their own.
    fn reason(&self, reason: u32) -> String {
        self.reasons.get(&reason).cloned().unwrap_or_else(|| format!("{reason:#x}"))
    }
}

impl Source for PacketDrops {
    fn describe(&mut self, schema: &mut Schema) {
        self.reader.read();
        self.reader.choose();
        let had: Vec<_> = self.columns.iter().filter(|own| !own.is_new).map(|own| own.pair).collect();
        let told = self.reader.pairs().iter().enumerate().filter(|(_, pair)| pair.is_told);
        let column = |(index, pair): (usize, &Pair)| {
            let labels = [&*interface(pair.place), &*self.reason(pair.reason)];
            let column = schema.column(&catalogue::NETWORK_DROPS, &labels);
            PairColumn { pair: index, column, is_new: !had.contains(&index) }
        };
        self.columns = told.map(column).collect();
        self.others = Some(schema.column(&catalogue::NETWORK_DROPS, &[OTHER, OTHER]));
        self.shown.resize(self.reader.pairs().len(), 0);
    }

    fn sample(&mut self, frame: &mut Frame) {
        self.reader.read();
        for PairColumn { pair, column, is_new } in &mut self.columns {
            let shown = &mut self.shown[*pair];
            // A counter's first reading is where its increase begins: what brought the column about is part of that.
            if !std::mem::take(is_new) {
                *shown = self.reader.pairs()[*pair].told;
            }
            frame.set(*column, Ok(*shown as f64));
        }
        if let Some(others) = self.others {
            frame.set(others, Ok(self.reader.others() as f64));
        }
    }

    fn changed(&self) -> bool {
        self.reader.has_changed()
    }
}

/// An interface's name in the daemon's network namespace.
fn interface(place: Place) -> String {
    match place {
        Place::NOWHERE => "none".into(),
        Place::ELSEWHERE => "(other namespace)".into(),
        Place::UNKNOWN => "(unknown)".into(),
        // One that went is told by its number.
        Place(index) => if_indextoname(index)
            .map_or_else(|_| format!("#{index}"), |name| name.to_string_lossy().into_owned()),
    }
}

fn send_unwanted() -> io::Result<()> {
    // The port is nobody's once its socket is closed, and hardly anybody's before the datagrams are there.
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    // Unconnected: the kernel's answer to one would be an error of the next.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    (0..DATAGRAMS).try_for_each(|_| socket.send_to(&[0; 16], (Ipv4Addr::LOCALHOST, port)).map(drop))
}

/// To a socket that nobody reads, which has room for hardly any.
fn send_too_many() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    setsockopt(&socket, RcvBuf, &1)?;
    let address = socket.local_addr()?;
    (0..TOO_MANY).try_for_each(|_| socket.send_to(&[0; 1_024], address).map(drop))
}

/// The value that means that no reason was given: what is below is no drop.
fn not_specified(reasons: &[(u32, String)]) -> Result<u32, ProbeError> {
    let found = reasons.iter().find(|(_, name)| name == "NOT_SPECIFIED").map(|(value, _)| *value);
    found.ok_or(ProbeError::NoType { what: format!("{PREFIX}NOT_SPECIFIED") })
}

fn typed_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
    let arguments = types.argument_count("kfree_skb")?;
    if arguments < 3 {
        return Err(ProbeError::NoType {
            what: "reason among the arguments of kfree_skb (Linux 5.17)".into(),
        });
    }
    if types.argument("kfree_skb", "sk_buff")? != 0 {
        return Err(ProbeError::Prototype { what: "kfree_skb's buffer" });
    }
    Ok(vec![
        ("NOT_SPECIFIED", not_specified(&types.enumerators(ENUM, PREFIX)?)?),
        ("SKB_DEV", types.member("sk_buff", "dev")?),
        ("SKB_IIF", types.member("sk_buff", "skb_iif")?),
        ("DEV_IFINDEX", types.member("net_device", "ifindex")?),
        ("DEV_NET", types.member("net_device", "nd_net")?),
        ("NET_INUM", types.member("net", "ns")? + types.member("ns_common", "inum")?),
        ("SOCK_NET", types.member("sock", "__sk_common")? + types.member("sock_common", "skc_net")?),
        ("HAS_SOCK", passes_socket(types).into()),
    ])
}

/// Since Linux 6.11.
fn passes_socket(types: &KernelTypes) -> bool {
    types.argument("kfree_skb", "sock").is_ok_and(|place| place == 3)
}

fn recorded_constants(tracefs: &Tracefs) -> Result<Constants, ProbeError> {
    Ok(vec![
        ("NOT_SPECIFIED", not_specified(&symbols(tracefs)?)?),
        ("DROP_REASON", tracefs.format("skb/kfree_skb", |format| format.offset("reason", 4))?),
    ])
}

fn symbols(tracefs: &Tracefs) -> Result<Vec<(u32, String)>, ProbeError> {
    tracefs.format("skb/kfree_skb", |format| format.symbols("reason"))
}
