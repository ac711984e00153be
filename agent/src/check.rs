//! `sstsd check`: what works on this host.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use serde::Serialize;
use ssts_agent::{
    config::Config,
    exposition,
    guard::{self, shipped},
    host::{self, HostRoots},
    locked,
    observe::{
        file_systems::{self, Folders},
        kernel_log::{KernelLog, Listener, Record},
        probes, procfs,
        source::Source,
        sysfs,
        wall_clock::WallClock,
    },
    rpc::Allowed,
};
use ssts_proto::v1::{Capability, CapabilityState};

use crate::{
    Failure,
    cli::{Check, Output},
    configuration, serve,
};

/// One capability, for programs.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    state: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mend: &'a str,
}

/// All of them, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    complete: bool,
    capabilities: Vec<Line<'a>>,
    /// What the configuration allows, in words.
    policy: BTreeMap<&'static str, String>,
}

/// Tries everything and prints what came of it.
pub(crate) fn check(args: &Check) -> Result<ExitCode, Failure> {
    let config = configuration(&args.common)?;
    let roots = HostRoots::from(config.roots.clone());
    let state_dir = config.state_dir.clone().unwrap_or_default();
    let probes = probes::load(&roots, &serve::probe_settings(&config));
    let mut capabilities = host::check(&roots, &state_dir, &probes.statuses.snapshot(), &locked::lock());
    capabilities.extend(exposition::check(&config.metrics));
    capabilities.push(guards(&config, &roots, &state_dir, probes.sources));
    let allowed = Allowed::by(&config);
    let policy = allowed.lines();
    let complete = host::is_complete(&capabilities);
    let lines: Vec<_> = capabilities.iter().map(line).collect();
    let text = match args.output {
        Output::Json => {
            let report = Report { complete, capabilities: lines, policy: policy.into_iter().collect() };
            serde_json::to_string_pretty(&report).map_err(io::Error::from).map(|text| text + "\n")
        }
        Output::Text => {
            let table = table(&lines, complete, io::stdout().is_terminal());
            Ok(format!("{}\n{table}", policy_table(&policy)))
        }
    };
    let written = text.and_then(|text| io::stdout().write_all(text.as_bytes()));
    match written {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io { what: "standard output", source })
        }
        _ if complete => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// What every source shows that guards look at, but those of burners.
fn guards(config: &Config, roots: &HostRoots, state_dir: &Path, probes: Vec<Box<dyn Source>>) -> Capability {
    let folders = Arc::new(Folders::default());
    folders.set(vec![state_dir.to_owned()]);
    let mut sources = procfs::sources(roots, &config.observe.cgroups);
    sources.extend(sysfs::sources(roots, config.tick(), config.limits.stale_after).into_iter().flatten());
    sources.extend(file_systems::source(folders));
    sources.push(Box::new(WallClock::default()));
    sources.push(Box::new(KernelLog::start(roots, Box::new(Deaf))));
    sources.extend(probes);
    let specs = shipped::of_host(&config.limits, &serve::guards(config));
    guard::check(sources, specs, config.limits.stale_after)
}

/// Counts are enough.
#[derive(Debug)]
struct Deaf;

impl Listener for Deaf {
    fn hear(&self, _: &Record<'_>) {}
    fn hear_of_more(&self, _: u64) {}
    fn hear_of_lost(&self, _: u64) {}
}

fn line(capability: &Capability) -> Line<'_> {
    let state = match capability.state() {
        CapabilityState::Works => "works",
        CapabilityState::Degraded => "degraded",
        CapabilityState::Missing | CapabilityState::Unspecified => "missing",
    };
    Line { name: &capability.name, state, detail: &capability.detail, mend: &capability.mend }
}

/// What the configuration allows.
fn policy_table(policy: &[(&'static str, String)]) -> String {
    let width = policy.iter().map(|(rule, _)| rule.len()).max().unwrap_or_default();
    let line = |(rule, value): &(&'static str, String)| format!("  {rule:width$}  {value}\n");
    format!("policy\n{}", policy.iter().map(line).collect::<String>())
}

fn table(lines: &[Line<'_>], complete: bool, colour: bool) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for line in lines {
        let (on, off) = match line.state {
            _ if !colour => ("", ""),
            "works" => ("\x1b[32m", "\x1b[0m"),
            "degraded" => ("\x1b[33m", "\x1b[0m"),
            _ => ("\x1b[31m", "\x1b[0m"),
        };
        text += &format!("{:width$}  {on}{:8}{off}  {}\n", line.name, line.state, line.detail);
        if !line.mend.is_empty() {
            text += &format!("{:width$}            mend: {}\n", "", line.mend);
        }
    }
    text + if complete { "\nThe main job can run in full.\n" } else { "\nThe main job can't run in full.\n" }
}
