//! `sstsd`: loads, watches and guards this host.

mod answer;
mod check;
mod cli;
mod recover;
mod serve;

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser as _;
use ssts_agent::{
    burn,
    config::{Config, ConfigError},
    exposition::ExpositionError,
    rpc::{ListenError, TlsError},
    run::{EngineError, StoreError},
    sink::{self, KeeperError},
    systemd::InheritError,
};

use cli::{Cli, Command, Common};

/// Why the program ends with a message. Printed here and nowhere else.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Inherit(#[from] InheritError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sink(#[from] KeeperError),
    #[error("metrics can't be exposed: {0}")]
    Exposition(#[from] ExpositionError),
    #[error("--log: {0}")]
    Log(String),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("the service failed: {0}")]
    Service(#[from] tonic::transport::Error),
}

impl Failure {
    /// 2 for what the user wrote, 1 for the rest.
    fn status(&self) -> ExitCode {
        match self {
            Self::Config(_)
            | Self::Log(_)
            | Self::Exposition(ExpositionError::Misconfigured(_))
            | Self::Listen(ListenError::NotUnix(_) | ListenError::Relative(_))
            | Self::Tls(TlsError::File { .. } | TlsError::Wide { .. } | TlsError::Unfit(_)) => {
                ExitCode::from(2)
            }
            Self::Listen(_)
            | Self::Tls(_)
            | Self::Inherit(_)
            | Self::Engine(_)
            | Self::Store(_)
            | Self::Sink(_)
            | Self::Exposition(_)
            | Self::Io { .. }
            | Self::Service(_) => ExitCode::FAILURE,
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Burn { daemon } => return burn::process::main(daemon),
        Command::Sink { daemon } => return sink::main(daemon),
        Command::Serve(args) => serve::serve(args),
        Command::Check(args) => check::check(&args),
        Command::Recover(args) => recover::recover(&args),
    };
    outcome.unwrap_or_else(|failure| {
        let _nobody_reads = writeln!(io::stderr(), "error: {failure}");
        failure.status()
    })
}

/// The configuration with flags over it.
fn configuration(common: &Common) -> Result<Config, Failure> {
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut config = Config::load(common.config.as_deref(), environment)?;
    config.state_dir = Some(common.state_dir.clone().or(config.state_dir).unwrap_or_else(default_state_dir));
    Ok(config)
}

/// /var/lib/ssts for root, else below the user's XDG state folder.
fn default_state_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/var/lib/ssts".into();
    }
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home).unwrap_or_else(env::temp_dir).join("ssts")
}
