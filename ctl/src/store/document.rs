//! The result of a run as `--output json` prints it: what is kept whole, and what is kept in columns.

use std::io::{Read as _, Write as _};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;
use ssts_proto::{v1::Run, validate};

use super::{
    damaged,
    figures::{self, Figure},
};
use crate::{
    error::{Exit, Failure, Problem},
    json::ResultOut,
};

/// Of a result, once it is unpacked: a thousand times what a run on a small host has.
const MAX_BYTES: u64 = 64 << 20;
/// Between the id of a run and the host of a fleet that it was on. No id has it.
const OF_HOST: char = '@';
const VERDICTS: [&str; 4] = ["pass", "fail", "aborted", "error"];

/// A result that can be kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// As it was printed, without white space.
    pub(crate) json: String,
    /// The contract's message, encoded: what a report is made from. Absent where only the result is known.
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) run_id: String,
    pub(crate) scenario: String,
    pub(crate) started_at_ns: i64,
    pub(crate) duration_ns: i64,
    pub(crate) verdict: String,
    pub(crate) cause: Option<String>,
    pub(crate) cause_message: Option<String>,
    /// Whether the hosts were seen to be clean afterwards; of several the worst.
    pub(crate) receipt: Option<String>,
    pub(crate) seed: u64,
    pub(crate) hosts: Vec<HostPart>,
    pub(crate) figures: Vec<Figure>,
}

/// What is in columns of one host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct HostPart {
    pub(crate) host: String,
    pub(crate) verdict: Option<String>,
    pub(crate) kernel_release: Option<String>,
    pub(crate) agent_version: Option<String>,
    #[serde(default)]
    receipt: Option<ReceiptPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ReceiptPart {
    state: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Head {
    run_id: String,
    scenario: String,
    started_at: jiff::Timestamp,
    duration_s: f64,
    verdict: Option<String>,
    cause: Option<String>,
    cause_message: Option<String>,
    seed: u64,
    hosts: Vec<HostPart>,
}

impl Document {
    /// Of a run that is over.
    pub(crate) fn of_run(run: &Run) -> Result<Self, Failure> {
        let json = serde_json::to_value(ResultOut::from(run));
        let json =
            json.map_err(|error| Failure::new(Exit::Internal, format!("can't write JSON: {error}"), ""))?;
        let document = Self::of_value(&json)
            .map_err(|problem| Failure { exit: Exit::Internal, problems: vec![problem] })?;
        Ok(Self { message: Some(run.encode_to_vec()), ..document })
    }

    /// As one of several hosts that the same run was on: each host's is kept for itself.
    pub(crate) fn on_host(self, name: &str) -> Self {
        Self { run_id: on_host(&self.run_id, name), ..self }
    }

    /// Of what was printed, by this version or another.
    pub(crate) fn of_value(value: &Value) -> Result<Self, Problem> {
        let bad = |why: String| {
            Problem::new(
                format!("it is no result of a run: {why}"),
                "use what `--output json` printed of a run",
            )
        };
        let head = Head::deserialize(value).map_err(|error| bad(error.to_string()))?;
        if !validate::run_id(&head.run_id) {
            return Err(bad(format!("'{}' is no run's id", head.run_id)));
        }
        let Some(verdict) = head.verdict else {
            return Err(Problem::new(
                format!("run {} is not over", head.run_id),
                "`sstsctl watch` waits for its end",
            ));
        };
        if !VERDICTS.contains(&verdict.as_str()) {
            return Err(bad(format!("verdict '{verdict}' is none of {}", VERDICTS.join(", "))));
        }
        let started_at_ns = i64::try_from(head.started_at.as_nanosecond())
            .map_err(|_| bad(format!("it started at {}, which no clock shows", head.started_at)))?;
        let duration_ns = head.duration_s * 1e9;
        if !(0.0..9e18).contains(&duration_ns) {
            return Err(bad(format!("it took {} s", head.duration_s)));
        }
        let states: Vec<_> =
            head.hosts.iter().filter_map(|host| host.receipt.as_ref()?.state.as_deref()).collect();
        let receipt = ["left", "unknown", "clean"].into_iter().find(|state| states.contains(state));
        Ok(Self {
            json: value.to_string(),
            message: None,
            figures: figures::of_result(value),
            receipt: receipt.map(str::to_owned),
            run_id: head.run_id,
            scenario: head.scenario,
            started_at_ns,
            duration_ns: duration_ns.round() as i64,
            verdict,
            cause: head.cause,
            cause_message: head.cause_message,
            seed: head.seed,
            hosts: head.hosts,
        })
    }
}

/// What the run of one host of a fleet is kept under.
pub(crate) fn on_host(run_id: &str, host: &str) -> String {
    format!("{run_id}{OF_HOST}{host}")
}

/// The host that a run was kept of, where it was one of several.
pub(super) fn host_of(run_id: &str) -> Option<&str> {
    run_id.split_once(OF_HOST).map(|(_, host)| host)
}

/// By gzip, whose checksum tells what was damaged.
pub(super) fn packed(content: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(content).and_then(|()| encoder.finish());
    packed.map_err(|error| Failure::new(Exit::Internal, format!("can't compress a result: {error}"), ""))
}

/// The text that was packed.
pub(super) fn unpacked(run_id: &str, bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(unpacked_bytes(run_id, bytes)?)
        .map_err(|error| damaged(format!("the kept result of run {run_id} is no text: {error}")))
}

/// The message that was packed.
pub(super) fn unpacked_run(run_id: &str, bytes: &[u8]) -> Result<Run, Failure> {
    Run::decode(&unpacked_bytes(run_id, bytes)?[..])
        .map_err(|error| damaged(format!("the kept message of run {run_id} can't be read: {error}")))
}

fn unpacked_bytes(run_id: &str, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = GzDecoder::new(bytes).take(MAX_BYTES).read_to_end(&mut content);
    read.map_err(|error| damaged(format!("the kept result of run {run_id} can't be unpacked: {error}")))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result() -> Value {
        json!({
            "run_id": "01a1fe64-fd15-7354-bafa-a84bb8fa6d73", "scenario": "quick", "verdict": "pass",
            "started_at": "2026-11-21T13:56:33.686717937Z", "duration_s": 18.5, "seed": u64::MAX,
            "hosts": [{"host": "a", "receipt": {"state": "clean"}}, {"host": "b", "receipt": {"state": "unknown"}}],
            "thresholds": []
        })
    }

    #[test]
    fn its_columns_are_read_from_what_was_printed() {
        let document = Document::of_value(&result()).unwrap();
        assert_eq!(document.started_at_ns, 1_795_269_393_686_717_937);
        assert_eq!(document.duration_ns, 18_500_000_000);
        assert_eq!((document.seed, document.receipt.as_deref()), (u64::MAX, Some("unknown")));
        assert_eq!(serde_json::from_str::<Value>(&document.json).unwrap(), result());
    }

    #[test]
    fn of_several_hosts_each_has_its_own() {
        let document = Document::of_value(&result()).unwrap().on_host("db1");
        assert_eq!(document.run_id, "01a1fe64-fd15-7354-bafa-a84bb8fa6d73@db1");
        assert_eq!(host_of(&document.run_id), Some("db1"));
        assert_eq!(host_of("01a1fe64"), None);
    }

    #[test]
    fn what_is_no_result_is_refused_with_what_is_wrong() {
        for (key, value, told) in [
            ("run_id", json!("../etc"), "'../etc' is no run's id"),
            ("verdict", json!("fine"), "verdict 'fine'"),
            ("verdict", Value::Null, "is not over"),
            ("started_at", json!("yesterday"), "it is no result"),
            ("duration_s", json!(-1.0), "it took -1 s"),
            ("seed", json!(-1), "it is no result"),
            ("hosts", json!("a"), "it is no result"),
        ] {
            let mut result = result();
            result[key] = value;
            let problem = Document::of_value(&result).unwrap_err();
            assert!(problem.message.contains(told), "{problem:?}");
        }
    }

    #[test]
    fn a_result_is_packed_to_a_part_of_its_size_and_comes_back() {
        let text = result().to_string().repeat(20);
        let packed = packed(text.as_bytes()).unwrap();
        assert!(packed.len() < text.len() / 4);
        assert_eq!(unpacked("r", &packed).unwrap(), text);
        let failure = unpacked("r", &packed[..packed.len() / 2]).unwrap_err();
        assert!(failure.to_string().contains("run r can't be unpacked"), "{failure}");
    }
}
