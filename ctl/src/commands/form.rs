//! Puts a result where it is wanted: standard output, or a file.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use serde::Serialize;

use crate::{
    error::{Exit, Failure},
    output::Output,
    report::replace_file,
};

/// Prints it, or writes it into the file.
pub(super) fn put(content: &[u8], to: Option<&Path>, output: &mut Output) -> Result<(), Failure> {
    let Some(path) = to else { return output.bytes(content) };
    replace_file(path, content).map_err(|error| {
        Failure::new(
            Exit::Internal,
            format!("can't write {}: {error}", path.display()),
            "make room there, or name a file in a folder that you may write to",
        )
    })?;
    output.message(&format!("wrote {}", path.display()));
    Ok(())
}

/// The same of an object, as JSON.
pub(super) fn put_json(
    value: &impl Serialize,
    to: Option<&Path>,
    output: &mut Output,
) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Internal, format!("can't write JSON: {error}"), ""))?;
    put((text + "\n").as_bytes(), to, output)
}

/// A PDF, which no terminal shows.
pub(super) fn put_pdf(
    command: &str,
    pdf: impl FnOnce() -> Result<Vec<u8>, Failure>,
    to: Option<&Path>,
    output: &mut Output,
) -> Result<(), Failure> {
    if to.is_none() && io::stdout().is_terminal() {
        return Err(Failure::usage(
            "a PDF can't be shown on a terminal",
            format!("write it into a file: `sstsctl {command} --format pdf --to FILE`"),
        ));
    }
    put(&pdf()?, to, output)
}
