//! The scenarios that come with sstsctl: the TOML files of `scenarios/`, embedded.

use super::{Finding, Plan, Setting, failure, toml_file};
use crate::error::Failure;

/// One of them.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) toml: &'static str,
}

/// Its name is its file's.
macro_rules! built_in {
    ($name:literal) => {
        BuiltIn { name: $name, toml: include_str!(concat!("../../scenarios/", $name, ".toml")) }
    };
}

/// All of them, those for a first look first.
pub(crate) static ALL: [BuiltIn; 12] = [
    built_in!("quick"),
    built_in!("demo"),
    built_in!("cycle7"),
    built_in!("peak"),
    built_in!("burst"),
    built_in!("soak"),
    built_in!("power-step"),
    built_in!("burn-in"),
    built_in!("memtest"),
    built_in!("disk-qualify"),
    built_in!("headroom"),
    built_in!("recovery"),
];

impl BuiltIn {
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        self.read(&[]).map_err(failure)
    }

    /// With values for its variables.
    pub(super) fn read(&self, settings: &[Setting]) -> Result<Plan, Vec<Finding>> {
        toml_file::parse(&format!("built-in scenario {}", self.name), self.toml, settings)
    }
}

pub(super) fn find(name: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|built_in| built_in.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_valid_and_bears_its_name() {
        for built_in in &ALL {
            let plan = built_in.plan().unwrap_or_else(|failure| panic!("{}: {failure}", built_in.name));
            assert_eq!(plan.scenario.name, built_in.name);
            assert!(!plan.scenario.description.is_empty());
            plan.validate().unwrap();
        }
    }
}
