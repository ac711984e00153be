//! Tests the probe with a read that it must have seen.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use ssts_agent_ebpf::shared::{LATENCY, Operation};

use super::{
    super::{Canary, disk_counts::SharedDisk, disks, error::ProbeError, gains::Gains, window::SharedCounts},
    BlockLatency, part,
};

impl BlockLatency {
    /// Reads 4 KiB past every cache and looks whether that was counted.
    pub(super) fn canary(&self) -> Result<Canary, ProbeError> {
        let Some((path, disks)) = self.something_to_read() else {
            return Ok(Canary::Untestable("no block device to test with".into()));
        };
        let read = Operation::Read as usize;
        let cpus = self.cpus;
        let expected =
            || self.tracked.iter().filter(|tracked| disks.iter().any(|disk| **disk == *tracked.disk.name));
        let mut before: Vec<_> = expected()
            .map(|tracked| {
                let service = Gains::since_now(services(&tracked.counts, read, cpus));
                let queue = Gains::since_now(queues(&tracked.counts, read, cpus));
                (service, queue, Gains::since_now(sizes(&tracked.counts, read, cpus)))
            })
            .collect();
        let start = Instant::now();
        if let Err(error) = read_directly(&path) {
            return Ok(Canary::Untestable(format!("reading {} for a test: {error}", path.display())));
        }
        let elapsed = start.elapsed().as_nanos() as u64;
        let (mut counted, mut in_time, mut sized) = (0, false, false);
        let (mut waited, mut waited_in_time) = (0, false);
        for (tracked, (service, queue, size)) in expected().zip(&mut before) {
            queue.take(queues(&tracked.counts, read, cpus), |bucket, gain| {
                waited += gain;
                waited_in_time |= LATENCY.lower_bound(bucket as usize) <= elapsed;
            });
            service.take(services(&tracked.counts, read, cpus), |bucket, gain| {
                counted += gain;
                in_time |= bucket > 0 && LATENCY.lower_bound(bucket as usize) <= elapsed;
            });
            size.take(sizes(&tracked.counts, read, cpus), |bucket, _| {
                sized |= LATENCY.index(PAGE as u64) == bucket as usize;
            });
        }
        let wrong = |what: String| {
            let (path, disks) = (path.display(), disks.join(", "));
            Err(ProbeError::Canary(format!("a read of {path} from {disks} {what}")))
        };
        match (counted, in_time, sized) {
            (0, ..) => wrong("was not seen".into()),
            (_, false, _) => wrong(format!("took {elapsed} ns at most, and was counted as longer")),
            // Disks that lie below may have larger blocks.
            (_, _, false) if disks.len() == 1 => {
                wrong(format!("of {PAGE} bytes was counted as another size"))
            }
            _ if waited > 0 && !waited_in_time => {
                wrong(format!("took {elapsed} ns at most, and was counted as made earlier"))
            }
            // A tracepoint's record doesn't tell when a request was made.
            _ if waited == 0 && !self.programs.are_recorded() && self.notes_the_making(&disks) => {
                wrong("was not seen to be made".into())
            }
            _ => Ok(Canary::Working),
        }
    }

    /// Whether requests to the disk say when they were made: where it keeps statistics, and is no stack of disks.
    fn notes_the_making(&self, disks: &[String]) -> bool {
        let [disk] = disks else { return false };
        let path = self.roots.sys("block").join(disk.replace('/', "!")).join("queue/iostats");
        fs::read_to_string(path).is_ok_and(|on| on.trim() == "1")
    }

    /// A file or device that can be read, with the disks that the read must be seen at.
    fn something_to_read(&self) -> Option<(PathBuf, Vec<String>)> {
        let own = self.roots.proc("self/exe");
        let disks = disks::below(&self.roots, &own);
        let known = |name: &String| self.tracked.iter().any(|tracked| *tracked.disk.name == **name);
        if !disks.is_empty() && disks.iter().all(known) && read_directly(&own).is_ok() {
            return Some((own, disks));
        }
        self.tracked.iter().find_map(|tracked| {
            let node = Path::new("/dev").join(&*tracked.disk.name);
            read_directly(&node).ok().map(|()| (node, vec![tracked.disk.name.to_string()]))
        })
    }
}

fn services(
    counts: &[SharedDisk],
    operation: usize,
    cpus: usize,
) -> impl Iterator<Item = &SharedCounts> + Clone {
    part(counts, operation, cpus).iter().map(|cpu| &cpu.service)
}

fn queues(
    counts: &[SharedDisk],
    operation: usize,
    cpus: usize,
) -> impl Iterator<Item = &SharedCounts> + Clone {
    part(counts, operation, cpus).iter().map(|cpu| &cpu.queue)
}

fn sizes(
    counts: &[SharedDisk],
    operation: usize,
    cpus: usize,
) -> impl Iterator<Item = &SharedCounts> + Clone {
    part(counts, operation, cpus).iter().map(|cpu| &cpu.size)
}

/// What the canary reads, in bytes.
const PAGE: usize = 4_096;

/// Reads the first page of a file or device from the medium itself.
pub(in super::super) fn read_directly(path: &Path) -> io::Result<()> {
    #[repr(align(4096))]
    struct Page([u8; PAGE]);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    let mut page = Box::new(Page([0; PAGE]));
    file.read_at(&mut page.0, 0).map(drop)
}
