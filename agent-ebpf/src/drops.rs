//! Packets that the kernel threw away, by the interface and the kernel's own reason.
//!
//! kfree_skb: <https://github.com/torvalds/linux/blob/v6.18/net/core/skbuff.c>; what is freed after use goes another way,
//! consume_skb. Reasons are passed since Linux 5.17.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "map elements are reached by pointer; the verifier checks each access")]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_MMAPABLE,
    macros::{map, raw_tracepoint, tracepoint},
    maps::Array,
    programs::{RawTracePointContext, TracePointContext},
};
use ssts_agent_ebpf::{
    kernel::{add, constant, cpu, read},
    shared::{DROP_PROBES, DROP_SLOTS, DROP_SLOTS_BITS, DropTest, Dropped, Drops, Place, drop_key},
};

/// One a CPU.
#[map]
static DROPS: Array<Drops> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// See [`DropTest`].
#[map]
static TEST: Array<DropTest> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The reason that says none. What is below is no drop.
#[unsafe(no_mangle)]
static NOT_SPECIFIED: u32 = 0;
/// The number of the daemon's network namespace.
#[unsafe(no_mangle)]
static OWN_NAMESPACE: u32 = 0;
/// `sk_buff.dev`, `sk_buff.skb_iif`, `net_device.ifindex`, `net_device.nd_net`, `net.ns.inum`, `sock.__sk_common.skc_net`.
#[unsafe(no_mangle)]
static SKB_DEV: u32 = 0;
#[unsafe(no_mangle)]
static SKB_IIF: u32 = 0;
#[unsafe(no_mangle)]
static DEV_IFINDEX: u32 = 0;
#[unsafe(no_mangle)]
static DEV_NET: u32 = 0;
#[unsafe(no_mangle)]
static NET_INUM: u32 = 0;
#[unsafe(no_mangle)]
static SOCK_NET: u32 = 0;
/// Whether the receiving socket is passed, since Linux 6.11.
#[unsafe(no_mangle)]
static HAS_SOCK: u32 = 0;
/// A field of the record that a tracepoint program is given.
#[unsafe(no_mangle)]
static DROP_REASON: u32 = 0;

/// What numbers namespaces can have: those of the first ones, include/uapi/linux/nsfs.h since Linux 6.18, then 2^27 from
/// PROC_DYNAMIC_FIRST on, include/linux/proc_ns.h. Halves of pointers are above.
const NAMESPACES: core::ops::Range<u32> = 0xEFFF_FF00..0xF800_0000;

#[raw_tracepoint]
fn raw_drop(ctx: RawTracePointContext) -> i32 {
    let reason = ctx.arg::<u64>(2) as u32;
    if reason > constant(&NOT_SPECIFIED) {
        let sock = if constant(&HAS_SOCK) != 0 { ctx.arg(3) } else { 0 };
        test(ctx.arg(0), sock);
        dropped(place_of(ctx.arg(0), sock), reason);
    }
    0
}

#[tracepoint]
fn tp_drop(ctx: TracePointContext) -> u32 {
    match read(ctx.as_ptr() as u64, constant(&DROP_REASON)) {
        Some(reason) if reason > constant(&NOT_SPECIFIED) => dropped(Place::UNKNOWN, reason),
        _ => {}
    }
    0
}

/// While the daemon tests, each way to find a packet's place is gone for itself.
#[inline(always)]
fn test(skb: u64, sock: u64) {
    let Some(test) = TEST.get_ptr_mut(0) else { return };
    // SAFETY: the element is there for as long as the map is. Other CPUs may write it, too, and a count may get lost: the daemon
    // wants to see one.
    unsafe {
        let interface = ptr::read_volatile(&raw const (*test).interface) as u32;
        if interface == 0 {
            return;
        }
        let is_own = |namespace: Option<u32>| namespace == Some(constant(&OWN_NAMESPACE));
        if let Some(device) = read(skb, constant(&SKB_DEV))
            && is_own(namespace_at(device, constant(&DEV_NET)))
            && read(device, constant(&DEV_IFINDEX)) == Some(interface)
        {
            add(&raw mut (*test).by_device, 1);
        }
        if read(skb, constant(&SKB_IIF)) == Some(interface) {
            add(&raw mut (*test).by_arrival, 1);
        }
        if sock != 0 && is_own(namespace_at(sock, constant(&SOCK_NET))) {
            add(&raw mut (*test).by_socket, 1);
        }
    }
}

/// Where a packet was. Its device may not be there any more, and then other things stand in its place (a union in struct
/// sk_buff): a device is one if its namespace has a number that a namespace can have.
#[inline(always)]
fn place_of(skb: u64, sock: u64) -> Place {
    if let Some(device) = read(skb, constant(&SKB_DEV))
        && let Some(namespace) = namespace_at(device, constant(&DEV_NET))
        && NAMESPACES.contains(&namespace)
    {
        if namespace != constant(&OWN_NAMESPACE) {
            return Place::ELSEWHERE;
        }
        return read(device, constant(&DEV_IFINDEX)).map_or(Place::NOWHERE, Place);
    }
    // Where it came in. The number alone doesn't tell the namespace, a socket does.
    if sock != 0 && namespace_at(sock, constant(&SOCK_NET)).is_some_and(|own| own != constant(&OWN_NAMESPACE))
    {
        return Place::ELSEWHERE;
    }
    read(skb, constant(&SKB_IIF)).map_or(Place::NOWHERE, Place)
}

#[inline(always)]
fn namespace_at(base: u64, offset: u32) -> Option<u32> {
    read(read(base, offset)?, constant(&NET_INUM))
}

#[inline(always)]
fn dropped(place: Place, reason: u32) {
    let Some(drops) = DROPS.get_ptr_mut(cpu()) else { return };
    let key = drop_key(place, reason);
    let first = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - DROP_SLOTS_BITS)) as u32;
    // SAFETY: the element is there for as long as the map is, no other CPU writes it, and the program doesn't interrupt
    // itself; the daemon may free a slot at any moment. A slot is in bounds: its number is masked.
    unsafe {
        let slots = (&raw mut (*drops).slots).cast::<Dropped>();
        for probe in 0..DROP_PROBES {
            let slot = slots.add(((first + probe) & (DROP_SLOTS - 1)) as usize);
            let found = ptr::read_volatile(&raw const (*slot).key);
            if found == key {
                add(&raw mut (*slot).count, 1);
                add(&raw mut (*drops).changes, 1);
                return;
            }
            if found == 0 {
                ptr::write_volatile(&raw mut (*slot).count, 1);
                ptr::write_volatile(&raw mut (*slot).key, key);
                add(&raw mut (*drops).changes, 1);
                return;
            }
        }
        add(&raw mut (*drops).lost, 1);
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
