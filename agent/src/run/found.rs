//! What searches for the hottest kernel found, for as long as the daemon lives: the cores stay what they are, and a search
//! costs the start of a burner milliseconds, or tenths of a second where it reads energy counters.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::burn::{
    cpu::{Choice, CpuLoad, Found, Isa, KernelName, Precision},
    plan::{Load, Plan},
};

/// Of all burners of a daemon.
#[derive(Debug, Default)]
pub(super) struct FoundKernels(Mutex<HashMap<Sought, Found>>);

/// All that a search depends on, on one host.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sought {
    choice: Choice,
    kernel: KernelName,
    isa: Isa,
    precision: Precision,
    memory_percent: u32,
    /// In ascending order: of hybrid processors some are of another kind.
    cores: Vec<u32>,
}

impl FoundKernels {
    /// Tells a plan what was found before.
    pub(super) fn recall(&self, plan: &mut Plan) {
        let sought = Sought::of(plan);
        if let (Some(sought), Load::Cpu(load)) = (sought, &mut plan.load) {
            load.known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&sought).copied();
        }
    }

    /// Keeps what a burner of that plan found.
    pub(super) fn keep(&self, plan: &Plan, found: Found) {
        if let Some(sought) = Sought::of(plan) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sought, found);
        }
    }
}

impl Sought {
    fn of(plan: &Plan) -> Option<Self> {
        let Load::Cpu(load @ CpuLoad { choice, recipe, .. }) = &plan.load else { return None };
        if !load.searches() {
            return None;
        }
        let mut cores = plan.distinct_cores();
        cores.sort_unstable();
        Some(Self {
            choice: *choice,
            kernel: recipe.kernel,
            isa: recipe.isa,
            precision: recipe.precision,
            memory_percent: recipe.memory_percent,
            cores,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::burn::{
        cpu::{Caches, Level, Recipe},
        profile::LoadProfile,
    };

    fn plan(choice: Choice, kernel: KernelName, precision: Precision, cores: &[u32]) -> Plan {
        let caches = Caches { l1_bytes: 0, l2_bytes: 0, l3_bytes: 0 };
        let (isa, level) = (Isa::Portable, Level::L2);
        let recipe = Recipe {
            kernel,
            isa,
            precision,
            memory_percent: 10,
            level,
            caches,
            seed: 1,
            adds: None,
            sharers: 1,
        };
        let load = CpuLoad {
            profile: LoadProfile::FULL,
            choice,
            recipe,
            known: None,
            inject: None,
            proc: "/proc".into(),
            sys: "/sys".into(),
        };
        Plan {
            cores: cores.to_vec(),
            phase: Duration::from_secs(1),
            seed: 1,
            load: Load::Cpu(load),
            rate_tolerance: None,
        }
    }

    fn recalled(kernels: &FoundKernels, mut plan: Plan) -> Option<Found> {
        kernels.recall(&mut plan);
        let Load::Cpu(load) = plan.load else { unreachable!("it is a CPU burner's") };
        load.known
    }

    #[test]
    fn what_was_found_is_recalled_for_the_same_question_alone() {
        let kernels = FoundKernels::default();
        let auto = |precision, cores| plan(Choice::Auto, KernelName::Power, precision, cores);
        let found = Found { kernel: KernelName::Fma, adds: Some(false) };
        assert_eq!(recalled(&kernels, auto(Precision::Double, &[0, 1])), None);
        kernels.keep(&auto(Precision::Double, &[0, 1]), found);
        assert_eq!(recalled(&kernels, auto(Precision::Double, &[0, 1])), Some(found));
        // More workers, in another order, ask the same of the same cores.
        assert_eq!(recalled(&kernels, auto(Precision::Double, &[1, 0, 1, 0])), Some(found));
        assert_eq!(recalled(&kernels, auto(Precision::Double, &[0])), None);
        assert_eq!(recalled(&kernels, auto(Precision::Single, &[0, 1])), None);
        let power = plan(Choice::Named, KernelName::Power, Precision::Double, &[0, 1]);
        assert_eq!(recalled(&kernels, power), None);
        let fma = plan(Choice::Named, KernelName::Fma, Precision::Double, &[0, 1]);
        kernels.keep(&fma, found);
        assert_eq!(recalled(&kernels, fma), None);
    }
}
