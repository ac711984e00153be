//! `completions`, `man`, and the schema: what is made from the command line itself.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    cli::Cli,
    error::{Exit, Failure},
    fleet::inventory_schema,
    json,
    output::Output,
};

/// `completions SHELL`.
pub(super) fn completions(shell: Shell, output: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sstsctl", &mut script);
    output.result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Pass)
}

/// `man [DIR]`.
pub(super) fn man(folder: Option<&Path>, output: &mut Output) -> Result<Exit, Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(Cli::command())
            .render(&mut page)
            .map_err(|error| Failure::new(Exit::Internal, format!("can't make the page: {error}"), ""))?;
        output.result(&String::from_utf8_lossy(&page))?;
        return Ok(Exit::Pass);
    };
    fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder)).map_err(
        |error| {
            Failure::usage(
                format!("can't write into {}: {error}", folder.display()),
                "name a folder that you may write to",
            )
        },
    )?;
    Ok(Exit::Pass)
}

/// The schema of what `--output json` prints, or of inventories.
pub(super) fn schema(of_inventories: bool, output: &mut Output) -> Result<Exit, Failure> {
    output.result(&if of_inventories { inventory_schema() } else { json::schema() })?;
    Ok(Exit::Pass)
}
