use ssts_agent_ebpf::histogram::Layout;
use ssts_proto::{
    catalogue::{self as metrics, Metric},
    v1::{
        AbsenceReason, Guard, GuardAggregate, GuardComparison, GuardMissing, GuardOrigin, GuardReaction,
        LabelMatch,
    },
};

use super::*;
use crate::observe::{frame::BucketGain, schema::Column};

const STALE: Duration = Duration::from_secs(1);
const GONE: Result<f64, AbsenceReason> = Err(AbsenceReason::Gone);

fn guard(metric: &Metric, comparison: GuardComparison, value: f64) -> Guard {
    let mut guard = Guard { name: "one".into(), metric: metric.name.into(), value, ..Guard::default() };
    guard.set_comparison(comparison);
    guard.set_reaction(GuardReaction::Stop);
    guard
}

/// One guard and the columns of its metric.
struct Host {
    schema: Schema,
    columns: Vec<Column>,
    set: GuardSet,
}

impl Host {
    fn new(metric: &'static Metric, labels: &[&[&str]], guard: &Guard, origin: GuardOrigin) -> Self {
        let mut schema = Schema::new(1);
        let columns = labels.iter().map(|labels| schema.column(metric, labels)).collect();
        let spec = GuardSpec::new("guards[0]", guard, origin).unwrap();
        Self { schema, columns, set: GuardSet::new(vec![spec], STALE, Duration::ZERO) }
    }

    fn sensors(guard: &Guard) -> Self {
        let labels: [&[&str]; 2] = [&["a", "", "", ""], &["b", "", "", ""]];
        Self::new(&metrics::HOST_TEMPERATURE, &labels, guard, GuardOrigin::Shipped)
    }

    /// Whether it is tripped after a frame.
    fn tick(&mut self, ms: u64, readings: &[Result<f64, AbsenceReason>]) -> bool {
        let mut frame = Frame::default();
        frame.reset(&self.schema, 0);
        frame.end = Duration::from_millis(ms);
        for (column, reading) in self.columns.iter().zip(readings) {
            frame.set(*column, *reading);
        }
        self.set.look(&self.schema, &frame, &Owned::default());
        self.set.say();
        self.set.guards()[0].is_tripped()
    }

    fn message(&self) -> String {
        self.set.guards()[0].message()
    }
}

#[test]
fn the_worst_column_counts_and_a_limit_is_not_beyond_itself() {
    let mut host = Host::sensors(&guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 80.0));
    assert!(!host.tick(0, &[Ok(20.0), Ok(80.0)]));
    assert!(host.tick(100, &[Ok(20.0), Ok(80.1)]));
    assert_eq!(host.message(), "host.temperature of sensor b is 80.1 °C, the limit is 80.0 °C");
    assert!(!host.tick(200, &[Ok(20.0), Ok(79.0)]));
    let board = host.set.board();
    let status = &board.statuses()[0];
    assert_eq!((status.value, status.headroom, status.trips), (Some(79.0), Some(1.0), 1));
    assert_eq!(status.labels[0].value, "b");
}

#[test]
fn a_sensor_that_stays_away_trips_and_one_that_comes_back_in_time_does_not() {
    let mut host = Host::sensors(&guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 80.0));
    assert!(!host.tick(0, &[Ok(20.0), Ok(20.0)]));
    assert!(!host.tick(500, &[Ok(20.0), GONE]));
    assert!(!host.tick(900, &[Ok(20.0), Ok(20.0)]));
    assert!(!host.tick(1_800, &[Ok(20.0), GONE]));
    assert!(host.tick(1_900, &[Ok(20.0), GONE]));
    assert_eq!(host.message(), "host.temperature of sensor b could not be read for 1s: it is gone");
    assert!(!host.tick(2_000, &[Ok(20.0), Ok(20.0)]), "it came back");
}

#[test]
fn a_reading_that_its_source_calls_stale_trips_at_once_unless_it_never_was() {
    let stale = Err(AbsenceReason::Stale);
    let mut host = Host::sensors(&guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 80.0));
    assert!(!host.tick(0, &[Ok(20.0), stale]), "it was never seen");
    assert!(host.tick(100, &[stale, stale]));
}

#[test]
fn what_can_not_be_trips_once_it_has_lasted() {
    for nonsense in [-40.0, 200.0, f64::NAN, 20.0] {
        let mut host = Host::sensors(&guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 110.0));
        assert!(!host.tick(0, &[Ok(90.0), Ok(90.0)]));
        assert!(!host.tick(100, &[Ok(nonsense), Ok(90.0)]), "{nonsense}");
        assert!(!host.tick(900, &[Ok(nonsense), Ok(90.0)]), "{nonsense}");
        assert!(host.tick(1_000, &[Ok(nonsense), Ok(90.0)]), "{nonsense}");
    }
}

#[test]
fn a_sensor_that_a_new_schema_lacks_is_still_relied_on() {
    let mut host = Host::sensors(&guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 80.0));
    assert!(!host.tick(0, &[Ok(20.0), Ok(20.0)]));
    host.schema = Schema::new(2);
    host.columns = vec![host.schema.column(&metrics::HOST_TEMPERATURE, &["a", "", "", ""])];
    assert!(!host.tick(500, &[Ok(20.0)]));
    assert!(host.tick(1_000, &[Ok(20.0)]));
}

#[test]
fn what_may_be_missing_says_nothing_when_it_is() {
    let mut may = guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 80.0);
    may.set_missing(GuardMissing::Ignore);
    let mut host = Host::sensors(&may);
    assert!(!host.tick(0, &[Ok(20.0), Ok(20.0)]));
    assert!(!host.tick(9_000, &[Ok(20.0), GONE]));
}

#[test]
fn one_with_nothing_to_look_at_trips_if_it_was_asked_for_and_says_so_if_not() {
    let above = guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 80.0);
    for (origin, trips) in
        [(GuardOrigin::Shipped, false), (GuardOrigin::Configured, true), (GuardOrigin::Requested, true)]
    {
        let mut host = Host::new(&metrics::HOST_TEMPERATURE, &[], &above, origin);
        assert!(!host.tick(0, &[]) && !host.tick(4_000, &[]));
        assert_eq!(host.tick(5_000, &[]), trips, "{origin:?}");
        let status = &host.set.board().statuses()[0];
        assert!(status.reason.contains("no reading"), "{status:?}");
        assert_eq!(status.state() == GuardState::Unguarded, !trips);
    }
}

#[test]
fn a_headroom_is_to_the_sensors_own_critical_point() {
    let headroom = guard(&metrics::HOST_TEMPERATURE, GuardComparison::Headroom, 10.0);
    let mut host = Host::sensors(&headroom);
    host.columns.push(host.schema.column(&metrics::HOST_CRITICAL_TEMPERATURE, &["b", "", "", ""]));
    assert!(!host.tick(0, &[Ok(99.0), Ok(90.0), Ok(100.0)]), "a has no critical point");
    assert!(host.tick(100, &[Ok(99.0), Ok(90.5), Ok(100.0)]));
    assert_eq!(
        host.message(),
        "host.temperature of sensor b is below its critical point by 9.5 °C, the limit is 10.0 °C"
    );
}

#[test]
fn aggregates_take_all_columns_together() {
    for (aggregate, limit, trips) in [
        (GuardAggregate::Mean, 49.0, true),
        (GuardAggregate::Mean, 50.0, false),
        (GuardAggregate::Sum, 99.0, true),
        (GuardAggregate::Min, 40.0, false),
        (GuardAggregate::Min, 39.0, true),
        (GuardAggregate::Max, 60.0, false),
    ] {
        let mut one = guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, limit);
        one.set_aggregate(aggregate);
        let mut host = Host::sensors(&one);
        assert_eq!(host.tick(0, &[Ok(40.0), Ok(60.0)]), trips, "{aggregate:?} {limit}");
    }
}

#[test]
fn a_counter_is_judged_by_its_rate_and_what_was_before_does_not_count() {
    let mut one = guard(&metrics::HOST_VM_OOM_KILLS, GuardComparison::Above, 0.0);
    one.window_ms = Some(2_000);
    let mut host = Host::new(&metrics::HOST_VM_OOM_KILLS, &[&[]], &one, GuardOrigin::Shipped);
    assert!(!host.tick(0, &[Ok(7.0)]) && !host.tick(100, &[Ok(7.0)]));
    assert!(host.tick(200, &[Ok(8.0)]) && host.tick(300, &[Ok(8.0)]));
    assert!(host.message().contains("host.vm.oom_kills is"), "{}", host.message());
    for tick in 4..40 {
        host.tick(tick * 100, &[Ok(8.0)]);
    }
    assert!(!host.tick(4_000, &[Ok(8.0)]), "the window is over");
}

#[test]
fn a_rise_trips_before_the_heat_is_there() {
    let mut host = Host::sensors(&guard(&metrics::HOST_TEMPERATURE, GuardComparison::Rises, 2.0));
    let mut tripped = None;
    for second in 0..20_u32 {
        let hot = 40.0 + f64::from(second) * 3.0;
        if host.tick(u64::from(second) * 1_000, &[Ok(40.0), Ok(hot)]) {
            tripped = tripped.or(Some(hot));
        }
    }
    assert!(tripped.is_some_and(|hot| hot < 60.0), "{tripped:?}");
    assert!(host.message().contains("rises by 3.0 °C/s"), "{}", host.message());
}

/// A probe's histograms of two devices.
#[test]
fn a_percentile_is_of_the_slowest_device_that_no_run_loads() {
    let mut one = guard(&metrics::BLOCK_LATENCY, GuardComparison::Above, 5e6);
    (one.others_only, one.min_samples) = (true, Some(10));
    one.set_missing(GuardMissing::Ignore);
    let layout = Layout::new(4, 40);
    let mut schema = Schema::new(1);
    let [vda, vdb] =
        ["vda", "vdb"].map(|device| schema.histogram(&metrics::BLOCK_LATENCY, &[device, "read"], layout));
    let spec = GuardSpec::new("guards[0]", &one, GuardOrigin::Shipped).unwrap();
    let mut set = GuardSet::new(vec![spec], STALE, Duration::ZERO);
    let mut tick = |ms, gains: &[(_, u64, u64)], owned: &Owned| {
        let mut frame = Frame::default();
        frame.reset(&schema, 0);
        frame.end = Duration::from_millis(ms);
        for (column, ns, count) in gains {
            frame.gain(BucketGain { column: *column, bucket: layout.index(*ns) as u32, count: *count });
        }
        set.look(&schema, &frame, owned);
        (set.guards()[0].is_tripped(), set.guards()[0].value().is_some())
    };
    let none = Owned::default();
    assert_eq!(tick(0, &[], &none), (false, false));
    assert_eq!(tick(100, &[(vda, 1_000_000, 50)], &none), (false, true));
    assert_eq!(tick(200, &[(vda, 1_000_000, 50), (vdb, 20_000_000, 9)], &none), (false, true), "too few");
    assert_eq!(tick(300, &[(vda, 1_000_000, 50), (vdb, 20_000_000, 12)], &none), (true, true));
    assert_eq!(tick(400, &[], &none), (false, false), "idle is clear");
    let owned = Owned { generation: 1, devices: vec!["vdb".into()] };
    assert_eq!(tick(500, &[(vdb, 20_000_000, 90)], &owned), (false, false));
}

#[test]
fn labels_choose_columns() {
    let mut one = guard(&metrics::HOST_TEMPERATURE, GuardComparison::Above, 80.0);
    one.labels = vec![LabelMatch { name: "sensor".into(), value: "!b*".into() }];
    let mut host = Host::sensors(&one);
    assert!(!host.tick(0, &[Ok(20.0), Ok(99.0)]));
    assert!(host.tick(100, &[Ok(81.0), Ok(20.0)]));
}
