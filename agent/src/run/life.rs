//! A run on its own thread: it is supervised to its end, then its record is written.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, PoisonError},
};

use ssts_proto::v1::{BurnerResult, Cause, EventKind, Run, RunState, Verdict};
use tracing::error;

use super::{
    active::ActiveRun,
    busiest::Busiest,
    ending::Ending,
    engine::Engine,
    receipt::Witness,
    remains,
    supervisor::{Settings, Supervisor},
    telemetry::Telemetry,
};
use crate::realtime;

impl Engine {
    /// A bug in the supervisor ends its run, not the daemon.
    pub(super) fn supervise_to_the_end(&self, run: &Arc<ActiveRun>) {
        // What a panic unwinds through kills its burners; what it leaves behind is settled here.
        // At ordinary priority, unlike the tick: this thread reaps children, and there the kernel spins until a preempted reader
        // of their /proc has gone on (release_task, shrink_dcache_parent). A real-time thread would keep it from that.
        let busiest = Busiest::start(&self.roots);
        realtime::wake_soon();
        let burners = panic::catch_unwind(AssertUnwindSafe(|| {
            let settings = Settings {
                config: self.burners.clone(),
                watch: self.watch.clone(),
                found: &self.found,
                remains: &self.remains,
            };
            Supervisor::new(run.clone(), self.board.clone(), settings, &self.roots).carry_out()
        }));
        let burners = burners.unwrap_or_else(|_| {
            self.board.set(&run.id, Vec::new());
            run.stop(Ending::new(Cause::Unspecified, "a bug in the supervisor, see the agent's log"));
            Vec::new()
        });
        if run.receipt().is_none() {
            let receipt = self.remains.close(run, &Witness::default());
            run.tell(EventKind::Receipt, remains::words(&receipt), []);
            run.set_receipt(receipt);
        }
        let is_halted = run.ending().is_some_and(|end| end.cause == Cause::Halted);
        if let Some(after) = run.quiet_after().filter(|_| is_halted) {
            self.halt.note_quiet(after);
            if let Err(error) = self.halt.persist() {
                error!(%error, "how long the halt took is known until sstsd ends, and no longer");
            }
        }
        run.wait_for_record();
        let recorded = panic::catch_unwind(AssertUnwindSafe(|| {
            *self.host.lock().unwrap_or_else(PoisonError::into_inner) = self.describe.host();
            let left_out = run.with_telemetry(Telemetry::left_out);
            if left_out > 0 {
                let message = format!(
                    "{left_out} series of telemetry are too many for the result; the run's record has them"
                );
                run.tell(EventKind::Notice, message, []);
            }
            let mut record = self.record(run, burners);
            record.processes = busiest.finish();
            record.telemetry = run.with_telemetry(Telemetry::summaries);
            if let Some(summary) = &mut record.summary {
                summary.set_state(RunState::Finished);
                summary.set_verdict(run.ending().map_or(Verdict::Error, |ending| ending.verdict()));
            }
            // Before anybody is told that it is over: then the record is there to be read.
            self.keep(record);
        }));
        if recorded.is_err() {
            error!(run = run.id, "a bug: the run's record could not be made");
        }
        self.tell_guards(Some(&run.id));
        run.forget_telemetry();
        // Whatever happened: a run that never finishes would keep others from starting.
        run.finish();
    }

    /// All that is known of a run now.
    pub(super) fn record(&self, run: &ActiveRun, burners: Vec<BurnerResult>) -> Run {
        Run {
            summary: Some(run.summary()),
            scenario: Some(run.admitted.scenario.clone()),
            limits: Some((&run.admitted.bounds).into()),
            host: Some(self.host.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            burners,
            // Once it is over: summing up takes longer than a tick may wait.
            telemetry: Vec::new(),
            events: run.events_from(0),
            probes: self.describe.probes(),
            processes: Vec::new(),
            receipt: run.receipt(),
            trail: Some(run.trail()),
            guards: run.guard_statuses(self.guards.statuses()),
            thresholds: run.threshold_results(),
            trends: Vec::new(),
            decisions: run.decisions.taken(),
            searches: run.search_results(),
            recoveries: run.recoveries.all(),
            settlings: run.settlings(),
        }
    }

    fn keep(&self, record: Run) {
        if let Err(error) = self.store.write(record) {
            error!(%error, "the record of a run could not be written; it is kept in memory");
        }
    }
}
