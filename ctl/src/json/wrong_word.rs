//! A word that memory did not keep.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::WrongWord;

/// A word of memory that was not what had been written. Numbers of 64 bits are text, in hexadecimal: readers of JSON lose
/// digits of them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WrongWord")]
pub(crate) struct WrongWordOut {
    pub(crate) core: u32,
    /// Such as `walking`.
    pub(crate) pattern: String,
    /// In the burner's address space.
    pub(crate) address: String,
    /// The number of the physical page, in units of 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page_frame: Option<String>,
    pub(crate) expected: String,
    /// Absent where a block was wrong once, and all of its words right when they were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) got: Option<String>,
    /// The bits that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) xor: Option<String>,
    /// What was read when it was read again, past the caches.
    pub(crate) again: String,
}

impl From<&WrongWord> for WrongWordOut {
    fn from(word: &WrongWord) -> Self {
        let hex = |number: u64| format!("{number:#x}");
        let bits = |number: u64| format!("{number:#018x}");
        Self {
            core: word.core,
            pattern: word.pattern.clone(),
            address: hex(word.address),
            page_frame: word.page_frame.map(hex),
            expected: bits(word.expected),
            got: word.got.map(bits),
            xor: word.got.map(|got| bits(got ^ word.expected)),
            again: bits(word.again),
        }
    }
}
