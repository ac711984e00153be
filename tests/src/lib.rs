//! What the users' stories under `tests/` share: the real programs, started apart from each other and gone when a story ends,
//! and measurements of them from outside, by the kernel's books.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "a story fails by panicking, and tells why it was left out"
)]

mod booted;
mod cable;
mod cgroup;
mod ctl;
mod daemon;
mod disk_throttle;
mod fixture;
mod frozen;
mod ground;
mod grpc;
mod hosts;
mod kept;
pub mod lab;
mod loop_device;
mod machine;
pub mod malformed;
mod memory_cgroup;
mod mount;
mod neighbour;
mod netns;
pub mod outside;
pub mod page;
mod pki;
mod planted;
mod postgres;
mod programs;
mod prometheus;
mod rack;
mod seccomp;
mod service;
mod swarm;
mod switch;
mod terminal;
mod two_hosts;

pub use booted::{Booted, Said, make, signal};
pub use cable::Cable;
pub use cgroup::Cgroup;
pub use ctl::{Ctl, Outcome, Running};
pub use daemon::Daemon;
pub use disk_throttle::disk_throttle;
pub use fixture::Sysfs;
pub use frozen::FrozenMount;
pub use ground::Ground;
pub use grpc::{connect, connect_with_window, dribbled_call, raw_call, soon};
pub use hosts::{Cuttable, Hosts, with_clock_off_by};
pub use kept::Record;
pub use loop_device::LoopDevice;
pub use machine::{Machine, as_nobody, note, possible, privileged, prometheus_tool, tools};
pub use memory_cgroup::MemoryCgroup;
pub use mount::Mount;
pub use neighbour::beside;
pub use netns::{Side, Wire};
pub use pki::{Pki, tls_address};
pub use planted::Planted;
pub use postgres::Postgres;
pub use programs::Programs;
pub use prometheus::Prometheus;
pub use rack::Rack;
pub use seccomp::{without_fsopen, without_io_uring};
pub use service::{Certificate, Service};
pub use swarm::{Swarm, Template};
pub use switch::Switch;
pub use terminal::Terminal;
pub use two_hosts::{OPEN_SINK, TwoHosts, count, figure, tolerance_of};
