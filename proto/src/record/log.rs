//! Items one after another, each with its length and checksum, so that whatever a crash tore off is seen to be torn.

use prost::Message as _;

use crate::v1::{RecordItem, record_item::Item};

/// What a record begins with.
pub const MAGIC: &[u8; 8] = b"SSTSREC1";
/// Length and checksum before each item.
const PREFIX: usize = 8;
/// Nothing that is written comes near it.
const LONGEST_ITEM: usize = 64 << 20;

/// Why a record can't be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no record.
    NoRecord,
    /// An item is damaged: its checksum or its content is wrong.
    Damaged {
        /// Where it begins, in bytes from the record's begin.
        offset: u64,
    },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRecord => f.write_str("it does not begin as a record does"),
            Self::Damaged { offset } => write!(f, "the item at byte {offset} is damaged"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Adds an item to the end of `to`.
pub fn append(item: Item, to: &mut Vec<u8>) {
    let message = RecordItem { item: Some(item) };
    let at = to.len();
    to.extend([0; PREFIX]);
    // A vector takes whatever it is given.
    let _never_full = message.encode(to);
    let length = (to.len() - at - PREFIX) as u32;
    let crc = crc32fast::hash(&to[at + PREFIX..]);
    to[at..at + 4].copy_from_slice(&length.to_le_bytes());
    to[at + 4..at + PREFIX].copy_from_slice(&crc.to_le_bytes());
}

/// Takes items out of a record that comes in pieces.
#[derive(Debug, Default)]
pub struct Reader {
    unread: Vec<u8>,
    taken: usize,
    /// Bytes of whole items so far, the magic included.
    offset: u64,
    has_begun: bool,
}

impl Reader {
    /// Takes in the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.unread.drain(..self.taken);
        self.taken = 0;
        self.unread.extend_from_slice(piece);
    }

    /// Where the next item begins, in bytes from the record's begin: from there a reader can go on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Forgets what came of the next item, to have the record again from [`Reader::offset`] on.
    pub fn rewind(&mut self) {
        self.unread.clear();
        self.taken = 0;
    }

    /// Bytes that came and are no whole item yet.
    pub fn pending(&self) -> usize {
        self.unread.len() - self.taken
    }

    /// The next item, or nothing until more comes.
    ///
    /// # Errors
    /// See [`Unreadable`]; nothing more can be read then.
    pub fn next_item(&mut self) -> Result<Option<Item>, Unreadable> {
        if !self.has_begun {
            let Some(magic) = self.peek(0, MAGIC.len()) else { return Ok(None) };
            if magic != MAGIC {
                return Err(Unreadable::NoRecord);
            }
            self.has_begun = true;
            self.take(MAGIC.len());
        }
        loop {
            let Some(prefix) = self.peek(0, PREFIX) else { return Ok(None) };
            let number =
                |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| prefix[at + byte])) as usize;
            let (length, crc) = (number(0), number(4) as u32);
            let damaged = Unreadable::Damaged { offset: self.offset };
            if length > LONGEST_ITEM {
                return Err(damaged);
            }
            let Some(encoded) = self.peek(PREFIX, length) else { return Ok(None) };
            if crc32fast::hash(encoded) != crc {
                return Err(damaged);
            }
            let message = RecordItem::decode(encoded).map_err(|_| damaged)?;
            self.take(PREFIX + length);
            // What a later version writes is passed over.
            if let Some(item) = message.item {
                return Ok(Some(item));
            }
        }
    }

    fn peek(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.unread.get(self.taken + at..self.taken + at + length)
    }

    fn take(&mut self, bytes: usize) {
        self.taken += bytes;
        self.offset += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Event, RecordGap};

    fn record() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        append(Item::Gap(RecordGap { frames: 3, reason: "a reason".into() }), &mut bytes);
        append(Item::Event(Event { message: "began".into(), ..Event::default() }), &mut bytes);
        bytes
    }

    fn items(reader: &mut Reader) -> Result<usize, Unreadable> {
        let mut count = 0;
        while reader.next_item()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn items_come_out_of_pieces_of_any_size() {
        let bytes = record();
        for size in 1..=bytes.len() {
            let mut reader = Reader::default();
            let mut count = 0;
            for piece in bytes.chunks(size) {
                reader.feed(piece);
                count += items(&mut reader).unwrap();
            }
            assert_eq!((count, reader.offset(), reader.pending()), (2, bytes.len() as u64, 0));
        }
    }

    #[test]
    fn a_torn_end_is_no_item_and_no_error() {
        let bytes = record();
        for end in MAGIC.len()..bytes.len() {
            let mut reader = Reader::default();
            reader.feed(&bytes[..end]);
            assert!(items(&mut reader).unwrap() < 2);
            assert!(reader.offset() <= end as u64);
        }
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let bytes = record();
        for bit in 0..bytes.len() * 8 {
            let mut spoiled = bytes.clone();
            spoiled[bit / 8] ^= 1 << (bit % 8);
            let mut reader = Reader::default();
            reader.feed(&spoiled);
            // A longer length makes the last item look torn.
            assert!(items(&mut reader).is_err() || reader.pending() > 0, "bit {bit}");
        }
    }
}
