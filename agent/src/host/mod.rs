//! What this machine is and what can be done on it.

mod cgroup;
mod check;
pub mod cpuset;
mod describe;
mod room;
mod roots;

pub use cgroup::{CgroupError, RunCgroup, own_folder, sweep};
pub use check::{check, is_complete};
pub use describe::{caches, describe};
pub(crate) use room::field_bytes;
pub use room::{Left, MemoryRoom};
pub use roots::HostRoots;
