//! The scenarios that come with sstsctl: the TOML files of `scenarios/`, embedded.

use super::{Finding, Plan, Setting, failure, toml_file};
use crate::error::Failure;

/// One of them.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) toml: &'static str,
}

/// All of them.
pub(crate) static ALL: [BuiltIn; 4] = [
    BuiltIn { name: "quick", toml: include_str!("../../scenarios/quick.toml") },
    BuiltIn { name: "headroom", toml: include_str!("../../scenarios/headroom.toml") },
    BuiltIn { name: "burst", toml: include_str!("../../scenarios/burst.toml") },
    BuiltIn { name: "recovery", toml: include_str!("../../scenarios/recovery.toml") },
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

    #[test]
    fn quick_is_quick() {
        let plan = find("quick").unwrap().plan().unwrap();
        assert!(plan.duration_ms() <= 20_000);
    }
}
