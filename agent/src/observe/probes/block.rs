//! Reads what the programs of `agent-ebpf/src/block.rs` count: latencies, sizes, errors by disk and operation.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use ssts_agent_ebpf::shared::{DEVICE_SLOTS, Operation, REQUEST_HEAD, device_entry, device_slots, own};
use ssts_proto::catalogue;

use super::{
    Attached, Target,
    burner_watch::Shared,
    disk_counts::{SharedDisk, Slow, Tally},
    disks::{self, Disk},
    error::ProbeError,
    in_flight::InFlight,
    own_task,
    program::{Constants, Definition, Hook, Programs},
    slowest::{SlowRequest, SlowestSoFar},
    tracefs::Tracefs,
    types::KernelTypes,
    watched::ByUnit,
    window::Window,
};
use crate::{
    clock,
    host::HostRoots,
    observe::{
        frame::Frame,
        schema::{Column, Schema},
        source::Source,
    },
};

mod canary;

pub(super) use self::canary::read_directly;

pub(super) const NAME: &str = "block";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/block"));

static HOOKS: [Hook; 3] = [
    Hook::new("block", "block_rq_requeue", "requeue"),
    Hook::new("block", "block_rq_complete", "complete"),
    Hook::new("block", "block_rq_issue", "issue"),
];

/// Room for disks that come later, and the most that are kept apart: each has histograms for every CPU.
const SPARE_DISKS: usize = 4;
const MOST_DISKS: usize = 64;

/// Loads the probe and tests it.
pub(super) fn load(target: &Target) -> Result<Attached, ProbeError> {
    let source = BlockLatency::attach(target)?;
    let canary = source.canary()?;
    // The others ask the kernel who issues a request.
    if source.programs.are_typed() {
        own_task::look(&source.programs, &target.roots, &[own::TGID, own::NAME])?;
    }
    Ok(Attached {
        name: NAME,
        programs: source.programs.clone(),
        shared: Shared { slowest: Some(source.slowest.board().clone()), ..Shared::default() },
        source: Box::new(source),
        canary,
    })
}

/// The source of the metrics that begin with `block.`.
#[derive(Debug)]
struct BlockLatency {
    programs: Arc<Programs>,
    roots: HostRoots,
    cpus: usize,
    devices: Window<AtomicU64>,
    /// By group.
    owners: Window<AtomicU64>,
    stranger: Window<AtomicU64>,
    /// By CPU.
    lost: Window<AtomicU64>,
    in_flight: InFlight,
    slowest: SlowestSoFar,
    watched: ByUnit,
    /// Which groups of histograms are free.
    free: Vec<u32>,
    tracked: Vec<Tracked>,
    /// Devices that sysfs doesn't show as disks, or that there was no room for.
    refused: HashSet<u32>,
}

/// A disk that is counted for.
#[derive(Debug)]
struct Tracked {
    disk: Disk,
    group: u32,
    slot: usize,
    /// By operation, then CPU.
    counts: Window<SharedDisk>,
    /// By operation; empty until they are described.
    tallies: Vec<Tally>,
    slowest: Option<SlowColumns>,
    in_flight: Option<Column>,
}

/// Of the slowest request since the frame before.
#[derive(Debug, Clone, Copy)]
struct SlowColumns {
    latency: Column,
    sector: Column,
    size: Column,
    pid: Column,
}

impl BlockLatency {
    fn attach(target: &Target) -> Result<Self, ProbeError> {
        let (roots, cpus) = (&target.roots, target.cpus);
        let groups = (disks::scan(roots).len() + SPARE_DISKS).min(MOST_DISKS);
        let histograms = groups * Operation::ALL.len() * cpus;
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            has_btf: true,
            maps: vec![
                ("DISKS", histograms as u32),
                ("OWNERS", groups as u32),
                ("LOST", cpus as u32),
                ByUnit::map("WATCHED_REQUESTS", target),
            ],
            constants: vec![("CPUS", cpus as u32), ByUnit::constant(target)],
            typed: typed_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, target)?;
        let devices = programs.window("DEVICES", DEVICE_SLOTS as usize)?;
        let owners = programs.window("OWNERS", groups)?;
        let stranger = programs.window("STRANGER", 1)?;
        let lost = programs.window("LOST", cpus)?;
        let in_flight = InFlight::open(&programs, groups)?;
        let watched =
            ByUnit::open(&programs, target, "WATCHED_REQUESTS", &catalogue::PROTECTED_BLOCK_LATENCY)?;
        let mut source = Self {
            programs: Arc::new(programs),
            roots: roots.clone(),
            cpus,
            devices,
            owners,
            stranger,
            lost,
            in_flight,
            slowest: SlowestSoFar::default(),
            watched,
            free: (0..groups as u32).rev().collect(),
            tracked: Vec::new(),
            refused: HashSet::new(),
        };
        source.track_disks();
        Ok(source)
    }

    /// Fits what is counted to the disks that are there.
    fn track_disks(&mut self) {
        let stranger = self.stranger[0].swap(0, Relaxed) as u32;
        let disks = disks::scan(&self.roots);
        self.tracked.retain(|tracked| {
            let there = disks.contains(&tracked.disk);
            if !there {
                self.devices[tracked.slot].store(0, Relaxed);
                self.owners[tracked.group as usize].store(0, Relaxed);
                self.in_flight.forget(tracked.group);
                self.free.push(tracked.group);
            }
            there
        });
        for disk in disks {
            if self.tracked.iter().any(|tracked| tracked.disk == disk) {
                continue;
            }
            if let Some(tracked) = self.track(&disk) {
                self.refused.remove(&disk.dev);
                self.tracked.push(tracked);
            }
        }
        if stranger != 0 && !self.tracked.iter().any(|tracked| tracked.disk.dev == stranger) {
            self.refused.insert(stranger);
        }
    }

    /// Gives a disk a group of histograms and a slot, if there is room.
    fn track(&mut self, disk: &Disk) -> Option<Tracked> {
        let slot =
            device_slots(disk.dev).find(|slot| self.devices[*slot as usize].load(Relaxed) == 0)? as usize;
        let group = self.free.pop()?;
        let len = Operation::ALL.len() * self.cpus;
        let counts = match self.programs.window_at("DISKS", group as usize * len, len) {
            Ok(counts) => counts,
            Err(error) => {
                tracing::warn!(disk = &*disk.name, %error, "can't map the disk's histograms");
                self.free.push(group);
                return None;
            }
        };
        let tracked = Tracked {
            disk: disk.clone(),
            group,
            slot,
            counts,
            tallies: Vec::new(),
            slowest: None,
            in_flight: None,
        };
        self.devices[slot].store(device_entry(disk.dev, group), Relaxed);
        Some(tracked)
    }
}

impl Tracked {
    fn describe(&mut self, schema: &mut Schema, cpus: usize) {
        let name = &*self.disk.name;
        if self.tallies.is_empty() {
            // What was counted before is left out.
            self.counts.iter().for_each(|counts| _ = counts.slowest.take());
            let since_now = |operation| Tally::since_now(part(&self.counts, operation, cpus));
            self.tallies = (0..Operation::ALL.len()).map(since_now).collect();
        }
        for (operation, tally) in Operation::ALL.into_iter().zip(&mut self.tallies) {
            tally.describe(schema, name, operation);
        }
        self.in_flight = Some(schema.column(&catalogue::BLOCK_IN_FLIGHT, &[name]));
        self.slowest = Some(SlowColumns {
            latency: schema.column(&catalogue::BLOCK_SLOWEST_LATENCY, &[name]),
            sector: schema.column(&catalogue::BLOCK_SLOWEST_SECTOR, &[name]),
            size: schema.column(&catalogue::BLOCK_SLOWEST_SIZE, &[name]),
            pid: schema.column(&catalogue::BLOCK_SLOWEST_PID, &[name]),
        });
    }

    fn sample(&mut self, frame: &mut Frame, cpus: usize, so_far: &mut SlowestSoFar) {
        let mut slowest: Option<(Slow, Operation)> = None;
        for (operation, tally) in Operation::ALL.into_iter().zip(&mut self.tallies) {
            if let Some(slow) = tally.sample(part(&self.counts, operation as usize, cpus), frame) {
                slowest = slowest.filter(|(other, _)| other.ns >= slow.ns).or(Some((slow, operation)));
            }
        }
        let Some((columns, (slow, operation))) = self.slowest.zip(slowest) else { return };
        so_far.note(SlowRequest::new(self.disk.name.clone(), operation, slow));
        frame.set(columns.latency, Ok(slow.ns as f64));
        frame.set(columns.sector, Ok(slow.sector as f64));
        frame.set(columns.size, Ok(slow.bytes as f64));
        frame.set(columns.pid, Ok(slow.pid as f64));
    }
}

impl Source for BlockLatency {
    fn describe(&mut self, schema: &mut Schema) {
        self.track_disks();
        self.watched.describe(schema);
        self.tracked.iter_mut().for_each(|tracked| tracked.describe(schema, self.cpus));
    }

    fn sample(&mut self, frame: &mut Frame) {
        self.slowest.renew();
        self.tracked.iter_mut().for_each(|tracked| tracked.sample(frame, self.cpus, &mut self.slowest));
        self.slowest.show();
        self.watched.sample(frame);
        self.programs.note_lost(self.lost.iter().map(|lost| lost.load(Relaxed)).sum());
        let counts = self.in_flight.count();
        for tracked in &self.tracked {
            if let Some((column, count)) = tracked.in_flight.zip(counts.get(tracked.group as usize)) {
                frame.set(column, Ok(f64::from(*count)));
            }
        }
        let of_group = |group| self.tracked.iter().find(|tracked| tracked.group == group);
        self.in_flight.sweep(clock::ns(clock::monotonic()), |group| {
            of_group(group).is_none_or(|tracked| tracked.disk.is_idle(&self.roots))
        });
    }

    fn changed(&self) -> bool {
        let stranger = self.stranger[0].load(Relaxed) as u32;
        stranger != 0 && !self.refused.contains(&stranger)
    }
}

/// What is counted of one operation: by CPU.
fn part(counts: &[SharedDisk], operation: usize, cpus: usize) -> &[SharedDisk] {
    &counts[operation * cpus..][..cpus]
}

fn typed_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
    if types.argument("block_rq_complete", "request")? != 0 {
        return Err(ProbeError::Prototype { what: "block_rq_complete's request" });
    }
    let issue_request = types.argument("block_rq_issue", "request")?;
    if issue_request > 1 {
        return Err(ProbeError::Prototype { what: "block_rq_issue's request" });
    }
    // One read takes both.
    let major = types.member("gendisk", "major")?;
    if types.member("gendisk", "first_minor")? != major + 4 {
        return Err(ProbeError::Prototype { what: "a disk's minor number" });
    }
    let queue_disk = types.find_member("request_queue", "disk")?;
    let owner = if queue_disk.is_some() { "q" } else { "rq_disk" };
    let head = |member, size| {
        let offset = types.member("request", member)?;
        match offset + size <= REQUEST_HEAD {
            true => Ok(offset),
            false => Err(ProbeError::Prototype { what: "a member of a request" }),
        }
    };
    if types.argument("block_rq_requeue", "request")? != issue_request {
        return Err(ProbeError::Prototype { what: "block_rq_requeue's request" });
    }
    Ok(vec![
        ("ISSUE_REQUEST_ARG", issue_request),
        ("REQUEST_FLAGS", head("cmd_flags", 4)?),
        ("REQUEST_BYTES", head("__data_len", 4)?),
        ("REQUEST_SECTOR", head("__sector", 8)?),
        ("REQUEST_MADE", head("start_time_ns", 8)?),
        ("REQUEST_OWNER", head(owner, 8)?),
        ("DISK_OF_QUEUE", queue_disk.is_some().into()),
        ("QUEUE_DISK", queue_disk.unwrap_or(0)),
        ("DISK_MAJOR", major),
        ("TASK_TGID", types.member("task_struct", "tgid")?),
        ("TASK_COMM", types.member("task_struct", "comm")?),
    ])
}

fn recorded_constants(tracefs: &Tracefs) -> Result<Constants, ProbeError> {
    let mut constants = tracefs.format("block/block_rq_issue", |format| {
        Ok(vec![("ISSUE_DEV", format.offset("dev", 4)?), ("ISSUE_SECTOR", format.offset("sector", 8)?)])
    })?;
    constants.extend(tracefs.format("block/block_rq_complete", |format| {
        Ok([
            ("COMPLETE_DEV", format.offset("dev", 4)?),
            ("COMPLETE_SECTOR", format.offset("sector", 8)?),
            ("COMPLETE_SECTORS", format.offset("nr_sector", 4)?),
            ("COMPLETE_ERROR", format.offset("error", 4)?),
            ("COMPLETE_RWBS", format.offset_of_long("rwbs", 2)?),
        ])
    })?);
    constants.extend(tracefs.format("block/block_rq_requeue", |format| {
        Ok([
            ("REQUEUE_DEV", format.offset("dev", 4)?),
            ("REQUEUE_SECTOR", format.offset("sector", 8)?),
            ("REQUEUE_RWBS", format.offset_of_long("rwbs", 2)?),
        ])
    })?);
    Ok(constants)
}
