//! How a refused request lists what is wrong with it: a [`Refusal`] in the details of the gRPC status, packed as
//! `google.rpc.Status` has it, so that generic clients can read it too.

use prost::{Message, Name};
use prost_types::Any;
use tonic::{Code, Status};

use crate::v1::{Refusal, Violation};

impl Name for Refusal {
    const NAME: &'static str = "Refusal";
    const PACKAGE: &'static str = "ssts.v1";

    fn type_url() -> String {
        "type.googleapis.com/ssts.v1.Refusal".into()
    }
}

/// google/rpc/status.proto
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// An INVALID_ARGUMENT status with every violation.
pub fn to_status(violations: Vec<Violation>) -> Status {
    let message = violations
        .iter()
        .map(|violation| format!("{}: {}; {}", violation.field, violation.message, violation.mend))
        .collect::<Vec<_>>()
        .join("\n");
    // Packing fails only where there is no memory for a few bytes.
    let details = Any::from_msg(&Refusal { violations }).into_iter().collect();
    let packed = RpcStatus { code: Code::InvalidArgument.into(), message: message.clone(), details };
    Status::with_details(Code::InvalidArgument, message, packed.encode_to_vec().into())
}

/// The violations that a status lists; none where it lists none.
pub fn from_status(status: &Status) -> Vec<Violation> {
    let packed = RpcStatus::decode(status.details()).unwrap_or_default();
    packed
        .details
        .iter()
        .find_map(|detail| detail.to_msg::<Refusal>().ok())
        .map(|refusal| refusal.violations)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_travel_in_a_status() {
        let violations =
            vec![Violation { field: "phases[0]".into(), message: "none".into(), mend: "add one".into() }];
        let status = to_status(violations.clone());
        assert_eq!(from_status(&status), violations);
        assert!(status.message().contains("phases[0]: none; add one"));
        assert_eq!(from_status(&Status::internal("x")), []);
    }
}
