//! The parts of `sstsd`, the daemon that loads, watches and guards one host.

mod apart;
pub mod audit;
pub mod burn;
pub mod clock;
pub mod config;
pub mod exposition;
pub mod guard;
pub mod halt;
pub mod heap;
pub mod host;
pub mod locked;
pub mod log;
pub mod observe;
pub mod privileges;
pub mod realtime;
pub mod record;
pub mod rpc;
pub mod run;
pub mod sink;
pub mod systemd;
pub mod tick;
pub mod trust;
