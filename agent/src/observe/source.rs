//! What samples come from. A source never knows who reads it.

use super::{frame::Frame, schema::Schema};

/// Reads one thing of the host (a file, a probe's map, a control block) once a tick.
pub trait Source: Send + std::fmt::Debug {
    /// Adds this source's columns to a new schema, and keeps their places. May allocate and open files.
    fn describe(&mut self, schema: &mut Schema);

    /// Reads everything and notes it in `frame`. Allocates nothing in steady state, never blocks on more than a read of
    /// procfs, sysfs or a map. What can't be read is noted as absent, with the reason.
    fn sample(&mut self, frame: &mut Frame);

    /// Whether the columns given to the last schema no longer fit what is there, so that a new one is needed.
    fn changed(&self) -> bool {
        false
    }
}
