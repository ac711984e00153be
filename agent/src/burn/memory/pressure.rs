//! Grows until the host feels it (tasks stall, or the kernel reclaims) as much as was asked, and stays there. The reserve is
//! a wall: where the target lies behind it, growth ends before it and the result says so.

use std::{fs, path::Path, sync::atomic::Ordering, time::Duration};

use super::{
    BLOCK_BYTES, HUGE_BYTES, MemoryLoad, Target,
    elastic::{Elastic, Met},
    load::FIRST,
    region::Region,
    sweep::Watch,
};
use crate::{
    burn::{
        BurnError, control,
        worker::{Flow, Reins},
    },
    clock,
    host::HostRoots,
};

/// How often it looks and takes a step.
const INTERVAL: Duration = Duration::from_millis(20);
/// The time over which pressure is measured: stalls come in bursts.
const WINDOW: Duration = Duration::from_secs(1);
/// Without a rate, all of the size in this time.
const WHOLE: Duration = Duration::from_secs(5);
/// Within this of the target nothing changes.
const BAND: f64 = 0.1;
/// Grown or given back between two looks at the command.
const PIECE_BYTES: usize = 8 << 20;

/// A worker's part of the pressure.
#[derive(Debug)]
pub(super) struct Grower {
    memory: Elastic,
    target: Target,
    rate: Option<f64>,
    roots: HostRoots,
}

/// Readings of a counter over the last [`WINDOW`].
#[derive(Debug, Default)]
struct Readings(Vec<(Duration, u64)>);

impl Readings {
    /// Adds one and gives the gain a second over the window.
    fn add(&mut self, now: Duration, count: u64) -> f64 {
        self.0.push((now, count));
        let old = self.0.iter().take_while(|(at, _)| *at + WINDOW < now).count();
        // The last one before the window begins stays: so the readings span it.
        self.0.drain(..old.saturating_sub(1));
        let (since, first) = self.0[0];
        let seconds = (now - since).max(INTERVAL).as_secs_f64();
        count.saturating_sub(first) as f64 / seconds
    }
}

impl Grower {
    pub(super) fn new(load: &MemoryLoad, target: Target, node: Option<u32>, region: Region) -> Self {
        Self {
            memory: Elastic::new(load, node, region),
            target,
            rate: load.fill_bytes_per_s.map(|rate| rate as f64),
            roots: load.roots.clone(),
        }
    }

    /// Until the end, never beyond `most_bytes`. An operation is a look at the pressure.
    pub(super) fn burn(&mut self, most_bytes: usize, reins: &Reins) -> Result<(), BurnError> {
        let (_, workers) = reins.place();
        let rate = self.rate.map_or(most_bytes as f64 / WHOLE.as_secs_f64(), |rate| rate / workers as f64);
        let page = self.memory.page_bytes();
        let step = ((rate * INTERVAL.as_secs_f64()) as usize).next_multiple_of(page).clamp(page, PIECE_BYTES);
        let slot = reins.slot();
        let mut watch = Watch::start(reins);
        let mut readings = Readings::default();
        let mut met = Met::default();
        loop {
            let (reading, wanted) = self.read(&mut readings)?;
            slot.figures[FIRST].store(reading as u64, Ordering::Relaxed);
            let resident = self.memory.resident_bytes();
            if reading < wanted * (1.0 - BAND) {
                self.memory.grow(step.min(most_bytes - resident), HUGE_BYTES, workers)?;
            } else if reading > wanted * (1.0 + BAND) {
                // Twice as fast: what was too much must not last.
                self.memory.shrink_to(resident.saturating_sub(2 * step))?;
            }
            met.count(reading >= wanted * (1.0 - 2.0 * BAND), reins);
            self.memory.publish(reins);
            control::add(&slot.operations, 1);
            match watch.rest(INTERVAL, reins) {
                Flow::Stop => return Ok(()),
                Flow::Resumed(_) => readings.0.clear(),
                Flow::Burn => {}
            }
        }
    }

    /// What the pressure is, and what it should be, in the unit of the figure.
    fn read(&self, readings: &mut Readings) -> Result<(f64, f64), BurnError> {
        let now = clock::boottime();
        match self.target {
            Target::Stalled(share) => {
                let stalled_us = text(&self.roots.proc("pressure/memory"), stalled_us)?;
                // Microseconds a second are parts of a million.
                Ok((readings.add(now, stalled_us), share * 1e6))
            }
            Target::ReclaimedPerS(bytes) => {
                let pages = text(&self.roots.proc("vmstat"), reclaimed_pages)?;
                Ok((readings.add(now, pages * BLOCK_BYTES as u64), bytes as f64))
            }
        }
    }
}

fn text(path: &Path, parse: fn(&str) -> Option<u64>) -> Result<u64, BurnError> {
    let read = fs::read_to_string(path);
    let number = read.and_then(|text| parse(&text).ok_or_else(|| std::io::ErrorKind::InvalidData.into()));
    number.map_err(|source| BurnError::Unreadable { path: path.to_owned(), source })
}

/// Time in which some task was stalled, since boot: Documentation/accounting/psi.rst.
fn stalled_us(pressure: &str) -> Option<u64> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

/// Pages that were reclaimed since boot, by whomever: `pgsteal_kswapd`, `_direct`, `_khugepaged`, `_proactive`.
/// `_anon` and `_file` count the same pages again.
fn reclaimed_pages(vmstat: &str) -> Option<u64> {
    let who = |name: &str| !matches!(name, "anon" | "file");
    let counts = vmstat.lines().filter_map(|line| {
        let (name, count) = line.strip_prefix("pgsteal_")?.split_once(' ')?;
        who(name).then(|| count.parse::<u64>().ok())?
    });
    counts.reduce(u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;
    use crate::{
        burn::{
            control::{Command, ControlBlock},
            cpu::Isa,
            memory::{Method, ON_TARGET, Pages, RESIDENT},
            profile::LoadProfile,
        },
        observe::procfs::test_tree::TestTree,
    };

    #[test]
    fn stalls_and_reclaim_are_read_as_the_kernel_writes_them() {
        let pressure = "some avg10=0.00 avg60=0.00 avg300=0.03 total=628798\nfull avg10=0.00 avg60=0.00 avg300=0.02 total=566155\n";
        assert_eq!(stalled_us(pressure), Some(628_798));
        let vmstat = "pgsteal_kswapd 5\npgsteal_direct 7\npgsteal_khugepaged 0\npgsteal_anon 1\npgsteal_file 11\npgscan_direct 99\n";
        assert_eq!(reclaimed_pages(vmstat), Some(12));
        assert_eq!(reclaimed_pages("pgscan_direct 99\n"), None);
    }

    /// A host that stalls for 1 % of the time for each MiB beyond the eighth: the target of 10 % lies at 18 MiB.
    #[test]
    fn it_grows_to_the_target_and_stays_there() {
        let tree = TestTree::new(&[("proc/pressure/memory", "some avg10=0.00 total=0\n")]);
        let control = Arc::new(ControlBlock::create(1, 0, Duration::from_secs(60)).unwrap());
        let reins = Reins::new(control.clone(), 0, 0, None);
        control.set_end(clock::boottime() + Duration::from_secs(8));
        control.set_command(Command::Burn);
        let load = MemoryLoad {
            size_bytes: 64 << 20,
            method: Method::Pressure(Target::Stalled(0.1)),
            pages: Pages::Small,
            nodes: Vec::new(),
            fill_bytes_per_s: Some(16 << 20),
            floor_bytes: 0,
            profile: LoadProfile::FULL,
            isa: Isa::Portable,
            inject_error: None,
            roots: tree.roots(),
        };
        let region = Region::reserve(64 << 20, Pages::Small).unwrap();
        let mut grower = Grower::new(&load, Target::Stalled(0.1), None, region);
        let (mut largest, mut late) = (0, Vec::new());
        let settled = clock::boottime() + Duration::from_secs(5);
        thread::scope(|scope| {
            let burning = scope.spawn(move || grower.burn(64 << 20, &reins));
            let (mut total_us, mut last) = (0.0, clock::boottime());
            while !burning.is_finished() {
                thread::sleep(Duration::from_millis(10));
                let now = clock::boottime();
                let mib =
                    control.slot(0).figures[RESIDENT].load(Ordering::Relaxed) as f64 / f64::from(1 << 20);
                largest = largest.max(mib as u64);
                total_us += (mib - 8.0).max(0.0) / 100.0 * (now - last).as_secs_f64() * 1e6;
                last = now;
                if now > settled {
                    late.push(control.slot(0).figures[FIRST].load(Ordering::Relaxed) as f64);
                }
                // As a whole, so that no reader sees half of it.
                tree.write("proc/pressure/new", &format!("some avg10=0.00 total={total_us:.0}\n"));
                fs::rename(tree.roots().proc("pressure/new"), tree.roots().proc("pressure/memory")).unwrap();
            }
            burning.join().unwrap().unwrap();
        });
        let figure = |index: usize| control.slot(0).figures[index].load(Ordering::Relaxed);
        assert!(figure(ON_TARGET) > 300_000, "{}", figure(ON_TARGET));
        // One reading may be of a window in which this thread did not run.
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        assert!((60_000.0..140_000.0).contains(&mean), "{mean}");
        // The window's length is the delay of the loop: growth of a second more than needed, not of many.
        assert!(largest < 45, "{largest}");
    }

    #[test]
    fn a_rate_is_of_the_window() {
        let mut readings = Readings::default();
        for tick in 0..100u64 {
            let now = Duration::from_millis(tick * 20);
            let rate = readings.add(now, tick * 20);
            if tick > 0 {
                assert!((rate - 1_000.0).abs() < 1e-6, "{tick}: {rate}");
            }
        }
        assert!(readings.0.len() <= 53, "{}", readings.0.len());
    }
}
