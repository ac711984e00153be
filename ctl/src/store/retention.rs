//! How long runs are kept: by age and by size, the oldest go first. A baseline stays, however old.

use std::time::Duration;

use super::{KeptRun, Store, db::Db, now_ns};
use crate::error::Failure;

/// What a user's own history may take if nobody said otherwise.
const USER_BYTES: u64 = 1 << 30;
const KEEP_FOR: &str = "keep_for_s";
const KEEP_BYTES: &str = "keep_bytes";
/// No bound, in a setting.
const UNBOUNDED: &str = "none";

/// What is kept. Nothing in it, all is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Runs that started longer ago go.
    pub(crate) keep_for: Option<Duration>,
    /// The oldest go until the others take no more than this.
    pub(crate) keep_bytes: Option<u64>,
}

/// What was pruned, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// Oldest first.
    pub(crate) run_ids: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) kept_runs: u64,
    pub(crate) kept_bytes: u64,
    pub(super) keys: Vec<i64>,
}

impl Store {
    /// What the store keeps, by what was set in it.
    pub(crate) async fn retention(&mut self) -> Result<Retention, Failure> {
        let mut retention = Retention {
            keep_for: None,
            keep_bytes: match &self.db {
                Db::Sqlite(_) => Some(USER_BYTES),
                // A team's own administrator decides.
                Db::Postgres(_) => None,
            },
        };
        for mut row in self.db.query("SELECT name, value FROM setting", &[]).await? {
            let (name, value) = (row.text()?, row.text()?);
            // What this version can't read, another one wrote: nothing is removed for it.
            let number = value.parse::<u64>().ok();
            match name.as_str() {
                KEEP_FOR => retention.keep_for = number.map(Duration::from_secs),
                KEEP_BYTES => retention.keep_bytes = number,
                _ => {}
            }
        }
        Ok(retention)
    }

    /// Sets what the store keeps from now on, whoever uses it.
    pub(crate) async fn set_retention(&mut self, retention: Retention) -> Result<(), Failure> {
        let text = |bound: Option<u64>| bound.map_or_else(|| UNBOUNDED.to_owned(), |bound| bound.to_string());
        let settings = [
            (KEEP_FOR, text(retention.keep_for.map(|age| age.as_secs()))),
            (KEEP_BYTES, text(retention.keep_bytes)),
        ];
        self.db
            .transaction(async |db| {
                for (name, value) in settings {
                    let sql = "INSERT INTO setting (name, value) VALUES ($1, $2)
                               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                    db.execute(sql, &[name.into(), value.into()]).await?;
                }
                Ok(())
            })
            .await
    }

    /// What would go.
    pub(crate) async fn to_prune(&mut self, retention: Retention) -> Result<Pruned, Failure> {
        let sql = "SELECT key, run_id, bytes, (SELECT count(*) FROM baseline WHERE run_key = run.key)
                   FROM run ORDER BY key DESC";
        let oldest = retention.keep_for.map(|age| {
            let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            now_ns().saturating_sub(age_ns)
        });
        let mut pruned = Pruned::default();
        let mut is_full = false;
        for mut row in self.db.query(sql, &[]).await? {
            let (key, run_id) = (row.int()?, row.text()?);
            let bytes = u64::try_from(row.int()?).unwrap_or(0);
            let is_baseline = row.int()? > 0;
            let too_old = oldest.is_some_and(|oldest| key < oldest);
            // The newest stays, whatever its size: nothing would be won by what is removed when it has just come.
            is_full |= pruned.kept_runs > 0
                && retention.keep_bytes.is_some_and(|most| pruned.kept_bytes + bytes > most);
            if (too_old || is_full) && !is_baseline {
                pruned.run_ids.push(run_id);
                pruned.keys.push(key);
                pruned.bytes += bytes;
            } else {
                pruned.kept_runs += 1;
                pruned.kept_bytes += bytes;
            }
        }
        pruned.run_ids.reverse();
        Ok(pruned)
    }

    /// Removes what has no room any more.
    pub(crate) async fn prune(&mut self, retention: Retention) -> Result<Pruned, Failure> {
        let pruned = self.to_prune(retention).await?;
        if !pruned.keys.is_empty() {
            self.remove(&pruned.keys).await?;
        }
        Ok(pruned)
    }

    /// Removes runs.
    ///
    /// # Errors
    /// One is a baseline: then none is removed.
    pub(crate) async fn remove_runs(&mut self, runs: &[KeptRun]) -> Result<u64, Failure> {
        if let Some(run) = runs.iter().find(|run| !run.baselines.is_empty()) {
            return Err(Failure::usage(
                format!("run {} is the baseline '{}'", run.run_id, run.baselines.join("', '")),
                format!("forget that first: `sstsctl runs baseline --remove {}`", run.baselines[0]),
            ));
        }
        let keys: Vec<_> = runs.iter().map(|run| run.key).collect();
        self.remove(&keys).await
    }
}
