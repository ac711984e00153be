//! Causes interrupts and judges whether the probe counted them as the kernel itself does.

use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
};

use super::super::block;
use crate::host::HostRoots;

/// Datagrams that are sent over the loopback interface: each raises the soft interrupt that receives it.
const DATAGRAMS: u32 = 64;
/// Reads past every cache: most disks tell with an interrupt that they have done one.
const READS: u32 = 8;
/// So many handlers, and interrupts that the kernel counted, are no accident.
const ENOUGH: u64 = 4;

/// What `/proc/softirqs` and `/proc/interrupts` count.
#[derive(Debug, PartialEq)]
pub(super) struct Truth {
    /// By vector, of all CPUs.
    pub(super) soft: Vec<u64>,
    /// By number, of all CPUs.
    pub(super) hard: Vec<(usize, u64)>,
}

/// What the probe counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// How often each vector ran.
    pub(super) ran: Vec<u64>,
    /// How often its wait from being raised was known.
    pub(super) waited: Vec<u64>,
    /// Handlers that ran, by the interrupt's number; the last one stands for all that are higher.
    pub(super) hard: Vec<u64>,
}

impl Truth {
    pub(super) fn read(roots: &HostRoots) -> Result<Self, String> {
        let text = |name| {
            let path = roots.proc(name);
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        Ok(Self { soft: soft_of(&text("softirqs")?), hard: hard_of(&text("interrupts")?) })
    }

    /// What it gained since then.
    fn since(&self, before: &Self) -> Self {
        let soft = self.soft.iter().zip(&before.soft).map(|(now, before)| now.saturating_sub(*before));
        let gained = |(number, now): &(usize, u64)| {
            let known = before.hard.iter().find(|(known, _)| known == number).map_or(0, |(_, count)| *count);
            (*number, now.saturating_sub(known))
        };
        Self { soft: soft.collect(), hard: self.hard.iter().map(gained).collect() }
    }
}

impl Counted {
    fn since(&self, before: &Self) -> Self {
        let gained = |now: &[u64], before: &[u64]| {
            now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect()
        };
        Self {
            ran: gained(&self.ran, &before.ran),
            waited: gained(&self.waited, &before.waited),
            hard: gained(&self.hard, &before.hard),
        }
    }
}

/// Has the network and a disk interrupt this core, as far as they do.
pub(super) fn cause(roots: &HostRoots) {
    // Without a loopback interface or a disk the timer has to do.
    let _best_effort = send();
    for _ in 0..READS {
        let _best_effort = block::read_directly(&roots.proc("self/exe"));
    }
}

fn send() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    (0..DATAGRAMS).try_for_each(|_| socket.send_to(&[0; 16], address).map(drop))
}

/// Whether what the probe counted can be true; how many soft interrupts there were. Both are not read at one instant, and a
/// busy host may spoil it.
pub(super) fn judge(names: &[&str], truth: [&Truth; 2], counted: [&Counted; 2]) -> Result<u64, String> {
    let (truth, counted) = (truth[1].since(truth[0]), counted[1].since(counted[0]));
    for (vector, name) in names.iter().enumerate() {
        let Some(real) = truth.soft.get(vector) else { continue };
        let (ran, waited) = (counted.ran[vector], counted.waited[vector]);
        if ran > *real || is_much_less(ran, *real) {
            return Err(format!("the kernel counted {real} soft interrupts of {name}, the probe {ran}"));
        }
        if is_much_less(waited, ran) {
            return Err(format!("of {ran} soft interrupts of {name} {waited} were seen to be raised"));
        }
    }
    let of_number = |number: usize| counted.hard[number.min(counted.hard.len() - 1)];
    let known = truth.hard.iter().filter(|(_, real)| *real > 0);
    let (real, seen) =
        known.fold((0, 0), |(real, seen), (number, count)| (real + count, seen + of_number(*number)));
    let all: u64 = counted.hard.iter().sum();
    if real >= ENOUGH && all >= ENOUGH && seen == 0 {
        return Err(format!(
            "the kernel counted {real} interrupts of devices, and the probe {all} with other numbers"
        ));
    }
    Ok(truth.soft.iter().sum())
}

fn is_much_less(some: u64, all: u64) -> bool {
    some + 5 + all / 5 < all
}

/// By vector, summed over CPUs: lines such as `  TIMER:  10  20`.
fn soft_of(text: &str) -> Vec<u64> {
    let lines = text.lines().skip(1);
    lines
        .map(|line| line.split_whitespace().skip(1).filter_map(|word| word.parse::<u64>().ok()).sum())
        .collect()
}

/// By number, summed over CPUs: lines such as ` 36:  0  15  PCI-MSIX-0000:00:02.0  1-edge  virtio1-req.0`, below one that names
/// each CPU.
fn hard_of(text: &str) -> Vec<(usize, u64)> {
    let mut lines = text.lines();
    let cpus = lines.next().map_or(0, |head| head.split_whitespace().count());
    let line = |line: &str| {
        let (number, counts) = line.split_once(':')?;
        let counts = counts.split_whitespace().take(cpus).filter_map(|word| word.parse::<u64>().ok());
        Some((number.trim().parse().ok()?, counts.sum()))
    };
    lines.filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["TIMER", "NET_RX"];

    fn judged(ran: [u64; 2], waited: [u64; 2], hard: [u64; 8]) -> Result<u64, String> {
        let before = Truth { soft: vec![7, 7], hard: vec![(1, 9), (5, 3)] };
        let after = Truth { soft: vec![17, 71], hard: vec![(1, 9), (5, 11)] };
        let nothing = Counted { ran: vec![0; 2], waited: vec![0; 2], hard: vec![0; 8] };
        let counted = Counted { ran: ran.into(), waited: waited.into(), hard: hard.into() };
        judge(&NAMES, [&before, &after], [&nothing, &counted])
    }

    #[test]
    fn counts_of_all_cpus_are_summed() {
        let text = "      CPU0  CPU1\n  HI:  1  2\n TIMER:  10  20\n";
        assert_eq!(soft_of(text), [3, 30]);
        let text = "      CPU0  CPU1\n 36:  1  15  PCI-MSIX-0000:00:02.0  1-edge  virtio1-req.0\nLOC:  5  6  Local\n\
                    ERR:  0\n";
        assert_eq!(hard_of(text), [(36, 16)]);
    }

    #[test]
    fn what_the_kernel_counts_otherwise_is_not_believed() {
        let right = [0, 0, 0, 0, 0, 8, 0, 0];
        assert_eq!(judged([10, 64], [10, 64], right), Ok(74));
        // A few are left out now and then, and a device may be silent.
        assert_eq!(judged([8, 60], [8, 50], [0; 8]), Ok(74));
        let told = |judged: Result<u64, String>| judged.unwrap_err();
        assert!(
            told(judged([10, 0], [10, 0], right))
                .contains("counted 64 soft interrupts of NET_RX, the probe 0")
        );
        assert!(told(judged([11, 64], [10, 64], right)).contains("counted 10 soft interrupts of TIMER"));
        assert!(
            told(judged([10, 64], [10, 0], right)).contains("of 64 soft interrupts of NET_RX 0 were seen")
        );
        let elsewhere = [0, 0, 0, 0, 0, 0, 0, 8];
        assert!(told(judged([10, 64], [10, 64], elsewhere)).contains("8 with other numbers"));
    }
}
