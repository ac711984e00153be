//! The fleet that the command line asks for.

use std::collections::BTreeSet;

use super::{Fleet, Member, inventory};
use crate::{
    cli::{Global, Host},
    error::Failure,
};

impl Fleet {
    /// The hosts that a command is about: those of `--fleet`, or several `--host`, as far as they are selected. Nothing where
    /// it is about one, as `--host` or the default has it.
    ///
    /// Standard input and commands are read once: whoever has asked keeps the answer.
    ///
    /// # Errors
    /// The inventory can't be read or is wrong, or nobody is selected.
    pub(crate) async fn asked(global: &Global) -> Result<Option<Self>, Failure> {
        let flags = &global.fleet;
        if global.local && (flags.fleet.is_some() || global.host.len() > 1) {
            return Err(Failure::usage(
                "--local is about this host alone",
                "leave it out, or leave the fleet out",
            ));
        }
        let whole = match (&flags.fleet, &global.host[..]) {
            (Some(_), [_, ..]) => {
                return Err(Failure::usage(
                    "--fleet and --host exclude each other",
                    "leave one of them out; SSTSCTL_HOST in the environment is a --host, too",
                ));
            }
            (Some(source), []) => inventory::read(source).await?,
            (None, [] | [_]) if flags.select.is_empty() && flags.exclude.is_empty() => return Ok(None),
            (None, [] | [_]) => {
                return Err(Failure::usage(
                    "there is no fleet to select from",
                    "name its inventory with --fleet, or several hosts with --host",
                ));
            }
            (None, hosts) => of_distinct(hosts)?,
        };
        whole.narrowed(flags).map(Some)
    }

    /// For a command that is about one host: its only one.
    ///
    /// # Errors
    /// There are more.
    pub(crate) fn only(self) -> Result<Member, Failure> {
        let count = self.members.len();
        match <[_; 1]>::try_from(self.members) {
            Ok([member]) => Ok(member),
            Err(_) => Err(Failure::usage(
                format!("this command is about one host, and {count} are named"),
                "name one of them with --select name=NAME, or with --host",
            )),
        }
    }
}

fn of_distinct(hosts: &[Host]) -> Result<Fleet, Failure> {
    let mut seen = BTreeSet::new();
    for host in hosts {
        if !seen.insert(host.to_string()) {
            return Err(Failure::usage(format!("--host {host} is given twice"), "leave one of them out"));
        }
    }
    Ok(Fleet::of_hosts(hosts))
}
