//! What a scrape of all metrics takes, beside node_exporter on the same host.

use std::{
    thread,
    time::{Duration, Instant},
};

use ssts_tests::{
    Ground,
    page::{self, OPENMETRICS, PROTOBUF, Page, TEXT},
};

use crate::{
    ROUNDS,
    peer::Exporter,
    table::{Figure, Pair, Table},
};

/// Of one round.
const SCRAPES: u32 = 10;
/// Between two scrapes: longer than a tick, so that each answer is made anew.
const PAUSE: Duration = Duration::from_millis(150);
/// What an answer may take, ms, and how many series it may have on two cores.
const MOST_MS: f64 = 3.0;
const MOST_SERIES: f64 = 1_000.0;

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let (_daemon, address) = page::serving(ground);
    let exporter = Exporter::spawn();
    let [mut latency, mut encoding, mut series, mut bytes] = [(); 4].map(|()| Pair::default());
    // Every kind of series is there once all probes have seen something.
    thread::sleep(Duration::from_secs(3));
    for _ in 0..ROUNDS {
        latency.ours.push(median_ms(|| drop(page::scrape(address, TEXT))));
        let body = page::scrape(address, TEXT).body;
        let page = Page::read(&String::from_utf8_lossy(&body), false);
        encoding.ours.push(page.value("ssts_exposition_seconds", &[]) * 1e3);
        series.ours.push(lines(&body));
        bytes.ours.push(body.len() as f64);
        if let Some(exporter) = &exporter {
            let mut page = Vec::new();
            latency.peer.push(median_ms(|| page = exporter.scrape()));
            series.peer.push(lines(&page));
            bytes.peer.push(page.len() as f64);
        }
    }
    let at_most = |most, figure| Figure { at_most: Some(most), ..figure };
    let peer = "node_exporter";
    table.add_figure(at_most(MOST_MS, Figure::new("scrape of all metrics, as text", "ms", peer, latency)));
    table.add("of it gathering and encoding", "ms", "", encoding);
    table.add_figure(at_most(MOST_SERIES, Figure::new("its series", "", peer, series)));
    table.add("its size", "B", peer, bytes);
    for (name, accept) in
        [("the same as OpenMetrics", OPENMETRICS), ("as protobuf, with native histograms", PROTOBUF)]
    {
        let ours = (0..ROUNDS).map(|_| median_ms(|| drop(page::scrape(address, accept)))).collect();
        table.add_figure(at_most(MOST_MS, Figure::new(name, "ms", "", Pair { ours, ..Pair::default() })));
    }
}

/// The median time of a scrape.
fn median_ms(mut scrape: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..SCRAPES)
        .map(|_| {
            thread::sleep(PAUSE);
            let begin = Instant::now();
            scrape();
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn lines(page: &[u8]) -> f64 {
    let is_sample = |line: &&[u8]| line.first().is_some_and(u8::is_ascii_lowercase) && line.contains(&b' ');
    // Of an answer with its header, the header's lines begin with capitals.
    page.split(|byte| *byte == b'\n').filter(is_sample).count() as f64
}
