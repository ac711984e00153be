//! The columns of a frame: which metric, with which labels, stands where. Rebuilt only when the host changes (a device
//! comes or goes, a phase brings other burners); ticks in between allocate nothing.

use ssts_agent_ebpf::histogram::Layout;
use ssts_proto::{catalogue::Metric, v1};

/// The place of a scalar metric in [`Schema::columns`] and in a frame's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column(pub(super) u32);

/// The place of a histogram in [`Schema::histograms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistogramColumn(pub(super) u32);

impl HistogramColumn {
    /// Its index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One column: a metric of the catalogue and the values of its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDescription {
    /// From the catalogue.
    pub metric: &'static Metric,
    /// One value for each of the metric's label names.
    pub labels: Vec<String>,
}

/// One histogram column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramDescription {
    /// Metric and labels.
    pub column: ColumnDescription,
    /// How its buckets divide the values.
    pub layout: Layout,
}

/// All columns of the frames that carry its id.
#[derive(Debug, Default)]
pub struct Schema {
    /// Counts up within one agent's life.
    pub id: u32,
    /// The scalar columns.
    pub columns: Vec<ColumnDescription>,
    /// The histogram columns.
    pub histograms: Vec<HistogramDescription>,
    /// All probes, on or off: without it a reader could not tell a quiet host from one that nobody looks at.
    pub probes: Vec<v1::ProbeStatus>,
}

impl Schema {
    /// An empty schema, to be filled by the sources.
    pub fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    /// Adds a scalar column. `labels` has one value for each of the metric's label names.
    pub fn column(&mut self, metric: &'static Metric, labels: &[&str]) -> Column {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        self.columns.push(ColumnDescription { metric, labels: own(labels) });
        Column(index(self.columns.len()))
    }

    /// The scalar columns with their places.
    pub fn columns(&self) -> impl Iterator<Item = (Column, &ColumnDescription)> {
        (0..).map(Column).zip(&self.columns)
    }

    /// The histogram columns with their places.
    pub fn histogram_columns(&self) -> impl Iterator<Item = (HistogramColumn, &HistogramDescription)> {
        (0..).map(HistogramColumn).zip(&self.histograms)
    }

    /// Adds a histogram column.
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], layout: Layout) -> HistogramColumn {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let column = ColumnDescription { metric, labels: own(labels) };
        self.histograms.push(HistogramDescription { column, layout });
        HistogramColumn(index(self.histograms.len()))
    }
}

impl From<&Schema> for v1::Schema {
    fn from(schema: &Schema) -> Self {
        let mut layouts: Vec<Layout> = Vec::new();
        let histograms = schema
            .histograms
            .iter()
            .map(|histogram| {
                let known = layouts.iter().position(|layout| *layout == histogram.layout);
                let layout = known.unwrap_or_else(|| {
                    layouts.push(histogram.layout);
                    layouts.len() - 1
                });
                v1::HistogramColumn {
                    metric: histogram.column.metric.name.into(),
                    labels: histogram.column.v1_labels(),
                    unit: histogram.column.metric.unit.into(),
                    layout: layout as u32,
                }
            })
            .collect();
        let columns = schema
            .columns
            .iter()
            .map(|column| v1::Column {
                metric: column.metric.name.into(),
                labels: column.v1_labels(),
                unit: column.metric.unit.into(),
                kind: v1::MetricKind::from(column.metric.kind).into(),
            })
            .collect();
        let layouts = layouts
            .iter()
            .map(|layout| v1::HistogramLayout {
                upper_bounds: (0..layout.buckets()).map(|bucket| layout.upper_bound(bucket)).collect(),
            })
            .collect();
        Self { id: schema.id, columns, histograms, layouts, probes: schema.probes.clone() }
    }
}

/// The label that says which run a column belongs to. Empty: none.
const RUN: &str = "run";

impl ColumnDescription {
    /// The run that it belongs to; nothing for what is the host's.
    pub fn run(&self) -> Option<&str> {
        let of = self.metric.labels.iter().position(|label| *label == RUN)?;
        self.labels.get(of).map(String::as_str).filter(|run| !run.is_empty())
    }

    /// The labels beside that of the run, as the protocol carries them.
    pub fn labels_in_run(&self) -> Vec<v1::Label> {
        let mut labels = self.v1_labels();
        labels.retain(|label| label.name != RUN);
        labels
    }

    /// The labels as the protocol carries them.
    pub fn v1_labels(&self) -> Vec<v1::Label> {
        self.metric
            .labels
            .iter()
            .zip(&self.labels)
            .map(|(name, value)| v1::Label { name: (*name).into(), value: value.clone() })
            .collect()
    }
}

fn own(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|&label| label.to_owned()).collect()
}

/// The index of the last of `len` columns.
fn index(len: usize) -> u32 {
    u32::try_from(len - 1).expect("a host has fewer than 2^32 columns")
}
