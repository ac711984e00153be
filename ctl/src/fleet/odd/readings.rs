//! The figures of results, by what they are of and by whom they can be compared with.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::aspect::{ASPECTS, Aspect, LOAD, Measure, WAITED, Way, of_burner};

/// Percentiles of fewer values are luck.
const LEAST_OF_HISTOGRAM: u64 = 100;
/// Of a burner's latencies, which are those of all its operations.
const LATENCIES: [&str; 2] = ["p50", "p99"];

/// What may be odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Host,
    Socket,
    Core,
    Dimm,
    Disk,
    Link,
}

impl Part {
    /// As JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Socket => "socket",
            Self::Core => "core",
            Self::Dimm => "dimm",
            Self::Disk => "disk",
            Self::Link => "link",
        }
    }
}

/// A host, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subject {
    pub(crate) host: String,
    pub(crate) part: Part,
    /// Such as `3` of a core, `sda` of a disk. Empty of a host.
    pub(crate) name: String,
}

/// What is asked of peers. Those who answer the same one are comparable.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    pub(crate) part: Part,
    /// Of the catalogue, or `result.NAME`.
    pub(crate) metric: String,
    pub(crate) statistic: String,
    /// The burner and the phase, or the labels that name no part.
    pub(crate) of: String,
    /// Of the processor, the disk or the link. Empty where it isn't known.
    pub(crate) model: String,
    pub(crate) unit: String,
    pub(crate) way: Way,
    pub(crate) measure: Measure,
}

/// By what questions are told apart.
type Key = [String; 6];

/// All figures that can be compared.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    pub(super) subjects: Vec<Subject>,
    /// With the places of subjects, and their values.
    pub(super) questions: Vec<(Question, Vec<(usize, f64)>)>,
    pub(super) hosts: usize,
    /// Hosts without a result.
    pub(super) without: Vec<String>,
    places: HashMap<Subject, usize>,
    numbers: HashMap<Key, usize>,
}

impl Readings {
    /// Of a host that has no result.
    pub(crate) fn left_out(&mut self, host: &str) {
        self.without.push(host.to_owned());
    }

    /// All hosts of a result as `--output json` printed it. A host that was taken before gets the run's id to its name.
    pub(crate) fn take(&mut self, result: Value) {
        // The clock has no part in the end of an id.
        let run_id = text(&result["run_id"]);
        let tail: String = run_id.chars().skip(run_id.chars().count().saturating_sub(4)).collect();
        let scenario = text(&result["scenario"]);
        let Value::Object(mut result) = result else { return };
        let Some(Value::Array(hosts)) = result.remove("hosts") else { return };
        for host in hosts {
            let name = text(&host["host"]);
            let whole = Subject { host: name.clone(), part: Part::Host, name: String::new() };
            let name = if self.places.contains_key(&whole) { format!("{name} run {tail}") } else { name };
            self.host(&name, &scenario, &host);
        }
    }

    /// The one host of a result, under the name that its fleet has for it.
    pub(crate) fn take_as(&mut self, name: &str, result: Value) {
        let scenario = text(&result["scenario"]);
        let Value::Object(mut result) = result else { return };
        if let Some(Value::Array(hosts)) = result.remove("hosts")
            && let Some(host) = hosts.into_iter().next()
        {
            self.host(name, &scenario, &host);
        }
    }

    fn host(&mut self, name: &str, scenario: &str, host: &Value) {
        self.hosts += 1;
        self.place(&Subject { host: name.to_owned(), part: Part::Host, name: String::new() });
        let all = items(&host["burners"]);
        let burners: Vec<&Value> = all.filter(|burner| burner["superseded"] != true).collect();
        let of = Of { host: name, scenario, platform: &host["platform"] };
        for burner in &burners {
            self.burner(&of, burner);
        }
        let under = |kind: &str| burners.iter().any(|burner| burner["kind"] == kind);
        for aspect in ASPECTS.iter().filter(|aspect| aspect.under.is_none_or(under)) {
            for summary in items(&host["telemetry"][aspect.metric]) {
                self.summary(&of, aspect, summary);
            }
        }
    }

    fn burner(&mut self, of: &Of<'_>, burner: &Value) {
        let index = |key: &str| burner[key].as_u64().unwrap_or_default();
        let words = format!(
            "{} burner {}.{}, phase {}",
            text(&burner["kind"]),
            index("phase_index"),
            index("burner_index"),
            text(&burner["phase"])
        );
        let rates = &burner["rates"];
        // A load that nobody asked for is neither good nor bad.
        let achieved = match burner["target_load"].is_number() {
            true => &burner["achieved_load"]["mean"],
            false => &Value::Null,
        };
        for (metric, statistic, unit, value) in [
            ("result.achieved_load", "mean", "%", achieved),
            ("result.operations_per_s", "mean", "1/s", &rates["operations_per_s"]),
            ("result.bytes_per_s", "mean", "By/s", &rates["bytes_per_s"]),
            ("result.flops_per_s", "mean", "1/s", &rates["flops_per_s"]),
            ("result.verify_errors", "value", "1", &burner["errors"]["verify"]),
            ("result.io_errors", "value", "1", &burner["errors"]["io"]),
        ] {
            self.burners_figure(of, (metric, statistic, unit), &words, value);
        }
        for (name, figure) in object(&burner["figures"]) {
            let unit = text(&figure["unit"]);
            let metric = format!("result.figure.{name}");
            self.burners_figure(of, (metric.as_str(), "value", unit.as_str()), &words, &figure["value"]);
        }
        for (operation, latency) in object(&burner["latency_by_operation"]) {
            let words = format!("{operation}, {words}");
            for statistic in LATENCIES {
                if latency["count"].as_u64().is_some_and(|count| count >= LEAST_OF_HISTOGRAM) {
                    self.burners_figure(of, ("result.latency", statistic, "ns"), &words, &latency[statistic]);
                }
            }
        }
        self.cores(of, burner, &words);
    }

    /// Of workers that share a core, their mean.
    fn cores(&mut self, of: &Of<'_>, burner: &Value, words: &str) {
        for (key, metric, (way, measure)) in
            [("achieved", "result.worker.achieved", LOAD), ("waited", "result.worker.waited", WAITED)]
        {
            let mut cores: BTreeMap<u64, (f64, u32)> = BTreeMap::new();
            for load in items(&burner["worker_loads"]) {
                if let (Some(core), Some(value)) = (load["core"].as_u64(), load[key].as_f64()) {
                    let (sum, count) = cores.entry(core).or_default();
                    (*sum, *count) = (*sum + value, *count + 1);
                }
            }
            for (core, (sum, count)) in cores {
                let subject = of.subject(Part::Core, core.to_string());
                let question =
                    of.question(Part::Core, (metric, "mean", "%"), words, of.cpu_model(), (way, measure));
                self.add(of, &subject, question, sum / f64::from(count));
            }
        }
    }

    fn burners_figure(
        &mut self,
        of: &Of<'_>,
        (metric, statistic, unit): (&str, &str, &str),
        words: &str,
        value: &Value,
    ) {
        let Some(value) = value.as_f64() else { return };
        let Some(rule) = of_burner(metric, statistic) else { return };
        let subject = of.subject(Part::Host, String::new());
        let question = of.question(Part::Host, (metric, statistic, unit), words, of.cpu_model(), rule);
        self.add(of, &subject, question, value);
    }

    fn summary(&mut self, of: &Of<'_>, aspect: &Aspect, summary: &Value) {
        let Some(value) = summary[aspect.statistic].as_f64() else { return };
        let labels: BTreeMap<&str, &str> = object(&summary["labels"])
            .filter_map(|(name, value)| Some((name, value.as_str()?)))
            .filter(|(name, value)| *name != "run" && !value.is_empty())
            .collect();
        let is_histogram = matches!(aspect.statistic, "p50" | "p99");
        let samples = summary["samples"].as_u64().unwrap_or_default();
        if (is_histogram && samples < LEAST_OF_HISTOGRAM) || !is_asked(aspect, &labels) {
            return;
        }
        let names: Vec<&str> =
            aspect.named_by.iter().filter_map(|label| labels.get(label).copied()).collect();
        let (part, name) = match names.is_empty() {
            // A sensor that names no package is the host's.
            true => (Part::Host, String::new()),
            false => (aspect.part, names.join(" ")),
        };
        let rest = labels.iter().filter(|(label, _)| !aspect.named_by.contains(label));
        let words = rest.map(|(_, value)| *value).collect::<Vec<_>>().join(" ");
        let model = of.model(part, &name);
        let unit = text(&summary["unit"]);
        let unit = if aspect.statistic == "increase" { unit.trim_end_matches("/s") } else { &unit };
        let question = of.question(
            part,
            (aspect.metric, aspect.statistic, unit),
            &words,
            model,
            (aspect.way, aspect.measure),
        );
        self.add(of, &of.subject(part, name), question, value);
    }

    fn add(&mut self, of: &Of<'_>, subject: &Subject, question: Question, value: f64) {
        if !value.is_finite() {
            return;
        }
        let place = self.place(subject);
        let Question { part, metric, statistic, of: words, model, .. } = &question;
        // Runs of one scenario did the same.
        let key = [part.name(), &metric[..], &statistic[..], &words[..], &model[..], of.scenario];
        let key = key.map(str::to_owned);
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.questions.push((question, Vec::new()));
            self.questions.len() - 1
        });
        self.questions[number].1.push((place, value));
    }

    fn place(&mut self, subject: &Subject) -> usize {
        if let Some(place) = self.places.get(subject) {
            return *place;
        }
        self.subjects.push(subject.clone());
        self.places.insert(subject.clone(), self.subjects.len() - 1);
        self.subjects.len() - 1
    }
}

/// Whose figures are read.
struct Of<'a> {
    host: &'a str,
    scenario: &'a str,
    platform: &'a Value,
}

impl Of<'_> {
    fn subject(&self, part: Part, name: String) -> Subject {
        Subject { host: self.host.to_owned(), part, name }
    }

    fn cpu_model(&self) -> String {
        text(&self.platform["cpu_model"])
    }

    fn model(&self, part: Part, name: &str) -> String {
        match part {
            Part::Host | Part::Socket | Part::Core => self.cpu_model(),
            Part::Dimm => {
                // EDAC's names are none of the firmware's slots: what is fitted says which hosts are alike.
                let dimms = items(&self.platform["dimms"]).map(|dimm| text(&dimm["part_number"]));
                let mut parts: Vec<_> = dimms.filter(|part| !part.is_empty()).collect();
                parts.sort_unstable();
                parts.dedup();
                parts.join(", ")
            }
            Part::Disk => text(&self.platform["disk_models"][name]),
            Part::Link => match self.platform["nic_mbit_per_s"][name].as_u64() {
                Some(speed) => format!("{speed} Mbit/s"),
                None => String::new(),
            },
        }
    }

    fn question(
        &self,
        part: Part,
        (metric, statistic, unit): (&str, &str, &str),
        words: &str,
        model: String,
        (way, measure): (Way, Measure),
    ) -> Question {
        // Telemetry is of the whole run: what the scenario was tells who did the same.
        let of = words.to_owned();
        let (metric, statistic, unit) = (metric.to_owned(), statistic.to_owned(), unit.to_owned());
        Question { part, metric, statistic, of, model, unit, way, measure }
    }
}

/// Of the many columns of a metric, those that tell of a bad part.
fn is_asked(aspect: &Aspect, labels: &BTreeMap<&str, &str>) -> bool {
    let is = |label: &str, value: &str| labels.get(label).is_some_and(|known| *known == value);
    match aspect.metric {
        "sched.time" => is("who", "others"),
        "host.pressure.stalled" => is("share", "some"),
        _ => !is("interface", "lo"),
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
