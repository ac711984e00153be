//! Counters of hardware errors that rise during a run, as events of that run. Everything that they count is wrong, however
//! small: a single corrected error under load is what a burn-in looks for.

use std::sync::Arc;

use ssts_proto::catalogue::{self as metrics, Metric};

use crate::observe::{
    frame::Frame,
    kernel_log::MACHINE_CHECK,
    schema::{Column, Schema},
};

/// Each of them counts errors and nothing else.
static COUNTERS: [&Metric; 8] = [
    &metrics::HOST_EDAC_CORRECTED,
    &metrics::HOST_EDAC_UNCORRECTED,
    &metrics::HOST_PCIE_ERRORS,
    &metrics::HOST_NETWORK_FAULTS,
    &metrics::HOST_NVME_MEDIA_ERRORS,
    &metrics::HARDWARE_MACHINE_CHECKS,
    &metrics::HARDWARE_MEMORY_ERRORS,
    &metrics::HARDWARE_PCIE_ERRORS,
];
/// Without the hardware probe the kernel's log is the only place that tells of a corrected machine check: no exception comes of
/// one, and no counter.
static TOLD_BY_THE_KERNEL: (&Metric, &str) = (&metrics::KERNEL_LOG_MATCHES, MACHINE_CHECK);
/// The severity of what memory controllers tell that is no error.
const NOTE: &str = "info";
/// Events of one run: a link that counts at every tick tells nothing new.
const MAX_EVENTS: u32 = 200;

/// Follows the counters through one run.
#[derive(Debug, Default)]
pub(super) struct HardwareErrors {
    schema_id: Option<u32>,
    counters: Vec<Counter>,
    told: u32,
}

#[derive(Debug)]
struct Counter {
    metric: &'static Metric,
    labels: Vec<String>,
    column: Option<Column>,
    /// The latest reading, whatever gaps there were since.
    latest: Option<f64>,
}

/// A counter that rose.
#[derive(Debug, PartialEq)]
pub(super) struct Rise {
    pub(super) metric: &'static str,
    /// Its labels, such as `controller mc0`.
    pub(super) place: String,
    pub(super) by: f64,
}

impl Rise {
    /// In words.
    pub(super) fn message(&self) -> String {
        format!("{} of {} rose by {}", self.metric, self.place, self.by)
    }

    /// How many errors that is. The kernel writes several lines about one machine check. What several counters tell of is
    /// counted with each of them: better twice than not at all.
    pub(super) fn errors(&self) -> u64 {
        if self.metric == TOLD_BY_THE_KERNEL.0.name { 1 } else { self.by as u64 }
    }
}

impl HardwareErrors {
    /// Looks at one frame. Allocates only when something rose, or the schema changed.
    pub(super) fn check(&mut self, schema: &Arc<Schema>, frame: &Frame) -> Vec<Rise> {
        if self.schema_id != Some(schema.id) {
            self.follow(schema);
        }
        let mut rises = Vec::new();
        for counter in &mut self.counters {
            let Some(Ok(value)) = counter.column.map(|column| frame.reading(column)) else { continue };
            // One that fell began anew.
            let before = counter.latest.replace(value).unwrap_or(value);
            if value > before && self.told < MAX_EVENTS {
                self.told += 1;
                rises.push(Rise { metric: counter.metric.name, place: counter.place(), by: value - before });
            }
        }
        rises
    }

    fn follow(&mut self, schema: &Schema) {
        self.schema_id = Some(schema.id);
        self.counters.iter_mut().for_each(|counter| counter.column = None);
        for (column, description) in schema.columns() {
            let labels = &description.labels;
            let is_told =
                description.metric == TOLD_BY_THE_KERNEL.0 && labels.iter().eq([TOLD_BY_THE_KERNEL.1]);
            let is_note = *description.metric == metrics::HARDWARE_MEMORY_ERRORS && labels.iter().eq([NOTE]);
            if is_note || !is_told && !COUNTERS.contains(&description.metric) {
                continue;
            }
            let is_known =
                |counter: &&mut Counter| counter.metric == description.metric && counter.labels == *labels;
            match self.counters.iter_mut().find(is_known) {
                Some(counter) => counter.column = Some(column),
                None => self.counters.push(Counter {
                    metric: description.metric,
                    labels: labels.clone(),
                    column: Some(column),
                    latest: None,
                }),
            }
        }
    }
}

impl Counter {
    fn place(&self) -> String {
        let pairs = self.metric.labels.iter().zip(&self.labels).filter(|(_, value)| !value.is_empty());
        pairs.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::AbsenceReason;

    use super::*;

    #[test]
    fn a_rise_is_told_once_across_gaps_and_new_schemas() {
        let mut errors = HardwareErrors::default();
        let mut look = |id, reading| {
            let mut schema = Schema::new(id);
            let _other = schema.column(&metrics::HOST_MEMORY_FREE, &[]);
            let column = schema.column(&metrics::HOST_EDAC_CORRECTED, &["mc0", ""]);
            let mut frame = Frame::default();
            frame.reset(&schema, 1);
            frame.set(column, reading);
            errors.check(&Arc::new(schema), &frame)
        };
        assert_eq!(look(1, Ok(7.0)), [], "what was before the run does not count");
        assert_eq!(look(1, Err(AbsenceReason::Stale)), []);
        let rise = Rise { metric: "host.edac.corrected", place: "controller mc0".into(), by: 2.0 };
        assert_eq!(rise.message(), "host.edac.corrected of controller mc0 rose by 2");
        assert_eq!(look(2, Ok(9.0)), [rise]);
        assert_eq!(look(2, Ok(9.0)), []);
        assert_eq!(look(2, Ok(1.0)), [], "one that fell began anew");
    }

    #[test]
    fn what_a_memory_controller_tells_for_information_is_no_error() {
        let mut errors = HardwareErrors::default();
        let mut look = |count| {
            let mut schema = Schema::new(1);
            let [fatal, info] =
                ["fatal", NOTE].map(|kind| schema.column(&metrics::HARDWARE_MEMORY_ERRORS, &[kind]));
            let mut frame = Frame::default();
            frame.reset(&schema, 1);
            frame.set(fatal, Ok(count));
            frame.set(info, Ok(count));
            errors.check(&Arc::new(schema), &frame)
        };
        assert_eq!(look(0.0), []);
        let messages: Vec<_> = look(2.0).iter().map(Rise::message).collect();
        assert_eq!(messages, ["hardware.memory_errors of severity fatal rose by 2"]);
    }

    #[test]
    fn of_the_kernels_log_machine_checks_alone_are_errors_and_many_lines_of_them_one() {
        let mut errors = HardwareErrors::default();
        let mut look = |resets, checks| {
            let mut schema = Schema::new(1);
            let reset = schema.column(&metrics::KERNEL_LOG_MATCHES, &["link_reset"]);
            let check = schema.column(&metrics::KERNEL_LOG_MATCHES, &[MACHINE_CHECK]);
            let mut frame = Frame::default();
            frame.reset(&schema, 1);
            frame.set(reset, Ok(resets));
            frame.set(check, Ok(checks));
            errors.check(&Arc::new(schema), &frame)
        };
        assert_eq!(look(0.0, 0.0), []);
        let rises = look(3.0, 5.0);
        assert_eq!(rises.len(), 1, "{rises:?}");
        assert_eq!(rises[0].message(), "kernel_log.matches of kind machine_check rose by 5");
        assert_eq!(rises[0].errors(), 1);
    }
}
