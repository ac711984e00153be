//! What a record shows, gathered for plots.

use std::{collections::BTreeMap, mem};

use ssts_proto::v1::{Event, EventKind, record_item::Item};

use super::{
    bins::{Bins, Spread, Values},
    plot::{Cell, Chart, Heat, HeatRows, Line, Mark},
};
use crate::{
    error::Failure,
    record::{Replay, Seen},
    telemetry::Labels,
    text,
};

/// Lines in one chart: more can't be told apart.
const MOST_LINES: usize = 12;

/// A chart of readings: gauges as they are, counters by their rate.
struct Wanted {
    title: &'static str,
    metric: &'static str,
    /// Whose values make a line's name; none: the metric's last word.
    labels: &'static [&'static str],
    /// What a value is multiplied by, and the unit it has then.
    scale: f64,
    unit: &'static str,
}

const WANTED: [Wanted; 11] = [
    Wanted {
        title: "Temperature",
        metric: "host.temperature",
        labels: &["sensor", "label"],
        scale: 1.0,
        unit: "°C",
    },
    Wanted { title: "Frequency", metric: "host.cpu.frequency", labels: &["cpu"], scale: 1e-6, unit: "MHz" },
    Wanted { title: "Power", metric: "host.power", labels: &["zone"], scale: 1.0, unit: "W" },
    Wanted {
        title: "Reads from disks",
        metric: "host.disk.read_bytes",
        labels: &["device"],
        scale: 1.0,
        unit: "By/s",
    },
    Wanted {
        title: "Writes to disks",
        metric: "host.disk.written_bytes",
        labels: &["device"],
        scale: 1.0,
        unit: "By/s",
    },
    Wanted {
        title: "Network, received",
        metric: "host.network.received_bytes",
        labels: &["interface"],
        scale: 1.0,
        unit: "By/s",
    },
    Wanted {
        title: "Network, sent",
        metric: "host.network.sent_bytes",
        labels: &["interface"],
        scale: 1.0,
        unit: "By/s",
    },
    Wanted {
        title: "TCP segments sent again",
        metric: "tcp.retransmits",
        labels: &["who"],
        scale: 1.0,
        unit: "1/s",
    },
    Wanted {
        title: "Packets dropped",
        metric: "network.drops",
        labels: &["interface", "reason"],
        scale: 1.0,
        unit: "1/s",
    },
    Wanted {
        title: "Memory available",
        metric: "host.memory.available",
        labels: &[],
        scale: 1.0,
        unit: "By",
    },
    Wanted {
        title: "Pressure: share of time stalled",
        metric: "host.pressure.stalled",
        labels: &["resource", "share"],
        scale: 100.0,
        unit: "%",
    },
];

/// Gathers the items of a record.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    replay: Replay,
    end_s: f64,
    /// By chart and line.
    lines: BTreeMap<(usize, String), Bins<Values>>,
    /// Asked and achieved, by burner.
    loads: BTreeMap<String, [Bins<Values>; 2]>,
    /// Busy share of each core.
    cores: BTreeMap<u32, Bins<Values>>,
    /// Latencies by title.
    spreads: BTreeMap<String, Bins<Spread>>,
    marks: Vec<(i64, String)>,
    lost_frames: u64,
}

impl Observed {
    /// Takes in one item.
    pub(crate) fn take(&mut self, item: Item) -> Result<(), Failure> {
        let mut replay = mem::take(&mut self.replay);
        let taken = replay.take(item, |replay, seen| match seen {
            Seen::Frame(second) => self.frame(replay, second),
            Seen::Event(event) => self.event(event),
            Seen::Gap(frames) => self.lost_frames += frames,
        });
        self.replay = replay;
        taken
    }

    /// Frames that should be in the record and aren't.
    pub(crate) fn lost_frames(&self) -> u64 {
        self.lost_frames
    }

    fn event(&mut self, event: &Event) {
        let is_mark = !matches!(
            event.kind(),
            EventKind::Notice | EventKind::NotGuarded | EventKind::BurnerEnded | EventKind::Unspecified
        );
        if is_mark {
            self.marks.push((event.at_unix_ns, event.message.clone()));
        }
    }

    fn frame(&mut self, replay: &Replay, second: f64) {
        self.end_s = self.end_s.max(second);
        let mut loads: BTreeMap<String, [Values; 2]> = BTreeMap::new();
        let mut idle: BTreeMap<u32, f64> = BTreeMap::new();
        for reading in replay.telemetry.readings() {
            let (labels, value) = (reading.labels, reading.value);
            if !replay.is_own(labels) {
                continue;
            }
            match reading.metric {
                "burner.target" => loads.entry(burner(labels)).or_default()[0].add(value * 100.0),
                "burner.on_cpu_time" => loads.entry(burner(labels)).or_default()[1].add(value * 100.0),
                "host.cpu.time" if matches!(labels.get("mode"), "idle" | "iowait") => {
                    if let Ok(cpu) = labels.get("cpu").parse() {
                        *idle.entry(cpu).or_default() += value;
                    }
                }
                metric => {
                    for (chart, wanted) in WANTED.iter().enumerate() {
                        if metric == wanted.metric {
                            let line =
                                self.lines.entry((chart, name_of(wanted, metric, labels))).or_default();
                            if let Some(bin) = line.at(second) {
                                bin.add(value * wanted.scale);
                            }
                        }
                    }
                }
            }
        }
        for (burner, values) in loads {
            for (bins, values) in self.loads.entry(burner).or_default().iter_mut().zip(values) {
                if let (Some(bin), Some(mean)) = (bins.at(second), values.mean()) {
                    bin.add(mean);
                }
            }
        }
        for (cpu, idle) in idle {
            if let Some(bin) = self.cores.entry(cpu).or_default().at(second) {
                bin.add((1.0 - idle).clamp(0.0, 1.0) * 100.0);
            }
        }
        for (metric, _, labels, counts) in replay.telemetry.histograms() {
            if !replay.is_own(labels) {
                continue;
            }
            let title = match metric {
                "block.latency" => {
                    format!("{}, {}: from issue to completion", labels.get("device"), labels.get("operation"))
                }
                "burner.latency" => format!(
                    "burner {}, {}: from when it was due",
                    labels.get("burner"),
                    labels.get("operation")
                ),
                "tcp.connect_latency" => format!("TCP connects of {}", labels.get("who")),
                "runqueue.latency" => "run queue: from runnable to running, all cores".to_owned(),
                _ => continue,
            };
            if let Some(bin) = self.spreads.entry(title).or_default().at(second) {
                for (value, count) in counts.iter() {
                    bin.add(value, count);
                }
            }
        }
    }

    /// All plots that something can be shown in.
    pub(super) fn charts(&self) -> Vec<Chart> {
        let mut charts = Vec::new();
        for (burner, [asked, achieved]) in &self.loads {
            // Of a burner that was asked for no load, only what it took.
            let asked =
                Some(line("asked", asked)).filter(|line| line.points.iter().any(|(_, load)| *load > 0.0));
            let lines = asked.into_iter().chain([line("achieved", achieved)]).collect();
            charts.push(Chart::Lines { title: format!("Load of burner {burner}"), unit: "%", lines });
        }
        if !self.cores.is_empty() {
            let rows = self.cores.iter().map(|(cpu, bins)| (format!("core {cpu}"), means(bins))).collect();
            charts.push(Chart::Heat {
                title: "Busy cores".into(),
                heat: Heat { rows: HeatRows::Named(rows), greatest: Some(100.0), unit: "%" },
            });
        }
        for (chart, wanted) in WANTED.iter().enumerate() {
            let lines: Vec<_> = self
                .lines
                .iter()
                .filter(|((of, _), _)| *of == chart)
                .map(|((_, name), bins)| line(name, bins))
                .filter(|line| line.points.iter().any(|(_, value)| *value != 0.0))
                .take(MOST_LINES)
                .collect();
            if !lines.is_empty() {
                charts.push(Chart::Lines { title: wanted.title.into(), unit: wanted.unit, lines });
            }
        }
        for (title, bins) in &self.spreads {
            charts.push(Chart::Heat {
                title: format!("Latency of {title}"),
                heat: Heat {
                    rows: HeatRows::Octaves(
                        bins.iter().map(|(begin, end, spread)| (begin, end, spread.clone())).collect(),
                    ),
                    greatest: None,
                    unit: "ns",
                },
            });
            let lines = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)].map(|(name, q)| Line {
                name: name.into(),
                points: bins
                    .iter()
                    .filter_map(|(begin, end, spread)| Some(((begin + end) / 2.0, spread.quantile(q)?)))
                    .collect(),
            });
            charts.push(Chart::Lines {
                title: format!("Percentiles of {title}"),
                unit: "ns",
                lines: lines.into(),
            });
        }
        charts
    }

    /// From 0 to the last frame, s.
    pub(super) fn end_s(&self) -> f64 {
        self.end_s
    }

    /// What is marked on every time axis.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let mark = |(at_unix_ns, message): &(i64, String)| {
            let text = text::printable(message).into_owned();
            Some(Mark { second: self.replay.second(*at_unix_ns)?, text })
        };
        self.marks.iter().filter_map(mark).collect()
    }
}

fn burner(labels: &Labels) -> String {
    format!("{} ({})", labels.get("burner"), labels.get("kind"))
}

fn name_of(wanted: &Wanted, metric: &str, labels: &Labels) -> String {
    if wanted.labels.is_empty() {
        return metric.rsplit('.').next().unwrap_or_default().to_owned();
    }
    let values: Vec<_> =
        wanted.labels.iter().map(|name| labels.get(name)).filter(|value| !value.is_empty()).collect();
    values.join(" ")
}

fn means(bins: &Bins<Values>) -> Vec<Cell> {
    bins.iter().filter_map(|(begin, end, values)| Some((begin, end, values.mean()?))).collect()
}

fn line(name: &str, bins: &Bins<Values>) -> Line {
    let points = means(bins).into_iter().map(|(begin, end, mean)| ((begin + end) / 2.0, mean)).collect();
    Line { name: name.into(), points }
}
