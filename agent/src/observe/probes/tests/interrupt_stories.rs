//! The interrupt probe against known interrupts.

use ssts_proto::catalogue::{
    IRQ_HARD_COUNT, IRQ_HARD_DURATION, IRQ_HARD_TIME, IRQ_SOFT_DURATION, IRQ_SOFT_TIME, IRQ_SOFT_WAIT,
};

use super::*;

impl Host {
    /// Of all columns of a metric whose last label satisfies `fits`.
    fn sum(&self, metric: &Metric, fits: impl Fn(&str) -> bool) -> f64 {
        let columns = self.schema.columns.iter().zip(self.frame.readings());
        columns
            .filter(|(column, _)| {
                column.metric == metric && column.labels.last().is_some_and(|label| fits(label))
            })
            .filter_map(|(_, reading)| reading.ok())
            .sum()
    }
}

/// A datagram over loopback raises the receiver's soft interrupt: netif_rx of net/core/dev.c.
fn datagrams_are_seen_as_soft_interrupts(hooks: HookChoice) {
    const DATAGRAMS: u64 = 300;
    let Some(mut host) = Host::watched_by(hooks) else { return };
    let (Ok(one), Ok(other)) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0")) else {
        skipped("no loopback interface");
        return;
    };
    other.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let to = other.local_addr().unwrap();
    host.tick();
    let time = host.sum(&IRQ_SOFT_TIME, |vector| vector == "NET_RX");
    for _ in 0..DATAGRAMS {
        one.send_to(&[7; 64], to).unwrap();
        other.recv(&mut [0; 64]).unwrap();
    }
    host.tick();
    let ran = total(&host.gained(&IRQ_SOFT_DURATION, &["NET_RX"]));
    let waited = total(&host.gained(&IRQ_SOFT_WAIT, &["NET_RX"]));
    let time = host.sum(&IRQ_SOFT_TIME, |vector| vector == "NET_RX") - time;
    println!("{ran} ran, {waited} waited, {time} s");
    // Each datagram was received before the next was sent. Others use the network too.
    assert!((DATAGRAMS * 9 / 10..DATAGRAMS * 100).contains(&ran), "{ran}");
    assert!(waited >= DATAGRAMS * 9 / 10, "{waited}");
    assert!(time > DATAGRAMS as f64 * 50e-9 && time < 5.0, "{time}");
}

#[test]
fn datagrams_are_seen_as_soft_interrupts_by_btf_tracepoints() {
    patiently(|| datagrams_are_seen_as_soft_interrupts(HookChoice::Btf));
}

#[test]
fn datagrams_are_seen_as_soft_interrupts_by_raw_tracepoints() {
    patiently(|| datagrams_are_seen_as_soft_interrupts(HookChoice::Raw));
}

#[test]
fn datagrams_are_seen_as_soft_interrupts_by_tracepoints() {
    patiently(|| datagrams_are_seen_as_soft_interrupts(HookChoice::Tracepoint));
}

/// The kernel's own count of the interrupts of devices: numbered lines of /proc/interrupts.
fn interrupts_of_devices() -> u64 {
    let text = fs::read_to_string("/proc/interrupts").unwrap();
    let numbered = text
        .lines()
        .filter(|line| line.split_once(':').is_some_and(|(number, _)| number.trim().parse::<u32>().is_ok()));
    let counts = |line: &str| -> u64 {
        line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok()).sum()
    };
    numbered.map(counts).sum()
}

#[test]
fn interrupts_of_devices_are_counted_as_the_kernel_does() {
    patiently(interrupts_of_devices_are_counted_as_the_kernel_does_once);
}

fn interrupts_of_devices_are_counted_as_the_kernel_does_once() {
    let Some(mut host) = Host::watched_by(HookChoice::Auto) else { return };
    let read = || (0..200).for_each(|_| read_directly(&env::current_exe().unwrap()).unwrap());
    read();
    host.describe();
    host.tick();
    let (before, begin) = (host.sum(&IRQ_HARD_COUNT, |_| true), interrupts_of_devices());
    let time_before = host.sum(&IRQ_HARD_TIME, |_| true);
    read();
    host.tick();
    let (after, end) = (host.sum(&IRQ_HARD_COUNT, |_| true), interrupts_of_devices());
    let (counted, truth) = (after - before, (end - begin) as f64);
    let time_ns = (host.sum(&IRQ_HARD_TIME, |_| true) - time_before) * 1e9;
    let durations = host.gained(&IRQ_HARD_DURATION, &[]);
    let longest_ns: f64 = durations.iter().map(|(bound, count)| (bound * count) as f64).sum();
    let durations = total(&durations) as f64;
    println!("{counted} counted, {truth} true, {durations} durations");
    if truth < 20.0 {
        skipped("the disk here completes without interrupts of devices");
        return;
    }
    assert!(counted >= 0.9 * truth - 20.0 && counted <= 1.1 * truth + 20.0, "{counted} of {truth}");
    assert!((durations - counted).abs() <= 0.1 * counted + 5.0, "{durations} of {counted}");
    // Each duration is in both, and at most a bucket's width below its upper bound.
    println!("{time_ns} ns, {longest_ns} ns by the histogram");
    assert!((0.8 * longest_ns..=1.1 * longest_ns).contains(&time_ns), "{time_ns} of {longest_ns}");
}
