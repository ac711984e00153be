//! Watches the host: sources read procfs, sysfs, probes and burners once a tick, into frames.

pub mod aside;
pub mod burners;
pub mod file_systems;
pub mod frame;
pub(crate) mod kernel_file;
pub mod kernel_log;
mod lookout;
pub mod own;
pub mod probes;
pub mod procfs;
pub mod protected;
pub mod ring;
pub mod schema;
pub mod source;
pub mod sysfs;
pub mod wall_clock;
