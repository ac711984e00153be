//! The memory burner: makes memory resident on every worker, up to the reserve and not beyond, and then holds it, streams
//! through it, follows pointers in it, or writes patterns and reads them back.

mod chase;
mod crc;
mod data;
mod elastic;
mod fault;
mod fill;
mod hold;
mod load;
mod occupy;
mod portable;
mod pressure;
mod region;
mod stream;
mod sweep;
mod vector;
mod verify;
mod wrong;

use std::sync::{Arc, atomic::Ordering};

pub use load::{MemoryLoad, Method, ON_TARGET, Pattern, RESIDENT, StreamLoop, Target};
pub use region::{BLOCK_BYTES, HUGE_BYTES, Pages};
pub(super) use verify::count_wrong;
pub use wrong::{WrongWord, open_pagemap, wrong_words};

use self::{fill::Filled, region::Region};
use super::{
    BurnError,
    pace::Pacer,
    plan::Plan,
    worker::{Prepared, Reins, Worker},
};

/// A worker for each core of the plan.
pub(super) fn crew(plan: &Arc<Plan>, load: &MemoryLoad) -> Vec<Box<dyn Worker>> {
    let worker = |(index, core): (usize, &u32)| -> Box<dyn Worker> {
        Box::new(MemoryWorker {
            load: load.clone(),
            plan: plan.clone(),
            index,
            core: *core,
            share_bytes: load.share_bytes(index, plan.cores.len()) as usize,
            ready: None,
        })
    };
    plan.cores.iter().enumerate().map(worker).collect()
}

/// Burns one part of the memory, from one core.
#[derive(Debug)]
struct MemoryWorker {
    load: MemoryLoad,
    plan: Arc<Plan>,
    index: usize,
    core: u32,
    share_bytes: usize,
    ready: Option<Ready>,
}

/// What the methods make of a worker's memory before the clock starts.
#[derive(Debug)]
enum Ready {
    Hold(Region),
    Stream(stream::Streamer),
    Sequence(sweep::Sequence),
    Chase(chase::Chain),
    Verify(Box<verify::Verifier>),
    Fault,
    Pressure(pressure::Grower),
    Occupy(Box<occupy::Occupier>),
}

impl Worker for MemoryWorker {
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError> {
        let load = &self.load;
        let mut variant = load.method.name().to_owned();
        if load.method == Method::Fault {
            self.ready = Some(Ready::Fault);
            return Ok(Prepared { variant, notices: Vec::new() });
        }
        let node = load.nodes.get(self.index).copied();
        let (region, mut notices) = fill::reserve(load, node, self.share_bytes)?;
        if let Method::Occupy(share) = &load.method {
            let mut occupier = occupy::Occupier::new(load, share, self.plan.phase, node, region);
            notices.extend(occupier.reach(reins)?.map(|shortage| format!("core {}: {shortage}", self.core)));
            self.ready = Some(Ready::Occupy(Box::new(occupier)));
            return Ok(Prepared { variant, notices });
        }
        if let Method::Pressure(target) = load.method {
            self.ready = Some(Ready::Pressure(pressure::Grower::new(load, target, node, region)));
            return Ok(Prepared { variant, notices });
        }
        let Filled { region, shortage } = fill::fill(load, node, region, self.share_bytes, reins)?;
        if let Some(shortage) = shortage {
            notices.push(format!("core {}: {shortage}", self.core));
        }
        notices.extend(fill::keep(load, &region));
        let proven = region
            .proven_bytes(0..region.blocks().len())
            .map_err(|source| BurnError::Memory { what: "looked at", source })?;
        reins.slot().figures[RESIDENT].store(proven as u64, Ordering::Relaxed);
        let huge = fill::huge_share(&region);
        notices.extend(fill::missing_huge_pages(load, huge, self.core));
        if !matches!(load.method, Method::Fill | Method::Latency) {
            variant = format!("{variant}, {}", load.isa.name());
        }
        let pages = match (region.pages(), huge) {
            (Pages::Huge, _) => "pages of 2 MiB".to_owned(),
            (_, Some(share)) => format!("{:.0} % in pages of 2 MiB", 100.0 * share),
            (_, None) => "pages of 4 KiB".to_owned(),
        };
        variant = format!("{variant}, {pages}");
        let seed = self.plan.seed.wrapping_add(self.index as u64);
        self.ready = Some(match &load.method {
            // With nothing to work on it waits for the end: one that returned early would be told as stopped.
            _ if region.blocks().is_empty() => Ready::Hold(region),
            Method::Stream(loops) => {
                Ready::Stream(stream::Streamer::new(load.isa, loops.clone(), region, reins)?)
            }
            Method::Read => Ready::Sequence(sweep::Sequence::reader(load.isa, region)),
            Method::Write => Ready::Sequence(sweep::Sequence::writer(load.isa, region)),
            Method::Latency => Ready::Chase(chase::Chain::new(region, seed, reins)?),
            Method::Verify { .. } => {
                let inject = load.inject_error == Some(self.index as u32);
                Ready::Verify(Box::new(verify::Verifier::new(load, region, seed, self.core, inject, reins)?))
            }
            Method::Fill | Method::Fault | Method::Pressure(_) | Method::Occupy(_) => Ready::Hold(region),
        });
        Ok(Prepared { variant, notices })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let pacer = || Pacer::start(&self.load.profile, self.plan.phase, reins);
        match self.ready.as_mut().ok_or(BurnError::Interrupted)? {
            Ready::Hold(region) => hold::burn(region, reins),
            Ready::Stream(streamer) => {
                streamer.burn(pacer(), reins);
                Ok(())
            }
            Ready::Sequence(sequence) => {
                sequence.burn(pacer(), reins);
                Ok(())
            }
            Ready::Chase(chain) => {
                chain.burn(pacer(), reins);
                Ok(())
            }
            Ready::Verify(verifier) => verifier.burn(pacer(), reins),
            Ready::Fault => fault::burn(&self.load, self.share_bytes, reins),
            Ready::Pressure(grower) => grower.burn(self.share_bytes, reins),
            Ready::Occupy(occupier) => occupier.burn(reins),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        burn::{
            control::{Command, ControlBlock},
            cpu::Isa,
            plan::Load,
            profile::LoadProfile,
        },
        clock,
        host::HostRoots,
    };

    #[test]
    fn a_worker_that_could_have_nothing_stays_to_the_end() {
        let patterns = Pattern::ALL.into();
        let verify = Method::Verify { patterns, delay: Duration::ZERO, exceeds_caches: true };
        for method in [verify, Method::Latency, Method::Read, Method::Fault] {
            let load = MemoryLoad {
                size_bytes: 8 << 20,
                method,
                pages: Pages::Small,
                nodes: Vec::new(),
                fill_bytes_per_s: None,
                // No host has so much left.
                floor_bytes: u64::MAX / 2,
                profile: LoadProfile::FULL,
                isa: Isa::Portable,
                inject_error: None,
                roots: HostRoots::default(),
            };
            let name = load.method.name();
            let loads = Load::Memory(load.clone());
            let plan = Plan {
                cores: vec![0],
                phase: Duration::from_secs(1),
                seed: 1,
                load: loads,
                rate_tolerance: None,
            };
            let control = Arc::new(ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap());
            let reins = Reins::new(control.clone(), 0, 0, None);
            let mut worker = crew(&Arc::new(plan), &load).remove(0);
            let told = worker.prepare(&reins).unwrap();
            assert_eq!(told.notices.is_empty(), name == "fault", "{name}: {:?}", told.notices);
            control.set_end(clock::boottime() + Duration::from_millis(200));
            control.set_command(Command::Burn);
            worker.burn(&reins).unwrap();
            assert!(clock::boottime() >= reins.end(), "{name} returned before the end");
            assert_eq!(reins.slot().figures[RESIDENT].load(Ordering::Relaxed), 0, "{name}");
        }
    }

    /// Memory is left alone for `--delay`: a pause in it is no part of that, and shortens it by nothing.
    #[test]
    fn a_pause_within_a_verifiers_delay_does_not_count() {
        const DELAY: Duration = Duration::from_secs(2);
        let load = MemoryLoad {
            size_bytes: 1 << 20,
            method: Method::Verify { patterns: Pattern::ALL.into(), delay: DELAY, exceeds_caches: false },
            pages: Pages::Small,
            nodes: Vec::new(),
            fill_bytes_per_s: None,
            floor_bytes: 0,
            profile: LoadProfile::FULL,
            isa: Isa::Portable,
            inject_error: None,
            roots: HostRoots::default(),
        };
        let plan = Plan {
            cores: vec![0],
            phase: Duration::from_secs(60),
            seed: 1,
            load: Load::Memory(load.clone()),
            rate_tolerance: None,
        };
        let control = Arc::new(ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap());
        let reins = Reins::new(control.clone(), 0, 0, None);
        let mut worker = crew(&Arc::new(plan), &load).remove(0);
        worker.prepare(&reins).unwrap();
        control.set_end(clock::boottime() + Duration::from_secs(60));
        let begin = clock::boottime();
        control.set_start(begin);
        control.set_command(Command::Burn);
        let sweeps = || control.slot(0).figures[load::FIRST].load(Ordering::Relaxed);
        let after_sweep = |number: u64| {
            let mut before = begin;
            while sweeps() < number {
                before = clock::boottime();
                std::thread::sleep(Duration::from_millis(1));
            }
            before
        };
        std::thread::scope(|scope| {
            scope.spawn(|| worker.burn(&reins).unwrap());
            let rests_since_at_most = after_sweep(1);
            control.set_command(Command::Pause);
            let paused = clock::boottime();
            let rested_at_most = paused.saturating_sub(rests_since_at_most);
            std::thread::sleep(DELAY + Duration::from_millis(200));
            assert_eq!(sweeps(), 1, "it went on in the pause");
            let resumed = clock::boottime();
            control.set_command(Command::Burn);
            after_sweep(2);
            let rested_then = clock::boottime().saturating_sub(resumed);
            assert!(rested_then + rested_at_most >= DELAY, "{rested_then:?} after {rested_at_most:?}");
            control.set_command(Command::Stop);
            let all = clock::boottime().saturating_sub(begin);
            let left_out = resumed.saturating_sub(paused);
            let burning = || Duration::from_nanos(control.slot(0).burning_ns.load(Ordering::Relaxed));
            assert!(burning() + left_out <= all + Duration::from_millis(50), "the pause counts as burning");
        });
    }
}
