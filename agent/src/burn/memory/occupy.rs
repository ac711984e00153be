//! Brings the memory that all of the host use to a share of what it has, and keeps it there while others take and give
//! back. The reserve is a wall: where the share lies behind it, growth ends before it and the result says so.

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{
    BLOCK_BYTES, MemoryLoad,
    elastic::{Elastic, Met},
    load::FIRST,
    region::Region,
    sweep::Watch,
};
use crate::{
    burn::{
        BurnError, control,
        profile::{Curve, Shape},
        worker::{Flow, Reins},
    },
    host::field_bytes,
};

/// How often it looks and takes a step.
const INTERVAL: Duration = Duration::from_millis(20);
/// Grown in one step at most: some 10 ms where the host has the memory at hand.
const STEP_BYTES: u64 = 32 << 20;
/// Within this part of the host's memory of the share nothing changes: what processes come and go with.
const STILL: f64 = 0.0025;
/// Within this part of the host's memory of the share it counts as met.
const MET: f64 = 0.02;

/// A worker's part of it.
#[derive(Debug)]
pub(super) struct Occupier {
    own: Elastic,
    share: Curve,
    is_constant: bool,
    /// Bytes a second, all workers together.
    rate: Option<f64>,
    meminfo: PathBuf,
}

/// What the host has, and what of it is in use.
#[derive(Debug, Clone, Copy)]
struct Memory {
    total_bytes: u64,
    used_bytes: u64,
}

impl Memory {
    /// `MemTotal` and `MemAvailable` of proc_meminfo(5): what is not available is in use.
    fn of(meminfo: &str) -> Option<Self> {
        let total_bytes = field_bytes(meminfo, "MemTotal:")?;
        let used_bytes = total_bytes.saturating_sub(field_bytes(meminfo, "MemAvailable:")?);
        Some(Self { total_bytes, used_bytes })
    }

    /// By how many bytes more or less would have to be in use.
    fn lacks(&self, wanted_bytes: u64) -> i128 {
        i128::from(wanted_bytes) - i128::from(self.used_bytes)
    }

    fn part(&self, part: f64) -> i128 {
        (self.total_bytes as f64 * part) as i128
    }
}

impl Occupier {
    pub(super) fn new(
        load: &MemoryLoad,
        share: &Shape,
        phase: Duration,
        node: Option<u32>,
        region: Region,
    ) -> Self {
        Self {
            own: Elastic::new(load, node, region),
            share: Curve::new(share.clone(), phase),
            is_constant: matches!(share, Shape::Constant(_)),
            rate: load.fill_bytes_per_s.map(|rate| rate as f64),
            meminfo: load.roots.proc("meminfo"),
        }
    }

    /// Before the clock starts: to the share that the phase begins with. Gives why it stopped short.
    ///
    /// # Errors
    /// [`BurnError::Interrupted`], [`BurnError::Unreadable`], and the kernel's.
    pub(super) fn reach(&mut self, reins: &Reins) -> Result<Option<String>, BurnError> {
        let (_, workers) = reins.place();
        let began = Instant::now();
        loop {
            if !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            let memory = self.look()?;
            let wanted = (self.share.at(Duration::ZERO) * memory.total_bytes as f64) as u64;
            let lacks = memory.lacks(wanted);
            self.own.publish(reins);
            if lacks <= memory.part(STILL) {
                return Ok(None);
            }
            let allowed = self.rate.map(|rate| began.elapsed().as_secs_f64() * rate / workers as f64);
            if allowed.is_some_and(|allowed| self.own.resident_bytes() as f64 > allowed) {
                thread::sleep(INTERVAL / 4);
                continue;
            }
            let before = self.own.resident_bytes();
            self.grow(step(lacks, workers), workers)?;
            if self.own.resident_bytes() == before {
                // It has its part, and the others have not theirs yet; or there is no room.
                let left = self.own.tightest().filter(|_| !self.own.is_full());
                return Ok(left.map(|left| {
                    let (used, all) = (memory.used_bytes, memory.total_bytes);
                    format!("{used} of {all} bytes are in use where {wanted} should be: {left}")
                }));
            }
        }
    }

    /// Follows the share to the end. An operation is a look at the host's memory.
    ///
    /// # Errors
    /// [`BurnError::Unreadable`], and the kernel's.
    pub(super) fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let (_, workers) = reins.place();
        let slot = reins.slot();
        let mut watch = Watch::start(reins);
        let mut origin = reins.start();
        let mut met = Met::default();
        let most =
            self.rate.map_or(STEP_BYTES, |rate| (rate * INTERVAL.as_secs_f64()) as u64 / workers as u64);
        loop {
            let memory = self.look()?;
            let share = self.share.at(watch.now().saturating_sub(origin));
            let asked = (share * memory.total_bytes as f64) as u64;
            let resident = self.own.resident_bytes() as u64;
            // What guards withhold is withheld of what this burner adds.
            let others = memory.used_bytes.saturating_sub(resident * workers as u64);
            let added = asked.saturating_sub(others) as f64 * reins.left_to_burn();
            let wanted = if asked > others { others + added as u64 } else { asked };
            let lacks = memory.lacks(wanted);
            if lacks > memory.part(STILL) {
                self.grow(step(lacks, workers).min(most.max(BLOCK_BYTES as u64)), workers)?;
            } else if -lacks > memory.part(STILL) {
                let back = u64::try_from(-lacks).unwrap_or(u64::MAX) / workers as u64;
                let keep = resident.saturating_sub(back) as usize;
                self.own.shrink_to(keep)?;
            }
            let lacks = memory.lacks(asked);
            // On its way through what others use alone it has nothing to give back.
            let is_below = !self.is_constant && lacks < 0 && self.own.resident_bytes() == 0;
            met.count(is_below || lacks.abs() <= memory.part(MET), reins);
            let used_ppm = u128::from(memory.used_bytes) * 1_000_000 / u128::from(memory.total_bytes.max(1));
            slot.figures[FIRST].store(used_ppm as u64, Ordering::Relaxed);
            self.own.publish(reins);
            control::add(&slot.operations, 1);
            match watch.rest(INTERVAL, reins) {
                Flow::Stop => return Ok(()),
                Flow::Resumed(paused) => origin += paused,
                Flow::Burn => {}
            }
        }
    }

    fn look(&self) -> Result<Memory, BurnError> {
        let unreadable = |source| BurnError::Unreadable { path: self.meminfo.clone(), source };
        let text = fs::read_to_string(&self.meminfo).map_err(unreadable)?;
        Memory::of(&text).ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))
    }

    /// By whole pages, as far as there is room.
    fn grow(&mut self, bytes: u64, workers: usize) -> Result<(), BurnError> {
        self.own.grow((bytes as usize).next_multiple_of(self.own.page_bytes()), 0, workers)
    }
}

/// A worker's part of what is lacking, or of it as much as one step brings.
fn step(lacks: i128, workers: usize) -> u64 {
    (u64::try_from(lacks).unwrap_or_default() / workers as u64).min(STEP_BYTES)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        burn::{
            control::{Command, ControlBlock},
            cpu::Isa,
            memory::{Method, ON_TARGET, Pages, RESIDENT},
            profile::LoadProfile,
        },
        clock,
        observe::procfs::test_tree::TestTree,
    };

    const MIB: u64 = 1 << 20;

    /// A host of 256 MiB where others use so much, and the burner so much.
    fn tell(tree: &TestTree, others: u64, resident: u64) {
        let available_kb = (256 * MIB - others - resident) >> 10;
        tree.write("proc/new", &format!("MemTotal: 262144 kB\nMemAvailable: {available_kb} kB\n"));
        // As a whole, so that no reader sees half of it.
        fs::rename(tree.roots().proc("new"), tree.roots().proc("meminfo")).unwrap();
    }

    fn load(tree: &TestTree, share: &Shape, floor_bytes: u64) -> MemoryLoad {
        MemoryLoad {
            size_bytes: 192 * MIB,
            method: Method::Occupy(share.clone()),
            pages: Pages::Small,
            nodes: Vec::new(),
            fill_bytes_per_s: None,
            floor_bytes,
            profile: LoadProfile::FULL,
            isa: Isa::Portable,
            inject_error: None,
            roots: tree.roots(),
        }
    }

    fn resident(control: &ControlBlock) -> u64 {
        control.slot(0).figures[RESIDENT].load(Ordering::Relaxed)
    }

    /// Others take 16 MiB, then 80, then 8: together it stays half of the host's memory.
    #[test]
    fn it_gives_way_to_others_and_takes_back_what_they_leave() {
        let tree = TestTree::new(&[]);
        tell(&tree, 16 * MIB, 0);
        let share = Shape::Constant(0.5);
        let region = Region::reserve(192 << 20, Pages::Small).unwrap();
        let phase = Duration::from_secs(60);
        let mut occupier = Occupier::new(&load(&tree, &share, 0), &share, phase, None, region);
        let control = Arc::new(ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap());
        let reins = Reins::new(control.clone(), 0, 0, None);
        control.set_end(clock::boottime() + phase);
        control.set_start(clock::boottime());
        thread::scope(|scope| {
            let told = control.clone();
            let burning = scope.spawn(move || {
                assert_eq!(occupier.reach(&reins).unwrap(), None);
                told.set_command(Command::Burn);
                occupier.burn(&reins).unwrap();
            });
            let settle = |others: u64| {
                let wanted = (128 * MIB - others) as f64;
                let late = Instant::now() + Duration::from_secs(20);
                let near = || (resident(&control) as f64 - wanted).abs() < (2 * MIB) as f64;
                let mut since = None;
                // It has to stay there for a while.
                while since.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(300)) {
                    tell(&tree, others, resident(&control));
                    since = near().then(|| since.unwrap_or_else(Instant::now));
                    assert!(Instant::now() < late, "{} beside {others}", resident(&control));
                    thread::sleep(Duration::from_millis(1));
                }
            };
            for others in [16, 80, 8] {
                settle(others * MIB);
            }
            control.set_command(Command::Stop);
            burning.join().unwrap();
        });
        assert!(control.slot(0).figures[ON_TARGET].load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn the_reserve_is_a_wall_and_the_reason_is_told() {
        let tree = TestTree::new(&[]);
        tell(&tree, 128 * MIB, 0);
        let share = Shape::Constant(0.9);
        let region = Region::reserve(192 << 20, Pages::Small).unwrap();
        let floor = 128 * MIB;
        let mut occupier =
            Occupier::new(&load(&tree, &share, floor), &share, Duration::from_secs(1), None, region);
        let control = Arc::new(ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap());
        let shortage = occupier.reach(&Reins::new(control.clone(), 0, 0, None)).unwrap().unwrap();
        assert!(shortage.contains("kept in reserve"), "{shortage}");
        assert_eq!(resident(&control), 0);
    }
}
