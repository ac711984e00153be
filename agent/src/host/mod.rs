//! What this machine is and what can be done on it.

mod cgroup;
mod check;
pub mod cpuset;
mod delegated;
mod describe;
pub(crate) mod listing;
mod platform;
mod room;
mod roots;

pub use cgroup::{
    CgroupError, End as CgroupEnd, RunCgroup, cgroup_mount, end as end_cgroup, own_folder, run_folder,
    run_folders, sweep,
};
pub use check::{check, is_complete};
pub use delegated::make_room;
pub use describe::{caches, describe};
pub(crate) use room::field_bytes;
pub use room::{Left, MemoryRoom};
pub use roots::HostRoots;
