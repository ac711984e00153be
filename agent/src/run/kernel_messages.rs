//! Makes what the kernel logs during a run events of that run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ssts_proto::v1::EventKind;

use super::Engine;
use crate::observe::kernel_log::{Listener, Record};

/// Of one run: a kernel in trouble repeats itself for hours, and counters go on.
const MAX_EVENTS: u32 = 1_000;
/// The kernel lets nobody write longer lines, but drivers.
const MAX_MESSAGE_CHARS: usize = 500;

/// Tells the runs that are on.
#[derive(Debug)]
pub struct KernelMessages {
    engine: Arc<Engine>,
    /// How many events each run that is on was given.
    told: Mutex<HashMap<String, u32>>,
}

impl KernelMessages {
    /// To the runs of `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, told: Mutex::default() }
    }

    fn tell<const N: usize>(&self, message: &str, fields: &[(&'static str, String); N]) {
        let runs = self.engine.on();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|id, _| runs.iter().any(|run| run.id == *id));
        for run in runs {
            let count = told.entry(run.id.clone()).or_default();
            if *count < MAX_EVENTS {
                *count += 1;
                run.tell(EventKind::KernelLog, message, fields.clone());
            }
        }
    }
}

impl Listener for KernelMessages {
    fn hear(&self, record: &Record<'_>) {
        let message: String = record.message.chars().take(MAX_MESSAGE_CHARS).collect();
        let level = ("level", record.level_name().to_owned());
        let sequence = ("sequence", record.sequence.to_string());
        match record.kind_name() {
            Some(kind) => self.tell(&message, &[level, sequence, ("kind", kind.to_owned())]),
            None => self.tell(&message, &[level, sequence]),
        }
    }

    fn hear_of_more(&self, records: u64) {
        self.tell(
            &format!("{records} more messages of the kernel in one second"),
            &[("withheld", records.to_string())],
        );
    }

    fn hear_of_lost(&self, records: u64) {
        let message =
            format!("{records} messages of the kernel's log were overwritten before they were read");
        self.tell(&message, &[("lost", records.to_string())]);
    }
}
