//! The contract between `sstsd` and whoever commands it: the messages and the service of package `ssts.v1`, and the
//! [catalogue] of metrics that frames and results carry.
//!
//! The `.proto` files under `proto/ssts/v1` are the documentation of each message and field.

pub mod audit;
pub mod catalogue;
pub mod guards;
pub mod http_url;
pub mod names;
pub mod nearest;
pub mod record;
pub mod refusal;
pub mod result_figures;
pub mod thresholds;
pub mod trends;
pub mod validate;

/// Messages, client and server of package `ssts.v1`.
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated from the .proto files, which hold the documentation"
)]
pub mod v1 {
    tonic::include_proto!("ssts.v1");
}

/// The encoded `FileDescriptorSet` of package `ssts.v1`, comments included, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ssts.v1.bin"));
