//! What was seen of a host after a run.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{Receipt, ReceiptCheck, ReceiptState, RecoverResponse, RunReceipt, Waiver};

use super::{plain, present, rfc3339, seconds};

/// What was looked for after a run, and what was seen.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Receipt")]
pub(crate) struct ReceiptOut {
    /// `clean`, `left` or `unknown`: the worst of all checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// RFC 3339.
    observed_at: String,
    /// From the proof that nothing burned to this receipt. Absent where it was made at a later look.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_quiet_s: Option<f64>,
    checks: Vec<ReceiptCheckOut>,
    /// Who let runs start again although it is not clean.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiver: Option<WaiverOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReceiptCheck")]
struct ReceiptCheckOut {
    /// `processes`, `cgroup`, `memory`, `devices`, `files` or `settings`.
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// What was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Waiver")]
struct WaiverOut {
    /// RFC 3339.
    at: String,
    by: String,
    reason: String,
}

/// The receipt of one run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RunReceipt")]
pub(crate) struct RunReceiptOut {
    /// Absent for what belongs to no run that is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    receipt: ReceiptOut,
}

/// Of `recover`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Recovered")]
pub(crate) struct RecoveredOut {
    /// Something still keeps runs from starting.
    blocked: bool,
    /// Of each run that was not clean before, as it is now.
    receipts: Vec<RunReceiptOut>,
}

/// `clean`, `left` or `unknown`; nothing where nobody has looked.
pub(crate) fn receipt_state(state: ReceiptState) -> Option<String> {
    (state != ReceiptState::Unspecified).then(|| plain(state.as_str_name(), "RECEIPT_STATE_"))
}

impl From<&Receipt> for ReceiptOut {
    fn from(receipt: &Receipt) -> Self {
        Self {
            state: receipt_state(receipt.state()),
            observed_at: rfc3339(receipt.observed_at_unix_ns),
            after_quiet_s: receipt.after_quiet_ns.map(seconds),
            checks: receipt.checks.iter().map(ReceiptCheckOut::from).collect(),
            waiver: receipt.waiver.as_ref().map(|Waiver { at_unix_ns, by, reason }| WaiverOut {
                at: rfc3339(*at_unix_ns),
                by: by.clone(),
                reason: reason.clone(),
            }),
        }
    }
}

impl From<&ReceiptCheck> for ReceiptCheckOut {
    fn from(check: &ReceiptCheck) -> Self {
        Self {
            what: check.what.clone(),
            state: receipt_state(check.state()),
            detail: present(&check.detail),
            mend: present(&check.mend),
        }
    }
}

impl From<&RunReceipt> for RunReceiptOut {
    fn from(of_run: &RunReceipt) -> Self {
        let receipt = of_run.receipt.clone().unwrap_or_default();
        Self { run_id: present(&of_run.run_id), receipt: (&receipt).into() }
    }
}

impl From<&RecoverResponse> for RecoveredOut {
    fn from(response: &RecoverResponse) -> Self {
        Self {
            blocked: response.blocked,
            receipts: response.receipts.iter().map(RunReceiptOut::from).collect(),
        }
    }
}
