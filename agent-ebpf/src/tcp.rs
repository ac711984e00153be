//! How TCP fares: how long connects take and how many fail, what is sent again, round trips. By sockets that a burner
//! connected, and by all others of the host, in all network namespaces.
//!
//! inet_sock_set_state: <https://github.com/torvalds/linux/blob/v6.18/net/ipv4/af_inet.c>; a connect sets TCP_SYN_SENT in the
//! connecting task, all later states come in soft interrupts as well. tcp_retransmit_skb: net/ipv4/tcp_output.c. Needs
//! Linux 5.8.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "map elements are reached by pointer; the verifier checks each access")]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_MMAPABLE,
    macros::{map, raw_tracepoint, tracepoint},
    maps::{Array, LruHashMap},
    programs::{RawTracePointContext, TracePointContext},
};
use ssts_agent_ebpf::{
    kernel::{add, constant, count_in, cpu, current, is_burner, now, read},
    shared::{BURNER_WORDS, TcpCounts},
};

// include/net/tcp_states.h, the same in every version.
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;
const SYN_RECV: u32 = 3;
const CLOSE: u32 = 7;

/// IPPROTO_TCP: SCTP and MPTCP have the same tracepoint.
const TCP: u16 = 6;

/// A socket that connects.
#[repr(C)]
struct Connect {
    /// The socket's address, and [`BURNERS_OWN`]. 0: none.
    key: u64,
    since: u64,
}

const CONNECT_BITS: u32 = 14;
/// Sockets are aligned: the lowest bit is free.
const BURNERS_OWN: u64 = 1;

/// By a hash of the socket's address; of two that share a slot the later one is measured.
#[map]
static CONNECTS: Array<Connect> = Array::with_max_entries(1 << CONNECT_BITS, 0);

/// Sockets that burners connected, until they close. The oldest go when there is no room.
#[map]
static OWNED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(16_384, 0);

/// For burners, then for others: one a CPU.
#[map]
static TCP_COUNTS: Array<TcpCounts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The thread groups of burners, set by the daemon.
#[map]
static BURNERS: Array<u64> = Array::with_max_entries(BURNER_WORDS, BPF_F_MMAPABLE);

/// Possible CPUs.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;
/// `sock.sk_protocol`, `tcp_sock.srtt_us`; a socket of TCP begins with its `struct sock`.
#[unsafe(no_mangle)]
static SOCK_PROTOCOL: u32 = 0;
#[unsafe(no_mangle)]
static TCP_SRTT: u32 = 0;
/// How many segments a buffer holds: `sk_buff.cb` and in it `tcp_skb_cb.tcp_gso_segs`.
#[unsafe(no_mangle)]
static SKB_SEGMENTS: u32 = 0;
/// Fields of the records that tracepoint programs are given.
#[unsafe(no_mangle)]
static STATE_SOCK: u32 = 0;
#[unsafe(no_mangle)]
static STATE_OLD: u32 = 0;
#[unsafe(no_mangle)]
static STATE_NEW: u32 = 0;
#[unsafe(no_mangle)]
static STATE_PROTOCOL: u32 = 0;
#[unsafe(no_mangle)]
static RETRANSMIT_SOCK: u32 = 0;

#[raw_tracepoint]
fn raw_state(ctx: RawTracePointContext) -> i32 {
    let sock: u64 = ctx.arg(0);
    if read::<u16>(sock, constant(&SOCK_PROTOCOL)) == Some(TCP) {
        let (old, new) = (ctx.arg::<u64>(1) as u32, ctx.arg::<u64>(2) as u32);
        let counts = changed(sock, old, new);
        if old == ESTABLISHED
            && let Some(counts) = counts.or_else(|| counts_of(owned(sock)))
            && let Some(rtt) = rtt_ns(sock)
        {
            // SAFETY: as in `counts_of`.
            unsafe { count_in(&raw mut (*counts).rtt_at_end, rtt) }
        }
        if new == CLOSE {
            forget(sock);
        }
    }
    0
}

#[tracepoint]
fn tp_state(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if read::<u16>(record, constant(&STATE_PROTOCOL)) == Some(TCP)
        && let Some(sock) = read(record, constant(&STATE_SOCK))
        && let Some(old) = read(record, constant(&STATE_OLD))
        && let Some(new) = read(record, constant(&STATE_NEW))
    {
        changed(sock, old, new);
        if new == CLOSE {
            forget(sock);
        }
    }
    0
}

#[raw_tracepoint]
fn raw_retransmit(ctx: RawTracePointContext) -> i32 {
    let sock: u64 = ctx.arg(0);
    let Some(counts) = counts_of(owned(sock)) else { return 0 };
    let segments: u16 = read(ctx.arg(1), constant(&SKB_SEGMENTS)).unwrap_or(1);
    // SAFETY: as in `counts_of`.
    unsafe {
        add(&raw mut (*counts).retransmits, u64::from(segments));
        // A socket that still connects has none.
        if let Some(rtt) = rtt_ns(sock) {
            count_in(&raw mut (*counts).rtt_at_retransmit, rtt);
        }
    }
    0
}

#[tracepoint]
fn tp_retransmit(ctx: TracePointContext) -> u32 {
    if let Some(sock) = read(ctx.as_ptr() as u64, constant(&RETRANSMIT_SOCK))
        && let Some(counts) = counts_of(owned(sock))
    {
        // SAFETY: as in `counts_of`.
        unsafe { add(&raw mut (*counts).retransmits, 1) }
    }
    0
}

/// Follows a connect from its beginning to its end, and counts what was accepted.
#[inline(always)]
fn changed(sock: u64, old: u32, new: u32) -> Option<*mut TcpCounts> {
    if new == SYN_SENT {
        began(sock);
    } else if old == SYN_SENT && (new == ESTABLISHED || new == CLOSE) {
        return ended(sock, new == ESTABLISHED);
    } else if old == SYN_RECV && new == ESTABLISHED {
        // Memory of a burner's socket whose end was missed.
        forget(sock);
        let counts = counts_of(false)?;
        // SAFETY: as in `counts_of`.
        unsafe { add(&raw mut (*counts).accepted, 1) }
    }
    None
}

#[inline(always)]
fn began(sock: u64) {
    let own = is_burner(&BURNERS, current().tgid);
    if own {
        // Where it fails the socket counts as another's.
        let _best_effort = OWNED.insert(&sock, &1, 0);
    } else {
        forget(sock);
    }
    if let Some(connect) = connect_of(sock) {
        // SAFETY: `connect` came from a look-up; elements live as long as the map. Key before start: see `ended`.
        unsafe {
            ptr::write_volatile(&raw mut (*connect).key, sock | if own { BURNERS_OWN } else { 0 });
            ptr::write_volatile(&raw mut (*connect).since, now());
        }
    }
}

#[inline(always)]
fn ended(sock: u64, established: bool) -> Option<*mut TcpCounts> {
    let connect = connect_of(sock)?;
    // SAFETY: as in `began`. Another socket may take the slot over between the reads: its start is not ours, and its key,
    // written before, gives it away.
    let (key, since) = unsafe {
        let key = ptr::read_volatile(&raw const (*connect).key);
        if key & !BURNERS_OWN != sock {
            return None;
        }
        let since = ptr::read_volatile(&raw const (*connect).since);
        if ptr::read_volatile(&raw const (*connect).key) != key {
            return None;
        }
        ptr::write_volatile(&raw mut (*connect).key, 0);
        (key, since)
    };
    let counts = counts_of(key & BURNERS_OWN != 0)?;
    let now = now();
    // Clocks of two cores may differ by a little.
    let took = if now > since { now - since } else { 0 };
    // SAFETY: as in `counts_of`.
    unsafe {
        if established {
            count_in(&raw mut (*counts).connect, took);
        } else {
            add(&raw mut (*counts).failed_connects, 1);
        }
    }
    Some(counts)
}

#[inline(always)]
fn connect_of(sock: u64) -> Option<*mut Connect> {
    let slot = sock.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - CONNECT_BITS);
    CONNECTS.get_ptr_mut(slot as u32)
}

#[inline(always)]
fn owned(sock: u64) -> bool {
    OWNED.get_ptr(&sock).is_some()
}

#[inline(always)]
fn forget(sock: u64) {
    // Most were never there.
    let _may_fail = OWNED.remove(&sock);
}

/// What this CPU counts, of burners or others: there for as long as the map is, and no other CPU writes it. A program doesn't
/// interrupt itself, and no two write the same numbers.
#[inline(always)]
fn counts_of(burner: bool) -> Option<*mut TcpCounts> {
    TCP_COUNTS.get_ptr_mut(if burner { 0 } else { constant(&CPUS) } + cpu())
}

/// Smoothed, RFC 6298; the kernel keeps it in eighths of a µs. Nothing before the first one was measured.
#[inline(always)]
fn rtt_ns(sock: u64) -> Option<u64> {
    read::<u32>(sock, constant(&TCP_SRTT))
        .filter(|eighths| *eighths != 0)
        .map(|eighths| u64::from(eighths) * 125)
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
