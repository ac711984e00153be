//! The scenario of a result, as it was carried out.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::value::Serializer;
use ssts_proto::v1::Scenario;

/// `Scenario` of `scenario.proto`.
static SCENARIO: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(ssts_proto::FILE_DESCRIPTOR_SET).ok()?;
    pool.get_message_by_name("ssts.v1.Scenario")
});

/// With every default that the agent filled in: protobuf's JSON of it, by the names that the fields have in `scenario.proto`, numbers
/// as numbers.
pub(crate) fn resolved(scenario: &Scenario) -> Option<serde_json::Value> {
    let message = DynamicMessage::decode(SCENARIO.clone()?, scenario.encode_to_vec().as_slice()).ok()?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    message.serialize_with_options(Serializer, &options).ok()
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Burner, DiskBurner, Phase, burner::Kind};

    use super::*;

    #[test]
    fn a_scenario_is_told_whole() {
        let disk = DiskBurner { path: "/var/tmp".into(), size_bytes: 1 << 30, ..DiskBurner::default() };
        let phase = Phase {
            name: "only".into(),
            duration_ms: 1_000,
            burners: vec![Burner { kind: Some(Kind::Disk(disk)) }],
            ..Phase::default()
        };
        let scenario = Scenario { name: "told".into(), seed: 7, phases: vec![phase], ..Scenario::default() };
        let told = resolved(&scenario).unwrap();
        assert_eq!((&told["name"], &told["seed"]), (&"told".into(), &7.into()));
        let phase = &told["phases"][0];
        assert_eq!(phase["duration_ms"], 1_000);
        assert_eq!(phase["burners"][0]["disk"]["size_bytes"], 1u64 << 30);
    }
}
