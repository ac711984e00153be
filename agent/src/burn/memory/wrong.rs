//! A word of memory that was not what had been written to it.

use std::{fmt, fs::File, os::unix::fs::FileExt as _, sync::OnceLock};

use serde::{Deserialize, Serialize};

use super::region::BLOCK_BYTES;

/// Bits 0 to 54 of an entry: Documentation/admin-guide/mm/pagemap.rst.
const FRAME_MASK: u64 = (1 << 55) - 1;
/// The page is in RAM; else the bits above say where in swap it is.
const PRESENT: u64 = 1 << 63;

/// A word that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongWord {
    /// The burner's worker that read it, and where that runs.
    pub worker: u32,
    /// The worker's core.
    pub core: u32,
    /// What had been written.
    pub pattern: String,
    /// In the burner's address space.
    pub address: u64,
    /// The number of the physical page, in units of 4 KiB; none where the kernel doesn't tell.
    pub page_frame: Option<u64>,
    /// What had been written.
    pub expected: u64,
    /// What was read; none where a block was wrong and none of its words was when they were looked at one by one.
    pub got: Option<u64>,
    /// What was read when it was read again, past the caches.
    pub again: u64,
}

impl fmt::Display for WrongWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {:#x}", self.address)?;
        match self.page_frame {
            Some(frame) => write!(f, " (page frame {frame:#x})")?,
            None => write!(f, " (page frame not readable)")?,
        }
        write!(f, ", core {}, pattern {}: ", self.core, self.pattern)?;
        let Some(got) = self.got else {
            return write!(f, "the block was wrong once, and right when it was read again");
        };
        write!(f, "expected {:#018x}, got {got:#018x}, xor {:#018x}", self.expected, self.expected ^ got)?;
        match self.again {
            again if again == got => write!(f, ", the same when read again"),
            again if again == self.expected => write!(f, ", right when read again"),
            again => write!(f, ", {again:#018x} when read again"),
        }
    }
}

/// What to say of several.
pub fn wrong_words(words: &[WrongWord]) -> String {
    match words {
        [] => "wrong data".into(),
        [word] => format!("a word in memory is wrong: {word}"),
        [first, ..] => format!("{} words in memory are wrong, the first: {first}", words.len()),
    }
}

/// The kernel shows frames to whoever opened it with CAP_SYS_ADMIN, kept or not: `pagemap_read` of fs/proc/task_mmu.c.
static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();

/// Opens the way to [`page_frame`], for a burner that is about to give up its capabilities.
pub fn open_pagemap() {
    let _or_not = pagemap();
}

fn pagemap() -> Option<&'static File> {
    PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()
}

/// The number of the physical page behind an address of this process: /proc/self/pagemap. None without CAP_SYS_ADMIN.
pub(super) fn page_frame(address: u64) -> Option<u64> {
    let mut entry = [0; 8];
    let offset = address / BLOCK_BYTES as u64 * entry.len() as u64;
    pagemap()?.read_exact_at(&mut entry, offset).ok()?;
    frame_of(u64::from_ne_bytes(entry))
}

/// The kernel writes a frame of 0 for those who may not know.
fn frame_of(entry: u64) -> Option<u64> {
    Some(entry)
        .filter(|entry| entry & PRESENT != 0)
        .map(|entry| entry & FRAME_MASK)
        .filter(|frame| *frame > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_in_ram_has_a_frame() {
        assert_eq!(frame_of(PRESENT | 0x1234), Some(0x1234));
        assert_eq!(frame_of(PRESENT), None);
        // In swap: bit 62, type and offset below.
        assert_eq!(frame_of(1 << 62 | 0x1234), None);
    }

    #[test]
    fn all_that_is_known_is_said() {
        let word = WrongWord {
            worker: 0,
            core: 3,
            pattern: "walking".into(),
            address: 0x7f00_0000_1008,
            page_frame: Some(0x1234),
            expected: 0x8,
            got: Some(0x18),
            again: 0x18,
        };
        let text = wrong_words(std::slice::from_ref(&word));
        for part in
            ["0x7f0000001008", "0x1234", "core 3", "walking", "0x0000000000000008", "xor 0x0000000000000010"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(wrong_words(&[word.clone(), word]).starts_with("2 words"));
    }
}
