//! One worker of the CPU burner: computes units at the load asked, compares each with its known answer, and when one is wrong
//! stops, keeps all that is known and sees whether it comes again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    auto,
    kernel::{Difference, Kernel, Work, run_unit},
    load::{Choice, CpuLoad, Found},
    mismatch::Mismatch,
    recipe::Recipe,
    reproduce::Finder,
};
use crate::{
    burn::{
        BurnError, control,
        pace::Pacer,
        plan::Plan,
        process::{Report, report},
        worker::{Flow, Prepared, Reins, Worker},
    },
    clock,
};

/// Units of one kernel before `mixed` goes on to the next: long enough that each reaches its own power.
const TURN: u64 = 64;

/// What all workers share: the recipes, and of each a kernel that knows its answer.
type Prototypes = Arc<[(Recipe, Box<dyn Kernel>)]>;

/// A worker for each entry of the plan's cores. Answers are computed once, here.
pub(in crate::burn) fn crew(plan: &Arc<Plan>, load: &CpuLoad) -> Result<Vec<Box<dyn Worker>>, BurnError> {
    let recipes = match (load.known_recipe(), load.choice) {
        (Some(known), _) => vec![known],
        (None, Choice::Auto) => vec![auto::hottest(load, &plan.distinct_cores())?],
        (None, Choice::Named | Choice::Mixed) => load.recipes(),
    };
    let prototype = |recipe: Recipe| -> Result<_, BurnError> {
        let mut kernel = recipe.build()?;
        kernel.learn();
        Ok((recipe, kernel))
    };
    let prototypes: Prototypes = recipes.into_iter().map(prototype).collect::<Result<_, _>>()?;
    if let (true, None, Some((recipe, kernel))) = (load.searches(), load.known, prototypes.first()) {
        report(&Report::Found(Found { kernel: recipe.kernel, adds: kernel.adds() }));
    }
    let worker = |(index, core): (usize, &u32)| -> Box<dyn Worker> {
        Box::new(CpuWorker {
            load: load.clone(),
            plan: plan.clone(),
            index: index as u32,
            core: *core,
            prototypes: prototypes.clone(),
            kernels: Vec::new(),
            units: 0,
            inject_after: load.inject.filter(|error| error.worker == index as u32).map(|error| error.after),
        })
    };
    Ok(plan.cores.iter().enumerate().map(worker).collect())
}

/// Computes on one core.
#[derive(Debug)]
struct CpuWorker {
    load: CpuLoad,
    plan: Arc<Plan>,
    index: u32,
    core: u32,
    prototypes: Prototypes,
    /// Its own, in the order of the prototypes.
    kernels: Vec<Box<dyn Kernel>>,
    /// Computed so far.
    units: u64,
    /// Burning time after which an error is to be made; none once it was.
    inject_after: Option<Duration>,
}

/// A wrong unit.
struct Wrong {
    turn: usize,
    difference: Difference,
    injected: bool,
}

impl Worker for CpuWorker {
    fn prepare(&mut self, reins: &Reins) -> Result<Prepared, BurnError> {
        for (_, prototype) in self.prototypes.iter() {
            if !reins.go_on() {
                return Err(BurnError::Interrupted);
            }
            let kernel = prototype.fork()?;
            if let Some(partner) = kernel.partner() {
                clock::count_partner(partner);
            }
            self.kernels.push(kernel);
        }
        let describe = |(recipe, kernel): &(Recipe, Box<dyn Kernel>)| match kernel.variant() {
            Some(variant) => format!("{}, {variant}", recipe.describe()),
            None => recipe.describe(),
        };
        let variant = match self.load.choice {
            Choice::Named => describe(&self.prototypes[0]),
            Choice::Auto if self.load.known.is_some() => {
                format!("auto, as found before: {}", describe(&self.prototypes[0]))
            }
            Choice::Auto => format!("auto: {}", describe(&self.prototypes[0])),
            Choice::Mixed => format!("mixed, {}", self.load.recipe.isa.name()),
        };
        Ok(Prepared { variant, notices: Vec::new() })
    }

    fn burn(&mut self, reins: &Reins) -> Result<(), BurnError> {
        let mut pacer = Pacer::start(&self.load.profile, self.plan.phase, reins);
        loop {
            let mut outcome = Ok(None);
            let flow = pacer.step(reins, |units| outcome = self.compute(units, reins));
            if let Some(wrong) = outcome? {
                // A core that computes wrongly once is not asked again.
                self.tell(&wrong, reins);
                return Ok(());
            }
            if flow == Flow::Stop {
                return Ok(());
            }
        }
    }
}

impl CpuWorker {
    /// So many units, or fewer when one is wrong.
    fn compute(&mut self, units: u32, reins: &Reins) -> Result<Option<Wrong>, BurnError> {
        let mut done = Work::default();
        let mut wrong = None;
        let before = self.units;
        for _ in 0..units {
            // Where many workers share a core, all that are ahead in its queue finish what they are at before a stop is obeyed.
            if reins.is_stopped() {
                break;
            }
            let turn = (self.units / TURN) as usize % self.kernels.len();
            let kernel = &mut *self.kernels[turn];
            let burning = || Duration::from_nanos(reins.slot().burning_ns.load(Ordering::Relaxed));
            let injected = self.inject_after.take_if(|after| burning() >= *after).is_some();
            let bit = self.units;
            let difference = run_unit(kernel, |got| {
                if injected {
                    let word = bit as usize / 64 % got.len();
                    got[word] ^= 1 << (bit % 64);
                }
            })?;
            if let Some(difference) = difference {
                wrong = Some(Wrong { turn, difference, injected });
                break;
            }
            let Work { operations, bytes, flops } = kernel.work();
            done.operations += operations;
            done.bytes += bytes;
            done.flops += flops;
            self.units += 1;
        }
        let slot = reins.slot();
        control::add(&slot.operations, done.operations);
        control::add(&slot.bytes, done.bytes);
        control::add(&slot.flops, done.flops);
        control::add(&slot.figures[0], self.units - before);
        Ok(wrong)
    }

    /// Reports a wrong result as soon as it is known, and again with what became of the repetitions.
    fn tell(&mut self, wrong: &Wrong, reins: &Reins) {
        // What repetitions keep takes its place: no more was admitted.
        self.kernels.clear();
        let (recipe, prototype) = &self.prototypes[wrong.turn];
        let mut mismatch =
            Mismatch::of(&self.load, self.index, self.core, recipe, self.units, wrong.difference);
        mismatch.injected = wrong.injected;
        report(&Report::Mismatch(Box::new(mismatch.clone())));
        control::add(&reins.slot().verify_errors, 1);
        let finder = Finder { load: &self.load, reins, core: self.core, cores: &self.plan.cores };
        mismatch.reruns = Some(finder.reproduce(recipe, &**prototype));
        report(&Report::Mismatch(Box::new(mismatch)));
    }
}
