//! Where each disk's requests spent their time, second by second: the counts behind a heat map. Bounded.

use std::collections::BTreeMap;

use ssts_proto::catalogue;

use crate::telemetry::Telemetry;

/// As long as the flight recorder reaches.
pub(super) const SECONDS: i64 = 600;
/// Rows double, from 1 µs and less in the first to 8 s and more in the last.
pub(super) const ROWS: usize = 24;
/// Disks beyond are left out of heat maps; their figures are shown.
const DISKS: usize = 64;

/// Requests that took a time of each row.
pub(super) type Bin = [u32; ROWS];

/// The latest ten minutes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Heat {
    /// By second of Unix time.
    disks: BTreeMap<String, BTreeMap<i64, Bin>>,
}

impl Heat {
    /// Counts what the latest frame, of that instant, gained.
    pub(super) fn accept(&mut self, telemetry: &Telemetry, at_unix_ns: i64) {
        let second = at_unix_ns.div_euclid(1_000_000_000);
        for (labels, counts) in telemetry.counts(&catalogue::BLOCK_LATENCY) {
            let device = labels.get("device");
            if !self.disks.contains_key(device) {
                if self.disks.len() == DISKS {
                    continue;
                }
                self.disks.insert(device.to_owned(), BTreeMap::new());
            }
            let Some(bins) = self.disks.get_mut(device) else { continue };
            let bin = bins.entry(second).or_insert([0; ROWS]);
            for (bound_ns, count) in counts.iter() {
                let row = &mut bin[row(bound_ns)];
                *row = row.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            }
            while bins.first_key_value().is_some_and(|(first, _)| *first <= second - SECONDS) {
                bins.pop_first();
            }
        }
    }

    /// Takes over what another one knows of seconds before those that this one knows of.
    pub(super) fn extend_back(&mut self, older: &Self) {
        for (device, bins) in &older.disks {
            let known = self.disks.entry(device.clone()).or_default();
            let first = known.first_key_value().map_or(i64::MAX, |(first, _)| *first);
            known.extend(bins.range(..first).map(|(second, bin)| (*second, *bin)));
        }
    }

    /// The disks that had a request.
    #[cfg(test)]
    pub(super) fn disks(&self) -> impl Iterator<Item = &str> {
        self.disks.keys().map(String::as_str)
    }

    /// What a disk's requests took in the `columns` seconds to the one of `until_unix_ns`, oldest first.
    pub(super) fn columns(&self, device: &str, until_unix_ns: i64, columns: usize) -> Vec<Bin> {
        let last = until_unix_ns.div_euclid(1_000_000_000);
        let bins = self.disks.get(device);
        let bin = |ago: usize| bins.and_then(|bins| bins.get(&(last - ago as i64))).copied();
        (0..columns).rev().map(|ago| bin(ago).unwrap_or([0; ROWS])).collect()
    }
}

/// The row of a time.
fn row(ns: u64) -> usize {
    let microseconds = ns / 1_000;
    (u64::BITS - microseconds.leading_zeros()).saturating_sub(1).min(ROWS as u32 - 1) as usize
}

/// Where a row begins, ns.
pub(super) fn row_begin_ns(row: usize) -> u64 {
    1_000 << row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::model::tests::with_requests;

    #[test]
    fn a_time_has_its_row() {
        for (ns, expected) in
            [(0, 0), (1_999, 0), (2_000, 1), (1_000_000, 9), (10_000_000_000, 23), (u64::MAX, 23)]
        {
            assert_eq!(row(ns), expected, "{ns}");
        }
        assert_eq!(row_begin_ns(9), 512_000);
    }

    #[test]
    fn what_is_older_than_ten_minutes_is_forgotten() {
        let mut heat = Heat::default();
        for second in 0..=SECONDS {
            heat.accept(&with_requests(&[(0, 1)]), second * 1_000_000_000);
        }
        assert_eq!(heat.disks["vda"].len(), SECONDS as usize);
        let columns = heat.columns("vda", SECONDS * 1_000_000_000 + 5, 3);
        assert!(columns.iter().all(|bin| bin.iter().sum::<u32>() == 1), "{columns:?}");
        assert_eq!(heat.columns("vda", 0, 1), [[0; ROWS]]);
        assert_eq!(heat.disks().collect::<Vec<_>>(), ["vda"]);
    }

    #[test]
    fn what_was_before_is_put_before_and_nothing_is_counted_twice() {
        let mut older = Heat::default();
        older.accept(&with_requests(&[(0, 1)]), 1_000_000_000);
        older.accept(&with_requests(&[(0, 1)]), 2_000_000_000);
        let mut heat = Heat::default();
        heat.accept(&with_requests(&[(1, 5)]), 2_000_000_000);
        heat.extend_back(&older);
        let counts: Vec<u32> =
            heat.columns("vda", 2_000_000_000, 3).iter().map(|bin| bin.iter().sum()).collect();
        assert_eq!(counts, [0, 1, 5]);
    }
}
