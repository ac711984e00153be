//! What was seen of the host after a run.

use ssts_proto::v1::{Receipt, ReceiptState, Waiver};

use super::document::{Align, Document, Table};
use crate::json;

/// The state in a word, and who let it be; empty where nobody has looked yet.
pub(crate) fn receipt_words(receipt: &Receipt) -> String {
    let state = json::receipt_state(receipt.state()).unwrap_or_default();
    match &receipt.waiver {
        Some(Waiver { at_unix_ns, by, reason }) => {
            format!("{state}; given up by {by} on {}: {reason}", json::rfc3339(*at_unix_ns))
        }
        None => state,
    }
}

/// All that was looked for, under a heading.
pub(crate) fn receipt_section(heading: &str, receipt: &Receipt, document: &mut Document) {
    if receipt.checks.is_empty() {
        return;
    }
    document.heading(heading);
    document.fact("state", receipt_words(receipt));
    let mut table = Table::new(&[("looked for", Align::Left), ("state", Align::Left), ("seen", Align::Left)]);
    for check in &receipt.checks {
        let state = json::receipt_state(check.state()).unwrap_or_default();
        table.row([check.what.clone(), state, check.detail.clone()]);
    }
    document.table(table);
    for check in receipt.checks.iter().filter(|check| check.state() != ReceiptState::Clean) {
        document.fact("mend", format!("{}: {}", check.what, check.mend));
    }
}
