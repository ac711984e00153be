//! What the runs that are on hold, so that the next one gets none of it: their cores, memory and room on file systems that
//! they were promised and have not taken yet, their devices.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use super::{Admitted, PlannedPhase, policy, space};
use crate::{
    burn::{
        disk::{DiskLoad, Place, Task},
        plan::{Load, Plan},
    },
    observe::burners::BoardEntry,
};

/// What all other runs hold.
#[derive(Debug, Default)]
pub(in crate::run) struct Others(Vec<Held>);

/// What one run holds, from its beginning to its end.
#[derive(Debug)]
struct Held {
    run: String,
    shares_cores: bool,
    cores: Vec<u32>,
    /// The greatest load that it ever asks of a core, percent.
    loads: BTreeMap<u32, f64>,
    /// Promised, and not taken yet.
    memory_bytes: u64,
    /// The same by file system: its device number.
    room_bytes: BTreeMap<u64, u64>,
    claims: Vec<Claim>,
}

/// A block device, or the file system on it, by the device's number: it can be one run's only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim(u64);

/// What is promised to others, and to whom.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Promised {
    pub(super) bytes: u64,
    runs: Vec<String>,
}

impl Others {
    /// Adds what a run holds whose burners of now are `burning`.
    pub(in crate::run) fn add(&mut self, run: &str, admitted: &Admitted, burning: &[BoardEntry]) {
        let phases = &admitted.phases;
        let plans = || phases.iter().flat_map(|phase| &phase.plans);
        let mut cores: Vec<u32> = plans().flat_map(|plan| plan.cores.iter().copied()).collect();
        cores.sort_unstable();
        cores.dedup();
        let (memory_bytes, room_bytes) = outstanding(phases, burning);
        self.0.push(Held {
            run: run.to_owned(),
            shares_cores: admitted.scenario.shared_cores,
            cores,
            loads: loads(admitted),
            memory_bytes,
            room_bytes,
            claims: plans().filter_map(Claim::of).collect(),
        });
    }

    /// The run that has a core for itself as far as one is concerned that shares its own, or doesn't.
    pub(super) fn holder_of(&self, core: u32, shares: bool) -> Option<&str> {
        let holds = |held: &&Held| held.cores.contains(&core) && !(shares && held.shares_cores);
        self.0.iter().find(holds).map(|held| held.run.as_str())
    }

    /// All cores of a run.
    pub(super) fn cores_of(&self, run: &str) -> &[u32] {
        self.0.iter().find(|held| held.run == run).map_or(&[], |held| &held.cores)
    }

    /// What other runs ask of a core at most, percent, those that ask for nothing left out.
    pub(super) fn loads_on(&self, core: u32) -> Vec<(&str, f64)> {
        self.0.iter().filter_map(|held| Some((held.run.as_str(), *held.loads.get(&core)?))).collect()
    }

    /// The run that claims the same.
    pub(super) fn claimant_of(&self, claim: Claim) -> Option<&str> {
        self.0.iter().find(|held| held.claims.contains(&claim)).map(|held| held.run.as_str())
    }

    /// Memory.
    pub(super) fn promised_memory(&self) -> Promised {
        self.sum(|held| held.memory_bytes)
    }

    /// Room on the file system of a device number.
    pub(super) fn promised_room(&self, device: u64) -> Promised {
        self.sum(|held| held.room_bytes.get(&device).copied().unwrap_or_default())
    }

    fn sum(&self, of: impl Fn(&Held) -> u64) -> Promised {
        let mut promised = Promised::default();
        for held in &self.0 {
            let bytes = of(held);
            if bytes > 0 {
                promised.bytes = promised.bytes.saturating_add(bytes);
                promised.runs.push(held.run.clone());
            }
        }
        promised
    }
}

impl Claim {
    /// On the device of that name.
    pub(super) fn on(device: &Path) -> Option<Self> {
        let metadata = fs::metadata(device).ok()?;
        metadata.file_type().is_block_device().then(|| Self(metadata.rdev()))
    }

    /// What a burner claims.
    fn of(plan: &Plan) -> Option<Self> {
        match &plan.load {
            Load::Disk(load) if load.place != Place::Folder => Self::on(&load.path),
            _ => None,
        }
    }
}

/// Nothing where nothing is promised.
impl std::fmt::Display for Promised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.runs.as_slice() {
            [] => Ok(()),
            [run] => write!(f, ", {} are promised to run {run}", self.bytes),
            runs => write!(f, ", {} are promised to runs {}", self.bytes, runs.join(", ")),
        }
    }
}

/// What the phases of a run ask of each core, whichever asks most.
fn loads(admitted: &Admitted) -> BTreeMap<u32, f64> {
    let mut most = BTreeMap::new();
    for (phase, planned) in admitted.scenario.phases.iter().zip(&admitted.phases) {
        let burners = phase.burners.iter().map(Some).zip(&planned.plans);
        for (core, (percent, _)) in policy::loads_of_cores(burners) {
            let before = most.entry(core).or_insert(0.0);
            *before = percent.max(*before);
        }
    }
    most
}

/// What is still to be taken by the phase that is on and by those after it, whichever takes most: one gives back what it has
/// before the next one takes. What is not known to be taken counts as if it were not.
fn outstanding(phases: &[PlannedPhase], burning: &[BoardEntry]) -> (u64, BTreeMap<u64, u64>) {
    let burning: Vec<_> = burning.iter().filter_map(|entry| Some((entry.place()?, entry))).collect();
    let current = burning.first().map_or(0, |((phase, _), _)| *phase);
    let (mut memory, mut memory_taken) = (0u64, 0u64);
    let (mut room, mut room_taken) = (BTreeMap::new(), BTreeMap::new());
    for (index, phase) in phases.iter().enumerate().skip(current) {
        let mut memory_wanted = 0u64;
        let mut room_wanted: BTreeMap<u64, u64> = BTreeMap::new();
        for (burner, plan) in phase.plans.iter().enumerate() {
            let entry = burning.iter().find(|(place, _)| *place == (index, burner)).map(|(_, entry)| entry);
            let share = entry.map_or(0.0, |entry| taken_share(plan, entry));
            let part = |bytes: u64| (bytes as f64 * share) as u64;
            let bytes = space::memory_bytes(plan);
            memory_wanted = memory_wanted.saturating_add(bytes);
            memory_taken = memory_taken.saturating_add(part(bytes));
            if let Some((device, bytes)) = room_of(plan) {
                let wanted = room_wanted.entry(device).or_default();
                *wanted = wanted.saturating_add(bytes);
                let taken: &mut u64 = room_taken.entry(device).or_default();
                *taken = taken.saturating_add(part(bytes));
            }
        }
        memory = memory.max(memory_wanted);
        for (device, bytes) in room_wanted {
            let most = room.entry(device).or_insert(0u64);
            *most = bytes.max(*most);
        }
    }
    for (device, most) in &mut room {
        *most = most.saturating_sub(room_taken.get(device).copied().unwrap_or_default());
    }
    (memory.saturating_sub(memory_taken), room)
}

/// How much of what a burner was promised it has.
fn taken_share(plan: &Plan, entry: &BoardEntry) -> f64 {
    match &plan.load {
        // It takes while it burns, and gives way to others.
        Load::Disk(DiskLoad { task: Task::Fill { .. }, size_bytes, .. }) => {
            (entry.block.moved_bytes() as f64 / (*size_bytes).max(1) as f64).min(1.0)
        }
        _ => entry.block.prepared(),
    }
}

/// The file system that a burner makes its files on, and what they take.
fn room_of(plan: &Plan) -> Option<(u64, u64)> {
    let Load::Disk(load) = &plan.load else { return None };
    if load.place != Place::Folder {
        return None;
    }
    let device = fs::metadata(&load.path).ok()?.dev();
    Some((device, load.size_bytes.saturating_mul(plan.cores.len() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(run: &str, shares_cores: bool, cores: &[u32], memory_bytes: u64) -> Held {
        Held {
            run: run.into(),
            shares_cores,
            cores: cores.to_vec(),
            loads: BTreeMap::new(),
            memory_bytes,
            room_bytes: BTreeMap::from([(7, memory_bytes / 2)]),
            claims: Vec::new(),
        }
    }

    #[test]
    fn a_core_is_one_runs_unless_both_share() {
        let others = Others(vec![held("a", false, &[0], 0), held("b", true, &[1], 0)]);
        assert_eq!([others.holder_of(0, false), others.holder_of(0, true)], [Some("a"); 2]);
        assert_eq!([others.holder_of(1, false), others.holder_of(1, true)], [Some("b"), None]);
        assert_eq!(others.holder_of(2, false), None);
        assert_eq!(others.cores_of("b"), [1]);
    }

    #[test]
    fn promises_are_added_up_and_say_whose_they_are() {
        let others =
            Others(vec![held("a", false, &[], 100), held("b", false, &[], 0), held("c", false, &[], 50)]);
        assert_eq!(others.promised_memory().to_string(), ", 150 are promised to runs a, c");
        assert_eq!(others.promised_room(7).bytes, 75);
        assert_eq!(others.promised_room(8).to_string(), "");
        let one = Others(vec![held("a", false, &[], 100)]);
        assert_eq!(one.promised_memory().to_string(), ", 100 are promised to run a");
    }
}
