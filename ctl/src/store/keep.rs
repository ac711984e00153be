//! Puts a run into the history, and takes runs out of it.

use std::collections::HashMap;

use super::{Document, Figure, Store, damaged, db::Db, document::packed, filter::places, value::Value};
use crate::error::Failure;

/// SQLite takes 32,766 values in a statement (sqlite.org/limits.html), PostgreSQL 65,535.
const ROWS: usize = 2_000;
/// What a figure takes of the file with all it needs to be found, bytes: an estimate, for the bound on the store's size.
const FIGURE_BYTES: usize = 29;
/// What a run takes beside its result and its figures, bytes.
const RUN_BYTES: usize = 600;

/// A run for the history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewRun {
    pub(crate) document: Document,
    pub(crate) tags: Vec<String>,
    /// Of the `sstsctl` that kept it first.
    pub(crate) client_version: String,
    pub(crate) kept_at_ns: i64,
}

impl NewRun {
    /// That this `sstsctl` keeps now.
    pub(crate) fn now(document: Document, tags: Vec<String>) -> Self {
        let client_version = env!("CARGO_PKG_VERSION").to_owned();
        Self { document, tags, client_version, kept_at_ns: super::now_ns() }
    }
}

impl Store {
    /// Keeps a run, once: of one that the history has, only new tags are added. Whether it was new.
    pub(crate) async fn keep(&mut self, run: &NewRun) -> Result<bool, Failure> {
        let document = packed(run.document.json.as_bytes())?;
        let message = run.document.message.as_deref().map(packed).transpose()?;
        let Self { db, series } = self;
        let kept = db.transaction(async |db| keep(db, series, run, document, message).await).await;
        if kept.is_err() {
            // Those that the transaction added are not there.
            series.clear();
        }
        kept
    }

    /// Takes runs out, by their keys, with all that is known of them. How many there were.
    pub(super) async fn remove(&mut self, keys: &[i64]) -> Result<u64, Failure> {
        let removed = self
            .db
            .transaction(async |db| {
                let mut removed = 0;
                for keys in keys.chunks(ROWS) {
                    let values: Vec<_> = keys.iter().copied().map(Value::from).collect();
                    let these = places(1, keys.len());
                    for table in ["figure", "result", "run_host", "tag", "baseline"] {
                        db.execute(&format!("DELETE FROM {table} WHERE run_key IN ({these})"), &values)
                            .await?;
                    }
                    removed +=
                        db.execute(&format!("DELETE FROM run WHERE key IN ({these})"), &values).await?;
                }
                Ok(removed)
            })
            .await?;
        self.db.shrink().await?;
        Ok(removed)
    }
}

async fn keep(
    db: &mut Db,
    known: &mut KnownSeries,
    run: &NewRun,
    packed: Vec<u8>,
    message: Option<Vec<u8>>,
) -> Result<bool, Failure> {
    let Document { run_id, started_at_ns, figures, hosts, .. } = &run.document;
    db.make_room(*started_at_ns).await?;
    let packed_bytes = packed.len() + message.as_ref().map_or(0, Vec::len);
    let bytes = packed_bytes + figures.len() * FIGURE_BYTES + RUN_BYTES;
    let (key, is_new) = row(db, run, bytes as i64).await?;
    for tag in &run.tags {
        let values = [key.into(), tag.as_str().into()];
        db.execute("INSERT INTO tag (run_key, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING", &values).await?;
    }
    if !is_new {
        return Ok(false);
    }
    let mut values = vec![key.into(), packed.into()];
    // Of bytes that are absent PostgreSQL would have to be told the type.
    let sql = match message {
        Some(message) => {
            values.push(message.into());
            "INSERT INTO result (run_key, document, message) VALUES ($1, $2, $3)"
        }
        None => "INSERT INTO result (run_key, document) VALUES ($1, $2)",
    };
    db.execute(sql, &values).await?;
    for host in hosts {
        let values = [
            key.into(),
            host.host.as_str().into(),
            host.verdict.as_deref().into(),
            host.kernel_release.as_deref().into(),
            host.agent_version.as_deref().into(),
        ];
        db.execute(
            "INSERT INTO run_host (run_key, host, verdict, kernel_release, agent_version)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            &values,
        )
        .await?;
    }
    keep_figures(db, known, run_id, key, figures).await?;
    Ok(true)
}

/// The run's key, and whether it was made now.
async fn row(db: &mut Db, run: &NewRun, bytes: i64) -> Result<(i64, bool), Failure> {
    let document = &run.document;
    let mut key = document.started_at_ns;
    loop {
        // Another client may add it between the question and the answer: the tables' own conditions decide.
        let known =
            db.query("SELECT key FROM run WHERE run_id = $1", &[document.run_id.as_str().into()]).await?;
        if let Some(mut row) = known.into_iter().next() {
            return Ok((row.int()?, false));
        }
        let values = [
            key.into(),
            document.run_id.as_str().into(),
            document.scenario.as_str().into(),
            document.duration_ns.into(),
            document.verdict.as_str().into(),
            document.cause.as_deref().into(),
            document.cause_message.as_deref().into(),
            document.receipt.as_deref().into(),
            document.seed.to_string().into(),
            run.client_version.as_str().into(),
            run.kept_at_ns.into(),
            bytes.into(),
        ];
        let added = db
            .execute(
                "INSERT INTO run (key, run_id, scenario, duration_ns, verdict, cause, cause_message, receipt, seed,
                                  client_version, kept_at_ns, bytes)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
                &values,
            )
            .await?;
        if added == 1 {
            return Ok((key, true));
        }
        // Another run started in the same nanosecond.
        key = key.checked_add(1).ok_or_else(|| damaged("no key is free for the run"))?;
    }
}

/// What makes a series what it is.
type Series = [String; 5];

/// The numbers of series in a store. A series is never taken out of one.
pub(super) type KnownSeries = HashMap<Series, i64>;

async fn keep_figures(
    db: &mut Db,
    known: &mut KnownSeries,
    run_id: &str,
    key: i64,
    figures: &[Figure],
) -> Result<(), Failure> {
    let series: Vec<_> = figures.iter().map(series_of).collect();
    let mut hosts: Vec<_> = figures.iter().map(|figure| &*figure.host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    if !series.iter().all(|series| known.contains_key(series)) {
        known.extend(ids(db, &hosts).await?);
    }
    let mut unknown: Vec<_> = series.iter().filter(|series| !known.contains_key(*series)).collect();
    // In one order by all clients: none waits for another that waits for it.
    unknown.sort_unstable();
    for some in unknown.chunks(ROWS) {
        let values: Vec<_> =
            some.iter().flat_map(|series| series.iter().map(|text| text.as_str().into())).collect();
        let sql = format!(
            "INSERT INTO series (host, metric, labels, statistic, unit) VALUES {} ON CONFLICT DO NOTHING",
            rows_of(some.len(), 5)
        );
        db.execute(&sql, &values).await?;
    }
    if !unknown.is_empty() {
        known.extend(ids(db, &hosts).await?);
    }
    let mut rows = Vec::with_capacity(figures.len());
    for (series, figure) in series.iter().zip(figures) {
        let id = known.get(series).ok_or_else(|| damaged(format!("run {run_id}: a series was not kept")))?;
        rows.push((*id, figure.value));
    }
    for some in rows.chunks(ROWS) {
        db.add_figures(key, some).await?;
    }
    Ok(())
}

/// All series of some hosts.
async fn ids(db: &mut Db, hosts: &[&str]) -> Result<KnownSeries, Failure> {
    let mut known = HashMap::new();
    for host in hosts {
        let sql = "SELECT id, metric, labels, statistic, unit FROM series WHERE host = $1";
        for mut row in db.query(sql, &[(*host).into()]).await? {
            let id = row.int()?;
            known.insert([(*host).to_owned(), row.text()?, row.text()?, row.text()?, row.text()?], id);
        }
    }
    Ok(known)
}

fn series_of(figure: &Figure) -> Series {
    let Figure { host, metric, labels, statistic, unit, value: _ } = figure;
    // A map of texts can always be written.
    let labels = serde_json::to_string(&**labels).unwrap_or_default();
    [host.to_string(), metric.to_string(), labels, statistic.to_string(), unit.to_string()]
}

/// `($1, $2), ($3, $4)`: so many rows of so many columns.
pub(super) fn rows_of(rows: usize, columns: usize) -> String {
    let row = |index: usize| format!("({})", places(index * columns + 1, columns));
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}
