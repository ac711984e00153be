//! The audit log of a host, read from its files.

mod read;
mod verify;

pub(crate) use self::{
    read::{AuditFile, files},
    verify::{Broken, Verified, verify},
};
