//! Which runs are meant.

use super::value::Value;

/// What runs must be like. Empty, all are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RunFilter {
    /// Started then or later, ns since 1970.
    pub(crate) since_ns: Option<i64>,
    /// Started before then, ns since 1970.
    pub(crate) until_ns: Option<i64>,
    pub(crate) scenario: Option<String>,
    /// A host that the run was on.
    pub(crate) host: Option<String>,
    /// `pass`, `fail`, `aborted` or `error`: one of these.
    pub(crate) verdicts: Vec<String>,
    /// All of them.
    pub(crate) tags: Vec<String>,
    /// One of these, by their whole ids.
    pub(crate) run_ids: Vec<String>,
    /// The newest ones, at most so many.
    pub(crate) limit: Option<u32>,
}

impl RunFilter {
    /// One run.
    pub(crate) fn run(run_id: &str) -> Self {
        Self { run_ids: vec![run_id.to_owned()], ..Self::default() }
    }

    /// Whether every run is meant.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The condition on a table `run`, and what its `$1` … stand for.
    pub(super) fn condition(&self) -> (String, Vec<Value>) {
        let mut parts = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        let mut with = |text: &str, value: Value| {
            values.push(value);
            parts.push(text.replace("$?", &format!("${}", values.len())));
        };
        if let Some(since_ns) = self.since_ns {
            with("run.key >= $?", since_ns.into());
        }
        if let Some(until_ns) = self.until_ns {
            with("run.key < $?", until_ns.into());
        }
        if let Some(scenario) = &self.scenario {
            with("run.scenario = $?", scenario.as_str().into());
        }
        if let Some(host) = &self.host {
            with(
                "EXISTS (SELECT 1 FROM run_host WHERE run_host.run_key = run.key AND run_host.host = $?)",
                host.as_str().into(),
            );
        }
        for tag in &self.tags {
            with(
                "EXISTS (SELECT 1 FROM tag WHERE tag.run_key = run.key AND tag.tag = $?)",
                tag.as_str().into(),
            );
        }
        for (column, among) in [("run.verdict", &self.verdicts), ("run.run_id", &self.run_ids)] {
            if among.is_empty() {
                continue;
            }
            values.extend(among.iter().map(|one| Value::from(one.as_str())));
            let first = values.len() - among.len() + 1;
            parts.push(format!("{column} IN ({})", places(first, among.len())));
        }
        let condition = if parts.is_empty() { "1 = 1".into() } else { parts.join(" AND ") };
        (condition, values)
    }
}

/// `$4, $5, $6`: so many of them, from the first on.
pub(super) fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_has_its_value() {
        assert_eq!(RunFilter::default().condition(), ("1 = 1".into(), Vec::new()));
        let filter = RunFilter {
            since_ns: Some(5),
            scenario: Some("s".into()),
            tags: vec!["a".into(), "b".into()],
            verdicts: vec!["fail".into(), "error".into()],
            limit: Some(3),
            ..RunFilter::default()
        };
        let (condition, values) = filter.condition();
        assert_eq!(
            condition,
            "run.key >= $1 AND run.scenario = $2 \
             AND EXISTS (SELECT 1 FROM tag WHERE tag.run_key = run.key AND tag.tag = $3) \
             AND EXISTS (SELECT 1 FROM tag WHERE tag.run_key = run.key AND tag.tag = $4) \
             AND run.verdict IN ($5, $6)"
        );
        let texts = ["s", "a", "b", "fail", "error"].map(Value::from);
        assert_eq!(values, [vec![Value::Int(5)], texts.to_vec()].concat());
    }
}
