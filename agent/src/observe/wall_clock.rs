//! Whether somebody set the wall clock.

use ssts_proto::catalogue::HOST_CLOCK_STEP;

use super::{
    frame::Frame,
    schema::{Column, Schema},
    source::Source,
};
use crate::clock;

/// Compares CLOCK_REALTIME with CLOCK_BOOTTIME, which nobody can set and which goes on while the host is suspended.
#[derive(Debug, Default)]
pub struct WallClock {
    column: Option<Column>,
    /// Unix time less CLOCK_BOOTTIME at the previous tick, in s.
    offset_s: Option<f64>,
}

impl Source for WallClock {
    fn describe(&mut self, schema: &mut Schema) {
        self.column = Some(schema.column(&HOST_CLOCK_STEP, &[]));
    }

    fn sample(&mut self, frame: &mut Frame) {
        // Around the other, so that a thread that lost its core in between is not taken for a step.
        let before = clock::boottime();
        let wall = clock::realtime();
        let middle = before + clock::boottime().saturating_sub(before) / 2;
        let offset_s = wall.as_secs_f64() - middle.as_secs_f64();
        let step = self.offset_s.replace(offset_s).map_or(0.0, |old| (offset_s - old).abs());
        if let Some(column) = self.column {
            frame.set(column, Ok(step));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_stands_out_for_one_tick() {
        let mut source = WallClock::default();
        let mut schema = Schema::new(1);
        source.describe(&mut schema);
        let mut frame = Frame::default();
        let mut step = |source: &mut WallClock| {
            frame.reset(&schema, 1);
            source.sample(&mut frame);
            frame.readings()[0].unwrap()
        };
        assert!(step(&mut source) < 1e-9);
        assert!(step(&mut source) < 0.05);
        source.offset_s = source.offset_s.map(|offset| offset - 30.0);
        assert!((step(&mut source) - 30.0).abs() < 0.05);
        assert!(step(&mut source) < 0.05);
    }
}
