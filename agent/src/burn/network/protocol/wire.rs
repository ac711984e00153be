//! Numbers and texts as they stand in messages.

use std::array;

use super::Garbled;

/// "SSTSNET" and the version: what any other program sends first differs in the first bytes.
pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"SSTSNET\x02");
/// Of a text, NUL-padded.
const TEXT_BYTES: usize = 256;

/// A message in the making, of a size fixed by its type.
pub(super) struct Writer<const N: usize> {
    out: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    pub(super) fn new() -> Self {
        let mut writer = Self { out: [0; N], at: 0 };
        writer.u32(N as u32 - 4);
        writer
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let end = (0..=TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        self.bytes(&text.as_bytes()[..end.unwrap_or(0)])
    }

    pub(super) fn finish(self) -> [u8; N] {
        self.out
    }
}

/// A message, or what is left of it.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Of a datagram's head, whose length was checked.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn new(message: &'a [u8]) -> Result<Self, Garbled> {
        let mut reader = Self { rest: message };
        if reader.u32() as usize == message.len() - 4 { Ok(reader) } else { Err(Garbled::Foreign) }
    }

    /// Messages have a fixed size above what is read of them: see the constants.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.rest.split_at(N);
        self.rest = rest;
        array::from_fn(|n| bytes[n])
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.bytes())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// Control characters could play tricks on a terminal.
    pub(super) fn text(&mut self) -> String {
        let bytes: [u8; TEXT_BYTES] = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end_matches('\0').chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    }

    pub(super) fn rest_is_zero(&self) -> Result<(), Garbled> {
        if self.rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Garbled::Field("padding")) }
    }
}
