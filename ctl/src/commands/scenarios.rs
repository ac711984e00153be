//! `scenarios`: what is built in, and whether a file is good. No agent is asked.

use std::path::PathBuf;

use super::Session;
use crate::{
    cli::{Scenarios, Settings},
    error::{Exit, Failure},
    json::{CheckedOut, FindingOut, ScenarioOut, ScenariosOut, VariableOut},
    output::Output,
    report::{Align, Document, Table, to_terminal},
    scenario::{self, BUILT_IN, BuiltIn, Plan},
    text,
};

/// `scenarios [list|show SCENARIO|check FILE...|schema]`.
pub(super) fn scenarios(command: Option<Scenarios>, session: &mut Session) -> Result<Exit, Failure> {
    let as_json = session.wants_json();
    let output = &mut session.output;
    match command {
        None | Some(Scenarios::List) => list(as_json, output)?,
        Some(Scenarios::Show { scenario, settings }) => show(&scenario, &settings, as_json, output)?,
        Some(Scenarios::Schema) => output.result(&scenario::schema())?,
        Some(Scenarios::Check { files, settings }) => return check(&files, &settings, as_json, output),
    }
    Ok(Exit::Pass)
}

/// Everything that is wrong with all of the files.
fn check(
    files: &[PathBuf],
    settings: &Settings,
    as_json: bool,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Pass;
    let mut checked = Vec::new();
    for file in files {
        let read = Plan::read_file(file, &settings.set);
        if read.is_err() {
            exit = Exit::Usage;
        }
        match read {
            Ok(plan) if as_json => {
                checked.push(CheckedOut {
                    file: file.display().to_string(),
                    valid: true,
                    scenario: Some(described(&plan, None)),
                    problems: Vec::new(),
                });
            }
            Err(found) if as_json => {
                checked.push(CheckedOut {
                    file: file.display().to_string(),
                    valid: false,
                    scenario: None,
                    problems: found.iter().map(FindingOut::from).collect(),
                });
            }
            Ok(plan) => {
                let ScenarioOut { name, phases, .. } = described(&plan, None);
                let duration = text::duration(plan.duration_ms());
                let plural = if phases == 1 { "" } else { "s" };
                output.result(&format!(
                    "{}: '{name}' is valid: {phases} phase{plural}, {duration}\n",
                    file.display()
                ))?;
            }
            Err(found) => output.failure(&scenario::failure(found)),
        }
    }
    if as_json {
        output.json(&crate::json::ChecksOut { files: checked })?;
    }
    Ok(exit)
}

fn list(as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let plans = BUILT_IN.iter().map(BuiltIn::plan).collect::<Result<Vec<_>, _>>()?;
    if as_json {
        return output
            .json(&ScenariosOut { scenarios: plans.iter().map(|plan| described(plan, None)).collect() });
    }
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("phases", Align::Right),
        ("duration", Align::Right),
        ("description", Align::Left),
        ("--set", Align::Left),
    ]);
    for plan in &plans {
        let ScenarioOut { name, description, phases, variables, .. } = described(plan, None);
        let names: Vec<_> = variables.into_iter().map(|variable| variable.name).collect();
        table.row([
            name,
            phases.to_string(),
            text::duration(plan.duration_ms()),
            description,
            names.join(", "),
        ]);
    }
    let mut document = Document::default();
    document.table(table);
    output.result(&to_terminal(&document, output.in_color()))
}

fn show(name: &str, settings: &Settings, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let built_in = BUILT_IN.iter().find(|built_in| built_in.name == name);
    let plan = Plan::find(name, &settings.set)?;
    let toml = match built_in {
        Some(built_in) if settings.set.is_empty() => built_in.toml,
        _ => &plan.toml,
    };
    if as_json { output.json(&described(&plan, Some(toml))) } else { output.result(toml) }
}

fn described(plan: &Plan, toml: Option<&str>) -> ScenarioOut {
    ScenarioOut {
        name: plan.scenario.name.clone(),
        description: plan.scenario.description.clone(),
        phases: plan.scenario.phases.len(),
        duration_s: plan.duration_ms() as f64 / 1e3,
        variables: plan.variables.iter().map(VariableOut::from).collect(),
        toml: toml.map(str::to_owned),
    }
}
