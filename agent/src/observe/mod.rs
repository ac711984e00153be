//! Watches the host: sources read procfs, sysfs, probes and burners once a tick, into frames.

pub mod frame;
pub mod probes;
pub mod schema;
pub mod source;
