//! `/proc/interrupts`: by core, and by the kernel's own kinds. proc_interrupts(5). On a host of many cores it is megabytes, so it
//! is read beside the tick, and devices' interrupts are summed up: hundreds of vectors by hundreds of cores are no columns.

use ssts_proto::{
    catalogue::{HOST_INTERRUPTS, HOST_INTERRUPTS_BY_KIND},
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

/// What all lines of devices, whose names are numbers, are summed up as.
const DEVICE: &[u8] = b"device";
const WHOLE_HOST: [&[u8]; 2] = [b"ERR", b"MIS"];
/// Kinds that get a column: x86 has some 20.
const MAX_KINDS: usize = 64;

/// Reads `/proc/interrupts`.
#[derive(Debug)]
pub struct Interrupts {
    file: KernelFile,
    cores: Vec<(u64, Column)>,
    kinds: Vec<(Vec<u8>, Column)>,
    by_core: Vec<u64>,
    by_kind: Vec<u64>,
    changed: bool,
}

impl Interrupts {
    /// Of the procfs among `roots`.
    pub fn new(roots: &HostRoots) -> Self {
        Self {
            file: KernelFile::open(roots.proc("interrupts")),
            cores: Vec::new(),
            kinds: Vec::new(),
            by_core: Vec::new(),
            by_kind: Vec::new(),
            changed: false,
        }
    }
}

impl Source for Interrupts {
    fn describe(&mut self, schema: &mut Schema) {
        self.changed = false;
        let content = self.file.read().unwrap_or_default();
        self.cores =
            cores(content).map(|cpu| (cpu, schema.column(&HOST_INTERRUPTS, &[&cpu.to_string()]))).collect();
        let mut kinds: Vec<Vec<u8>> =
            lines(content).skip(1).filter_map(line).map(|(kind, _)| kind.to_owned()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.truncate(MAX_KINDS);
        let column = |kind: Vec<u8>| {
            let column = schema.column(&HOST_INTERRUPTS_BY_KIND, &[&String::from_utf8_lossy(&kind)]);
            (kind, column)
        };
        self.kinds = kinds.into_iter().map(column).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        let Self { cores: known, kinds, by_core, by_kind, .. } = self;
        by_core.clear();
        by_core.resize(known.len(), 0);
        by_kind.clear();
        by_kind.resize(kinds.len(), 0);
        let content = self.file.read();
        let missing = content.err();
        let content = content.unwrap_or_default();
        // A core that came or went moves the columns of all lines.
        self.changed = missing.is_none() && !cores(content).eq(known.iter().map(|(cpu, _)| *cpu));
        let reason = if self.changed { Some(AbsenceReason::Gone) } else { missing };
        for (kind, counts) in lines(content).skip(1).filter_map(line) {
            if let Some(kind) = kinds.iter().position(|(known, _)| known == kind) {
                by_kind[kind] += numbers_in_columns(counts).sum::<u64>();
            }
            // These have one number, of the whole host: arch_show_interrupts of arch/x86/kernel/irq.c.
            if !WHOLE_HOST.contains(&kind) {
                by_core.iter_mut().zip(numbers_in_columns(counts)).for_each(|(core, count)| *core += count);
            }
        }
        let shown = |count: u64| reason.map_or(Ok(count as f64), Err);
        for ((_, column), count) in known.iter().zip(by_core) {
            frame.set(*column, shown(*count));
        }
        for ((_, column), count) in kinds.iter().zip(by_kind) {
            frame.set(*column, shown(*count));
        }
    }

    fn changed(&self) -> bool {
        self.changed
    }
}

/// The cores of the first line, `           CPU0       CPU1`.
fn cores(content: &[u8]) -> impl Iterator<Item = u64> {
    lines(content).next().map(numbers).into_iter().flatten()
}

/// ` 24:  1  0  IO-APIC   5-edge  ACPI:Ged` as its kind and what follows.
fn line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii();
    let kind = if name.first().is_some_and(u8::is_ascii_digit) { DEVICE } else { name };
    Some((kind, &line[colon + 1..]))
}

/// The counts that a line begins with, up to the first word.
fn numbers_in_columns(mut text: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let (value, rest) = number(text.trim_ascii_start())?;
        text = rest;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::procfs::test_tree::{TestTree, value};

    const TEXT: &str = "           CPU0       CPU2       \n \
        24:          1          3  IO-APIC   5-edge      ACPI:Ged\n \
        25:         10         20  PCI-MSIX-0000:00:01.0   0-edge      virtio0\n\
        LOC:       1000       2000   Local timer interrupts\n\
        TRM:          7          0   Thermal event interrupts\n\
        ERR:          5\n";

    #[test]
    fn lines_are_summed_by_core_and_by_kind() {
        let tree = TestTree::new(&[("proc/interrupts", TEXT)]);
        let (schema, frame) = tree.sample(&mut Interrupts::new(&tree.roots()));
        let core = |cpu| value(&schema, &frame, "host.interrupts", &[cpu]);
        assert_eq!((core("0"), core("2")), (Ok(1_018.0), Ok(2_023.0)));
        let kind = |kind| value(&schema, &frame, "host.interrupts_by_kind", &[kind]);
        assert_eq!(kind("device"), Ok(34.0));
        assert_eq!(kind("TRM"), Ok(7.0));
        assert_eq!(kind("ERR"), Ok(5.0));
    }

    #[test]
    fn a_core_that_goes_asks_for_a_new_schema_and_shows_nothing_wrong() {
        let tree = TestTree::new(&[("proc/interrupts", TEXT)]);
        let mut source = Interrupts::new(&tree.roots());
        let (schema, mut frame) = tree.sample(&mut source);
        tree.write("proc/interrupts", "      CPU2\nLOC: 3000   Local timer interrupts\n");
        frame.reset(&schema, 2);
        source.sample(&mut frame);
        assert_eq!(value(&schema, &frame, "host.interrupts", &["0"]), Err(AbsenceReason::Gone));
        assert!(source.changed());
        let (schema, frame) = tree.sample(&mut source);
        assert_eq!(value(&schema, &frame, "host.interrupts", &["2"]), Ok(3_000.0));
    }
}
