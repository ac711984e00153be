//! Whether a scenario stays inside what the host's administrator allows: hours, load, folders. What it leaves open is filled in.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Zoned;
use ssts_proto::{
    v1::{Burner, Constant, MemoryMethod, Profile, burner, profile::Shape},
    validate::Violations,
};

use super::Offer;
use crate::burn::plan::Plan;

/// All of a core.
const FULL_PERCENT: f64 = 100.0;

impl Offer<'_> {
    /// How long a run that begins now may last by the hours, `max_duration` at most. Closed hours are a violation.
    pub(super) fn open_for(
        &self,
        max_duration: Duration,
        whole: Duration,
        found: &mut Violations,
    ) -> Duration {
        let hours = self.policy.hours();
        if hours.is_always() {
            return max_duration;
        }
        let now = Zoned::now();
        let mend = "start it inside these hours, or shorten it so that it ends inside";
        let Some(open) = hours.open_for(&now, max_duration) else {
            let asked = format!("a run that begins now, {}", now.strftime("%a %H:%M %Z"));
            found.break_rule("phases", "policy.hours", asked, hours, mend);
            return max_duration;
        };
        if whole >= open {
            let end = |after: Duration| {
                let after = jiff::SignedDuration::try_from(after).unwrap_or(jiff::SignedDuration::MAX);
                let end = now.checked_add(after);
                end.map_or_else(
                    |_| "in many years".to_owned(),
                    |end| end.strftime("%a %H:%M:%S %Z").to_string(),
                )
            };
            // Where the limit of the duration is the shorter one, that is told already.
            if open < max_duration {
                let asked =
                    format!("a run that ends on {}, when the hours are over since {}", end(whole), end(open));
                found.break_rule("phases", "policy.hours", asked, hours, mend);
            }
        }
        open
    }

    /// The load of one burner: what was left open is filled in, what is too much is a violation.
    pub(super) fn keep_load(&self, field: &str, burner: &mut Burner, found: &mut Violations) {
        let max = self.policy.max_load_percent;
        if max >= FULL_PERCENT {
            return;
        }
        let load = match &mut burner.kind {
            Some(burner::Kind::Cpu(cpu)) => &mut cpu.load,
            Some(burner::Kind::Memory(memory)) if takes_load(memory.method()) => &mut memory.load,
            _ => return,
        };
        let shape = &mut load.get_or_insert_with(Profile::default).shape;
        let peak = peak_percent(shape.get_or_insert(Shape::Constant(Constant { load_percent: max })));
        if peak > max {
            let asked = format!("a load of {peak} %");
            let mend = format!("ask for {max} % at most");
            found.break_rule(format!("{field}.load"), "policy.max_load_percent", asked, max, mend);
        }
    }

    /// All workers that a phase puts on one core, together with those of runs that share it.
    pub(super) fn keep_load_of_cores(
        &self,
        field: &str,
        burners: &[Burner],
        plans: &[(usize, Plan)],
        found: &mut Violations,
    ) {
        let max = self.policy.max_load_percent;
        if max >= FULL_PERCENT {
            return;
        }
        let of_core = loads_of_cores(plans.iter().map(|(index, plan)| (burners.get(*index), plan)));
        // One alone was told with its burner.
        let over = of_core.iter().find(|(_, (percent, workers))| *percent > max && *workers > 1);
        if let Some((core, (percent, workers))) = over {
            let asked = format!("up to {percent} % of core {core} by {workers} workers together");
            let mend = "use fewer workers, less load, or other cores";
            found.break_rule(field, "policy.max_load_percent", asked, max, mend);
            return;
        }
        let beside = of_core.iter().find_map(|(core, (percent, _))| {
            let others = self.others.loads_on(*core);
            let together = percent + others.iter().map(|(_, percent)| percent).sum::<f64>();
            (!others.is_empty() && together > max).then_some((core, percent, others))
        });
        if let Some((core, percent, others)) = beside {
            let others: Vec<_> =
                others.iter().map(|(run, percent)| format!("{percent} % of run {run}")).collect();
            let asked = format!("up to {percent} % of core {core}, beside {}", others.join(" and "));
            let mend = "ask for less load or for other cores, or wait for the other run";
            found.break_rule(field, "policy.max_load_percent", asked, max, mend);
        }
    }

    /// The folder that a burner may make files in, by its true name.
    pub(super) fn allowed_folder(&self, field: &str, path: &Path, found: &mut Violations) -> Option<PathBuf> {
        let allowed = &self.policy.paths;
        if allowed.iter().any(|allowed| allowed == Path::new("/")) {
            return Some(path.to_owned());
        }
        // What does not exist is told elsewhere, in better words.
        let Ok(real) = fs::canonicalize(path) else { return Some(path.to_owned()) };
        let is_below =
            |allowed: &PathBuf| fs::canonicalize(allowed).is_ok_and(|allowed| real.starts_with(allowed));
        if allowed.iter().any(is_below) {
            return Some(real);
        }
        let asked = if real == path {
            path.display().to_string()
        } else {
            format!("{} (which is {})", path.display(), real.display())
        };
        let names: Vec<_> = allowed.iter().map(|path| path.display().to_string()).collect();
        let mend = "choose a folder below one of those";
        found.break_rule(
            format!("{field}.path"),
            "policy.paths",
            asked,
            format!("[{}]", names.join(", ")),
            mend,
        );
        None
    }
}

/// The greatest load that burners with their plans ever ask of each core together, percent, and by how many workers.
pub(super) fn loads_of_cores<'a>(
    burners: impl Iterator<Item = (Option<&'a Burner>, &'a Plan)>,
) -> BTreeMap<u32, (f64, u32)> {
    let mut of_core: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
    for (burner, plan) in burners {
        let load = match burner.and_then(|burner| burner.kind.as_ref()) {
            Some(burner::Kind::Cpu(cpu)) => cpu.load.as_ref(),
            Some(burner::Kind::Memory(memory)) => memory.load.as_ref(),
            _ => None,
        };
        let Some(shape) = load.and_then(|load| load.shape.as_ref()) else { continue };
        for core in &plan.cores {
            let (percent, workers) = of_core.entry(*core).or_default();
            (*percent, *workers) = (*percent + peak_percent(shape), *workers + 1);
        }
    }
    of_core
}

/// Methods that keep their cores busy, so that a load can be asked of them: proto/src/validate/memory.rs.
fn takes_load(method: MemoryMethod) -> bool {
    use MemoryMethod::{Fault, Fill, Latency, Occupy, Pressure, Read, Stream, Unspecified, Verify, Write};
    match method {
        Stream | Read | Write | Latency | Verify => true,
        Unspecified | Fill | Fault | Pressure | Occupy => false,
    }
}

/// The greatest load that a shape ever asks for.
pub(super) fn peak_percent(shape: &Shape) -> f64 {
    match shape {
        Shape::Constant(constant) => constant.load_percent,
        Shape::Ramp(ramp) => ramp.from_percent.max(ramp.to_percent),
        Shape::Steps(steps) => steps.steps.iter().map(|step| step.load_percent).fold(0.0, f64::max),
        Shape::Sine(sine) => sine.high_percent,
        Shape::Square(square) => square.high_percent,
        Shape::Sawtooth(saw) => saw.from_percent.max(saw.to_percent),
        Shape::RandomWalk(walk) => walk.high_percent,
        Shape::Trace(trace) => trace.points.iter().map(|point| point.load_percent).fold(0.0, f64::max),
    }
}
