//! What systemd and the daemon say to each other, where it runs as a unit: sockets that are handed over, readiness, a line on
//! what it does, and signs of life. sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3). Elsewhere nothing of it happens.

mod activation;
mod narration;
mod notify;
mod watchdog;

pub use activation::{InheritError, Inherited};
pub use narration::narrate;
pub use notify::Notify;
pub use watchdog::Watchdog;
