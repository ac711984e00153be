//! The numbers of one result, one by one: what `report --format csv` prints, and what runs are compared by.

use std::collections::BTreeMap;

use serde_json::Value;
use ssts_proto::{
    catalogue::{self, Kind, Worse},
    result_figures,
};

/// What telemetry's summaries are known by.
const SUMMARY: [&str; 8] = ["min", "mean", "p50", "p95", "p99", "max", "last", "increase"];
const LATENCY: [&str; 7] = ["count", "p50", "p90", "p95", "p99", "p999", "max"];

/// Which number it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Of the catalogue, or `result.NAME`.
    pub(crate) metric: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// `mean`, `p99`, `increase` …; `value` of what is one number.
    pub(crate) statistic: String,
    /// UCUM's short form.
    pub(crate) unit: String,
}

impl Key {
    /// Which change of it is one for the worse.
    pub(crate) fn worse(&self) -> Option<Worse> {
        result_figures::worse(&self.metric)
    }

    /// Whether it is one of the few by which a metric is judged: others say the same again, or are one value's luck.
    pub(crate) fn is_judged(&self) -> bool {
        let is_latency = self.metric == "result.latency"
            || catalogue::find(&self.metric).is_some_and(|metric| metric.kind == Kind::Histogram);
        match (self.worse(), self.statistic.as_str()) {
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

/// All numbers of a result.
pub(crate) type Figures = BTreeMap<Key, f64>;

/// Of an object that `--output json` printed for a run. What is absent there is absent here. Labels tell hosts apart where there are
/// several.
pub(crate) fn of_result(result: &Value) -> Figures {
    let mut figures = Gathered::default();
    let hosts: Vec<_> = items(&result["hosts"]).collect();
    for host in &hosts {
        figures.host = if hosts.len() > 1 { text(&host["host"]) } else { String::new() };
        figures.add("result.duration", BTreeMap::new(), "value", "s", &result["duration_s"]);
        for burner in items(&host["burners"]) {
            figures.burner(burner);
        }
        for (metric, summaries) in host["telemetry"].as_object().into_iter().flatten() {
            for summary in items(summaries) {
                figures.telemetry(metric, summary);
            }
        }
    }
    figures.all
}

#[derive(Debug, Default)]
struct Gathered {
    all: Figures,
    /// Empty where there is one.
    host: String,
}

impl Gathered {
    fn add(
        &mut self,
        metric: &str,
        mut labels: BTreeMap<String, String>,
        statistic: &str,
        unit: &str,
        value: &Value,
    ) {
        let Some(value) = value.as_f64() else { return };
        if !self.host.is_empty() {
            labels.insert("host".into(), self.host.clone());
        }
        let (metric, statistic, unit) = (metric.to_owned(), statistic.to_owned(), unit.to_owned());
        self.all.insert(Key { metric, labels, statistic, unit }, value);
    }

    fn burner(&mut self, burner: &Value) {
        let index = |key: &str| burner[key].as_u64().unwrap_or_default();
        let labels = BTreeMap::from([
            ("burner".to_owned(), format!("{}.{}", index("phase_index"), index("burner_index"))),
            ("kind".to_owned(), text(&burner["kind"])),
            ("phase".to_owned(), text(&burner["phase"])),
        ]);
        let rates = &burner["rates"];
        // Where no load was asked, more or less of it is neither good nor bad.
        if burner["target_load"].is_number() {
            self.add("result.achieved_load", labels.clone(), "mean", "%", &burner["achieved_load"]["mean"]);
        }
        for (metric, statistic, unit, value) in [
            ("result.operations_per_s", "mean", "1/s", &rates["operations_per_s"]),
            ("result.bytes_per_s", "mean", "By/s", &rates["bytes_per_s"]),
            ("result.flops_per_s", "mean", "1/s", &rates["flops_per_s"]),
            ("result.verify_errors", "value", "1", &burner["errors"]["verify"]),
            ("result.io_errors", "value", "1", &burner["errors"]["io"]),
        ] {
            self.add(metric, labels.clone(), statistic, unit, value);
        }
        for (operation, latency) in burner["latency_by_operation"].as_object().into_iter().flatten() {
            let mut labels = labels.clone();
            labels.insert("operation".into(), operation.clone());
            for statistic in LATENCY {
                let unit = if statistic == "count" { "1" } else { "ns" };
                self.add("result.latency", labels.clone(), statistic, unit, &latency[statistic]);
            }
        }
        for (name, figure) in burner["figures"].as_object().into_iter().flatten() {
            let (metric, unit) = (format!("result.figure.{name}"), text(&figure["unit"]));
            self.add(&metric, labels.clone(), "value", &unit, &figure["value"]);
        }
    }

    fn telemetry(&mut self, metric: &str, summary: &Value) {
        let mut labels: BTreeMap<_, _> = summary["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        // A run's own id tells nothing that two runs have in common.
        labels.remove("run");
        let unit = text(&summary["unit"]);
        for statistic in SUMMARY {
            // An increase is in the metric's own unit, not in that of its rate.
            let unit = if statistic == "increase" { unit.strip_suffix("/s").unwrap_or(&unit) } else { &unit };
            self.add(metric, labels.clone(), statistic, unit, &summary[statistic]);
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
        assert!(figures.keys().any(|key| key.statistic == "increase" && key.unit == "1"));
        assert!(figures.keys().all(|key| !key.labels.contains_key("run")));
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
