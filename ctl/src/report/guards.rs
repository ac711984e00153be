//! Guards as a table, in reports and of `status` and `info`.

use ssts_proto::{
    guards,
    v1::{GuardState, GuardStatus},
};

use super::{Align, Table};
use crate::json;

/// One line for each: where it stands, and how far it is from its limit.
pub(crate) fn table(statuses: &[GuardStatus]) -> Table {
    let mut table = Table::new(&[
        ("guard", Align::Left),
        ("state", Align::Left),
        ("value", Align::Right),
        ("limit", Align::Left),
        ("headroom", Align::Right),
        ("reaction", Align::Left),
        ("trips", Align::Right),
        ("", Align::Left),
    ]);
    for status in statuses {
        let guard = status.guard.clone().unwrap_or_default();
        let words =
            |value: Option<f64>| value.map(|value| guards::words(value, &status.unit)).unwrap_or_default();
        let labels: Vec<_> = status.labels.iter().map(|label| label.value.as_str()).collect();
        let mut remarks: Vec<String> = Vec::new();
        remarks.extend(status.load_percent.map(|percent| format!("load held at {percent:.0} %")));
        match status.state() {
            GuardState::Tripped | GuardState::Unguarded => remarks.push(status.reason.clone()),
            _ => remarks.push(labels.join(" ")),
        }
        remarks.retain(|remark| !remark.is_empty());
        table.row([
            guard.name.clone(),
            json::plain(status.state().as_str_name(), "GUARD_STATE_"),
            words(status.value),
            guards::limit(&guard, &status.unit),
            words(status.headroom),
            guards::reaction_name(guard.reaction()).to_owned(),
            if status.trips > 0 { status.trips.to_string() } else { String::new() },
            remarks.join("; "),
        ]);
    }
    table
}
