//! The small authority that `sstsctl pki` keeps: its key, what it has issued, and what of it is revoked. Certificates are
//! short-lived; each key is made where it is issued, and written for its owner alone.

mod authority;
mod files;
mod index;

use std::{env, path::PathBuf};

pub(crate) use self::{
    authority::{Authority, Wanted},
    files::private_file,
    index::{Issued, Kind},
};
use crate::error::Failure;

/// The authority's certificate; beside each key, too.
pub(crate) const AUTHORITY: &str = "ca.crt";
/// A client's, in its folder.
pub(crate) const CLIENT_CERTIFICATE: &str = "client.crt";
pub(crate) const CLIENT_KEY: &str = "client.key";
/// The folder of the client that this user is, in the authority's: a link to one of those that it issued.
pub(crate) const OWN_CLIENT: &str = "client";

/// What a client's certificate may say that it may do.
pub(crate) const ROLES: [&str; 4] = ["viewer", "halter", "operator", "admin"];

/// The folder that `--pki` names, else `$XDG_CONFIG_HOME/ssts/pki`.
pub(crate) fn folder(named: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = || absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    named.cloned().or_else(|| Some(config()?.join("ssts/pki"))).ok_or_else(|| {
        Failure::usage(
            "there is no place for certificates: neither XDG_CONFIG_HOME nor HOME is set",
            "name a folder with --pki",
        )
    })
}
