//! The parts of `sstsd`, the daemon that loads, watches and guards one host.

pub mod burn;
pub mod clock;
pub mod config;
pub mod exposition;
pub mod guard;
pub mod halt;
pub mod host;
pub mod observe;
pub mod realtime;
pub mod record;
pub mod rpc;
pub mod run;
pub mod sink;
pub mod tick;
