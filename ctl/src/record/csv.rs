//! A record as comma-separated values: one line for each reading. What is missing has no value, and says why.

use std::{collections::HashMap, io::Write};

use ssts_proto::v1::{AbsenceReason, Frame, Schema, record_item::Item};

use crate::{
    error::{Exit, Failure},
    telemetry::{Labels, Malformed, Telemetry},
};

const HEADING: [&str; 6] = ["time", "metric", "labels", "statistic", "unit", "value"];
/// Beside them, of frozen windows.
const WINDOW_HEADING: [&str; 2] = ["frozen_at", "reason"];
/// Of histograms.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

/// Which frames of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// Those of the run. Windows that were frozen repeat them, but for what was before.
    OfRun,
    /// Those of frozen windows, each line with when and why that was.
    Frozen,
}

/// Writes items of a record as lines.
pub(crate) struct CsvWriter<W: Write> {
    lines: csv::Writer<W>,
    /// Beginnings of the metrics that are wanted; none: all.
    prefixes: Vec<String>,
    telemetry: Telemetry,
    schema: Schema,
    /// Why a column was missing in the frame before.
    missing: HashMap<u32, i32>,
    frames: Frames,
    /// The frozen window that is read: when it was frozen, and why.
    window: Option<[String; 2]>,
    windows: usize,
}

impl<W: Write> CsvWriter<W> {
    /// Begins with the heading.
    pub(crate) fn new(to: W, prefixes: Vec<String>, frames: Frames) -> Result<Self, Failure> {
        let mut lines = csv::Writer::from_writer(to);
        let of_window = if frames == Frames::Frozen { &WINDOW_HEADING[..] } else { &[] };
        lines.write_record(HEADING.iter().chain(of_window)).map_err(|error| failure(&error))?;
        Ok(Self {
            lines,
            prefixes,
            telemetry: Telemetry::default(),
            schema: Schema::default(),
            missing: HashMap::new(),
            frames,
            window: None,
            windows: 0,
        })
    }

    /// Frozen windows so far.
    pub(crate) fn windows(&self) -> usize {
        self.windows
    }

    /// Writes what an item has, where it is of the frames that are wanted.
    pub(crate) fn take(&mut self, item: Item) -> Result<(), Failure> {
        match item {
            Item::Frozen(window) if window.reason.is_empty() => {
                self.window = None;
                Ok(())
            }
            Item::Frozen(window) => {
                self.windows += 1;
                self.window = Some([seconds(window.at_unix_ns), window.reason]);
                if self.frames == Frames::Frozen {
                    // Windows overlap: no rate is taken from the end of one to the begin of the next.
                    self.telemetry = Telemetry::default();
                }
                Ok(())
            }
            _ if self.window.is_some() != (self.frames == Frames::Frozen) => Ok(()),
            Item::Schema(schema) => {
                self.telemetry.accept_schema(schema.clone());
                self.schema = schema;
                self.missing.clear();
                Ok(())
            }
            Item::Block(block) => {
                let frames = block.unpack().map_err(|error| malformed(&error))?;
                frames.iter().try_for_each(|frame| self.frame(frame))
            }
            Item::Head(_) | Item::Event(_) | Item::Gap(_) | Item::Rate(_) | Item::Tail(_) => Ok(()),
        }
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.lines.flush().map_err(|error| failure(&error.into()))
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.telemetry.accept_frame(frame).map_err(|error: Malformed| malformed(&error))?;
        let time = seconds(frame.end_ns.cast_signed().saturating_add(frame.wall_offset_ns));
        let window = self.window.as_ref().map_or(&[][..], |window| &window[..]);
        let wanted = |metric: &str| {
            self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| metric.starts_with(prefix.as_str()))
        };
        let mut write = |metric: &str, labels: &Labels, statistic: &str, unit: &str, value: &str| {
            if !wanted(metric) {
                return Ok(());
            }
            let labels = labels.to_string();
            let line = [time.as_str(), metric, &labels, statistic, unit, value];
            let line = line.into_iter().chain(window.iter().map(String::as_str));
            self.lines.write_record(line).map_err(|error| failure(&error))
        };
        for reading in self.telemetry.readings() {
            let statistic = if reading.is_rate() { "rate" } else { "" };
            write(reading.metric, reading.labels, statistic, &reading.unit(), &reading.value.to_string())?;
        }
        for (metric, unit, labels, counts) in self.telemetry.histograms() {
            write(metric, labels, "count", "1", &counts.total().to_string())?;
            for (name, quantile) in QUANTILES {
                if let Some(value) = counts.quantile(quantile) {
                    write(metric, labels, name, unit, &value.to_string())?;
                }
            }
        }
        let absent: HashMap<u32, i32> =
            frame.absent_columns.iter().copied().zip(frame.absent_reasons.iter().copied()).collect();
        for (index, reason) in &absent {
            // Once, not in every frame.
            if self.missing.get(index) != Some(reason)
                && let Some(column) = self.schema.columns.get(*index as usize)
            {
                let reason = AbsenceReason::try_from(*reason).unwrap_or_default();
                let why = reason.as_str_name().trim_start_matches("ABSENCE_REASON_").to_lowercase();
                write(
                    &column.metric,
                    &column.labels.clone().into(),
                    &format!("absent: {why}"),
                    &column.unit,
                    "",
                )?;
            }
        }
        self.missing = absent;
        Ok(())
    }
}

/// Seconds since 1970, to the microsecond.
fn seconds(unix_ns: i64) -> String {
    let unix_us = unix_ns / 1_000;
    format!("{}.{:06}", unix_us / 1_000_000, unix_us % 1_000_000)
}

fn malformed(error: &dyn std::fmt::Display) -> Failure {
    Failure::agent(
        format!("the record contradicts itself: {error}"),
        "bring sstsctl and sstsd to the same version",
    )
}

fn failure(error: &csv::Error) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("can't write the values: {error}"),
        "see that what they are written to can be written to and isn't full",
    )
}

#[cfg(test)]
mod tests {
    use ssts_proto::{
        catalogue,
        record::BlockBuilder,
        v1::{FrozenWindow, HistogramLayout},
    };

    use super::*;
    use crate::telemetry::tests::{column, histogram};

    #[test]
    fn readings_become_lines() {
        let schema = Schema {
            id: 1,
            columns: vec![
                column(&catalogue::HOST_TEMPERATURE, &["hwmon0/temp1", "a, b"]),
                column(&catalogue::HOST_CPU_FORKS, &[]),
            ],
            histograms: vec![histogram(&catalogue::BLOCK_LATENCY, &["vda", "read"])],
            layouts: vec![HistogramLayout { upper_bounds: vec![10, 20] }],
            ..Schema::default()
        };
        let mut builder = BlockBuilder::default();
        for second in 1..=3u64 {
            let header = Frame {
                schema_id: 1,
                begin_ns: second * 1_000_000_000,
                end_ns: second * 1_000_000_000,
                wall_offset_ns: 1_000_000_000_000,
                ..Frame::default()
            };
            let temperature = if second == 1 { Ok(40.5) } else { Err(AbsenceReason::Gone) };
            let gains = (second == 2).then_some((0, 1, 4));
            builder.push(&header, [temperature, Ok(second as f64 * 3.0)].into_iter(), gains.into_iter());
        }
        let block = builder.finish();
        let frozen = |reason: &str| {
            Item::Frozen(FrozenWindow { reason: reason.into(), at_unix_ns: 1_004_000_000_000 })
        };
        let written = |frames| {
            let mut lines = Vec::new();
            let mut writer = CsvWriter::new(&mut lines, Vec::new(), frames).unwrap();
            writer.take(Item::Schema(schema.clone())).unwrap();
            writer.take(Item::Block(block.clone())).unwrap();
            writer.take(frozen("asked for")).unwrap();
            writer.take(Item::Schema(schema.clone())).unwrap();
            writer.take(Item::Block(block.clone())).unwrap();
            writer.take(frozen("")).unwrap();
            assert_eq!(writer.windows(), 1);
            writer.finish().unwrap();
            String::from_utf8(lines).unwrap()
        };
        let expected = "\
time,metric,labels,statistic,unit,value
1001.000000,host.temperature,\"sensor=hwmon0/temp1;label=a, b\",,Cel,40.5
1002.000000,host.cpu.forks,,rate,1/s,3
1002.000000,block.latency,device=vda;operation=read,count,1,4
1002.000000,block.latency,device=vda;operation=read,p50,ns,20
1002.000000,block.latency,device=vda;operation=read,p95,ns,20
1002.000000,block.latency,device=vda;operation=read,p99,ns,20
1002.000000,block.latency,device=vda;operation=read,max,ns,20
1002.000000,host.temperature,\"sensor=hwmon0/temp1;label=a, b\",absent: gone,Cel,
1003.000000,host.cpu.forks,,rate,1/s,3
";
        assert_eq!(written(Frames::OfRun), expected);
        let frozen: Vec<_> = written(Frames::Frozen).lines().map(str::to_owned).collect();
        assert_eq!(frozen[0], "time,metric,labels,statistic,unit,value,frozen_at,reason");
        let expected: Vec<_> =
            expected.lines().skip(1).map(|line| format!("{line},1004.000000,asked for")).collect();
        assert_eq!(frozen[1..], expected);
    }
}
