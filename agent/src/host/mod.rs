//! What this machine is and what can be done on it.

mod roots;

pub use roots::HostRoots;
