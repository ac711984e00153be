//! What this machine is and what can be done on it.

mod cgroup;
pub mod cpuset;
mod roots;

pub use cgroup::{CgroupError, RunCgroup, own_folder, sweep};
pub use roots::HostRoots;
