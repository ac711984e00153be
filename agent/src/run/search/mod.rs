//! Phases that search for the load at which an objective breaks. The tick judges and takes the load away: no queue stands between
//! a reading that breaks the objective and the reaction to it.

mod bisection;
mod judge;
mod readings;
mod words;

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use ssts_proto::v1::{Cause, EventKind, RunState, Search, SearchOutcome, SearchResult, SearchStep};

pub(super) use self::readings::spec;
use self::{
    bisection::{Bisection, Next},
    judge::{Decision, Judge, Reading, Stretch},
    readings::Readings,
};
use super::{active::ActiveRun, admit::PlannedPhase, ending::Ending};
use crate::{
    burn::plan::Plan,
    clock,
    observe::{frame::Frame, schema::Schema},
};

/// How long an objective may take to hold again once nothing is asked any more.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(30);

/// Burners that had so much less of a core than they were asked for have not shown what that load does.
const MUCH_LESS_POINTS: f64 = 5.0;

/// The searches of a run.
#[derive(Debug, Default)]
pub(super) struct Searches {
    now: Mutex<Option<Searching>>,
    done: Mutex<Vec<SearchResult>>,
    /// One more than the load that is asked for, in parts of a million; 0 where no search is on.
    load: AtomicU32,
    /// The search that is on came to its end: so may its phase.
    is_over: AtomicBool,
}

/// One search.
#[derive(Debug)]
struct Searching {
    phase: usize,
    search: Search,
    result: SearchResult,
    readings: Readings,
    bisection: Bisection,
    stretch: Stretch,
    stage: Stage,
    /// What burners had when the load began: CPU time.
    used_before: Duration,
    /// It was paused since it last looked.
    was_paused: bool,
}

#[derive(Debug)]
enum Stage {
    /// A load is watched.
    Trying {
        load: f64,
        judge: Judge,
    },
    /// Nothing is asked since an instant of CLOCK_MONOTONIC; the objective holds again since another.
    Resting {
        since: Duration,
        clean: Option<Duration>,
    },
    Over,
}

/// What a look came to.
#[derive(Debug, Default)]
struct Told {
    step: Option<SearchStep>,
    is_over: bool,
}

impl Searching {
    fn new(phase: usize, planned: &PlannedPhase, run: &ActiveRun, now: Duration) -> Option<Self> {
        let search = planned.search.clone()?;
        let objective = search.objective.as_ref()?;
        let spec = spec("objective", objective, &run.id).ok()?;
        let readings = Readings::new(objective, spec, now);
        let (from, to) = (search.from_percent?, search.to_percent?);
        let result = SearchResult {
            phase: planned.name.clone(),
            search: Some(search.clone()),
            cores: loaded_cores(planned),
            ..SearchResult::default()
        };
        let mut searching = Self {
            phase,
            bisection: Bisection::new(from, to, search.precision_points?),
            search,
            result,
            readings,
            stretch: Stretch::default(),
            stage: Stage::Over,
            used_before: Duration::ZERO,
            was_paused: false,
        };
        searching.go_on(run, now);
        Some(searching)
    }

    /// Asks for the next load, or ends.
    fn go_on(&mut self, run: &ActiveRun, now: Duration) {
        let outcome = match self.bisection.next() {
            Next::Try(load) => {
                run.searches.ask(run, load);
                self.readings.wait_from(now);
                self.used_before = run.used();
                let hold = Duration::from_millis(self.search.hold_ms.unwrap_or_default());
                self.stage = Stage::Trying { load, judge: Judge::new(now, hold) };
                return;
            }
            Next::Found => SearchOutcome::Found,
            Next::NeverBroke => SearchOutcome::NeverBroke,
            Next::BrokenAtOnce => SearchOutcome::BrokenAtOnce,
            Next::Restless => {
                let reason = "the objective holds at a load and breaks at the same load, again and again";
                return self.give_up(run, reason.into());
            }
        };
        self.end(run, outcome);
    }

    fn give_up(&mut self, run: &ActiveRun, reason: String) {
        self.result.reason = reason;
        self.end(run, SearchOutcome::Inconclusive);
    }

    fn end(&mut self, run: &ActiveRun, outcome: SearchOutcome) {
        run.searches.ask(run, 0.0);
        self.result.set_outcome(outcome);
        self.stage = Stage::Over;
    }

    /// Looks at one frame of its phase.
    fn look(&mut self, run: &ActiveRun, schema: &Schema, frame: &Frame) -> Told {
        let now = frame.end;
        let reading = self.readings.look(schema, frame);
        let is_silent = self.readings.is_silent(now) && self.readings.has_read();
        let is_broken = reading.map(|reading| reading.is_broken).or(is_silent.then_some(true));
        self.stretch.note(now, is_broken);
        if std::mem::take(&mut self.was_paused) && !matches!(self.stage, Stage::Over) {
            // What was read before the pause says nothing about the load after it.
            self.stretch = Stretch::default();
            self.go_on(run, now);
        }
        let before = matches!(self.stage, Stage::Over);
        let step = match &mut self.stage {
            Stage::Over => None,
            _ if run.is_derated() => {
                self.give_up(run, "a guard took a part of the load".into());
                None
            }
            Stage::Trying { .. } => self.watch(run, reading, now),
            Stage::Resting { .. } => {
                self.rest(run, reading, now);
                None
            }
        };
        Told { step, is_over: !before && matches!(self.stage, Stage::Over) }
    }

    /// Watches the load that is asked for, and decides.
    fn watch(&mut self, run: &ActiveRun, reading: Option<Reading>, now: Duration) -> Option<SearchStep> {
        let is_silent = self.readings.is_silent(now);
        let Stage::Trying { load, judge } = &mut self.stage else { return None };
        let decision = judge.look(now, reading, is_silent, &self.stretch)?;
        let load = *load;
        let held = decision == Decision::Held;
        if !held {
            // Before anything else is done.
            run.searches.ask(run, 0.0);
        }
        let (readings, broken) = judge.counts();
        let watched = now.saturating_sub(judge.began());
        let used = run.used().saturating_sub(self.used_before);
        let cores = f64::from(self.result.cores.max(1));
        let step = SearchStep {
            load_percent: load,
            held,
            readings,
            broken,
            watched_ns: clock::ns(watched),
            decided_by: words::decision(decision, judge.counts(), watched),
            median: judge.median(),
            recovered_ns: None,
            achieved_percent: (!watched.is_zero())
                .then(|| 100.0 * used.as_secs_f64() / (watched.as_secs_f64() * cores)),
        };
        self.result.steps.push(step.clone());
        if !self.readings.has_read() {
            self.give_up(run, "nothing was read of what the objective looks at".into());
            return Some(step);
        }
        self.bisection.note(load, held);
        if held {
            self.go_on(run, now);
        } else {
            self.readings.wait_from(now);
            self.stage = Stage::Resting { since: now, clean: None };
        }
        Some(step)
    }

    /// Asks for nothing until the objective holds again, and for as long as was asked for.
    fn rest(&mut self, run: &ActiveRun, reading: Option<Reading>, now: Duration) {
        let Stage::Resting { since, clean } = &mut self.stage else { return };
        match reading {
            Some(reading) if reading.is_broken => *clean = None,
            Some(_) => *clean = clean.or(Some(now)),
            None => {}
        }
        let rested = now.saturating_sub(*since);
        let came_back = clean.filter(|clean| now.saturating_sub(*clean) >= judge::PAUSE);
        let Some(came_back) = came_back else {
            if rested >= COMES_BACK_WITHIN {
                let reason = format!(
                    "the objective did not hold again within {COMES_BACK_WITHIN:?} of the load's being taken away"
                );
                self.give_up(run, reason);
            }
            return;
        };
        let recovered = came_back.saturating_sub(*since);
        if let Some(step) = self.result.steps.last_mut() {
            step.recovered_ns.get_or_insert(clock::ns(recovered));
        }
        if rested >= Duration::from_millis(self.search.rest_ms.unwrap_or_default()) {
            self.go_on(run, now);
        }
    }

    /// What it came to.
    fn into_result(mut self) -> SearchResult {
        let result = &mut self.result;
        let knee = self.bisection.knee();
        if result.outcome() == SearchOutcome::Unspecified {
            // Both bounds are known: only the ups and downs around them are too few.
            if knee.is_some() {
                result.set_outcome(SearchOutcome::Found);
            } else {
                result.set_outcome(SearchOutcome::Inconclusive);
                result.reason = "the phase ended before the search did".into();
            }
        }
        (result.held_percent, result.broke_percent) = self.bisection.bounds();
        result.knee_percent = knee.filter(|_| result.outcome() == SearchOutcome::Found);
        // What they had, and not what they were asked for: others may have wanted the cores, too.
        let precision = self.search.precision_points.unwrap_or_default();
        let achieved = result.held_percent.and_then(|held| achieved(&result.steps, held, precision));
        result.margin_cores = achieved.map(|percent| percent / 100.0 * f64::from(result.cores));
        let had_it =
            achieved.zip(result.held_percent).is_some_and(|(had, held)| had > held - MUCH_LESS_POINTS);
        result.reserve_percent = result.knee_percent.filter(|_| had_it).map(|knee| 100.0 - knee);
        result.longest_broken_ns = clock::ns(self.stretch.longest());
        self.result
    }
}

impl Searches {
    /// Has the burners that hold a load hold this one, percent.
    fn ask(&self, run: &ActiveRun, load_percent: f64) {
        let ppm = (load_percent * 1e4).round() as u32;
        self.load.store(ppm + 1, Ordering::Relaxed);
        run.board.for_each_loaded_block_of(&run.id, |block| block.search(ppm));
    }
}

impl ActiveRun {
    /// Called by the tick with every frame.
    pub(super) fn search(&self, state: RunState, schema: &Schema, frame: &Frame) {
        let mut now = lock(&self.searches.now);
        if state == RunState::Paused {
            if let Some(searching) = &mut *now {
                searching.was_paused = true;
            }
            return;
        }
        let begun = self.phase_clock().filter(|phase| phase.has_begun(clock::boottime()));
        let (RunState::Running, Some(phase)) = (state, begun) else { return };
        let index = phase.index();
        if now.as_ref().is_none_or(|searching| searching.phase != index) {
            let Some(planned) = self.admitted.phases.get(index).filter(|phase| phase.search.is_some()) else {
                return;
            };
            *now = Searching::new(index, planned, self, frame.end);
        }
        let Some(searching) = &mut *now else { return };
        let told = searching.look(self, schema, frame);
        let unit = searching.readings.unit().to_owned();
        drop(now);
        if let Some(step) = told.step {
            let fields = [("load_percent", step.load_percent.to_string()), ("held", step.held.to_string())];
            self.tell(EventKind::SearchStep, words::step(&step, &unit), fields);
        }
        if told.is_over {
            self.searches.is_over.store(true, Ordering::Relaxed);
            self.wake_supervisor();
        }
    }

    /// Whether the phase that is on has found what it searched for.
    pub(super) fn is_searched_out(&self) -> bool {
        self.searches.is_over.load(Ordering::Relaxed)
    }

    /// The phase that is on comes to its end, and its search with it.
    pub(super) fn end_search(&self) {
        let ended = lock(&self.searches.now).take();
        self.searches.load.store(0, Ordering::Relaxed);
        self.searches.is_over.store(false, Ordering::Relaxed);
        let Some(ended) = ended else { return };
        let result = ended.into_result();
        let percent = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let fields = [
            ("phase", result.phase.clone()),
            ("held_percent", percent(result.held_percent)),
            ("broke_percent", percent(result.broke_percent)),
            ("knee_percent", percent(result.knee_percent)),
        ];
        self.tell(EventKind::SearchFinished, words::result(&result), fields);
        lock(&self.searches.done).push(result);
    }

    /// The load that burners of a phase are to begin with where one is searched for, in parts of a million.
    pub(super) fn searched_ppm(&self, phase: &PlannedPhase) -> Option<u32> {
        let from = phase.search.as_ref()?.from_percent?;
        let asked = self.searches.load.load(Ordering::Relaxed).checked_sub(1);
        Some(asked.unwrap_or((from * 1e4).round() as u32))
    }

    /// What came of the searches that are over.
    pub(super) fn search_results(&self) -> Vec<SearchResult> {
        lock(&self.searches.done).clone()
    }

    /// CPU time of the burners that hold a load.
    fn used(&self) -> Duration {
        let mut used_ns = 0;
        self.board.for_each_loaded_block_of(&self.id, |block| {
            for slot in (0..block.workers()).map(|worker| block.slot(worker)) {
                used_ns += slot.on_cpu_ns.load(Ordering::Relaxed);
            }
        });
        Duration::from_nanos(used_ns)
    }
}

/// What the searches make of a run whose phases all came to their end.
pub(super) fn ending(results: &[SearchResult]) -> Option<Ending> {
    let first = |outcome| results.iter().find(|result| result.outcome() == outcome);
    if let Some(broken) = first(SearchOutcome::BrokenAtOnce) {
        return Some(Ending::new(Cause::ThresholdFailed, words::result(broken)));
    }
    let inconclusive = first(SearchOutcome::Inconclusive)?;
    Some(Ending::new(Cause::ThresholdInconclusive, words::result(inconclusive)))
}

/// What burners had of each core while a load held, percent: the mean of the times that it was tried, or while it never was its
/// neighbours.
fn achieved(steps: &[SearchStep], load_percent: f64, precision_points: f64) -> Option<f64> {
    let had = |within: f64| -> Vec<f64> {
        let near = |step: &&SearchStep| step.held && (step.load_percent - load_percent).abs() <= within;
        steps.iter().filter(near).filter_map(|step| step.achieved_percent).collect()
    };
    let had =
        [1e-6, precision_points + 1e-6].map(had).into_iter().find(|had| !had.is_empty()).unwrap_or_default();
    (!had.is_empty()).then(|| had.iter().sum::<f64>() / had.len() as f64)
}

fn loaded_cores(phase: &PlannedPhase) -> u32 {
    let loaded = phase.plans.iter().filter(|plan| plan.load.has_target());
    loaded.flat_map(Plan::distinct_cores).collect::<HashSet<_>>().len() as u32
}

/// No holder of these locks can leave half a change behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
