//! The host's guards: they look at every frame, whether a run is on or not, and hold for every run.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use ssts_proto::v1::{GuardState, GuardStatus, Violation};

use crate::{
    burn::plan::Load,
    clock,
    config::LimitsConfig,
    guard::{GuardBoard, GuardSet, GuardSpec, Owned, shipped},
    host::HostRoots,
    observe::{file_systems::Folders, frame::Frame, probes::loaded_with, schema::Schema},
    run::admit::Admitted,
};

/// Label values that a refusal names.
const MOST_NAMED: usize = 5;

/// How long after the daemon began the columns of slow readings may still be missing.
const COLUMNS_KNOWN_AFTER: Duration = Duration::from_secs(2);

/// How often it is looked whether they are there.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The host's guards, and what they are told of its runs.
#[derive(Debug)]
pub(super) struct HostGuards {
    /// The tick alone takes it.
    set: Mutex<GuardSet>,
    pub(super) board: GuardBoard,
    owned: Mutex<Owned>,
    /// Of the latest frame.
    schema: Mutex<Option<Arc<Schema>>>,
    folders: Arc<Folders>,
    state_dir: PathBuf,
    /// When it began, CLOCK_MONOTONIC.
    began: Duration,
}

impl HostGuards {
    pub(super) fn new(limits: &LimitsConfig, configured: &[ssts_proto::v1::Guard], state_dir: &Path) -> Self {
        let began = clock::monotonic();
        let set = GuardSet::new(shipped::of_host(limits, configured), limits.stale_after, began);
        let folders = Arc::new(Folders::default());
        folders.set(vec![state_dir.to_owned()]);
        Self {
            board: set.board(),
            set: Mutex::new(set),
            owned: Mutex::default(),
            schema: Mutex::default(),
            folders,
            state_dir: state_dir.to_owned(),
            began,
        }
    }

    /// The folders whose file systems have to be read.
    pub(super) fn folders(&self) -> Arc<Folders> {
        self.folders.clone()
    }

    /// Looks at a frame, then hands the guards to `each`, who sees to the runs that are on.
    pub(super) fn look<T>(
        &self,
        schema: &Arc<Schema>,
        frame: &Frame,
        each: impl FnOnce(&mut GuardSet) -> T,
    ) -> T {
        {
            let mut known = lock(&self.schema);
            if known.as_ref().is_none_or(|known| known.id != schema.id) {
                *known = Some(schema.clone());
            }
        }
        let mut set = lock(&self.set);
        set.look(schema, frame, &lock(&self.owned));
        let outcome = each(&mut set);
        set.say();
        set.show(&self.board);
        outcome
    }

    /// Tells of the runs that are on now: what they write to, and which devices they load.
    pub(super) fn own<'a>(&self, roots: &HostRoots, runs: impl Iterator<Item = &'a Admitted>) {
        let plans = runs.flat_map(|admitted| &admitted.phases).flat_map(|phase| &phase.plans);
        let mut paths: Vec<PathBuf> = plans
            .filter_map(|plan| match &plan.load {
                Load::Disk(load) => Some(load.path.clone()),
                _ => None,
            })
            .collect();
        paths.sort();
        paths.dedup();
        let mut devices: Vec<String> = paths.iter().flat_map(|path| loaded_with(roots, path)).collect();
        devices.sort();
        devices.dedup();
        {
            let mut owned = lock(&self.owned);
            if owned.devices != devices {
                *owned = Owned { generation: owned.generation + 1, devices };
            }
        }
        paths.retain(|path| path.is_dir());
        paths.push(self.state_dir.clone());
        self.folders.set(paths);
    }

    /// A guard that would end a run as soon as it began, and why.
    pub(super) fn tripped(&self) -> Option<(String, String)> {
        let tripped = |(spec, standing): &(Arc<GuardSpec>, _)| {
            let standing: &crate::guard::Standing = standing;
            (standing.state == GuardState::Tripped && spec.ends_runs())
                .then(|| (spec.name().to_owned(), standing.message.to_string()))
        };
        self.board.all().iter().find_map(tripped)
    }

    /// How they stand.
    pub(super) fn statuses(&self) -> Vec<GuardStatus> {
        self.board.statuses()
    }

    /// What is wrong with a guard that a run asks for: there is nothing on this host for it to look at. A daemon that has only
    /// just begun may not have read everything yet: it is waited for.
    pub(super) fn missing(&self, field: &str, spec: &GuardSpec) -> Option<Violation> {
        loop {
            let missing = self.missing_now(field, spec)?;
            if clock::monotonic().saturating_sub(self.began) > COLUMNS_KNOWN_AFTER {
                return Some(missing);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn missing_now(&self, field: &str, spec: &GuardSpec) -> Option<Violation> {
        // Its columns come with its burners.
        if spec.metric.name.starts_with("burner.") || spec.metric.name.starts_with("cgroup.") {
            return None;
        }
        let schema = lock(&self.schema).clone()?;
        let scalars = schema.columns.iter();
        let of_metric: Vec<_> = scalars
            .chain(schema.histograms.iter().map(|histogram| &histogram.column))
            .filter(|column| *column.metric == *spec.metric)
            .collect();
        if of_metric.iter().any(|column| spec.matches(&column.labels)) {
            return None;
        }
        let name = spec.metric.name;
        if of_metric.is_empty() {
            return Some(Violation {
                field: format!("{field}.metric"),
                message: format!("this host has no {name}, so the guard {} would guard nothing", spec.name()),
                mend: "leave it out, or mend what `sstsd check` says of it".into(),
                ..Violation::default()
            });
        }
        let mut named: Vec<_> = of_metric.iter().map(|column| column.labels.join(", ")).collect();
        let more = named.len().saturating_sub(MOST_NAMED);
        named.truncate(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let labels = spec.metric.labels.join(", ");
        Some(Violation {
            field: format!("{field}.labels"),
            message: format!("no {name} of this host has these labels"),
            mend: format!("choose among those that there are ({labels}): {}{more}", named.join("; ")),
            ..Violation::default()
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody can leave half a change behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
