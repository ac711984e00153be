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

/// Details travel in HTTP headers, base64-coded, and clients take 16 KiB of those.
const MAX_DETAILS_BYTES: usize = 8 << 10;
const MAX_MESSAGE_CHARS: usize = 500;

/// An INVALID_ARGUMENT status with every violation; of very many, with the first ones and how many more there are.
pub fn to_status(mut violations: Vec<Violation>) -> Status {
    let count = violations.len();
    let mut message = violations.first().map_or_else(String::new, |violation| {
        let words = format!("{}: {}; {}", violation.field, violation.message, violation.mend);
        words.chars().take(MAX_MESSAGE_CHARS).collect()
    });
    if count > 1 {
        message += &format!(" (and {} more)", count - 1);
    }
    let mut bytes = 0;
    let fit = violations.iter().position(|violation| {
        bytes += violation.encoded_len() + 8;
        bytes > MAX_DETAILS_BYTES
    });
    if let Some(fit) = fit {
        violations.truncate(fit);
        let message = format!("and {} more are wrong", count - fit);
        violations.push(Violation { message, mend: "mend these first".into(), ..Violation::default() });
    }
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
        let violations = vec![Violation {
            field: "phases[0]".into(),
            message: "none".into(),
            mend: "add one".into(),
            ..Violation::default()
        }];
        let status = to_status(violations.clone());
        assert_eq!(from_status(&status), violations);
        assert!(status.message().contains("phases[0]: none; add one"));
        assert_eq!(from_status(&Status::internal("x")), []);
    }

    #[test]
    fn very_many_are_cut_with_their_number() {
        let one = Violation {
            field: "phases".into(),
            message: "x".repeat(100),
            mend: "y".into(),
            ..Violation::default()
        };
        let told = from_status(&to_status(vec![one; 1_000]));
        assert!(told.len() < 100 && told.len() > 50);
        let missing = 1_000 - (told.len() - 1);
        assert_eq!(told.last().unwrap().message, format!("and {missing} more are wrong"));
    }
}
