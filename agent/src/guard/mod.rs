//! Limits with a reaction. A guard sees frames and says when it trips; it knows nothing of runs and burners.

use std::{fmt, sync::Arc, time::Duration};

use ssts_proto::{
    catalogue::{HOST_MEMORY_AVAILABLE, HOST_TEMPERATURE},
    v1::{self, AbsenceReason},
};

use crate::observe::{
    frame::Frame,
    schema::{Column, Schema},
};

/// All guards, by the names that their trips have.
pub const GUARDS: [&str; 3] = [MAX_DURATION, MIN_AVAILABLE_MEMORY, MAX_TEMPERATURE];
const MAX_DURATION: &str = "max_duration";
const MIN_AVAILABLE_MEMORY: &str = "min_available_memory";
const MAX_TEMPERATURE: &str = "max_temperature";

/// The limits of one run, after the daemon's own were laid over those that were asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The whole run.
    pub max_duration: Duration,
    /// Of MemAvailable.
    pub min_available_memory_bytes: u64,
    /// Of the hottest sensor.
    pub max_temperature_celsius: f64,
    /// How long a reading may be missing.
    pub stale_after: Duration,
}

impl From<&Bounds> for v1::Limits {
    fn from(bounds: &Bounds) -> Self {
        Self {
            max_duration_ms: Some(u64::try_from(bounds.max_duration.as_millis()).unwrap_or(u64::MAX)),
            min_available_memory_bytes: Some(bounds.min_available_memory_bytes),
            max_temperature_celsius: Some(bounds.max_temperature_celsius),
        }
    }
}

/// A limit was reached. The only reaction so far is to stop the run. Made without an allocation: its words, by `Display`, are
/// for later.
#[derive(Debug, Clone, PartialEq)]
pub struct Trip {
    /// One of [`GUARDS`].
    pub guard: &'static str,
    /// When what it trips at was read, CLOCK_MONOTONIC.
    pub read: Duration,
    breach: Breach,
}

/// What was read, and the limit.
#[derive(Debug, Clone, PartialEq)]
enum Breach {
    Lasted { elapsed: Duration, limit: Duration },
    Memory { bytes: f64, limit_bytes: u64 },
    MemoryUnread { stale_after: Duration },
    Temperature { sensor: Arc<str>, celsius: f64, limit: f64 },
    SensorUnread { sensor: Arc<str>, stale_after: Duration },
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.breach {
            Breach::Lasted { elapsed, limit } => {
                write!(f, "the run has lasted {elapsed:.1?}, the limit is {limit:?}")
            }
            Breach::Memory { bytes, limit_bytes } => {
                let limit = limit_bytes >> 20;
                write!(f, "{} MiB of memory are available, the limit is {limit} MiB", mib(*bytes))
            }
            Breach::MemoryUnread { stale_after } => {
                write!(f, "the available memory could not be read for {stale_after:?}")
            }
            Breach::Temperature { sensor, celsius, limit } => {
                write!(f, "sensor {sensor} is at {celsius:.1} °C, the limit is {limit:.1} °C")
            }
            Breach::SensorUnread { sensor, stale_after } => {
                write!(f, "sensor {sensor} could not be read for {stale_after:?}")
            }
        }
    }
}

/// The guards of one run.
#[derive(Debug)]
pub struct Guards {
    bounds: Bounds,
    /// CLOCK_MONOTONIC.
    started: Duration,
    schema: Option<Arc<Schema>>,
    memory: Watched,
    sensors: Vec<Watched>,
}

/// A reading that a guard relies on.
#[derive(Debug)]
struct Watched {
    column: Option<Column>,
    labels: Vec<String>,
    /// Of a sensor, its id. Shared, so that a trip can name it without a copy.
    name: Arc<str>,
    /// When it was last there, CLOCK_MONOTONIC.
    fresh: Duration,
    /// Whether it ever was. One that never was can't be relied on, and its absence says nothing.
    seen: bool,
}

impl Guards {
    /// Guards of a run that starts now, by CLOCK_MONOTONIC.
    pub fn new(bounds: Bounds, started: Duration) -> Self {
        // Every kernel that this runs on has MemAvailable (3.14): where it can't be read, something is wrong.
        let memory = Watched { seen: true, ..Watched::new(&[], started) };
        Self { bounds, started, schema: None, memory, sensors: Vec::new() }
    }

    /// Whether any temperature sensor could be read so far.
    pub fn sees_temperature(&self) -> bool {
        self.sensors.iter().any(|sensor| sensor.seen)
    }

    /// Looks at one frame.
    pub fn check(&mut self, schema: &Arc<Schema>, frame: &Frame) -> Option<Trip> {
        self.follow(schema, frame.end);
        self.check_duration(frame.end)
            .or_else(|| self.check_memory(frame))
            .or_else(|| self.check_temperature(frame))
    }

    fn check_duration(&self, now: Duration) -> Option<Trip> {
        let limit = self.bounds.max_duration;
        let elapsed = now.saturating_sub(self.started);
        let trip = Trip { guard: MAX_DURATION, read: now, breach: Breach::Lasted { elapsed, limit } };
        (elapsed >= limit).then_some(trip)
    }

    fn check_memory(&mut self, frame: &Frame) -> Option<Trip> {
        let limit_bytes = self.bounds.min_available_memory_bytes;
        let stale_after = self.bounds.stale_after;
        let breach = match self.memory.look(frame, stale_after) {
            Look::Value { value: bytes, .. } if bytes < limit_bytes as f64 => {
                Breach::Memory { bytes, limit_bytes }
            }
            Look::Value { .. } | Look::Unknown => return None,
            Look::Stale => Breach::MemoryUnread { stale_after },
        };
        Some(Trip { guard: MIN_AVAILABLE_MEMORY, read: frame.end, breach })
    }

    fn check_temperature(&mut self, frame: &Frame) -> Option<Trip> {
        let limit = self.bounds.max_temperature_celsius;
        let stale_after = self.bounds.stale_after;
        self.sensors.iter_mut().find_map(|watched| {
            let look = watched.look(frame, stale_after);
            let sensor = watched.name.clone();
            let (read, breach) = match look {
                Look::Value { value: celsius, read } if celsius > limit => {
                    (read, Breach::Temperature { sensor, celsius, limit })
                }
                Look::Value { .. } | Look::Unknown => return None,
                Look::Stale => (frame.end, Breach::SensorUnread { sensor, stale_after }),
            };
            Some(Trip { guard: MAX_TEMPERATURE, read, breach })
        })
    }

    /// Finds the columns anew when the schema changed. What was relied on before still is, whether the schema has it or not.
    fn follow(&mut self, schema: &Arc<Schema>, now: Duration) {
        if self.schema.as_ref().is_some_and(|known| known.id == schema.id) {
            return;
        }
        self.schema = Some(schema.clone());
        for watched in std::iter::once(&mut self.memory).chain(&mut self.sensors) {
            watched.column = None;
        }
        for (column, description) in schema.columns() {
            if *description.metric == HOST_MEMORY_AVAILABLE {
                self.memory.column = Some(column);
            } else if *description.metric == HOST_TEMPERATURE {
                let known = self.sensors.iter().position(|sensor| sensor.labels == description.labels);
                let index = known.unwrap_or_else(|| {
                    self.sensors.push(Watched::new(&description.labels, now));
                    self.sensors.len() - 1
                });
                self.sensors[index].column = Some(column);
            }
        }
    }
}

enum Look {
    Value {
        value: f64,
        /// CLOCK_MONOTONIC.
        read: Duration,
    },
    Stale,
    Unknown,
}

impl Watched {
    fn new(labels: &[String], now: Duration) -> Self {
        let name = labels.first().map_or("", String::as_str).into();
        Self { column: None, labels: labels.to_vec(), name, fresh: now, seen: false }
    }

    fn look(&mut self, frame: &Frame, stale_after: Duration) -> Look {
        let (reading, read) = match self.column.map(|column| frame.reading_in_time(column)) {
            Some((reading, read)) => (Some(reading), read),
            None => (None, frame.end),
        };
        // Its source has waited for as long before it says so.
        let is_stale = reading == Some(Err(AbsenceReason::Stale));
        match reading.and_then(Result::ok).filter(|value| value.is_finite()) {
            Some(value) => {
                (self.fresh, self.seen) = (frame.end, true);
                Look::Value { value, read }
            }
            None if self.seen && (is_stale || frame.end.saturating_sub(self.fresh) >= stale_after) => {
                Look::Stale
            }
            None => Look::Unknown,
        }
    }
}

fn mib(bytes: f64) -> u64 {
    (bytes / f64::from(1 << 20)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        max_duration: Duration::from_secs(60),
        min_available_memory_bytes: 1 << 30,
        max_temperature_celsius: 80.0,
        stale_after: Duration::from_secs(1),
    };

    struct Host {
        schema: Arc<Schema>,
        memory: Column,
        sensors: [Column; 2],
        guards: Guards,
    }

    impl Host {
        fn new() -> Self {
            let mut schema = Schema::new(1);
            let memory = schema.column(&HOST_MEMORY_AVAILABLE, &[]);
            let sensors = ["a", "b"].map(|id| schema.column(&HOST_TEMPERATURE, &[id, "", "", ""]));
            Self { schema: Arc::new(schema), memory, sensors, guards: Guards::new(BOUNDS, Duration::ZERO) }
        }

        fn tick(
            &mut self,
            ms: u64,
            memory: f64,
            sensors: [Result<f64, AbsenceReason>; 2],
        ) -> Option<&'static str> {
            let mut frame = Frame::default();
            frame.reset(&self.schema, 0);
            frame.end = Duration::from_millis(ms);
            frame.set(self.memory, Ok(memory));
            for (column, reading) in self.sensors.into_iter().zip(sensors) {
                frame.set(column, reading);
            }
            self.guards.check(&self.schema, &frame).map(|trip| trip.guard)
        }
    }

    const MUCH: f64 = 8e9;
    const GONE: Result<f64, AbsenceReason> = Err(AbsenceReason::Gone);

    #[test]
    fn each_guard_trips_beyond_its_limit_and_not_at_it() {
        let mut host = Host::new();
        assert_eq!(host.tick(0, MUCH, [Ok(80.0), Ok(20.0)]), None);
        assert_eq!(host.tick(1, f64::from(1 << 30), [Ok(20.0); 2]), None);
        assert_eq!(host.tick(2, 1e9, [Ok(20.0); 2]), Some("min_available_memory"));
        assert_eq!(host.tick(3, MUCH, [Ok(20.0), Ok(80.1)]), Some("max_temperature"));
        assert_eq!(host.tick(59_999, MUCH, [Ok(20.0); 2]), None);
        assert_eq!(host.tick(60_000, MUCH, [Ok(20.0); 2]), Some("max_duration"));
    }

    #[test]
    fn a_sensor_that_stays_away_trips_and_one_that_comes_back_in_time_does_not() {
        let mut host = Host::new();
        assert_eq!(host.tick(0, MUCH, [Ok(20.0); 2]), None);
        assert_eq!(host.tick(500, MUCH, [Ok(20.0), GONE]), None);
        assert_eq!(host.tick(900, MUCH, [Ok(20.0); 2]), None);
        assert_eq!(host.tick(1_800, MUCH, [Ok(20.0), GONE]), None);
        assert_eq!(host.tick(1_900, MUCH, [Ok(20.0), GONE]), Some("max_temperature"));
    }

    #[test]
    fn a_reading_that_is_too_old_trips_at_once() {
        let mut host = Host::new();
        let stale = Err(AbsenceReason::Stale);
        assert_eq!(host.tick(0, MUCH, [Ok(20.0), stale]), None, "it was never seen");
        assert_eq!(host.tick(100, MUCH, [stale, stale]), Some("max_temperature"));
    }

    #[test]
    fn a_sensor_that_never_could_be_read_is_not_relied_on() {
        let mut host = Host::new();
        assert_eq!(host.tick(0, MUCH, [Ok(20.0), GONE]), None);
        assert_eq!(host.tick(30_000, MUCH, [Ok(20.0), GONE]), None);
        assert!(host.guards.sees_temperature());
    }

    #[test]
    fn a_sensor_that_a_new_schema_lacks_is_still_relied_on() {
        let mut host = Host::new();
        assert_eq!(host.tick(0, MUCH, [Ok(20.0); 2]), None);
        let mut schema = Schema::new(2);
        host.memory = schema.column(&HOST_MEMORY_AVAILABLE, &[]);
        let only = schema.column(&HOST_TEMPERATURE, &["a", "", "", ""]);
        (host.schema, host.sensors) = (Arc::new(schema), [only, only]);
        assert_eq!(host.tick(500, MUCH, [Ok(20.0); 2]), None);
        assert_eq!(host.tick(1_000, MUCH, [Ok(20.0); 2]), Some("max_temperature"));
    }
}
