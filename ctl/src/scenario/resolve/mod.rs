//! A scenario file made whole: what it includes is put in, variables get their values, and the phases of a matrix stand one
//! by one. Every value keeps the place where it was written.

mod depth;
mod include;
mod matrix;
mod template;
mod tree;
mod variables;
mod when;

use toml::de::DeTable;

pub(crate) use self::{depth::too_deep, variables::Variable};
use self::{include::Assembler, matrix::Matrix, variables::Variables};
pub(super) use self::{include::load, template::escaped};
use super::{keys::Findings, source::Sources};

/// What the command line gives a variable: `--set NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Keys that are gone once a scenario is whole.
pub(super) const KEYS: [&str; 3] = ["include", "variables", "matrix"];

/// The whole scenario. Nothing where a file of it is not known; what is wrong was told.
pub(super) fn whole<'t>(
    sources: &'t Sources,
    settings: &'t [Setting],
    found: &mut Findings,
) -> Option<DeTable<'t>> {
    let mut assembler = Assembler { sources, found, is_incomplete: false };
    let document = assembler.document(0);
    if assembler.is_incomplete {
        return None;
    }
    let mut table = document?;
    let mut variables = Variables::take(&mut table, settings, found);
    let matrix = Matrix::take(&mut table, &variables, found);
    variables.beside(matrix.names());
    let filled = table.into_iter().map(|(key, value)| {
        let value = if key.get_ref() == "phase" {
            when::kept(matrix.expand(value, &variables, found), found)
        } else {
            variables.fill_in(value, &[], found)
        };
        (key, value)
    });
    Some(filled.collect())
}

#[cfg(test)]
mod tests;
