//! Families with their series, before they are encoded.

use std::borrow::Cow;

use ssts_proto::names::{Family, FamilyKind};

use super::buckets::{self, Histogram};

/// A family and the series that it has now.
#[derive(Debug)]
pub(super) struct Filled<'a> {
    pub(super) family: &'a Family,
    /// At least one.
    pub(super) series: Vec<Series<'a>>,
}

/// One series.
#[derive(Debug)]
pub(super) struct Series<'a> {
    /// Values of the family's labels, in their order. An empty one is none.
    pub(super) labels: Vec<Cow<'a, str>>,
    pub(super) value: Value<'a>,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    /// In the family's unit.
    Number(f64),
    Counts(&'a Histogram),
}

/// All families of an answer: so many series at most.
#[derive(Debug)]
pub(super) struct Gathered<'a> {
    families: Vec<Filled<'a>>,
    room: usize,
    left_out: usize,
}

impl<'a> Gathered<'a> {
    pub(super) fn with_room_for(series: usize) -> Self {
        Self { families: Vec::new(), room: series, left_out: 0 }
    }

    /// Adds a family, or leaves all of it out where there is no room: half of one would be a riddle to whoever sums it.
    pub(super) fn add(&mut self, family: &'a Family, mut series: Vec<Series<'a>>) {
        // Two of the same name and labels make Prometheus refuse the whole answer.
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        series.dedup_by(|later, first| later.labels == first.labels);
        if series.is_empty() {
            return;
        }
        let lines = match family.kind {
            // One more each for infinity, sum and count.
            FamilyKind::Histogram => series.len() * (buckets::bounds(family.unit).len() + 3),
            FamilyKind::Gauge | FamilyKind::Counter | FamilyKind::Info => series.len(),
        };
        if lines > self.room {
            self.left_out += lines;
            return;
        }
        self.room -= lines;
        self.families.push(Filled { family, series });
    }

    /// Adds a series without labels.
    pub(super) fn add_one(&mut self, family: &'a Family, value: f64) {
        self.add(family, vec![Series { labels: Vec::new(), value: Value::Number(value) }]);
    }

    /// All of them, with one more that says how much was left out.
    pub(super) fn finish(mut self) -> Vec<Filled<'a>> {
        self.room = 1;
        self.add_one(&ssts_proto::names::agent::SERIES_LEFT_OUT, self.left_out as f64);
        self.families
    }
}

impl<'a> Series<'a> {
    pub(super) fn labelled(label: impl Into<Cow<'a, str>>, value: f64) -> Self {
        Self { labels: vec![label.into()], value: Value::Number(value) }
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::names::agent;

    use super::*;

    #[test]
    fn a_family_that_has_no_room_is_left_out_whole_and_that_is_told() {
        let mut gathered = Gathered::with_room_for(2);
        let state = |state: &'static str| Series::labelled(state, 1.0);
        gathered.add(&agent::RUN_STATE, vec![state("a"), state("b"), state("c")]);
        gathered.add(&agent::RUNS_FINISHED, vec![state("b"), state("a"), state("b")]);
        gathered.add(&agent::GUARD_TRIPS, Vec::new());
        let families = gathered.finish();
        let names: Vec<_> = families.iter().map(|filled| &*filled.family.name).collect();
        assert_eq!(names, ["ssts_runs_finished", "ssts_exposition_left_out_series"]);
        assert_eq!(
            families[0].series.iter().map(|series| &*series.labels[0]).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(matches!(families[1].series[0].value, Value::Number(3.0)));
    }
}
