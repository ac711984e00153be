//! Reads or writes memory from one end to the other, and the clock of methods that no profile paces.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    data::Data,
    region::{BLOCK_BYTES, Region},
    vector::{self, Store},
};
use crate::{
    burn::{
        control,
        cpu::Isa,
        pace::Pacer,
        worker::{Flow, Reins},
    },
    clock,
};

/// Blocks of one unit of work: 256 KiB, some 10 µs at the speed of memory, short against a duty cycle's period.
pub(super) const UNIT_BLOCKS: usize = 64;
/// Bytes of an operation: a cache line.
const LINE_BYTES: u64 = 64;

/// Goes over its memory in order.
#[derive(Debug)]
pub(super) struct Sequence {
    isa: Isa,
    region: Region,
    writes: bool,
    at: usize,
}

impl Sequence {
    pub(super) fn reader(isa: Isa, region: Region) -> Self {
        Self { isa, region, writes: false, at: 0 }
    }

    pub(super) fn writer(isa: Isa, region: Region) -> Self {
        Self { isa, region, writes: true, at: 0 }
    }

    pub(super) fn burn(&mut self, mut pacer: Pacer, reins: &Reins) {
        while pacer.step(reins, |units| {
            let blocks: usize = (0..units).map(|_| self.unit()).sum();
            count(reins, (blocks * BLOCK_BYTES) as u64);
        }) != Flow::Stop
        {}
    }

    /// Gives how many blocks it did.
    fn unit(&mut self) -> usize {
        let blocks = self.region.blocks_mut();
        let end = (self.at + UNIT_BLOCKS).min(blocks.len());
        let unit = &mut blocks[self.at..end];
        if self.writes {
            // Another word each time around, so that every store changes something.
            let steps = Data::Constant(self.at as u64 ^ unit.first().map_or(0, |block| !block.0[1])).steps(0);
            for block in unit.iter_mut() {
                vector::write_steps(self.isa, block, &steps, Store::NonTemporal);
            }
            vector::fence();
        } else {
            std::hint::black_box(vector::read(self.isa, unit));
        }
        let done = unit.len();
        self.at = if end == blocks.len() { 0 } else { end };
        done
    }
}

/// Counts bytes moved; an operation is a line of them.
pub(super) fn count(reins: &Reins, bytes: u64) {
    control::add(&reins.slot().bytes, bytes);
    control::add(&reins.slot().operations, bytes / LINE_BYTES);
}

/// Elapsed and CPU time of a worker without a pacer.
#[derive(Debug)]
pub(super) struct Watch {
    origin: Duration,
    origin_cpu: Duration,
}

impl Watch {
    pub(super) fn start(reins: &Reins) -> Self {
        let origin = clock::boottime();
        reins.slot().first_burn_ns.store(clock::ns(origin), Ordering::Relaxed);
        Self { origin, origin_cpu: clock::thread_cpu() }
    }

    /// Publishes, sleeps for so long, or to the end, and says what to do next. A pause that has ended is left out.
    pub(super) fn rest(&mut self, length: Duration, reins: &Reins) -> Flow {
        self.publish(reins);
        reins.sleep_until((self.now() + length).min(reins.end()));
        let flow = reins.check();
        match flow {
            Flow::Stop => self.publish(reins),
            Flow::Resumed(paused) => self.forget(paused),
            Flow::Burn => {}
        }
        flow
    }

    /// Leaves out a pause that has ended.
    pub(super) fn forget(&mut self, paused: Duration) {
        self.origin += paused;
    }

    /// CLOCK_BOOTTIME.
    pub(super) fn now(&self) -> Duration {
        clock::boottime()
    }

    pub(super) fn publish(&self, reins: &Reins) {
        let slot = reins.slot();
        let elapsed = clock::boottime().saturating_sub(self.origin);
        let used = clock::thread_cpu().saturating_sub(self.origin_cpu);
        slot.burning_ns.store(clock::ns(elapsed), Ordering::Relaxed);
        slot.on_cpu_ns.store(clock::ns(used), Ordering::Relaxed);
    }
}
