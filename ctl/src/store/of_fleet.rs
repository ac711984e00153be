//! The runs that belong together: a run of a fleet is kept once for each of its hosts, under `RUN@HOST`.

use std::collections::BTreeSet;

use super::{KeptRun, RunFilter, Store, document::host_of, queries::beginning};
use crate::error::Failure;

impl Store {
    /// All that was kept of the run that a user means: by its id, with or without a host's name, the beginning of it, a baseline's
    /// name, or `latest`. Each with the name of its host, where it was one of several.
    pub(crate) async fn of_fleet(
        &mut self,
        reference: &str,
    ) -> Result<Vec<(KeptRun, Option<String>)>, Failure> {
        let sql = r"SELECT run_id FROM run WHERE lower(run_id) LIKE $1 ESCAPE '\'";
        let mut ids = BTreeSet::new();
        for mut row in self.db.query(sql, &[beginning(reference).into()]).await? {
            ids.insert(whole(&row.text()?).to_owned());
        }
        let id = match ids.len() {
            1 => ids.pop_first(),
            // A name, or the beginning of several.
            _ => self.lookup(reference).await?.map(|run| whole(&run.run_id).to_owned()),
        };
        let Some(id) = id else { return Ok(Vec::new()) };
        let mut run_ids = Vec::new();
        for mut row in self.db.query(sql, &[beginning(&id).into()]).await? {
            let run_id = row.text()?;
            if whole(&run_id) == id {
                run_ids.push(run_id);
            }
        }
        let runs = self.runs(&RunFilter { run_ids, ..RunFilter::default() }).await?;
        let named = |run: KeptRun| {
            let host = host_of(&run.run_id).map(str::to_owned);
            (run, host)
        };
        let mut runs: Vec<_> = runs.into_iter().map(named).collect();
        runs.sort_by(|(one, _), (other, _)| one.run_id.cmp(&other.run_id));
        Ok(runs)
    }
}

/// The id that the run has on all its hosts.
fn whole(run_id: &str) -> &str {
    host_of(run_id).map_or(run_id, |host| &run_id[..run_id.len() - host.len() - 1])
}
