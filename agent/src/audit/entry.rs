//! What a line of the audit log says. Never what a request carries along: a scenario stands in the record of its run, and its
//! headers may be secrets; its hash is here.

use serde::Serialize;

use crate::clock;

/// Who it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The name in the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The certificate's number, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Where from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// At the other end of a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Their process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What they may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// RFC 3339.
    at: String,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<Subject>,
    /// The method, or what else was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<serde_json::Value>,
    /// `ok`, or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// Refusals that were not noted since the last one that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    /// Of the line before, which is none: how long it is, and its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_sha256: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The agent was started.
    Begun,
    /// What stands before it was being written when the agent, or the host, died.
    Torn,
    /// A command is allowed, and about to be carried out.
    Allowed,
    /// What came of it.
    Done,
    /// It was not allowed.
    Refused,
}

impl Entry {
    fn new(kind: Kind) -> Self {
        // Every 64-bit number of nanoseconds is a time that jiff knows.
        let at = jiff::Timestamp::from_nanosecond(i128::from(clock::unix_ns())).unwrap_or_default();
        Self {
            at: at.to_string(),
            kind,
            who: None,
            call: None,
            parameters: None,
            outcome: None,
            left_out: None,
            torn_bytes: None,
            torn_sha256: None,
        }
    }

    pub(super) fn begun() -> Self {
        Self::new(Kind::Begun)
    }

    pub(super) fn torn(bytes: u64, sha256: String) -> Self {
        Self { torn_bytes: Some(bytes), torn_sha256: Some(sha256), ..Self::new(Kind::Torn) }
    }

    /// Somebody may do it, and it is about to be done.
    pub fn allowed(who: Subject, call: &str, parameters: serde_json::Value) -> Self {
        let parameters = Some(parameters);
        Self { who: Some(who), call: Some(call.to_owned()), parameters, ..Self::new(Kind::Allowed) }
    }

    /// What came of it.
    pub fn done(who: Subject, call: &str, parameters: serde_json::Value, outcome: String) -> Self {
        Self { kind: Kind::Done, outcome: Some(outcome), ..Self::allowed(who, call, parameters) }
    }

    /// Somebody was not let in, or may not do it.
    pub fn refused(who: Subject, call: &str, why: String) -> Self {
        Self { who: Some(who), call: Some(call.to_owned()), outcome: Some(why), ..Self::new(Kind::Refused) }
    }

    pub(super) fn with_left_out(self, left_out: u64) -> Self {
        Self { left_out: (left_out > 0).then_some(left_out), ..self }
    }
}
