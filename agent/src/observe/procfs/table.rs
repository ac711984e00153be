//! Files with a line for each device, which come and go.

use ssts_proto::{catalogue::Metric, v1::AbsenceReason};

use crate::observe::{
    frame::Frame,
    schema::{Column, Schema},
};

/// The columns of every device that the schema knows.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// Where the next line's device is looked for first: lines keep their order.
    next: usize,
}

#[derive(Debug)]
struct Row {
    name: Vec<u8>,
    columns: Vec<Column>,
    seen: bool,
}

impl Table {
    /// Adds a device with a column for each of `metrics`, labelled by its name.
    pub(super) fn add(&mut self, name: &[u8], metrics: &[&'static Metric], schema: &mut Schema) {
        let label = String::from_utf8_lossy(name);
        let columns = metrics.iter().map(|metric| schema.column(metric, &[&label])).collect();
        self.rows.push(Row { name: name.to_owned(), columns, seen: false });
    }

    /// The columns of a device, or nothing when the schema does not know it.
    pub(super) fn find(&mut self, name: &[u8]) -> Option<&[Column]> {
        let rows = self.rows.len();
        let found =
            (self.next..rows).chain(0..self.next.min(rows)).find(|row| self.rows[*row].name == name)?;
        self.next = found + 1;
        self.rows[found].seen = true;
        Some(&self.rows[found].columns)
    }

    /// Makes every device absent that was not found since the last call; whether there was one.
    pub(super) fn finish(&mut self, reason: AbsenceReason, frame: &mut Frame) -> bool {
        self.next = 0;
        let mut any = false;
        for row in &mut self.rows {
            if std::mem::take(&mut row.seen) {
                continue;
            }
            any = true;
            for column in &row.columns {
                frame.set(*column, Err(reason));
            }
        }
        any
    }
}
