//! Scenarios as users have them (a TOML file, a built-in name, the flags of `burn`) turned into the contract's messages.
//! Each keeps track of what the user wrote where, so that a violation, found here or by the agent, names that place.

mod against;
mod builtin;
mod cpu;
mod decision;
mod disk;
mod flags;
mod fleet;
mod guard;
mod headroom;
mod http;
pub(crate) mod keys;
mod load;
mod memory;
mod network;
pub(crate) mod origin;
mod recovery;
mod resolve;
mod schema;
mod search;
mod show;
pub(crate) mod source;
mod threshold;
mod toml_file;
mod trend;
mod values;

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::Path,
};

use ssts_proto::{
    v1::{Limits, Scenario, Violation},
    validate::{self, Violations},
};
use uuid::Uuid;

use self::origin::{Origin, Place};
pub(crate) use self::{
    against::Against,
    builtin::{ALL as BUILT_IN, BuiltIn},
    cpu::burn_cpu,
    disk::burn_disk,
    headroom::headroom,
    http::burn_http,
    memory::burn_memory,
    network::burn_network,
    origin::Finding,
    resolve::{Setting, Variable, too_deep},
    schema::{schema, without_null},
    toml_file::{table, tables, told},
};
use crate::{
    cli::RunOptions,
    error::{Exit, Failure, Problem},
    fleet::FleetSpec,
};

/// Far beyond any scenario: what is larger is another kind of file.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Problems shown at once.
const MAX_SHOWN: usize = 25;

/// A scenario, and where each part of it was written.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    origin: Origin,
    seed_is_given: bool,
    /// Thresholds that a baseline gives their bounds.
    against: Vec<Against>,
    /// In which waves it comes over a fleet, and what must hold of that.
    pub(crate) fleet: FleetSpec,
    /// The scenario file with all that it includes, its variables filled in and its matrix carried out. Empty of `burn`.
    pub(crate) toml: String,
    /// What may be set. Empty of `burn`.
    pub(crate) variables: Vec<Variable>,
    /// Burners that its variables leave out, and why.
    pub(crate) left_out: Vec<String>,
}

impl Plan {
    /// A built-in scenario by its name, or a file by its path; with values for its variables.
    pub(crate) fn find(name_or_path: &str, settings: &[Setting]) -> Result<Self, Failure> {
        Self::findings(name_or_path, settings)?.map_err(failure)
    }

    /// The same, with everything that is wrong and its place.
    pub(crate) fn findings(
        name_or_path: &str,
        settings: &[Setting],
    ) -> Result<Result<Self, Vec<Finding>>, Failure> {
        if let Some(built_in) = builtin::find(name_or_path) {
            return Ok(built_in.read(settings));
        }
        let path = Path::new(name_or_path);
        let looks_like_a_path = name_or_path.contains('/') || name_or_path.ends_with(".toml");
        if !looks_like_a_path && !path.exists() {
            let names: Vec<_> = BUILT_IN.iter().map(|built_in| built_in.name).collect();
            let hint = keys::did_you_mean(name_or_path, names.iter().copied());
            return Err(Failure::usage(
                format!("no scenario '{name_or_path}' is built in, and no such file is here"),
                format!("{hint}name a TOML file or a built-in scenario: {}", names.join(", ")),
            ));
        }
        Ok(Self::read_file(path, settings))
    }

    /// What a TOML file holds, or everything that is wrong with it.
    pub(crate) fn read_file(path: &Path, settings: &[Setting]) -> Result<Self, Vec<Finding>> {
        let name = path.display().to_string();
        let text = read_text(path)
            .map_err(|Problem { message, mend }| vec![Finding { position: None, message, mend }])?;
        toml_file::parse(&name, &text, settings)
    }

    /// TOML that came from `name`.
    #[cfg(test)]
    fn from_toml(name: &str, text: &str) -> Result<Self, Failure> {
        toml_file::parse(name, text, &[]).map_err(failure)
    }

    /// Takes over what the command line says beside the scenario.
    pub(crate) fn apply(&mut self, options: &RunOptions) -> Result<(), Failure> {
        let RunOptions { max_temperature, min_available_memory, max_duration, seed, share_cores, .. } =
            options;
        self.scenario.shared_cores |= share_cores;
        self.fleet = std::mem::take(&mut self.fleet).under(options.waves.spec());
        if max_temperature.is_some() || min_available_memory.is_some() || max_duration.is_some() {
            let limits = self.scenario.limits.get_or_insert_with(Limits::default);
            if let Some(celsius) = *max_temperature {
                limits.max_temperature_celsius = Some(celsius);
                self.origin.set("limits.max_temperature_celsius", Place::Flag("--max-temperature"));
            }
            if let Some(bytes) = *min_available_memory {
                limits.min_available_memory_bytes = Some(bytes);
                self.origin.set("limits.min_available_memory_bytes", Place::Flag("--min-available-memory"));
            }
            if let Some(ms) = *max_duration {
                limits.max_duration_ms = Some(ms);
                self.origin.set("limits.max_duration_ms", Place::Flag("--max-duration"));
            }
        }
        self.origin.set("start_at_unix_ns", Place::Flag("--start-at"));
        match seed {
            Some(seed) => {
                self.scenario.seed = *seed;
                self.origin.set("seed", Place::Flag("--seed"));
            }
            None if !self.seed_is_given => self.scenario.seed = drawn_seed(),
            None => {}
        }
        self.validate()
    }

    /// Every bound that holds on any host.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let mut found = Violations::default();
        validate::scenario(&self.scenario, &mut found);
        if found.is_empty() { Ok(()) } else { Err(self.refusal(&found.into_vec())) }
    }

    /// What is wrong with the scenario, in the places where the user wrote it.
    pub(crate) fn refusal(&self, violations: &[Violation]) -> Failure {
        let problems = violations.iter().map(|violation| self.origin.problem(violation));
        refused(problems.collect())
    }

    /// What is wrong with the scenario, each with its place.
    pub(crate) fn refusals(&self, violations: &[Violation]) -> Vec<Finding> {
        violations.iter().map(|violation| self.origin.finding(violation)).collect()
    }

    /// The sum of the phases' durations.
    pub(crate) fn duration_ms(&self) -> u64 {
        duration_ms(&self.scenario)
    }
}

/// The sum of the phases' durations.
pub(crate) fn duration_ms(scenario: &Scenario) -> u64 {
    scenario.phases.iter().map(|phase| phase.duration_ms).fold(0, u64::saturating_add)
}

/// The kind of a burner, as results call it.
pub(crate) fn burner_kind(burner: &ssts_proto::v1::Burner) -> &'static str {
    use ssts_proto::v1::burner::Kind;
    match burner.kind {
        Some(Kind::Cpu(_)) => "cpu",
        Some(Kind::Disk(_)) => "disk",
        Some(Kind::Memory(_)) => "memory",
        Some(Kind::Network(_)) => "network",
        Some(Kind::Http(_)) => "http",
        None => "unknown",
    }
}

/// Everything that was found wrong.
pub(crate) fn failure(found: Vec<Finding>) -> Failure {
    Failure { exit: Exit::Usage, problems: found.into_iter().map(Finding::problem).collect() }
}

fn refused(mut problems: Vec<Problem>) -> Failure {
    let hidden = problems.len().saturating_sub(MAX_SHOWN);
    problems.truncate(MAX_SHOWN);
    if hidden > 0 {
        problems.push(Problem::new(format!("{hidden} more"), "mend those above first"));
    }
    Failure { exit: Exit::Usage, problems }
}

/// Short, so that it can be typed again, and below 2^53, so that every reader of JSON keeps it.
fn drawn_seed() -> u64 {
    Uuid::now_v7().as_u128() as u64 & 0xffff_ffff
}

/// The text of a file, which may be any.
fn read_text(path: &Path) -> Result<String, Problem> {
    let failed = |error: std::io::Error| {
        let mend = match error.kind() {
            ErrorKind::NotFound => "give the path of a TOML file, or a name of `sstsctl scenarios list`",
            ErrorKind::PermissionDenied => "make it readable for yourself",
            ErrorKind::InvalidData => "save it as UTF-8 text",
            _ => "give the path of a TOML file",
        };
        let why = match error.kind() {
            ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => error.to_string(),
        };
        Problem::new(format!("can't read the scenario {}: {why}", path.display()), mend)
    };
    let mut text = String::new();
    // One byte more than is allowed shows that there are too many, even in a pipe or a device.
    File::open(path).map_err(failed)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let message = format!("{} is larger than {} MiB", path.display(), MAX_FILE_BYTES >> 20);
        return Err(Problem::new(message, "give a scenario's TOML file"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nothing_is_refused_with_the_names_there_are() {
        let failure = Plan::find("quack", &[]).expect_err("it was found");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("quick"), "{failure}");
    }

    #[test]
    fn what_is_no_file_of_text_is_refused() {
        for path in ["/no/such/file.toml", "/tmp", "/dev/zero"] {
            let failure = Plan::find(path, &[]).expect_err(path);
            assert_eq!(failure.exit, Exit::Usage, "{path}: {failure}");
        }
    }

    #[test]
    fn the_command_line_overrules_the_file_and_is_named_in_violations() {
        let mut plan = Plan::find("quick", &[]).unwrap();
        let options = RunOptions { max_temperature: Some(80.0), seed: Some(7), ..RunOptions::default() };
        plan.apply(&options).unwrap();
        assert_eq!(plan.scenario.seed, 7);
        let violation = Violation {
            field: "limits.max_temperature_celsius".into(),
            message: "the host has no sensor".into(),
            mend: "leave it out".into(),
            ..Violation::default()
        };
        let failure = plan.refusal(&[violation]);
        assert_eq!(failure.problems[0].message, "--max-temperature: the host has no sensor");
    }

    #[test]
    fn a_seed_is_drawn_only_where_none_is_given() {
        let toml = "name = 'one'\nseed = 5\n[[phase]]\nname = 'a'\nduration = '1s'";
        let mut given = Plan::from_toml("x.toml", toml).unwrap();
        given.apply(&RunOptions::default()).unwrap();
        assert_eq!(given.scenario.seed, 5);
        let mut drawn = Plan::find("quick", &[]).unwrap();
        drawn.apply(&RunOptions::default()).unwrap();
        assert!(drawn.scenario.seed < 1 << 32);
    }
}

#[cfg(test)]
mod malformed_tests;

#[cfg(test)]
mod documented_tests;

#[cfg(test)]
mod built_in_tests;
