//! `/proc/stat`: what each core spent its time on. proc_stat(5).

use nix::unistd::{SysconfVar, sysconf};
use ssts_proto::{
    catalogue::{
        HOST_CPU_BLOCKED, HOST_CPU_CONTEXT_SWITCHES, HOST_CPU_FORKS, HOST_CPU_RUNNABLE, HOST_CPU_TIME, Metric,
    },
    v1::AbsenceReason,
};

use crate::{
    host::HostRoots,
    observe::{
        frame::Frame,
        kernel_file::{KernelFile, lines, number, numbers},
        schema::{Column, Schema},
        source::Source,
    },
};

/// The first fields of a core's line, in their order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
/// Lines of one number each.
const SINGLES: [(&[u8], &Metric); 4] = [
    (b"ctxt", &HOST_CPU_CONTEXT_SWITCHES),
    (b"processes", &HOST_CPU_FORKS),
    (b"procs_running", &HOST_CPU_RUNNABLE),
    (b"procs_blocked", &HOST_CPU_BLOCKED),
];

/// Reads `/proc/stat`.
#[derive(Debug)]
pub struct Stat {
    file: KernelFile,
    ticks_per_s: f64,
    cores: Vec<Core>,
    singles: Vec<Column>,
    changed: bool,
}

#[derive(Debug)]
struct Core {
    cpu: u64,
    modes: [Column; MODES.len()],
    seen: bool,
}

impl Stat {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        // Linux always answers; 100 is what every architecture of today says.
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Self {
            file: KernelFile::open(roots.proc("stat")),
            ticks_per_s: ticks as f64,
            cores: Vec::new(),
            singles: Vec::new(),
            changed: false,
        }
    }
}

impl Source for Stat {
    fn describe(&mut self, schema: &mut Schema) {
        self.changed = false;
        self.singles = SINGLES.iter().map(|(_, metric)| schema.column(metric, &[])).collect();
        let content = self.file.read().unwrap_or_default();
        self.cores = lines(content)
            .filter_map(core_line)
            .map(|(cpu, _)| {
                let label = cpu.to_string();
                Core {
                    cpu,
                    modes: MODES.map(|mode| schema.column(&HOST_CPU_TIME, &[&label, mode])),
                    seen: false,
                }
            })
            .collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        let content = match self.file.read() {
            Ok(content) => content,
            Err(reason) => {
                for column in
                    self.cores.iter().flat_map(|core| core.modes).chain(self.singles.iter().copied())
                {
                    frame.set(column, Err(reason));
                }
                return;
            }
        };
        let mut next = 0;
        for line in lines(content) {
            if let Some((cpu, fields)) = core_line(line) {
                // Lines and cores have the same order; a core that went offline leaves a hole.
                let Some(skipped) = self.cores[next..].iter().position(|core| core.cpu == cpu) else {
                    self.changed = true;
                    continue;
                };
                next += skipped;
                let core = &mut self.cores[next];
                core.seen = true;
                for (column, ticks) in core.modes.iter().zip(numbers(fields)) {
                    frame.set(*column, Ok(ticks as f64 / self.ticks_per_s));
                }
                next += 1;
            } else if let Some(single) = SINGLES.iter().position(|(name, _)| {
                line.strip_prefix(*name).is_some_and(|rest| rest.first() == Some(&b' '))
            }) {
                frame.set(
                    self.singles[single],
                    numbers(line).next().map(|n| n as f64).ok_or(AbsenceReason::Malformed),
                );
            }
        }
        for core in &mut self.cores {
            if std::mem::take(&mut core.seen) {
                continue;
            }
            self.changed = true;
            for column in core.modes {
                frame.set(column, Err(AbsenceReason::Gone));
            }
        }
    }

    fn changed(&self) -> bool {
        self.changed
    }
}

/// `cpu3 1 2 3…` as (3, " 1 2 3…"); nothing for the sum of all cores.
fn core_line(line: &[u8]) -> Option<(u64, &[u8])> {
    line.strip_prefix(b"cpu").and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    const TWO_CORES: &str = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 50 800 20 5 5 20 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\n\
                             intr 1 2 3\nctxt 77\nprocesses 12\nprocs_running 3\nprocs_blocked 1\n";

    #[test]
    fn each_mode_of_each_core_is_read() {
        let tree = TestTree::new(&[("proc/stat", TWO_CORES)]);
        let mut stat = Stat::new(&tree.roots());
        let (schema, frame) = tree.sample(&mut stat);
        assert_eq!(value(&schema, &frame, "host.cpu.time", &["0", "user"]), Ok(1.0));
        assert_eq!(value(&schema, &frame, "host.cpu.time", &["1", "steal"]), Ok(0.08));
        assert_eq!(value(&schema, &frame, "host.cpu.context_switches", &[]), Ok(77.0));
        assert_eq!(value(&schema, &frame, "host.cpu.blocked", &[]), Ok(1.0));
        assert!(!stat.changed());
    }

    #[test]
    fn a_core_that_goes_offline_is_gone_not_idle_and_asks_for_a_new_schema() {
        let tree = TestTree::new(&[("proc/stat", TWO_CORES)]);
        let mut stat = Stat::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut stat);
        tree.write("proc/stat", "cpu  9 9\ncpu1 1 2 3 4 5 6 7 8 0 0\nctxt 78\n");
        frame.reset(&schema, 2);
        stat.sample(&mut frame);
        assert_eq!(value(&schema, &frame, "host.cpu.time", &["0", "user"]), Err(AbsenceReason::Gone));
        assert_eq!(value(&schema, &frame, "host.cpu.time", &["1", "user"]), Ok(0.01));
        assert!(stat.changed());
    }

    #[test]
    fn a_thousand_cores_are_read_each_in_its_place() {
        let line = |core: u64| format!("cpu{core} {core} 0 50 800 20 5 5 20 0 0\n");
        let text = (0..1_024).fold("cpu  9 9\n".to_owned(), |text, core| text + &line(core)) + "ctxt 77\n";
        let tree = TestTree::new(&[("proc/stat", &text)]);
        let mut stat = Stat::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut stat);
        for core in [0, 511, 1_023] {
            let user = value(&schema, &frame, "host.cpu.time", &[&core.to_string(), "user"]);
            assert_eq!(user, Ok(f64::from(core) / 100.0));
        }
        assert_eq!(schema.columns.len(), 1_024 * MODES.len() + SINGLES.len());
        frame.reset(&schema, 2);
        stat.sample(&mut frame);
        assert!(
            !stat.changed() && frame.readings().iter().filter(|reading| reading.is_ok()).count() == 8_193
        );
    }
}
