//! The numbers of runs as they are compared: the history's figures, by what they are of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use ssts_proto::{
    catalogue::{self, Kind, Worse},
    result_figures,
};

use crate::store::{self, Figure};

/// Which number it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Of the catalogue, or `result.NAME`.
    pub(crate) metric: Arc<str>,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// `mean`, `p99`, `increase` …; `value` of what is one number.
    pub(crate) statistic: Arc<str>,
    /// UCUM's short form.
    pub(crate) unit: Arc<str>,
}

impl Key {
    /// Which change of it is one for the worse.
    pub(crate) fn worse(&self) -> Option<Worse> {
        result_figures::worse(&self.metric)
    }

    /// Whether it is one of the few by which a metric is judged: others say the same again, or are one value's luck.
    pub(crate) fn is_judged(&self) -> bool {
        let is_latency = &*self.metric == "result.latency"
            || catalogue::find(&self.metric).is_some_and(|metric| metric.kind == Kind::Histogram);
        match (self.worse(), &*self.statistic) {
            (None, _) => false,
            (Some(Worse::Present), statistic) => matches!(statistic, "increase" | "value"),
            (Some(_), "p50" | "p99") => is_latency,
            (Some(_), statistic) => !is_latency && matches!(statistic, "mean" | "value"),
        }
    }

    /// `name=value` joined by `;`.
    pub(crate) fn labels(&self) -> String {
        self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
    }
}

/// The numbers of one run.
pub(crate) type Figures = BTreeMap<Key, f64>;

/// Of an object that `--output json` printed for a run. What is absent there is absent here.
pub(super) fn of_result(result: &Value) -> Figures {
    keyed(store::figures_of(result), result["hosts"].as_array().is_some_and(|hosts| hosts.len() > 1))
}

/// By what they are of; with `several` hosts a label tells these apart.
pub(crate) fn keyed(figures: impl IntoIterator<Item = Figure>, several: bool) -> Figures {
    let key_of = |figure: Figure| {
        let Figure { host, metric, mut labels, statistic, unit, value } = figure;
        if several {
            Arc::make_mut(&mut labels).insert("host".into(), host.to_string());
        }
        (Key { metric, labels, statistic, unit }, value)
    };
    figures.into_iter().map(key_of).collect()
}

/// Takes out what is neither good nor bad: a load that nobody asked for.
pub(crate) fn without_unasked(figures: &mut Figures) {
    let asked: BTreeSet<_> = figures
        .keys()
        .filter(|key| &*key.metric == "result.target_load")
        .map(|key| key.labels.clone())
        .collect();
    figures.retain(|key, _| &*key.metric != "result.achieved_load" || asked.contains(&key.labels));
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn result() -> Value {
        json!({
            "run_id": "01a1fe6f-f750-7063-93f9-0fe3c22de573", "scenario": "quick", "verdict": "pass",
            "duration_s": 20.5,
            "hosts": [{
                "host": "a",
                "burners": [{
                    "kind": "disk", "phase": "both", "phase_index": 2, "burner_index": 1,
                    "rates": {"operations_per_s": 1000.0, "bytes_per_s": 4096000.0},
                    "latency_by_operation": {"read": {"count": 9, "p50": 80, "p90": 90, "p99": 120, "max": 131}},
                    "figures": {"lag": {"value": 5.0, "unit": "ns"}},
                    "errors": {"io": 0}
                }],
                "telemetry": {
                    "host.temperature": [{"labels": {"sensor": "s", "label": "l"}, "unit": "Cel", "samples": 9, "mean": 50.0, "max": 60.0}],
                    "host.cpu.throttles": [{"labels": {"cpu": "0"}, "unit": "1/s", "samples": 9, "mean": 0.5, "increase": 10.0}],
                    "agent.resident": [{"labels": {"run": "x"}, "unit": "By", "samples": 9, "max": 1.0}]
                }
            }]
        })
    }

    #[test]
    fn each_number_of_a_result_has_its_key() {
        let figures = of_result(&result());
        let listed: Vec<_> = figures
            .iter()
            .filter(|(key, _)| key.is_judged())
            .map(|(key, value)| {
                format!("{} [{}] {} {value} {}", key.metric, key.labels(), key.statistic, key.unit)
            })
            .collect();
        let disk = "burner=2.1;kind=disk;phase=both";
        let read = "burner=2.1;kind=disk;operation=read;phase=both";
        assert_eq!(
            listed,
            [
                "host.cpu.throttles [cpu=0] mean 0.5 1/s".into(),
                "host.temperature [label=l;sensor=s] mean 50 Cel".into(),
                format!("result.bytes_per_s [{disk}] mean 4096000 By/s"),
                format!("result.figure.lag [{disk}] value 5 ns"),
                format!("result.io_errors [{disk}] value 0 1"),
                format!("result.latency [{read}] p50 80 ns"),
                format!("result.latency [{read}] p99 120 ns"),
                format!("result.operations_per_s [{disk}] mean 1000 1/s"),
            ]
        );
        assert!(figures.keys().any(|key| &*key.statistic == "increase" && &*key.unit == "1"));
        assert!(figures.keys().all(|key| !key.labels.contains_key("run")));
    }

    #[test]
    fn a_load_that_nobody_asked_for_is_no_figure_to_judge_by() {
        let mut result = result();
        result["hosts"][0]["burners"][0]["achieved_load"] = json!({"mean": 40.0});
        let judged = |result: &Value| {
            let mut figures = of_result(result);
            without_unasked(&mut figures);
            figures.keys().any(|key| &*key.metric == "result.achieved_load")
        };
        assert!(!judged(&result));
        result["hosts"][0]["burners"][0]["target_load"] = json!(50.0);
        assert!(judged(&result));
    }

    #[test]
    fn hosts_of_a_fleet_are_told_apart() {
        let mut result = result();
        let mut second = result["hosts"][0].clone();
        second["host"] = "b".into();
        result["hosts"].as_array_mut().unwrap().push(second);
        let figures = of_result(&result);
        let of = |host: &str| {
            figures.keys().filter(|key| key.labels.get("host").is_some_and(|it| it == host)).count()
        };
        assert!(of("a") > 5 && of("a") == of("b"));
    }
}
