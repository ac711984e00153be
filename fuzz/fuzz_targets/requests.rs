//! Bytes as a request: the first says of which method, the others are its message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssts_tests::malformed::METHODS;

fuzz_target!(|bytes: &[u8]| {
    if let Some((method, message)) = bytes.split_first() {
        METHODS[usize::from(*method) % METHODS.len()].1(message);
    }
});
