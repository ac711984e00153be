//! What the history answers.

use std::collections::{BTreeMap, HashMap};

use ssts_proto::v1::Run;

use super::{
    BASELINE, Figure, FigureQuery, KeptFigure, RunFilter, Store, damaged,
    document::{unpacked, unpacked_run},
    filter::places,
    unknown,
    value::Row,
};
use crate::error::Failure;

/// Runs whose tags are asked for at once.
const ROWS: usize = 2_000;

/// A run as the history lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptRun {
    /// In the history; in the order of starts.
    pub(super) key: i64,
    pub(crate) run_id: String,
    pub(crate) scenario: String,
    /// `pass`, `fail`, `aborted` or `error`.
    pub(crate) verdict: String,
    pub(crate) cause: Option<String>,
    pub(crate) cause_message: Option<String>,
    pub(crate) receipt: Option<String>,
    /// Ns since 1970.
    pub(crate) started_at_ns: i64,
    pub(crate) duration_ns: i64,
    pub(crate) seed: u64,
    pub(crate) client_version: String,
    pub(crate) kept_at_ns: i64,
    /// That it takes of the store, about.
    pub(crate) bytes: u64,
    pub(crate) hosts: Vec<KeptHost>,
    pub(crate) tags: Vec<String>,
    /// Names of baselines that it is.
    pub(crate) baselines: Vec<String>,
}

/// A host that a run was on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptHost {
    pub(crate) host: String,
    pub(crate) verdict: Option<String>,
    pub(crate) kernel_release: Option<String>,
    pub(crate) agent_version: Option<String>,
}

impl Store {
    /// The runs that are meant, newest first.
    pub(crate) async fn runs(&mut self, filter: &RunFilter) -> Result<Vec<KeptRun>, Failure> {
        let (condition, mut values) = filter.condition();
        let mut sql = format!(
            "SELECT key, run_id, scenario, duration_ns, verdict, cause, cause_message, receipt, seed, client_version,
                    kept_at_ns, bytes
             FROM run WHERE {condition} ORDER BY key DESC"
        );
        if let Some(limit) = filter.limit {
            values.push(i64::from(limit).into());
            sql += &format!(" LIMIT ${}", values.len());
        }
        let rows = self.db.query(&sql, &values).await?;
        let mut runs = rows.into_iter().map(kept_run).collect::<Result<Vec<_>, _>>()?;
        for some in runs.chunks_mut(ROWS) {
            self.complete(some).await?;
        }
        Ok(runs)
    }

    /// The one run that a user means: by its id, the beginning of it, a baseline's name, with or without `baseline:`, or `latest`.
    pub(crate) async fn find(&mut self, reference: &str) -> Result<KeptRun, Failure> {
        self.lookup(reference).await?.ok_or_else(|| unknown(reference))
    }

    /// The same; nothing where the history has no such run.
    pub(crate) async fn lookup(&mut self, reference: &str) -> Result<Option<KeptRun>, Failure> {
        let of_baseline = "key IN (SELECT run_key FROM baseline WHERE name = $1)";
        // In this order: a whole id is never taken for something else.
        let ways = [
            ("run_id = $1", reference.to_owned()),
            (of_baseline, reference.to_owned()),
            (of_baseline, reference.strip_prefix(BASELINE).unwrap_or_default().to_owned()),
            ("key = (SELECT max(key) FROM run) AND $1 = 'latest'", reference.to_owned()),
            (r"lower(run_id) LIKE $1 ESCAPE '\'", beginning(reference)),
        ];
        for (condition, value) in ways {
            let sql = format!("SELECT run_id FROM run WHERE {condition} ORDER BY key DESC LIMIT 2");
            let mut ids = Vec::new();
            for mut row in self.db.query(&sql, &[value.into()]).await? {
                ids.push(row.text()?);
            }
            match &ids[..] {
                [] => {}
                [id] => return Ok(self.runs(&RunFilter::run(id)).await?.pop()),
                several => {
                    return Err(Failure::usage(
                        format!(
                            "'{reference}' is the beginning of several runs, such as {}",
                            several.join(" and ")
                        ),
                        "write more of it",
                    ));
                }
            }
        }
        Ok(None)
    }

    /// All of a run, as the agent told it. Nothing where only its result was kept.
    pub(crate) async fn message(&mut self, run: &KeptRun) -> Result<Option<Run>, Failure> {
        let rows = self.db.query("SELECT message FROM result WHERE run_key = $1", &[run.key.into()]).await?;
        let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
        row.maybe_bytes()?.map(|bytes| unpacked_run(&run.run_id, &bytes)).transpose()
    }

    /// The result of a run, as `--output json` printed it.
    pub(crate) async fn result(&mut self, run: &KeptRun) -> Result<String, Failure> {
        let rows = self.db.query("SELECT document FROM result WHERE run_key = $1", &[run.key.into()]).await?;
        let mut row =
            rows.into_iter().next().ok_or_else(|| damaged(format!("run {} has no result", run.run_id)))?;
        unpacked(&run.run_id, &row.bytes()?)
    }

    /// Figures of runs, in the order of the runs' starts, then by host, metric, labels and statistic.
    pub(crate) async fn figures(&mut self, query: &FigureQuery) -> Result<Vec<KeptFigure>, Failure> {
        let (condition, mut values) = query.runs.condition();
        // The newest runs are meant by a limit, and it is on runs, not on figures.
        let mut runs = format!("SELECT key, run_id FROM run WHERE {condition} ORDER BY key DESC");
        if let Some(limit) = query.runs.limit {
            values.push(i64::from(limit).into());
            runs += &format!(" LIMIT ${}", values.len());
        }
        let mut of_series = Vec::new();
        let wanted = [("metric", &query.metric), ("statistic", &query.statistic), ("host", &query.runs.host)];
        for (column, wanted) in wanted {
            if let Some(wanted) = wanted {
                values.push(wanted.as_str().into());
                of_series.push(format!("{column} = ${}", values.len()));
            }
        }
        // Series first, then each run's figures of these by their key: not all figures of each run.
        let these = match of_series.is_empty() {
            true => String::new(),
            false => {
                format!("WHERE figure.series_id IN (SELECT id FROM series WHERE {})", of_series.join(" AND "))
            }
        };
        let sql = format!(
            "SELECT chosen.key, chosen.run_id, series.host, series.metric, series.labels, series.statistic, series.unit,
                    figure.value
             FROM ({runs}) AS chosen
             JOIN figure ON figure.run_key = chosen.key
             JOIN series ON series.id = figure.series_id {these}"
        );
        let rows = self.db.query(&sql, &values).await?;
        let mut figures = Vec::new();
        let mut labels = HashMap::new();
        for row in rows {
            let kept = kept_figure(row, &mut labels)?;
            let has = |(name, value): (&String, &String)| kept.figure.labels.get(name) == Some(value);
            if query.labels.iter().all(has) {
                figures.push(kept);
            }
        }
        figures.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(figures)
    }

    /// Adds hosts, tags and baselines.
    async fn complete(&mut self, runs: &mut [KeptRun]) -> Result<(), Failure> {
        if runs.is_empty() {
            return Ok(());
        }
        let index: HashMap<i64, usize> =
            runs.iter().enumerate().map(|(index, run)| (run.key, index)).collect();
        let keys: Vec<_> = runs.iter().map(|run| run.key.into()).collect();
        let these = places(1, keys.len());
        let of = |table: &str, columns: &str| {
            format!("SELECT run_key, {columns} FROM {table} WHERE run_key IN ({these}) ORDER BY {columns}")
        };
        for mut row in
            self.db.query(&of("run_host", "host, verdict, kernel_release, agent_version"), &keys).await?
        {
            if let Some(run) = index.get(&row.int()?).and_then(|at| runs.get_mut(*at)) {
                run.hosts.push(KeptHost {
                    host: row.text()?,
                    verdict: row.maybe_text()?,
                    kernel_release: row.maybe_text()?,
                    agent_version: row.maybe_text()?,
                });
            }
        }
        for mut row in self.db.query(&of("tag", "tag"), &keys).await? {
            if let Some(run) = index.get(&row.int()?).and_then(|at| runs.get_mut(*at)) {
                run.tags.push(row.text()?);
            }
        }
        for mut row in self.db.query(&of("baseline", "name"), &keys).await? {
            if let Some(run) = index.get(&row.int()?).and_then(|at| runs.get_mut(*at)) {
                run.baselines.push(row.text()?);
            }
        }
        Ok(())
    }
}

/// A pattern of what begins so; nothing for nothing.
pub(super) fn beginning(reference: &str) -> String {
    if reference.is_empty() {
        return String::new();
    }
    let escaped = reference.to_lowercase().replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    format!("{escaped}%")
}

fn kept_run(mut row: Row) -> Result<KeptRun, Failure> {
    let key = row.int()?;
    Ok(KeptRun {
        key,
        started_at_ns: key,
        run_id: row.text()?,
        scenario: row.text()?,
        duration_ns: row.int()?,
        verdict: row.text()?,
        cause: row.maybe_text()?,
        cause_message: row.maybe_text()?,
        receipt: row.maybe_text()?,
        seed: row.text()?.parse().map_err(|_| damaged("a run's seed is no number"))?,
        client_version: row.text()?,
        kept_at_ns: row.int()?,
        bytes: u64::try_from(row.int()?).map_err(|_| damaged("a run's size is negative"))?,
        hosts: Vec::new(),
        tags: Vec::new(),
        baselines: Vec::new(),
    })
}

/// `known` are the labels that were read before: most figures have those of others.
fn kept_figure(
    mut row: Row,
    known: &mut HashMap<String, BTreeMap<String, String>>,
) -> Result<KeptFigure, Failure> {
    let (started_at_ns, run_id) = (row.int()?, row.text()?);
    let (host, metric, text) = (row.text()?, row.text()?, row.text()?);
    let labels = match known.get(&text) {
        Some(labels) => labels.clone(),
        None => {
            let labels: BTreeMap<String, String> = serde_json::from_str(&text)
                .map_err(|error| damaged(format!("labels '{text}' can't be read: {error}")))?;
            known.entry(text).or_insert(labels).clone()
        }
    };
    let figure =
        Figure { host, metric, labels, statistic: row.text()?, unit: row.text()?, value: row.real()? };
    Ok(KeptFigure { run_id, started_at_ns, figure })
}

fn order(kept: &KeptFigure) -> impl Ord + '_ {
    let Figure { host, metric, labels, statistic, .. } = &kept.figure;
    (kept.started_at_ns, host, metric, labels, statistic)
}
