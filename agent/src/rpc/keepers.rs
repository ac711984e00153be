//! Who keeps the lease of which run, so that it can be told when somebody else takes a run over.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::audit::Subject;

/// By run.
#[derive(Debug, Default)]
pub(super) struct Keepers(Mutex<HashMap<String, Keeper>>);

/// Of a caller, what stays the same when it connects once more: a client's name in its certificate, or a user and a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keeper {
    client: Option<String>,
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Keepers {
    /// Makes a caller the keeper of a run, and forgets the runs that are over. Gives whether somebody else kept it before.
    pub(super) fn hand_over(&self, run_id: &str, to: &Subject, is_on: impl Fn(&str) -> bool) -> bool {
        let keeper = Keeper { client: to.client.clone(), uid: to.uid, pid: to.pid };
        // Nobody leaves it half-changed.
        let mut by_run = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        by_run.retain(|run_id, _| is_on(run_id));
        let is_kept = by_run.get(run_id) == Some(&keeper);
        !is_kept && by_run.insert(run_id.to_owned(), keeper).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_taken_over_by_somebody_else_alone() {
        let keepers = Keepers::default();
        let of = |name: &str, address: &str| Subject {
            client: Some(name.into()),
            address: Some(address.into()),
            ..Subject::default()
        };
        let taken = |who: &Subject| keepers.hand_over("r", who, |_| true);
        let calls = [("ann", "a:1"), ("ann", "a:2"), ("bob", "b:1"), ("bob", "b:1"), ("ann", "a:3")];
        assert_eq!(calls.map(|(name, from)| taken(&of(name, from))), [false, false, true, false, true]);
        // What is over is forgotten, and its name says nothing of another run.
        assert!(!keepers.hand_over("r", &of("bob", "b:1"), |_| false));
    }
}
