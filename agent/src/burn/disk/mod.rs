//! The disk burner: reads and writes unnamed files, or parts of a device, through io_uring and past the page cache, or
//! through what stands in for either, which it then says.

mod block;
mod buffer;
mod burning;
mod engine;
mod file;
mod file_system;
mod fill;
mod load;
mod mix;
mod pool;
mod remount;
mod ring;
mod verify;

pub use block::Mismatch;
pub use file::{CLAIM_LASTS_AT_MOST, DiskFile, open_claimed};
pub use file_system::{BUSY_AT_MOST, FileSystem, NamedFile};
pub use fill::Room;
pub use load::{
    BlockShare, DiskLoad, EngineChoice, Io, Operation, Place, REMOUNTS_FIGURE, Rate, Remount, Task,
};
pub use ring::Ring;

use std::time::Duration;

use super::{
    BurnError,
    plan::Plan,
    random,
    worker::{Prepared, Reins, Worker},
};
use crate::clock;
use burning::Burning;
use engine::Engine;
use fill::FillWorker;
use remount::Remounting;
use verify::Verifier;

/// A worker for each core of the plan.
///
/// # Errors
/// The device can't be had.
pub(super) fn crew(plan: &Plan, load: &DiskLoad) -> Result<Vec<Box<dyn Worker>>, BurnError> {
    if let Task::Fill { until_bp, reserve_bytes } = load.task {
        return Ok(vec![Box::new(FillWorker::new(load.clone(), until_bp, reserve_bytes, plan.seed))]);
    }
    // Only one process, once, can claim it.
    let is_device = load.place == Place::Device;
    let device = if is_device { Some(DiskFile::claim(&load.path)?) } else { None };
    let tag = tag();
    (0..plan.cores.len() as u64)
        .map(|index| -> Result<Box<dyn Worker>, BurnError> {
            Ok(Box::new(DiskWorker {
                load: load.clone(),
                seed: plan.seed.wrapping_add(index),
                phase: plan.phase,
                tag: tag.wrapping_add(index),
                base: if is_device { index * load.size_bytes } else { 0 },
                device: device.as_ref().map(DiskFile::share).transpose()?,
                ready: None,
            }))
        })
        .collect()
}

/// Unlike that of any other run: what an earlier one left on a device must not pass for this one's.
fn tag() -> u64 {
    let mut state = clock::ns(clock::realtime()) ^ u64::from(std::process::id()).rotate_left(40);
    random::split_mix(&mut state)
}

/// Drives one file, or its part of a device, from one core.
#[derive(Debug)]
struct DiskWorker {
    load: DiskLoad,
    seed: u64,
    phase: Duration,
    tag: u64,
    base: u64,
    device: Option<DiskFile>,
    ready: Option<Ready>,
}

/// What a worker burns with.
#[derive(Debug)]
struct Ready {
    engine: Engine,
    verifier: Option<Verifier>,
    remounting: Option<Remounting>,
}

impl Worker for DiskWorker {
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError> {
        let (file, remounting) = match (self.device.take(), self.load.remount()) {
            (Some(device), _) => (device, None),
            (None, None) => (DiskFile::create(&self.load.path)?, None),
            (None, Some(remount)) => {
                let (remounting, file) = Remounting::begin(&self.load, remount)?;
                (file, Some(remounting))
            }
        };
        let mut verifier = self.load.verify.then(|| Verifier::new(&self.load, self.tag, self.base));
        file.fill(&self.load, self.base, self.seed, verifier.as_mut(), reins)?;
        let mut notices = Vec::from_iter(file.notice());
        let way = if file.is_direct() { "direct" } else { "buffered" };
        let (engine, no_uring) = Engine::new(&self.load, file, self.seed).map_err(BurnError::Ring)?;
        if let Some(reason) = no_uring {
            notices.push(format!(
                "io_uring can't be used: {reason}; {} threads with pread and pwrite stand in for it",
                self.load.depth
            ));
        }
        let variant = format!("{}, {way}, {}", self.load.describe(), engine.name());
        self.ready = Some(Ready { engine, verifier, remounting });
        Ok(Prepared { variant, notices })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let Ready { engine, verifier, remounting } = self.ready.take().ok_or(BurnError::Interrupted)?;
        let (load, base, seed, phase) = (&self.load, self.base, self.seed, self.phase);
        Burning { load, base, engine, verifier, remounting, seed, phase, reins }.run()
    }
}
