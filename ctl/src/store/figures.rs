//! The figures of a run: every number of its result that runs can be compared by, under the name of what it measures.
//!
//! Telemetry keeps the names of the catalogue (`host.memory.available`, `runqueue.latency`). What burners say of themselves is
//! under `result.`, with the labels `burner` (indices of the phase and of the burner in it, as telemetry has it), `kind` and
//! `phase`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::filter::RunFilter;

/// What telemetry's summaries are known by. `samples` is how many there were, and no property of the host.
const SUMMARY: [&str; 8] = ["min", "mean", "p50", "p95", "p99", "max", "last", "increase"];
const LATENCY: [&str; 7] = ["count", "p50", "p90", "p95", "p99", "p999", "max"];
/// Of a number that is one for the whole run.
const VALUE: &str = "value";

/// One number about one host in one run. What it is of is shared by all runs that have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) host: Arc<str>,
    /// Such as `host.memory.available`, `result.operations_per_s`.
    pub(crate) metric: Arc<str>,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// `mean`, `p99`, `increase` …; `value` of what is one number.
    pub(crate) statistic: Arc<str>,
    /// UCUM's short form.
    pub(crate) unit: Arc<str>,
    pub(crate) value: f64,
}

/// Which figures are meant. Empty, all are.
#[derive(Debug, Clone, Default)]
pub(crate) struct FigureQuery {
    pub(crate) runs: RunFilter,
    pub(crate) metric: Option<String>,
    pub(crate) statistic: Option<String>,
    /// Those that have all of these, and maybe more.
    pub(crate) labels: BTreeMap<String, String>,
}

/// A figure, and the run that it is of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptFigure {
    pub(crate) run_id: Arc<str>,
    pub(crate) started_at_ns: i64,
    pub(crate) figure: Figure,
}

/// All of a result, as `--output json` printed it.
pub(crate) fn of_result(result: &Value) -> Vec<Figure> {
    let mut figures = Vec::new();
    for host in items(&result["hosts"]) {
        let name = text(&host["host"]);
        let mut to = Sink { host: &name, figures: &mut figures };
        to.add("result.duration", &BTreeMap::new(), VALUE, "s", &result["duration_s"]);
        for (metric, series) in host["telemetry"].as_object().into_iter().flatten() {
            for summary in items(series) {
                to.summary(metric, summary);
            }
        }
        for burner in items(&host["burners"]) {
            to.burner(burner);
        }
    }
    figures
}

struct Sink<'a> {
    host: &'a str,
    figures: &'a mut Vec<Figure>,
}

impl Sink<'_> {
    /// A number; what is absent is no figure.
    fn add(
        &mut self,
        metric: &str,
        labels: &BTreeMap<String, String>,
        statistic: &str,
        unit: &str,
        value: &Value,
    ) {
        let Some(value) = value.as_f64().filter(|value| value.is_finite()) else { return };
        self.figures.push(Figure {
            host: self.host.into(),
            metric: metric.into(),
            labels: Arc::new(labels.clone()),
            statistic: statistic.into(),
            unit: unit.into(),
            value,
        });
    }

    fn summary(&mut self, metric: &str, summary: &Value) {
        let unit = text(&summary["unit"]);
        let mut labels: BTreeMap<_, _> = summary["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        // It would make each run's figures ones of their own.
        labels.remove("run");
        for statistic in SUMMARY {
            // An increase is in the metric's own unit, not in that of its rate.
            let unit = if statistic == "increase" { unit.strip_suffix("/s").unwrap_or(&unit) } else { &unit };
            self.add(metric, &labels, statistic, unit, &summary[statistic]);
        }
    }

    fn burner(&mut self, burner: &Value) {
        let index = |key: &str| burner[key].as_u64().unwrap_or_default();
        let labels = BTreeMap::from([
            ("burner".to_owned(), format!("{}.{}", index("phase_index"), index("burner_index"))),
            ("kind".to_owned(), text(&burner["kind"])),
            ("phase".to_owned(), text(&burner["phase"])),
        ]);
        let rates = &burner["rates"];
        for (metric, statistic, unit, value) in [
            ("result.target_load", "mean", "%", &burner["target_load"]),
            ("result.achieved_load", "mean", "%", &burner["achieved_load"]["mean"]),
            ("result.achieved_load", "stddev", "%", &burner["achieved_load"]["stddev"]),
            ("result.derated", "mean", "%", &burner["derated_percent"]),
            ("result.operations", VALUE, "1", &burner["operations"]),
            ("result.bytes", VALUE, "By", &burner["bytes"]),
            ("result.flops", VALUE, "1", &burner["flops"]),
            ("result.burning_time", VALUE, "s", &burner["burning_s"]),
            ("result.ready_after", VALUE, "s", &burner["ready_after_s"]),
            ("result.start_skew", VALUE, "s", &burner["start_skew_s"]),
            ("result.operations_per_s", "mean", "1/s", &rates["operations_per_s"]),
            ("result.bytes_per_s", "mean", "By/s", &rates["bytes_per_s"]),
            ("result.flops_per_s", "mean", "1/s", &rates["flops_per_s"]),
            ("result.verify_errors", VALUE, "1", &burner["errors"]["verify"]),
            ("result.io_errors", VALUE, "1", &burner["errors"]["io"]),
        ] {
            self.add(metric, &labels, statistic, unit, value);
        }
        for (name, figure) in burner["figures"].as_object().into_iter().flatten() {
            self.add(
                &format!("result.figure.{name}"),
                &labels,
                VALUE,
                &text(&figure["unit"]),
                &figure["value"],
            );
        }
        for (operation, latency) in burner["latency_by_operation"].as_object().into_iter().flatten() {
            let mut labels = labels.clone();
            labels.insert("operation".into(), operation.clone());
            for statistic in LATENCY {
                let unit = if statistic == "count" { "1" } else { "ns" };
                self.add("result.latency", &labels, statistic, unit, &latency[statistic]);
            }
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn telemetry_and_burners_become_figures_with_labels_and_units() {
        let result = json!({ "duration_s": 5.0, "hosts": [{
            "host": "a",
            "telemetry": {
                "host.cpu.time": [{ "labels": {"cpu": "0", "run": "r"}, "unit": "s/s", "samples": 9, "mean": 0.5,
                                    "p99": 1.0, "increase": 2.5 }],
                "host.swap.free": [{ "labels": {}, "unit": "By", "samples": 0 }]
            },
            "burners": [{
                "kind": "disk", "phase": "p", "phase_index": 1, "burner_index": 2, "operations": 7,
                "rates": {"operations_per_s": 3.5}, "achieved_load": {"mean": 20.0}, "errors": {"io": 0},
                "latency_by_operation": {"read": {"count": 7, "p99": 900}},
                "figures": {"read_bytes": {"value": 4096.0, "unit": "By"}}
            }]
        }]});
        let figures = of_result(&result);
        let find = |metric: &str, statistic: &str| {
            let mut found = figures.iter().filter(|f| &*f.metric == metric && &*f.statistic == statistic);
            let figure = found.next().unwrap_or_else(|| panic!("{metric} {statistic}: {figures:#?}"));
            assert!(found.next().is_none());
            let labels: Vec<_> =
                figure.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (labels.join(";"), &*figure.unit, figure.value)
        };
        assert_eq!(find("host.cpu.time", "p99"), ("cpu=0".into(), "s/s", 1.0));
        assert_eq!(find("host.cpu.time", "increase"), ("cpu=0".into(), "s", 2.5));
        let burner = "burner=1.2;kind=disk;phase=p";
        assert_eq!(find("result.operations_per_s", "mean"), (burner.into(), "1/s", 3.5));
        assert_eq!(find("result.figure.read_bytes", "value"), (burner.into(), "By", 4096.0));
        assert_eq!(find("result.io_errors", "value"), (burner.into(), "1", 0.0));
        assert_eq!(
            find("result.latency", "p99"),
            ("burner=1.2;kind=disk;operation=read;phase=p".into(), "ns", 900.0)
        );
        assert_eq!(find("result.duration", "value"), (String::new(), "s", 5.0));
        // What was not measured is not there, least of all as 0.
        assert!(
            !figures.iter().any(|f| &*f.metric == "host.swap.free" || &*f.metric == "result.bytes"),
            "{figures:#?}"
        );
        assert_eq!(figures.len(), 11, "{figures:#?}");
    }
}
