//! `scenarios`: what is built in, and whether a file is good. No agent is asked.

use super::Session;
use crate::{
    cli::Scenarios,
    error::{Exit, Failure},
    json::{ScenarioOut, ScenariosOut},
    output::Output,
    report::{Align, Document, Table, to_terminal},
    scenario::{BUILT_IN, BuiltIn, Plan},
    text,
};

/// `scenarios [list|show NAME|check FILE]`.
pub(super) fn scenarios(command: Option<Scenarios>, session: &mut Session) -> Result<Exit, Failure> {
    let as_json = session.wants_json();
    let output = &mut session.output;
    match command {
        None | Some(Scenarios::List) => list(as_json, output),
        Some(Scenarios::Show { name }) => show(&name, as_json, output),
        Some(Scenarios::Check { file }) => {
            let plan = Plan::from_file(&file)?;
            if as_json {
                output.json(&described(&plan, None))
            } else {
                let ScenarioOut { name, phases, .. } = described(&plan, None);
                let duration = text::duration(plan.duration_ms());
                let plural = if phases == 1 { "" } else { "s" };
                output.result(&format!(
                    "{}: '{name}' is valid: {phases} phase{plural}, {duration}\n",
                    file.display()
                ))
            }
        }
    }?;
    Ok(Exit::Pass)
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
    ]);
    for plan in &plans {
        let ScenarioOut { name, description, phases, .. } = described(plan, None);
        table.row([name, phases.to_string(), text::duration(plan.duration_ms()), description]);
    }
    let mut document = Document::default();
    document.table(table);
    output.result(&to_terminal(&document, output.in_color()))
}

fn show(name: &str, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let Some(built_in) = BUILT_IN.iter().find(|built_in| built_in.name == name) else {
        let names: Vec<_> = BUILT_IN.iter().map(|built_in| built_in.name).collect();
        return Err(Failure::usage(
            format!("no scenario '{name}' is built in"),
            format!("use one of these: {}", names.join(", ")),
        ));
    };
    if as_json {
        output.json(&described(&built_in.plan()?, Some(built_in.toml)))
    } else {
        output.result(built_in.toml)
    }
}

fn described(plan: &Plan, toml: Option<&str>) -> ScenarioOut {
    ScenarioOut {
        name: plan.scenario.name.clone(),
        description: plan.scenario.description.clone(),
        phases: plan.scenario.phases.len(),
        duration_s: plan.duration_ms() as f64 / 1e3,
        toml: toml.map(str::to_owned),
    }
}
