//! Tests of what a frame shows.

use ssts_proto::{
    catalogue::Metric,
    v1::{Core, Frame, HistogramDelta, HistogramLayout, Host, ProbeStatus, Schema},
};

use super::*;
use crate::telemetry::tests::{column, histogram};

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// A stream whose latest frame counted requests of `vda`: bucket and count. Bounds are 1.5 µs, 100 µs and 5 ms.
pub(in crate::top) fn with_requests(counts: &[(u32, u64)]) -> Telemetry {
    let mut telemetry = Telemetry::default();
    telemetry.accept_schema(Schema {
        id: 1,
        histograms: vec![histogram(&metrics::BLOCK_LATENCY, &["vda", "read"])],
        layouts: vec![HistogramLayout { upper_bounds: vec![1_500, 100_000, 5_000_000] }],
        ..Schema::default()
    });
    let (buckets, counts) = counts.iter().copied().unzip();
    let histograms = vec![HistogramDelta { column: 0, buckets, counts }];
    telemetry.accept_frame(&Frame { schema_id: 1, end_ns: 1, histograms, ..Frame::default() }).unwrap();
    telemetry
}

/// What a host with so many cores sends: its columns, and what they gain in a second or have.
pub(in crate::top) struct Sample {
    pub(in crate::top) schema: Schema,
    values: Vec<(f64, bool)>,
    absent: Vec<(u32, AbsenceReason)>,
}

impl Sample {
    /// Every core burns half of its time; a disk and an interface are busy; the sensor is too old to be shown.
    pub(in crate::top) fn new(cores: u32) -> Self {
        let mut sample =
            Self { schema: Schema { id: 1, ..Schema::default() }, values: vec![], absent: vec![] };
        for cpu in 0..cores {
            let cpu = cpu.to_string();
            for (mode, share) in MODES.iter().zip([0.5, 0.0, 0.125, 0.25, 0.0, 0.0, 0.0625, 0.0625]) {
                sample.column(&metrics::HOST_CPU_TIME, &[&cpu, mode], share);
            }
            for (who, share) in [("burner", 0.5), ("others", 0.1875), ("idle", 0.3125)] {
                sample.column(&metrics::SCHED_TIME, &[&cpu, who], share);
            }
            sample.column(&metrics::HOST_CPU_FREQUENCY, &[&cpu], 3.2e9);
        }
        sample.column(&metrics::HOST_MEMORY_TOTAL, &[], 8_589_934_592.0);
        sample.column(&metrics::HOST_MEMORY_AVAILABLE, &[], 4_294_967_296.0);
        sample.column(&metrics::HOST_MEMORY_DIRTY, &[], 1_048_576.0);
        sample.column(&metrics::HOST_DISK_READ_BYTES, &["vda"], 0.0);
        sample.column(&metrics::HOST_DISK_WRITTEN_BYTES, &["vda"], 4_194_304.0);
        sample.column(&metrics::HOST_DISK_READS, &["vda"], 0.0);
        sample.column(&metrics::HOST_DISK_WRITES, &["vda"], 1_024.0);
        sample.column(&metrics::HOST_DISK_IN_FLIGHT, &["vda"], 3.0);
        sample.column(&metrics::HOST_DISK_BUSY_TIME, &["vda"], 0.75);
        sample.column(&metrics::HOST_NETWORK_RECEIVED_BYTES, &["lo"], 0.0);
        sample.column(&metrics::HOST_NETWORK_RECEIVED_BYTES, &["eth0"], 125_000_000.0);
        sample.column(&metrics::HOST_NETWORK_SENT_BYTES, &["eth0"], 1_000.0);
        sample.column(&metrics::HOST_NETWORK_RECEIVE_ERRORS, &["eth0"], 2.0);
        sample.column(&metrics::HOST_PRESSURE_STALLED, &["cpu", "some"], 0.25);
        sample.column(&metrics::HOST_PRESSURE_STALLED, &["cpu", "full"], 0.0);
        sample.column(&metrics::BURNER_PREPARED, &["r", "0.0", "cpu"], 1.0);
        sample.column(&metrics::BURNER_TARGET, &["r", "0.0", "cpu", "0"], 0.5);
        sample.column(&metrics::BURNER_ON_CPU_TIME, &["r", "0.0", "cpu", "0"], 0.5);
        sample.column(&metrics::BURNER_OPERATIONS, &["r", "0.0", "cpu"], 1_000_000.0);
        sample.absent(
            &metrics::HOST_TEMPERATURE,
            &["hwmon0/temp1", "Core 0", "0", "0"],
            AbsenceReason::Stale,
        );
        sample.schema.histograms = vec![histogram(&metrics::BLOCK_LATENCY, &["vda", "write"])];
        sample.schema.layouts = vec![HistogramLayout { upper_bounds: vec![1_500, 100_000, 5_000_000] }];
        sample
    }

    fn column(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.schema.columns.push(column(metric, labels));
        self.values.push((value, metric.kind == ssts_proto::catalogue::Kind::Counter));
    }

    fn absent(&mut self, metric: &'static Metric, labels: &[&str], reason: AbsenceReason) {
        self.absent.push((self.schema.columns.len() as u32, reason));
        self.schema.columns.push(column(metric, labels));
    }

    /// The frame of a second since the start.
    pub(in crate::top) fn frame(&self, second: u32) -> Frame {
        let values = self
            .values
            .iter()
            .map(|(value, counts)| if *counts { value * f64::from(second) } else { *value });
        let (absent_columns, absent_reasons) =
            self.absent.iter().map(|(column, reason)| (*column, i32::from(*reason))).unzip();
        Frame {
            schema_id: 1,
            sequence: second.into(),
            end_ns: u64::from(second) * 1_000_000_000,
            values: values.collect(),
            absent_columns,
            absent_reasons,
            histograms: vec![HistogramDelta {
                column: 0,
                buckets: vec![1, 2],
                counts: vec![99, 1 + u64::from(second)],
            }],
            ..Frame::default()
        }
    }

    /// What the host says of itself.
    pub(in crate::top) fn host(cores: u32) -> DescribeResponse {
        let core =
            |cpu| Core { cpu, core_id: Some(cpu), package_id: Some(0), numa_node: Some(0), allowed: true };
        DescribeResponse {
            host: Some(Host {
                hostname: "rack-7".into(),
                cores: (0..cores).map(core).collect(),
                ..Host::default()
            }),
            limits: Some(ssts_proto::v1::Limits {
                max_duration_ms: Some(86_400_000),
                min_available_memory_bytes: Some(1 << 30),
                max_temperature_celsius: Some(90.0),
            }),
            ..DescribeResponse::default()
        }
    }

    fn shown(&self, cores: u32) -> Shown {
        let mut telemetry = Telemetry::default();
        telemetry.accept_schema(self.schema.clone());
        telemetry.accept_frame(&self.frame(1)).unwrap();
        telemetry.accept_frame(&self.frame(2)).unwrap();
        Shown::of(&telemetry, &Self::host(cores), 2_000_000_000)
    }
}

#[test]
fn a_cores_time_is_split_by_who_had_it() {
    let shown = Sample::new(2).shown(2);
    assert_eq!(shown.cores.len(), 2);
    let core = &shown.cores[1];
    assert_eq!(
        (core.burner, core.others, core.irq, core.steal, core.busy()),
        (Ok(0.5), Ok(0.125), Ok(0.0625), Ok(0.0625), Ok(0.75))
    );
    assert_eq!((core.hertz, core.cpu), (Ok(3.2e9), 1));
}

#[test]
fn what_is_missing_is_no_zero_and_says_why() {
    let shown = Sample::new(1).shown(1);
    let stale = Why::from(AbsenceReason::Stale);
    assert_eq!(shown.hottest(), Err(stale));
    assert_eq!((shown.cores[0].celsius, stale.mark()), (Err(stale), "stale"));
    assert_eq!((shown.watts, Why::NotReported.mark()), (Err(Why::NotReported), "-"));
    assert_eq!(shown.memory.swap_used, Err(Why::NotReported));
    let missing = shown.missing(&Sample::host(1));
    assert_eq!(missing, ["temperature (stale)", "power (this host has none)"]);
}

#[test]
fn a_probe_that_is_off_tells_why_there_is_no_split() {
    let mut sample = Sample::new(1);
    sample.schema.histograms.clear();
    let keep: Vec<bool> =
        sample.schema.columns.iter().map(|column| !column.metric.starts_with("sched.")).collect();
    let mut kept = keep.iter();
    sample.schema.columns.retain(|_| *kept.next().unwrap());
    let mut kept = keep.iter();
    sample.values.retain(|_| *kept.next().unwrap());
    sample.absent[0].0 -= 3;
    let frame = |second| Frame { histograms: vec![], ..sample.frame(second) };
    let mut telemetry = Telemetry::default();
    telemetry.accept_schema(sample.schema.clone());
    telemetry.accept_frame(&frame(1)).unwrap();
    telemetry.accept_frame(&frame(2)).unwrap();
    let mut host = Sample::host(1);
    let off =
        |name: &str| ProbeStatus { name: name.into(), reason: "no rights".into(), ..ProbeStatus::default() };
    host.probes = vec![off("sched"), off("block")];
    let shown = Shown::of(&telemetry, &host, 0);
    // All that is known is that the core was busy.
    assert_eq!((shown.cores[0].burner, shown.cores[0].busy()), (Err(Why::NotReported), Ok(0.75)));
    let missing = shown.missing(&host);
    assert!(missing.contains(&"burners' share (probe sched: no rights)".to_owned()), "{missing:?}");
    assert!(missing.contains(&"disk latency (probe block: no rights)".to_owned()), "{missing:?}");
}

#[test]
fn rates_wait_for_a_second_frame() {
    let sample = Sample::new(1);
    let mut telemetry = Telemetry::default();
    telemetry.accept_schema(sample.schema.clone());
    telemetry.accept_frame(&sample.frame(1)).unwrap();
    let shown = Shown::of(&telemetry, &Sample::host(1), 0);
    assert_eq!(shown.cores[0].busy(), Err(AbsenceReason::Pending.into()));
    assert_eq!(shown.memory.available, Ok(4_294_967_296.0));
}

#[test]
fn devices_burners_and_stalls_are_gathered() {
    let shown = Sample::new(1).shown(1);
    let disk = &shown.disks[0];
    assert_eq!((disk.name.as_str(), disk.written_bytes_per_s, disk.busy), ("vda", Ok(4_194_304.0), Ok(0.75)));
    assert_eq!((disk.operations_per_s, disk.latency_ns), (Ok(1_024.0), [Ok(1e5), Ok(5e6), Ok(5e6)]));
    let nic = shown.nics.iter().find(|nic| nic.name == "eth0").unwrap();
    assert_eq!((nic.received_bytes_per_s, nic.errors_per_s), (Ok(125e6), Ok(2.0)));
    assert_eq!(nic.drops_per_s, Err(Why::NotReported));
    assert_eq!((shown.pressures[0].some, shown.pressures[0].full), (Ok(0.25), Ok(0.0)));
    let burner = &shown.burners[0];
    assert_eq!((burner.target, burner.achieved, burner.errors), (Ok(0.5), Ok(0.5), 0.0));
}
