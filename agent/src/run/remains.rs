//! What runs have left or may have left on this host. A run that is not clean keeps others from starting until it was looked at
//! again and seen to be clean, or until somebody has put his name to it. That it is not clean stands in its record, so that it
//! holds across restarts.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use ssts_proto::v1::{Event, EventKind, Receipt, ReceiptState, Run, RunReceipt, Trail, Waiver};
use tracing::{error, info, warn};

use super::{
    active::ActiveRun,
    admit::Admitted,
    alive::AliveLock,
    oom,
    receipt::{self, Witness},
    store::{Store, StoreError},
    undo::{UndoJournal, Undone},
};
use crate::{
    burn::{disk::Place, plan::Load},
    clock,
    host::{self, HostRoots},
};

/// How long a start waits for the look at what an earlier daemon has left. Mostly that takes milliseconds.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// The books of a daemon about it.
#[derive(Debug)]
pub(super) struct Remains {
    roots: HostRoots,
    store: Arc<Store>,
    undo: Arc<UndoJournal>,
    alive: AliveLock,
    books: Mutex<Books>,
    /// Tells of `Books::looked`.
    looked: Condvar,
}

#[derive(Debug, Default)]
struct Books {
    /// What an earlier daemon has left was looked at.
    looked: bool,
    /// By run.
    unclean: BTreeMap<String, Unclean>,
}

#[derive(Debug)]
struct Unclean {
    /// Nothing where the undo journal alone knows of it.
    trail: Option<Trail>,
    receipt: Receipt,
}

impl Remains {
    pub(super) fn open(
        state_dir: &Path,
        roots: &HostRoots,
        store: Arc<Store>,
        undo: Arc<UndoJournal>,
    ) -> Result<Self, StoreError> {
        let alive = AliveLock::take(state_dir)?;
        Ok(Self { roots: roots.clone(), store, undo, alive, books: Mutex::default(), looked: Condvar::new() })
    }

    /// The journal of what is to be undone.
    pub(super) fn undo(&self) -> &UndoJournal {
        &self.undo
    }

    /// What its burners have to inherit.
    pub(super) fn alive(&self) -> &AliveLock {
        &self.alive
    }

    /// Where to look after a run that is to be started.
    pub(super) fn trail(&self, run_id: &str, admitted: &Admitted) -> Trail {
        let plans = || admitted.phases.iter().flat_map(|phase| &phase.plans);
        let mut devices: Vec<_> = plans()
            .filter_map(|plan| match &plan.load {
                Load::Disk(load) => match &load.place {
                    Place::Device => Some(load.path.display().to_string()),
                    Place::FileSystem(remount) => Some(remount.file.file_system.device.display().to_string()),
                    Place::Folder => None,
                },
                Load::Cpu(_) | Load::Memory(_) | Load::Network(_) | Load::Http(_) => None,
            })
            .collect();
        devices.sort_unstable();
        devices.dedup();
        let held = |phase: &super::admit::PlannedPhase| {
            phase.plans.iter().map(|plan| plan.load.memory_bytes()).sum()
        };
        Trail {
            boot_id: receipt::boot_id(&self.roots).unwrap_or_default(),
            cgroup: host::run_folder(&self.roots, run_id)
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            lock: self.alive.path().display().to_string(),
            processes: Vec::new(),
            devices,
            memory_bytes: admitted.phases.iter().map(held).max().unwrap_or_default(),
            oom_kills: oom::kills(&self.roots),
        }
    }

    /// Looks at what is there after a run of this daemon, and keeps it in mind where it is not clean.
    pub(super) fn close(&self, run: &ActiveRun, witness: &Witness) -> Receipt {
        let trail = run.trail();
        let hangs = !trail.processes.is_empty();
        let undone = if hangs { self.undo.settle_settings(&run.id) } else { self.undo.settle_run(&run.id) };
        let mut receipt = receipt::look(&trail, &undone, witness, &self.roots);
        receipt.after_quiet_ns = run.quiet().map(|quiet| clock::ns(clock::boottime().saturating_sub(quiet)));
        if receipt.state() != ReceiptState::Clean {
            warn!(run = run.id, trouble = receipt::trouble(&receipt), "the host is not seen to be clean");
            let unclean = Unclean { trail: Some(trail), receipt: receipt.clone() };
            self.lock().unclean.insert(run.id.clone(), unclean);
        }
        receipt
    }

    /// What keeps runs from starting, in words. Waits a little for the first look.
    pub(super) fn block(&self) -> Option<String> {
        let (books, _) = self
            .looked
            .wait_timeout_while(self.lock(), FIRST_LOOK, |books| !books.looked)
            .unwrap_or_else(PoisonError::into_inner);
        if !books.looked {
            return Some("what an earlier sstsd has left is still being looked at".into());
        }
        let (run_id, unclean) = books.unclean.first_key_value()?;
        let whose = if run_id.is_empty() { "an earlier run".into() } else { format!("run {run_id}") };
        let state = match unclean.receipt.state() {
            ReceiptState::Left => "has left something on this host",
            _ => "may have left something on this host",
        };
        Some(format!("{whose} {state} ({})", receipt::trouble(&unclean.receipt)))
    }

    /// The runs that keep others from starting.
    pub(super) fn unclean(&self) -> Vec<RunReceipt> {
        self.lock().unclean.iter().map(|(run_id, unclean)| run_receipt(run_id, &unclean.receipt)).collect()
    }

    /// Looks, on a thread of its own, at what an earlier daemon has left: a disk may take its time.
    pub(super) fn look_after_the_last(self: &Arc<Self>) {
        let remains = self.clone();
        let look = move || remains.take_over();
        if let Err(error) = thread::Builder::new().name("recover".into()).spawn(look) {
            error!(%error, "no thread to look at what an earlier sstsd has left");
            self.take_over();
        }
    }

    /// The same, here and now.
    pub(super) fn take_over(&self) {
        let mut undone = by_run(self.undo.settle_lost());
        for run in self.store.take_doubtful() {
            let run_id = run.summary.as_ref().map(|summary| summary.run_id.clone()).unwrap_or_default();
            let undone = undone.remove(&run_id).unwrap_or_default();
            self.look_at_lost(&run_id, run, &undone);
        }
        let mut books = self.lock();
        for (run_id, undone) in undone {
            note_changes(&mut books, run_id, &undone);
        }
        books.looked = true;
        drop(books);
        self.looked.notify_all();
    }

    fn look_at_lost(&self, run_id: &str, mut run: Run, undone: &[Undone]) {
        let trail = run.trail.clone().unwrap_or_default();
        let receipt = receipt::look(&trail, undone, &Witness::default(), &self.roots);
        info!(
            run = run_id,
            state = receipt.state().as_str_name(),
            "looked at what an earlier sstsd has left of it"
        );
        // Nobody has looked before: it is that daemon's end that is to be told.
        if run.receipt.is_none()
            && let Some(summary) = &mut run.summary
            && let Some(hint) = self.hint(&trail)
        {
            summary.cause_message += &format!("; {hint}");
        }
        amend(&mut run, &receipt);
        if receipt.state() != ReceiptState::Clean {
            self.lock().unclean.insert(run_id.to_owned(), Unclean { trail: Some(trail), receipt });
        }
        if let Err(error) = self.store.write(run) {
            warn!(%error, "the record of a lost run is ended in memory only");
        }
    }

    /// What may have ended a daemon that left no word of it.
    fn hint(&self, trail: &Trail) -> Option<String> {
        let boot_id = receipt::boot_id(&self.roots)?;
        if trail.boot_id.is_empty() {
            return None;
        }
        if trail.boot_id != boot_id {
            return Some("the host was booted anew since".into());
        }
        let killed = oom::kills(&self.roots)?.checked_sub(trail.oom_kills?).filter(|killed| *killed > 0)?;
        Some(format!(
            "the kernel's OOM killer has ended {killed} processes on this host since the run began, its log (`journalctl -k`) names \
             them"
        ))
    }

    /// Looks again at all that is not clean, and undoes what can be undone. With a waiver, what is still not clean no longer
    /// keeps runs from starting. What was seen of each.
    pub(super) fn recover(&self, waiver: Option<&Waiver>) -> Vec<RunReceipt> {
        drop(
            self.looked
                .wait_while(self.lock(), |books| !books.looked)
                .unwrap_or_else(PoisonError::into_inner),
        );
        let mut undone = by_run(self.undo.settle_lost());
        let trails: Vec<_> = self
            .lock()
            .unclean
            .iter()
            .map(|(run_id, unclean)| (run_id.clone(), unclean.trail.clone()))
            .collect();
        let mut seen = Vec::new();
        for (run_id, trail) in trails {
            let undone = undone.remove(&run_id).unwrap_or_default();
            let receipt = match &trail {
                Some(trail) => receipt::look(trail, &undone, &self.witness(trail), &self.roots),
                None => receipt::of_changes(&undone),
            };
            seen.push(self.settle(&run_id, trail, receipt, waiver));
        }
        for (run_id, undone) in undone {
            if undone.iter().any(|undone| undone.state != ReceiptState::Clean) {
                let receipt = receipt::of_changes(&undone);
                seen.push(self.settle(&run_id, None, receipt, waiver));
            }
        }
        if waiver.is_some() {
            self.undo.waive();
        }
        seen
    }

    /// Of a run of this daemon every process but those of its trail was waited for.
    fn witness(&self, trail: &Trail) -> Witness {
        let own = Path::new(&trail.lock) == self.alive.path();
        Witness { waited_for: own.then_some(trail.processes.len()) }
    }

    fn settle(
        &self,
        run_id: &str,
        trail: Option<Trail>,
        mut receipt: Receipt,
        waiver: Option<&Waiver>,
    ) -> RunReceipt {
        let clean = receipt.state() == ReceiptState::Clean;
        if !clean {
            receipt.waiver = waiver.cloned();
        }
        let mut books = self.lock();
        if clean || waiver.is_some() {
            books.unclean.remove(run_id);
        } else {
            books.unclean.insert(run_id.to_owned(), Unclean { trail, receipt: receipt.clone() });
        }
        drop(books);
        match self.store.read(run_id) {
            Ok(Some(mut run)) => {
                amend(&mut run, &receipt);
                if let Err(error) = self.store.write(run) {
                    warn!(%error, "the receipt is amended in memory only");
                }
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "the receipt can't be amended"),
        }
        run_receipt(run_id, &receipt)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note_changes(books: &mut Books, run_id: String, undone: &[Undone]) {
    let receipt = receipt::of_changes(undone);
    if receipt.state() != ReceiptState::Clean {
        books.unclean.insert(run_id, Unclean { trail: None, receipt });
    }
}

/// Puts a later receipt into a record.
fn amend(run: &mut Run, receipt: &Receipt) {
    if let Some(summary) = &mut run.summary {
        summary.set_receipt(receipt.state());
    }
    run.events.push(event(receipt));
    run.receipt = Some(receipt.clone());
}

/// What is told of a receipt among the events of its run.
pub(super) fn words(receipt: &Receipt) -> String {
    match (receipt.state(), &receipt.waiver) {
        (ReceiptState::Clean, _) => "the host was seen to be clean".into(),
        (_, Some(Waiver { by, reason, .. })) => {
            format!("not clean, and given up by {by} ({reason}): {}", receipt::trouble(receipt))
        }
        (ReceiptState::Left, None) => format!("something is left: {}", receipt::trouble(receipt)),
        (ReceiptState::Unknown | ReceiptState::Unspecified, None) => {
            format!("it is unknown whether something is left: {}", receipt::trouble(receipt))
        }
    }
}

fn event(receipt: &Receipt) -> Event {
    Event {
        at_unix_ns: receipt.observed_at_unix_ns,
        kind: EventKind::Receipt.into(),
        message: words(receipt),
        ..Event::default()
    }
}

fn run_receipt(run_id: &str, receipt: &Receipt) -> RunReceipt {
    RunReceipt { run_id: run_id.into(), receipt: Some(receipt.clone()) }
}

fn by_run(undone: Vec<Undone>) -> BTreeMap<String, Vec<Undone>> {
    let mut runs: BTreeMap<String, Vec<Undone>> = BTreeMap::new();
    for one in undone {
        runs.entry(one.run_id.clone()).or_default().push(one);
    }
    runs
}
