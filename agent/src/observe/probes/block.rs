//! Reads what the programs of `agent-ebpf/src/block.rs` count: latencies by disk and operation.

use std::{
    collections::HashSet,
    fs::OpenOptions,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use ssts_agent_ebpf::shared::{DEVICE_SLOTS, LATENCY, Operation, device_entry, device_slots};
use ssts_proto::catalogue;

use super::{
    Attached, Canary, HookChoice,
    disks::{self, Disk},
    error::ProbeError,
    gains::Gains,
    program::{Constants, Definition, Hook, Programs},
    tracefs::Tracefs,
    types::KernelTypes,
    window::{SharedCounts, Window},
};
use crate::{
    host::HostRoots,
    observe::{
        frame::{BucketGain, Frame},
        schema::{HistogramColumn, Schema},
        source::Source,
    },
};

pub(super) const NAME: &str = "block";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/block"));

static HOOKS: [Hook; 2] = [
    Hook { category: "block", event: "block_rq_complete", raw: "raw_complete", recorded: "tp_complete" },
    Hook { category: "block", event: "block_rq_issue", raw: "raw_issue", recorded: "tp_issue" },
];

/// Room for disks that come later, and the most that are kept apart: each has histograms for every CPU.
const SPARE_DISKS: usize = 4;
const MOST_DISKS: usize = 64;

/// Loads the probe and tests it.
pub(super) fn load(roots: &HostRoots, choice: HookChoice, cpus: usize) -> Result<Attached, ProbeError> {
    let source = BlockLatency::attach(roots, choice, cpus)?;
    let canary = source.canary()?;
    Ok(Attached {
        name: NAME,
        programs: source.programs.clone(),
        source: Box::new(source),
        canary,
        core_busy: None,
    })
}

/// The source of `block.latency`.
#[derive(Debug)]
struct BlockLatency {
    programs: Arc<Programs>,
    roots: HostRoots,
    cpus: usize,
    devices: Window<AtomicU64>,
    stranger: Window<AtomicU64>,
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
    counts: Window<SharedCounts>,
    /// By operation.
    gains: Vec<Gains>,
    columns: Vec<HistogramColumn>,
}

impl BlockLatency {
    fn attach(roots: &HostRoots, choice: HookChoice, cpus: usize) -> Result<Self, ProbeError> {
        let groups = (disks::scan(roots).len() + SPARE_DISKS).min(MOST_DISKS);
        let histograms = groups * Operation::ALL.len() * cpus;
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            maps: vec![("LATENCY", histograms as u32)],
            constants: vec![("CPUS", cpus as u32)],
            raw: raw_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, roots, choice)?;
        let devices = programs.window("DEVICES", DEVICE_SLOTS as usize)?;
        let stranger = programs.window("STRANGER", 1)?;
        let mut source = Self {
            programs: Arc::new(programs),
            roots: roots.clone(),
            cpus,
            devices,
            stranger,
            free: (0..groups as u32).rev().collect(),
            tracked: Vec::new(),
            refused: HashSet::new(),
        };
        source.track_disks();
        Ok(source)
    }

    /// Reads 4 KiB past every cache and looks whether that was counted.
    fn canary(&self) -> Result<Canary, ProbeError> {
        let Some((path, disks)) = self.something_to_read() else {
            return Ok(Canary::Untestable("no block device to test with".into()));
        };
        let read = Operation::Read as usize;
        let cpus = self.cpus;
        let expected = || self.tracked.iter().filter(|tracked| disks.contains(&tracked.disk.name));
        let mut before: Vec<_> =
            expected().map(|tracked| Gains::since_now(part(&tracked.counts, read, cpus))).collect();
        let start = Instant::now();
        if let Err(error) = read_directly(&path) {
            return Ok(Canary::Untestable(format!("reading {} for a test: {error}", path.display())));
        }
        let elapsed = start.elapsed().as_nanos() as u64;
        let (mut counted, mut plausible) = (0, false);
        for (tracked, gains) in expected().zip(&mut before) {
            gains.take(part(&tracked.counts, read, cpus), |bucket, gain| {
                counted += gain;
                plausible |= bucket > 0 && LATENCY.lower_bound(bucket as usize) <= elapsed;
            });
        }
        let disks = disks.join(", ");
        match (counted, plausible) {
            (0, _) => {
                Err(ProbeError::Canary(format!("a read of {} from {disks} was not seen", path.display())))
            }
            (_, false) => Err(ProbeError::Canary(format!(
                "a read of {} from {disks} took {elapsed} ns at most, and was counted as longer",
                path.display()
            ))),
            (_, true) => Ok(Canary::Working),
        }
    }

    /// A file or device that can be read, with the disks that the read must be seen at.
    fn something_to_read(&self) -> Option<(PathBuf, Vec<String>)> {
        let own = self.roots.proc("self/exe");
        let disks = disks::below(&self.roots, &own);
        let known = |name: &String| self.tracked.iter().any(|tracked| tracked.disk.name == *name);
        if !disks.is_empty() && disks.iter().all(known) && read_directly(&own).is_ok() {
            return Some((own, disks));
        }
        self.tracked.iter().find_map(|tracked| {
            let node = Path::new("/dev").join(&tracked.disk.name);
            read_directly(&node).ok().map(|()| (node, vec![tracked.disk.name.clone()]))
        })
    }

    /// Fits what is counted to the disks that are there.
    fn track_disks(&mut self) {
        let stranger = self.stranger[0].swap(0, Relaxed) as u32;
        let disks = disks::scan(&self.roots);
        self.tracked.retain(|tracked| {
            let there = disks.contains(&tracked.disk);
            if !there {
                self.devices[tracked.slot].store(0, Relaxed);
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
        let counts = match self.programs.window_at("LATENCY", group as usize * len, len) {
            Ok(counts) => counts,
            Err(error) => {
                tracing::warn!(disk = disk.name, %error, "can't map the disk's histograms");
                self.free.push(group);
                return None;
            }
        };
        let mut tracked =
            Tracked { disk: disk.clone(), group, slot, counts, gains: Vec::new(), columns: Vec::new() };
        tracked.start_now(self.cpus);
        self.devices[slot].store(device_entry(disk.dev, group), Relaxed);
        Some(tracked)
    }
}

impl Tracked {
    /// Leaves out what was counted before.
    fn start_now(&mut self, cpus: usize) {
        let since_now = |operation| Gains::since_now(part(&self.counts, operation, cpus));
        self.gains = (0..Operation::ALL.len()).map(since_now).collect();
    }
}

impl Source for BlockLatency {
    fn describe(&mut self, schema: &mut Schema) {
        self.track_disks();
        for tracked in &mut self.tracked {
            if tracked.columns.is_empty() {
                tracked.start_now(self.cpus);
            }
            let name = &tracked.disk.name;
            let column = |operation: Operation| {
                schema.histogram(&catalogue::BLOCK_LATENCY, &[name, operation.name()], LATENCY)
            };
            tracked.columns = Operation::ALL.into_iter().map(column).collect();
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        for tracked in &mut self.tracked {
            for (index, (gains, column)) in tracked.gains.iter_mut().zip(&tracked.columns).enumerate() {
                gains.take(part(&tracked.counts, index, self.cpus), |bucket, count| {
                    frame.gain(BucketGain { column: *column, bucket, count });
                });
            }
        }
    }

    fn changed(&self) -> bool {
        let stranger = self.stranger[0].load(Relaxed) as u32;
        stranger != 0 && !self.refused.contains(&stranger)
    }
}

/// The histograms of one operation: one a CPU.
fn part(counts: &[SharedCounts], operation: usize, cpus: usize) -> &[SharedCounts] {
    &counts[operation * cpus..][..cpus]
}

/// Reads the first page of a file or device from the medium itself.
pub(super) fn read_directly(path: &Path) -> io::Result<()> {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    let mut page = Box::new(Page([0; 4096]));
    file.read_at(&mut page.0, 0).map(drop)
}

fn raw_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
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
    Ok(vec![
        ("ISSUE_REQUEST_ARG", issue_request),
        ("REQUEST_FLAGS", types.member("request", "cmd_flags")?),
        ("REQUEST_OWNER", types.member("request", owner)?),
        ("DISK_OF_QUEUE", queue_disk.is_some().into()),
        ("QUEUE_DISK", queue_disk.unwrap_or(0)),
        ("DISK_MAJOR", major),
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
            ("COMPLETE_RWBS", format.offset_of_long("rwbs", 2)?),
        ])
    })?);
    Ok(constants)
}
