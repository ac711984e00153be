//! Figures side by side.

use std::{fs, io, path::Path};

use serde_json::{Value, json};

/// What was measured of us and of the peer, a value a round.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    pub(crate) ours: Vec<f64>,
    pub(crate) peer: Vec<f64>,
    /// What a reader must know.
    pub(crate) note: Option<String>,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) peer_name: &'static str,
    pub(crate) pair: Pair,
    pub(crate) more_is_better: bool,
    /// The least ratio that we mean to reach, where we mean to reach one.
    pub(crate) bar: Option<f64>,
    /// The most that our own figure may be, where we mean to stay below something.
    pub(crate) at_most: Option<f64>,
}

impl Figure {
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        peer_name: &'static str,
        pair: Pair,
    ) -> Self {
        Self { name: name.into(), unit, peer_name, pair, more_is_better: false, bar: None, at_most: None }
    }

    /// How many times better we are: above 1 is good.
    fn ratio(&self) -> Option<f64> {
        let (ours, peer) = (median(&self.pair.ours)?, median(&self.pair.peer)?);
        let ratio = if self.more_is_better { ours / peer } else { peer / ours };
        ratio.is_finite().then_some(ratio)
    }

    fn note(&self) -> String {
        let peer_is_absent = self.pair.peer.is_empty() && !self.peer_name.is_empty();
        let absent = peer_is_absent.then(|| format!("{} is not installed", self.peer_name));
        let above = median(&self.pair.ours).zip(self.at_most).is_some_and(|(ours, most)| ours > most);
        let missed = self.ratio().zip(self.bar).is_some_and(|(ratio, bar)| ratio < bar) || above;
        let missed = missed.then(|| "misses the bar".to_owned());
        let noisy = (spread(&self.pair.ours) > 0.25).then(|| "noisy".to_owned());
        [self.pair.note.clone(), absent, missed, noisy].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn json(&self) -> Value {
        let mut row = json!({ "figure": self.name, "unit": self.unit, "ours": self.pair.ours, "more_is_better": self.more_is_better });
        if !self.pair.peer.is_empty() {
            row["peer"] = json!({ "name": self.peer_name, "values": self.pair.peer });
        }
        if let Some(ratio) = self.ratio() {
            row["ratio"] = ratio.into();
        }
        if let Some(bar) = self.bar {
            row["bar"] = bar.into();
        }
        if let Some(most) = self.at_most {
            row["at_most"] = most.into();
        }
        let note = self.note();
        if !note.is_empty() {
            row["note"] = note.into();
        }
        row
    }
}

/// All rows; each is printed as it comes.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Figure>);

impl Table {
    /// Of something of which less is better.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        peer_name: &'static str,
        pair: Pair,
    ) {
        self.add_figure(Figure::new(name, unit, peer_name, pair));
    }

    pub(crate) fn add_figure(&mut self, figure: Figure) {
        if self.0.is_empty() {
            println!(
                "{:40} {:>28} {:>28} {:>7} {:>6}  {:12} note",
                "figure", "ours (min..max)", "peer (min..max)", "better", "bar", "unit"
            );
        }
        let ratio = figure.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
        let bar = match (figure.bar, figure.at_most) {
            (Some(bar), _) => format!("{bar:.2}x"),
            (None, Some(most)) => format!("<={most}"),
            (None, None) => "-".to_owned(),
        };
        println!(
            "{:40} {:>28} {:>28} {ratio:>7} {bar:>6}  {:12} {}",
            figure.name,
            shown(&figure.pair.ours),
            shown(&figure.pair.peer),
            figure.unit,
            figure.note()
        );
        self.0.push(figure);
    }

    /// Writes all as JSON.
    pub(crate) fn finish(&self, path: &Path) -> io::Result<()> {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let rows: Vec<_> = self.0.iter().map(Figure::json).collect();
        let all = json!({ "figures": rows, "load_average_at_end": load.trim() });
        fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
        println!("\nload average at the end: {}\nwritten to {}", load.trim(), path.display());
        Ok(())
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn bounds(values: &[f64]) -> (f64, f64) {
    (
        values.iter().copied().fold(f64::INFINITY, f64::min),
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// Largest less smallest, as a share of the middle one.
fn spread(values: &[f64]) -> f64 {
    let (least, most) = bounds(values);
    median(values).map_or(0.0, |median| (most - least) / median.abs().max(f64::MIN_POSITIVE))
}

fn shown(values: &[f64]) -> String {
    let Some(median) = median(values) else { return "-".into() };
    let (least, most) = bounds(values);
    let digits = if median.abs() >= 1_000.0 {
        0
    } else if median.abs() >= 10.0 {
        1
    } else {
        3
    };
    format!("{median:.digits$} ({least:.digits$}..{most:.digits$})")
}
