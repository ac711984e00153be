//! Which runs a history has, all at once: for whoever has many and wants to know which are new.

use std::collections::HashMap;

use ssts_proto::v1::Run;

use super::Store;
use crate::error::Failure;

/// The runs of a history.
#[derive(Debug, Default)]
pub(crate) struct KnownRuns {
    /// By id: when each started, and on which hosts it was.
    runs: HashMap<String, (i64, Vec<String>)>,
}

impl KnownRuns {
    /// Whether there is one of the id.
    pub(crate) fn has(&self, run_id: &str) -> bool {
        self.runs.contains_key(run_id)
    }

    /// Whether this very run was kept as one of its host alone. The run of a fleet has one id on all its hosts, but was kept of
    /// one of them only.
    pub(crate) fn has_of_host(&self, run: &Run) -> bool {
        let Some(summary) = &run.summary else { return false };
        let hostname = run.host.as_ref().map(|host| host.hostname.as_str()).unwrap_or_default();
        self.runs.get(&summary.run_id).is_some_and(|(started_at_ns, hosts)| {
            *started_at_ns == summary.started_at_unix_ns && hosts.iter().any(|host| host == hostname)
        })
    }
}

impl Store {
    /// All that there are.
    pub(crate) async fn known_runs(&mut self) -> Result<KnownRuns, Failure> {
        let mut known = KnownRuns::default();
        let sql =
            "SELECT run.run_id, run.key, run_host.host FROM run JOIN run_host ON run_host.run_key = run.key";
        for mut row in self.db.query(sql, &[]).await? {
            let (run_id, key, host) = (row.text()?, row.int()?, row.text()?);
            known.runs.entry(run_id).or_insert_with(|| (key, Vec::new())).1.push(host);
        }
        Ok(known)
    }
}
