//! The parts of `sstsd`, the daemon that loads, watches and guards one host.

pub mod host;
pub mod observe;
