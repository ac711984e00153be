//! The hardware probe with events that the kernel makes up: hardware that fails is in the laboratory's stories.

use std::path::Path;

use ssts_proto::catalogue::{
    HARDWARE_FREQUENCY, HARDWARE_FREQUENCY_CHANGES, HARDWARE_MACHINE_CHECKS, HARDWARE_MEMORY_ERRORS,
    HARDWARE_PCIE_ERRORS,
};

use super::{hardware::Hardware, *};
use crate::observe::source::Source as _;

struct Made {
    hardware: Hardware,
    schema: Schema,
    frame: Frame,
}

impl Made {
    fn new(hooks: HookChoice) -> Option<Self> {
        if !geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").is_file() {
            skipped("it needs root and the kernel's types");
            return None;
        }
        let roots = HostRoots::default();
        let cpus = cpus::possible(&roots).unwrap();
        let hardware = Hardware::attach(&Target::new(&roots, hooks, cpus, &[])).unwrap();
        Some(Self { hardware, schema: Schema::new(1), frame: Frame::default() })
    }

    fn describe(&mut self) {
        self.schema = Schema::new(self.schema.id + 1);
        self.hardware.describe(&mut self.schema);
    }

    /// What a column of errors must read: where this kernel doesn't tell of them, nothing, and not 0.
    fn if_told(&self, metric: &Metric, count: f64) -> Result<f64, AbsenceReason> {
        let told_by = [
            (&HARDWARE_MACHINE_CHECKS, "mce_record"),
            (&HARDWARE_MEMORY_ERRORS, "mc_event"),
            (&HARDWARE_PCIE_ERRORS, "aer_event"),
        ];
        let (_, event) = told_by.iter().find(|(told, _)| *told == metric).unwrap();
        let is_told = self.hardware.programs.hooks.iter().any(|hook| hook.ends_with(event));
        if is_told { Ok(count) } else { Err(AbsenceReason::Unsupported) }
    }

    fn reading(&mut self, metric: &Metric, label: &str) -> Option<Result<f64, AbsenceReason>> {
        self.frame.reset(&self.schema, 0);
        self.hardware.sample(&mut self.frame);
        let mut columns = self.schema.columns();
        let (column, _) = columns.find(|(_, column)| column.metric == metric && column.labels == [label])?;
        Some(self.frame.reading(column))
    }
}

#[test]
fn what_hardware_tells_is_counted_by_its_kind() {
    let Some(mut made) = Made::new(HookChoice::Raw) else { return };
    assert!(matches!(made.hardware.canary(), Ok(Canary::Working)));
    made.describe();
    for (metric, label) in [
        (&HARDWARE_MACHINE_CHECKS, "corrected"),
        (&HARDWARE_MEMORY_ERRORS, "uncorrected"),
        (&HARDWARE_PCIE_ERRORS, "correctable"),
    ] {
        let expected = made.if_told(metric, 0.0);
        assert_eq!(made.reading(metric, label), Some(expected), "{label}: its test is no error");
    }

    let run = |made: &Made, program, arguments: &[u64]| {
        made.hardware.programs.run_once(program, arguments).unwrap();
    };
    // Of the kind, what says how many; one that this build doesn't know is left out.
    run(&made, "raw_memory_error", &[0, 0, 0, 5]);
    run(&made, "raw_memory_error", &[3, 0, 0, 1]);
    run(&made, "raw_memory_error", &[5, 0, 0, 1]);
    run(&made, "raw_memory_error", &[u64::MAX, 0, 0, 1]);
    run(&made, "raw_pcie_error", &[0, 0, 1]);
    run(&made, "raw_pcie_error", &[0, 0, 3]);
    for (metric, label, count) in [
        (&HARDWARE_MEMORY_ERRORS, "corrected", 5.0),
        (&HARDWARE_MEMORY_ERRORS, "uncorrected", 0.0),
        (&HARDWARE_MEMORY_ERRORS, "fatal", 1.0),
        (&HARDWARE_MEMORY_ERRORS, "info", 0.0),
        (&HARDWARE_PCIE_ERRORS, "fatal", 1.0),
        (&HARDWARE_PCIE_ERRORS, "nonfatal", 0.0),
        (&HARDWARE_PCIE_ERRORS, "correctable", 0.0),
    ] {
        let expected = made.if_told(metric, count);
        assert_eq!(made.reading(metric, label), Some(expected), "{label}");
    }
}

#[test]
fn a_frequency_that_is_set_again_is_no_change() {
    let Some(mut made) = Made::new(HookChoice::Raw) else { return };
    made.describe();
    let had = made.reading(&HARDWARE_FREQUENCY, "0").is_some();
    assert!(!made.hardware.changed());
    for khz in [1_000_000, 1_000_000, 2_000_000] {
        made.hardware.programs.run_once("raw_frequency", &[khz, 0]).unwrap();
    }
    assert_eq!(made.hardware.changed(), !had, "a core that had no clock has one");
    // No such core.
    made.hardware.programs.run_once("raw_frequency", &[1_000_000, 1 << 20]).unwrap();
    made.describe();
    assert!(!made.hardware.changed());
    assert_eq!(made.reading(&HARDWARE_FREQUENCY_CHANGES, "0"), Some(Ok(2.0)));
    assert_eq!(made.reading(&HARDWARE_FREQUENCY, "0"), Some(Ok(2e9)));
}

#[test]
fn programs_of_tracepoints_are_taken_by_the_verifier_and_can_not_be_tested() {
    let Some(made) = Made::new(HookChoice::Tracepoint) else { return };
    assert!(made.hardware.programs.hooks.len() > 1, "{:?}", made.hardware.programs.hooks);
    assert!(matches!(made.hardware.canary(), Ok(Canary::Untestable(_))));
}
