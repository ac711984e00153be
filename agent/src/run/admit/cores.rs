//! Which cores a burner gets: those that were asked for, or some that nobody else has.

use ssts_proto::validate::Violations;

use super::Offer;
use crate::host::cpuset;

impl Offer<'_> {
    /// The cores that were asked for, or all that are free where none were.
    pub(super) fn choose_cores(
        &self,
        field: &str,
        asked: &[u32],
        found: &mut Violations,
    ) -> Option<Vec<u32>> {
        if asked.is_empty() {
            return self.free_cores(field, found);
        }
        let before = found.len();
        let never = &self.policy.never_cores;
        let (forbidden, others): (Vec<u32>, Vec<u32>) = asked.iter().partition(|core| never.contains(core));
        if !forbidden.is_empty() {
            found.break_rule(
                format!("{field}.cores"),
                "policy.never_cores",
                format!("cores {}", cpuset::list(&forbidden)),
                cpuset::list(never),
                format!("choose among {}", cpuset::list(self.cores)),
            );
        }
        let outside: Vec<u32> = others.iter().copied().filter(|core| !self.cores.contains(core)).collect();
        if !outside.is_empty() {
            found.add(
                format!("{field}.cores"),
                format!(
                    "cores {} are not among those that the agent may use: {}",
                    cpuset::list(&outside),
                    cpuset::list(self.cores)
                ),
                "choose among those",
            );
        }
        for (run, cores) in self.taken(&others) {
            found.add(
                format!("{field}.cores"),
                format!(
                    "cores {} are in use by run {run}, which has {}",
                    cpuset::list(&cores),
                    self.all_of(run)
                ),
                "choose others, wait for that run, or let both share their cores (`--share-cores`)",
            );
        }
        (found.len() == before).then(|| asked.to_vec())
    }

    /// The last ones that are free, `count` at most, at least one: interrupts and housekeeping crowd the first ones.
    pub(super) fn last_cores(&self, field: &str, count: usize, found: &mut Violations) -> Option<Vec<u32>> {
        let mut free = self.free_cores(field, found)?;
        Some(free.split_off(free.len().saturating_sub(count.max(1))))
    }

    /// Those that no other run has. At least one.
    fn free_cores(&self, field: &str, found: &mut Violations) -> Option<Vec<u32>> {
        let is_free = |core: &u32| self.others.holder_of(*core, self.shared_cores).is_none();
        let free: Vec<u32> = self.cores.iter().copied().filter(is_free).collect();
        if !free.is_empty() {
            return Some(free);
        }
        let taken = self.taken(self.cores);
        if taken.is_empty() {
            let never = cpuset::list(&self.policy.never_cores);
            let mend = "take some out of it, or give the agent other cores";
            found.break_rule(format!("{field}.cores"), "policy.never_cores", "no core is left", never, mend);
            return None;
        }
        let by: Vec<_> =
            taken.iter().map(|(run, cores)| format!("{} by run {run}", cpuset::list(cores))).collect();
        found.add(
            format!("{field}.cores"),
            format!(
                "every core that the agent may use ({}) is in use: {}",
                cpuset::list(self.cores),
                by.join(", ")
            ),
            "wait for one of these runs, or let both share their cores (`--share-cores`)",
        );
        None
    }

    /// Which of some cores others have, by run.
    fn taken(&self, cores: &[u32]) -> Vec<(&str, Vec<u32>)> {
        let mut taken: Vec<(&str, Vec<u32>)> = Vec::new();
        for core in cores {
            let Some(run) = self.others.holder_of(*core, self.shared_cores) else { continue };
            match taken.iter_mut().find(|(known, _)| *known == run) {
                Some((_, cores)) => cores.push(*core),
                None => taken.push((run, vec![*core])),
            }
        }
        taken
    }

    fn all_of(&self, run: &str) -> String {
        cpuset::list(self.others.cores_of(run))
    }
}
