//! What a fleet's view shows of one host's frames. A thousand hosts come by once a second: what a column means is looked up once, when
//! the schema comes, and a frame is gone through without making anything.

use ssts_proto::{
    catalogue,
    v1::{Frame, Schema},
};

use crate::telemetry::Malformed;

/// Beginnings of the metrics that are shown; the agent sends no others.
pub(crate) const PREFIXES: [&str; 4] =
    ["block.latency", "burner.on_cpu_time", "burner.target", "host.temperature"];

/// What a frame says, and the one before for rates. What is missing is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Gauges {
    /// What burners have of a core, mean over workers.
    pub(crate) achieved: Option<f64>,
    /// What is asked of those that have a target.
    pub(crate) target: Option<f64>,
    /// The hottest sensor, °C.
    pub(crate) celsius: Option<f64>,
    /// The slowest request of all disks since the frame before.
    pub(crate) worst_io_ns: Option<u64>,
    /// The host tells of its disks' requests, whether there was one or not.
    pub(crate) tells_io: bool,
}

/// Reads frames.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    schema_id: Option<u32>,
    columns: Vec<Column>,
    /// For each histogram its layout.
    histograms: Vec<u32>,
    layouts: Vec<Vec<u64>>,
    /// When the frame before was read, CLOCK_MONOTONIC.
    before_ns: Option<u64>,
    /// Of the frame before.
    gauges: Gauges,
}

#[derive(Debug, Clone, Copy)]
enum Column {
    Other,
    Celsius,
    Target,
    /// With what it was, seconds.
    OnCpu(Option<f64>),
}

impl Reader {
    /// Takes over new columns. Rates go on with the second frame.
    pub(crate) fn schema(&mut self, schema: Schema) {
        let columns = schema.columns.iter().map(|column| match column.metric.as_str() {
            name if name == catalogue::BURNER_ON_CPU_TIME.name => Column::OnCpu(None),
            name if name == catalogue::BURNER_TARGET.name => Column::Target,
            name if name == catalogue::HOST_TEMPERATURE.name => Column::Celsius,
            _ => Column::Other,
        });
        self.columns = columns.collect();
        self.histograms = schema.histograms.iter().map(|histogram| histogram.layout).collect();
        self.layouts = schema.layouts.into_iter().map(|layout| layout.upper_bounds).collect();
        self.schema_id = Some(schema.id);
        self.before_ns = None;
    }

    /// Takes over new readings.
    ///
    /// # Errors
    /// The frame is not one of its schema. Then nothing can be told until the next one.
    pub(crate) fn frame(&mut self, frame: &Frame) -> Result<Gauges, Malformed> {
        if self.schema_id != Some(frame.schema_id) {
            return Err(Malformed::UnknownSchema);
        }
        let window_s = self
            .before_ns
            .filter(|before| *before < frame.end_ns)
            .map(|before| (frame.end_ns - before) as f64 / 1e9);
        let mut values = frame.values.iter().copied();
        let mut absent = frame.absent_columns.iter().copied().peekable();
        let (mut achieved, mut asked, mut hottest) = (Mean::default(), Mean::default(), None::<f64>);
        let mut burns = false;
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value = match absent.next_if(|absent| *absent as usize == index) {
                Some(_) => None,
                None => {
                    Some(values.next().ok_or(Malformed::Columns)?).filter(|value: &f64| value.is_finite())
                }
            };
            match column {
                Column::Other => {}
                Column::Celsius => hottest = value.map_or(hottest, |c| Some(hottest.map_or(c, |h| h.max(c)))),
                Column::Target => asked.add(value),
                Column::OnCpu(before) => {
                    burns = true;
                    let gained = value.zip(*before).map(|(now, before)| now - before);
                    // One that fell began anew.
                    achieved.add(gained.filter(|gained| *gained >= 0.0).zip(window_s).map(|(g, s)| g / s));
                    *before = value;
                }
            }
        }
        if values.next().is_some() || absent.next().is_some() {
            return Err(Malformed::Columns);
        }
        let gauges = Gauges {
            // Between two sets of burners there is one frame without a rate.
            achieved: achieved.value().or(self.gauges.achieved.filter(|_| burns && window_s.is_none())),
            target: asked.value(),
            celsius: hottest,
            worst_io_ns: self.worst_ns(frame)?,
            tells_io: !self.histograms.is_empty(),
        };
        self.before_ns = Some(frame.end_ns);
        self.gauges = gauges;
        Ok(gauges)
    }

    /// The upper bound of the slowest request's bucket.
    fn worst_ns(&self, frame: &Frame) -> Result<Option<u64>, Malformed> {
        let mut worst = None;
        for delta in &frame.histograms {
            let layout = self.histograms.get(delta.column as usize).ok_or(Malformed::Buckets)?;
            let bounds = self.layouts.get(*layout as usize).ok_or(Malformed::Buckets)?;
            if let Some(bucket) = delta.buckets.last() {
                worst = worst.max(Some(*bounds.get(*bucket as usize).ok_or(Malformed::Buckets)?));
            }
        }
        Ok(worst)
    }
}

#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            (self.sum, self.count) = (self.sum + value, self.count + 1);
        }
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{HistogramDelta, HistogramLayout};

    use super::*;
    use crate::telemetry::tests::{column, histogram};

    fn reader() -> Reader {
        let mut reader = Reader::default();
        let worker = |worker: &'static str| ["r", "0.0", "cpu", worker];
        reader.schema(Schema {
            id: 1,
            columns: vec![
                column(&catalogue::BURNER_ON_CPU_TIME, &worker("0")),
                column(&catalogue::BURNER_ON_CPU_TIME, &worker("1")),
                column(&catalogue::BURNER_TARGET, &worker("0")),
                column(&catalogue::HOST_TEMPERATURE, &["a"]),
                column(&catalogue::HOST_TEMPERATURE, &["b"]),
            ],
            histograms: vec![histogram(&catalogue::BLOCK_LATENCY, &["vda", "read"])],
            layouts: vec![HistogramLayout { upper_bounds: vec![1_000, 2_000, 4_000] }],
            ..Schema::default()
        });
        reader
    }

    fn frame(second: u64, values: &[f64], absent: &[u32]) -> Frame {
        Frame {
            schema_id: 1,
            end_ns: second * 1_000_000_000,
            values: values.to_vec(),
            absent_columns: absent.to_vec(),
            ..Frame::default()
        }
    }

    #[test]
    fn a_frame_becomes_figures_and_what_is_missing_is_none() {
        let mut reader = reader();
        let first = reader.frame(&frame(1, &[0.0, 0.0, 0.5, 40.0, 50.0], &[])).unwrap();
        assert_eq!((first.achieved, first.target, first.celsius), (None, Some(0.5), Some(50.0)));
        assert_eq!((first.worst_io_ns, first.tells_io), (None, true));
        let mut second = frame(3, &[1.0, 0.5, 0.5, 61.0], &[4]);
        second.histograms = vec![HistogramDelta { column: 0, buckets: vec![0, 2], counts: vec![9, 1] }];
        let second = reader.frame(&second).unwrap();
        assert_eq!((second.achieved, second.celsius), (Some(0.375), Some(61.0)));
        assert_eq!(second.worst_io_ns, Some(4_000));
        let third = reader.frame(&frame(4, &[1.1, 0.5], &[2, 3, 4])).unwrap();
        assert_eq!((third.target, third.celsius), (None, None));
        assert!((third.achieved.unwrap() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_frame_that_contradicts_its_schema_is_refused() {
        let mut reader = reader();
        assert_eq!(reader.frame(&frame(1, &[0.0; 4], &[])), Err(Malformed::Columns));
        assert_eq!(reader.frame(&frame(1, &[0.0; 6], &[])), Err(Malformed::Columns));
        assert_eq!(reader.frame(&frame(1, &[0.0; 5], &[7])), Err(Malformed::Columns));
        let mut bad = frame(1, &[0.0; 5], &[]);
        bad.histograms = vec![HistogramDelta { column: 0, buckets: vec![3], counts: vec![1] }];
        assert_eq!(reader.frame(&bad), Err(Malformed::Buckets));
        let other = Frame { schema_id: 2, ..frame(1, &[0.0; 5], &[]) };
        assert_eq!(reader.frame(&other), Err(Malformed::UnknownSchema));
    }
}
