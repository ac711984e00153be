//! What the history answers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ssts_proto::v1::Run;

use super::{
    BASELINE, Figure, FigureQuery, KeptFigure, RunFilter, Store, damaged,
    document::{unpacked, unpacked_run},
    filter::places,
    unknown,
    value::{Row, Value},
};
use crate::error::Failure;

/// Runs whose tags are asked for at once.
const ROWS: usize = 2_000;
/// Series that figures are asked for by name.
const FEW_SERIES: usize = 500;

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
        let mut sql = format!("SELECT key, run_id FROM run WHERE {condition} ORDER BY key DESC");
        if let Some(limit) = query.runs.limit {
            values.push(i64::from(limit).into());
            sql += &format!(" LIMIT ${}", values.len());
        }
        let mut run_ids = HashMap::new();
        for mut row in self.db.query(&sql, &values).await? {
            run_ids.insert(row.int()?, Arc::<str>::from(row.text()?));
        }
        let wanted = self.wanted_series(query).await?;
        let numbers = self.numbers(run_ids.keys().copied().collect(), wanted.as_ref()).await?;
        let series = match wanted {
            Some(series) => series,
            None => self.series_of(numbers.iter().map(|number| number.1).collect()).await?,
        };
        // Their texts are compared once for each series, and not for each figure.
        let mut by_text: Vec<_> = series.iter().collect();
        by_text.sort_by(|(_, one), (_, other)| order(one).cmp(&order(other)));
        let place: HashMap<_, _> = by_text.iter().enumerate().map(|(place, (id, _))| (**id, place)).collect();
        let mut placed: Vec<_> = numbers
            .into_iter()
            .filter_map(|(key, id, value)| Some((key, *place.get(&id)?, id, value)))
            .collect();
        placed.sort_unstable_by_key(|(key, place, ..)| (*key, *place));
        let figure = |(key, _, id, value): (i64, usize, i64, f64)| {
            let run_id = run_ids.get(&key)?.clone();
            Some(KeptFigure {
                run_id,
                started_at_ns: key,
                figure: Figure { value, ..series.get(&id)?.clone() },
            })
        };
        Ok(placed.into_iter().filter_map(figure).collect())
    }

    /// The series that a query means, as figures without a value; nothing where it means all that its runs have.
    async fn wanted_series(&mut self, query: &FigureQuery) -> Result<Option<HashMap<i64, Figure>>, Failure> {
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        let wanted = [("metric", &query.metric), ("statistic", &query.statistic), ("host", &query.runs.host)];
        for (column, wanted) in wanted {
            if let Some(wanted) = wanted {
                values.push(wanted.as_str().into());
                conditions.push(format!("{column} = ${}", values.len()));
            }
        }
        if conditions.is_empty() && query.labels.is_empty() {
            return Ok(None);
        }
        conditions.push("1 = 1".into());
        let mut series = self.series(&conditions.join(" AND "), &values).await?;
        let has = |figure: &Figure, (name, value): (&String, &String)| figure.labels.get(name) == Some(value);
        series.retain(|_, figure| query.labels.iter().all(|label| has(figure, label)));
        Ok(Some(series))
    }

    async fn series_of(&mut self, ids: BTreeSet<i64>) -> Result<HashMap<i64, Figure>, Failure> {
        let ids: Vec<Value> = ids.into_iter().map(Value::from).collect();
        let mut series = HashMap::new();
        for some in ids.chunks(ROWS) {
            series.extend(self.series(&format!("id IN ({})", places(1, some.len())), some).await?);
        }
        Ok(series)
    }

    async fn series(&mut self, condition: &str, values: &[Value]) -> Result<HashMap<i64, Figure>, Failure> {
        let sql = format!("SELECT id, host, metric, labels, statistic, unit FROM series WHERE {condition}");
        let mut shared = Shared::default();
        let rows = self.db.query(&sql, values).await?;
        rows.into_iter().map(|row| series_figure(row, &mut shared)).collect()
    }

    /// Run, series and value of the figures of these runs; `wanted` are the only series that are asked for.
    async fn numbers(
        &mut self,
        run_keys: Vec<i64>,
        wanted: Option<&HashMap<i64, Figure>>,
    ) -> Result<Vec<(i64, i64, f64)>, Failure> {
        let mut numbers = Vec::new();
        if wanted.is_some_and(HashMap::is_empty) {
            return Ok(numbers);
        }
        // Where there are more of them, more is read than asked for.
        let few: Vec<i64> = wanted
            .filter(|series| series.len() <= FEW_SERIES)
            .into_iter()
            .flatten()
            .map(|it| *it.0)
            .collect();
        for keys in run_keys.chunks(ROWS) {
            let mut sql = format!(
                "SELECT run_key, series_id, value FROM figure WHERE run_key IN ({})",
                places(1, keys.len())
            );
            if !few.is_empty() {
                sql += &format!(" AND series_id IN ({})", places(keys.len() + 1, few.len()));
            }
            let values: Vec<Value> = keys.iter().chain(&few).copied().map(Value::from).collect();
            for mut row in self.db.query(&sql, &values).await? {
                numbers.push((row.int()?, row.int()?, row.real()?));
            }
        }
        Ok(numbers)
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

/// Texts and labels that many series have.
#[derive(Debug, Default)]
struct Shared {
    texts: HashSet<Arc<str>>,
    labels: HashMap<String, Arc<BTreeMap<String, String>>>,
}

impl Shared {
    fn text(&mut self, text: String) -> Arc<str> {
        match self.texts.get(text.as_str()) {
            Some(known) => known.clone(),
            None => {
                let text: Arc<str> = text.into();
                self.texts.insert(text.clone());
                text
            }
        }
    }

    fn labels(&mut self, text: String) -> Result<Arc<BTreeMap<String, String>>, Failure> {
        if let Some(known) = self.labels.get(&text) {
            return Ok(known.clone());
        }
        let labels = serde_json::from_str(&text)
            .map_err(|error| damaged(format!("labels '{text}' can't be read: {error}")))?;
        Ok(self.labels.entry(text).or_insert(Arc::new(labels)).clone())
    }
}

/// A series and its number.
fn series_figure(mut row: Row, shared: &mut Shared) -> Result<(i64, Figure), Failure> {
    let id = row.int()?;
    let figure = Figure {
        host: shared.text(row.text()?),
        metric: shared.text(row.text()?),
        labels: shared.labels(row.text()?)?,
        statistic: shared.text(row.text()?),
        unit: shared.text(row.text()?),
        value: f64::NAN,
    };
    Ok((id, figure))
}

fn order(figure: &Figure) -> impl Ord + '_ {
    let Figure { host, metric, labels, statistic, unit, .. } = figure;
    (host, metric, labels, statistic, unit)
}
