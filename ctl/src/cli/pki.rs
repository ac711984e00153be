//! `pki`: certificates for agents over TCP.

use std::path::PathBuf;

use clap::{Args, Subcommand, builder::PossibleValuesParser};

use super::values::duration;
use crate::pki::ROLES;

pub(super) const EXAMPLES: &str = "\
Three commands make a small authority, a host's certificate and your own. What is issued for a host goes to /etc/ssts/tls there.
Keys stay where they are made, readable by their owner alone. What is revoked is listed in revoked.crl: copy it to the hosts.

Examples:
  sstsctl pki init
  sstsctl pki issue host db1 --address db1.example.org --address 10.0.0.1
  sstsctl pki issue client alice --role operator
  sstsctl pki list
  sstsctl pki revoke alice
  sstsctl pki rotate db1";

#[derive(Debug, Subcommand)]
pub(crate) enum Pki {
    /// Make an authority.
    Init,
    /// Make a key and a certificate that the authority has signed.
    #[command(subcommand)]
    Issue(Issue),
    /// Take certificates back: hosts that have the new list let them in no more, and cut them off.
    Revoke {
        /// Of the client or host; or the number of one certificate, as `pki list` has it.
        #[arg(value_name = "NAME|NUMBER")]
        which: String,
    },
    /// Make a new key and certificate in the place of the old ones, which hold until their end.
    Rotate {
        /// Of the client or host.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List what was issued.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Issue {
    /// For an sstsd.
    Host {
        /// Of the host.
        #[arg(value_name = "NAME")]
        name: String,
        /// A name or an address, as clients will write it in --host; may be repeated. Without it NAME.
        #[arg(long = "address", value_name = "ADDRESS")]
        addresses: Vec<String>,
        /// For how long.
        #[arg(long, value_name = "D", default_value = "90d", value_parser = duration)]
        valid_for: u64,
        #[command(flatten)]
        place: Placed,
    },
    /// For an sstsctl.
    Client {
        /// Of a person or a program: agents' configuration and audit logs name it.
        #[arg(value_name = "NAME")]
        name: String,
        /// What it may do, where an agent's configuration doesn't say otherwise.
        #[arg(long, value_name = "ROLE", value_parser = PossibleValuesParser::new(ROLES))]
        role: String,
        /// For how long.
        #[arg(long, value_name = "D", default_value = "30d", value_parser = duration)]
        valid_for: u64,
        #[command(flatten)]
        place: Placed,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Placed {
    /// The folder to write to; made if it is missing. Without it one below the authority's.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
}
