//! A mesh for people.

use super::{Measured, Mesh, Metric, OddHost, OddLink, Way};
use crate::{
    report::{Align, Document, Table, Tone},
    text,
};

/// More hosts don't fit beside each other: their medians are shown instead.
const MATRIX_HOSTS: usize = 16;
/// Of odd links and of failures.
const SHOWN: usize = 20;

/// All that is worth reading of it.
pub(crate) fn document(mesh: &Mesh) -> Document {
    let mut document = Document::default();
    let failed = mesh.failed().count();
    let odd = mesh.odd_links.len() + mesh.odd_hosts.len();
    let links = mesh.links.len();
    let (words, tone) = match (failed, odd) {
        (0, 0) => (format!("{links} links, all alike"), Tone::Good),
        (0, _) => (format!("{links} links, {odd} odd"), Tone::Caution),
        (failed, odd) => (format!("{links} links, {failed} not measured, {odd} odd"), Tone::Bad),
    };
    document.title(&format!("mesh of {} hosts: {words}", mesh.hosts.len()), tone);
    document.section("Odd links", odd_links(mesh));
    document.section("Odd hosts", odd_hosts(mesh));
    if mesh.hosts.len() <= MATRIX_HOSTS {
        document.section("Throughput of TCP, bit/s, from row to column", matrix(mesh, throughput));
        document.section("Latency of requests, p50 / p99", matrix(mesh, latency));
        document.section("Datagrams lost, %", matrix(mesh, loss));
    } else {
        document.section("Medians of each host's links", medians(mesh));
        document.line("every link: --output json");
    }
    document.section("Not measured", failures(mesh));
    document.section("Left out", left_out(mesh));
    document
}

fn odd_links(mesh: &Mesh) -> Table {
    let mut table = Table::new(&[
        ("from", Align::Left),
        ("to", Align::Left),
        ("what", Align::Left),
        ("value", Align::Right),
        ("others from there", Align::Right),
        ("others to there", Align::Right),
        ("deviation", Align::Right),
    ]);
    for OddLink { from, to, metric, value, row_median, column_median, deviation } in
        mesh.odd_links.iter().take(SHOWN)
    {
        let shown = |value: &Option<f64>| value.map(|value| shown(*metric, value)).unwrap_or_default();
        table.row([
            mesh.hosts[*from].clone(),
            mesh.hosts[*to].clone(),
            metric.name().to_owned(),
            self::shown(*metric, *value),
            shown(row_median),
            shown(column_median),
            format!("{} σ", text::trimmed(*deviation, 1)),
        ]);
    }
    table
}

fn odd_hosts(mesh: &Mesh) -> Table {
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("when it", Align::Left),
        ("what", Align::Left),
        ("median", Align::Right),
        ("others", Align::Right),
        ("deviation", Align::Right),
    ]);
    for OddHost { host, way, metric, median, others, deviation } in mesh.odd_hosts.iter().take(SHOWN) {
        table.row([
            mesh.hosts[*host].clone(),
            way.name().to_owned(),
            metric.name().to_owned(),
            shown(*metric, *median),
            shown(*metric, *others),
            format!("{} σ", text::trimmed(*deviation, 1)),
        ]);
    }
    table
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sends => "sends",
            Self::Receives => "receives",
        }
    }
}

/// Columns by numbers: names are long.
fn matrix(mesh: &Mesh, cell: impl Fn(&Measured) -> String) -> Table {
    let numbers: Vec<_> = (1..=mesh.hosts.len()).map(|number| number.to_string()).collect();
    let mut columns = vec![("", Align::Right), ("from", Align::Left)];
    columns.extend(numbers.iter().map(|number| (number.as_str(), Align::Right)));
    let mut table = Table::new(&columns);
    for (from, name) in mesh.hosts.iter().enumerate() {
        let cells = (0..mesh.hosts.len()).map(|to| {
            if from == to {
                return "-".to_owned();
            }
            let link = mesh.links.iter().find(|link| (link.from, link.to) == (from, to));
            match link.map(|link| &link.measured) {
                Some(Ok(measured)) => cell(measured),
                Some(Err(_)) => "failed".to_owned(),
                None => String::new(),
            }
        });
        table.row([numbers[from].clone(), name.clone()].into_iter().chain(cells));
    }
    table
}

fn throughput(measured: &Measured) -> String {
    measured.throughput_bits_per_s.map(text::count).unwrap_or_default()
}

fn latency(measured: &Measured) -> String {
    let both = measured.latency_p50_ns.zip(measured.latency_p99_ns);
    let shown = |ns: u64| text::nanoseconds(ns as f64);
    both.map(|(p50, p99)| format!("{} / {}", shown(p50), shown(p99))).unwrap_or_default()
}

fn loss(measured: &Measured) -> String {
    measured.loss_percent.map(|percent| text::trimmed(percent, 2)).unwrap_or_default()
}

fn shown(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Throughput => format!("{}bit/s", text::count(value)),
        Metric::Latency => text::nanoseconds(value),
        Metric::Loss => format!("{} %", text::trimmed(value, 2)),
    }
}

fn medians(mesh: &Mesh) -> Table {
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("sends", Align::Right),
        ("receives", Align::Right),
        ("latency p50", Align::Right),
        ("lost", Align::Right),
    ]);
    for (host, name) in mesh.hosts.iter().enumerate() {
        let median = |metric: Metric, sends: bool| {
            let own = mesh.links.iter().filter(|link| host == if sends { link.from } else { link.to });
            let values: Vec<_> = own.filter_map(|link| metric.of(link.measured.as_ref().ok()?)).collect();
            crate::stats::median(&values).map(|value| shown(metric, value)).unwrap_or_default()
        };
        table.row([
            name.clone(),
            median(Metric::Throughput, true),
            median(Metric::Throughput, false),
            median(Metric::Latency, true),
            median(Metric::Loss, true),
        ]);
    }
    table
}

fn failures(mesh: &Mesh) -> Table {
    let mut table = Table::new(&[("from", Align::Left), ("to", Align::Left), ("why", Align::Left)]);
    for (link, failure) in mesh.failed().take(SHOWN) {
        let why = failure.problems.first().map(|problem| problem.message.clone());
        let why = why.unwrap_or_else(|| "interrupted".to_owned());
        table.row([mesh.hosts[link.from].clone(), mesh.hosts[link.to].clone(), why]);
    }
    table
}

fn left_out(mesh: &Mesh) -> Table {
    let mut table = Table::new(&[("host", Align::Left), ("why", Align::Left)]);
    for (name, failure) in &mesh.left_out {
        let why = failure.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
        table.row([name.clone(), why]);
    }
    table
}
