//! CRC-32C (Castagnoli; RFC 3720, B.4) without its final inversion, of whole words.

/// Reflected form of 0x1edc6f41.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// For one byte in each of the eight places of a word: what it does to a CRC by the end of the word.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[7][byte] = crc;
        byte += 1;
    }
    let mut place = 7;
    while place > 0 {
        place -= 1;
        byte = 0;
        while byte < 256 {
            let after = tables[place + 1][byte];
            tables[place][byte] = (after >> 8) ^ tables[7][(after & 0xff) as usize];
            byte += 1;
        }
    }
    tables
}

/// One word further.
#[inline]
pub(super) fn word(crc: u32, word: u64) -> u32 {
    let bytes = (word ^ u64::from(crc)).to_le_bytes();
    let mut crc = 0;
    for (table, byte) in TABLES.iter().zip(bytes) {
        crc ^= table[usize::from(byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_one() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, and of 0 to 31.
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in
            [(&[0u8; 32][..], 0x8a91_36aa), (&[0xff; 32], 0x62a8_ab43), (&ascending, 0x46dd_794e)]
        {
            let words = bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
            let crc = !words.fold(!0, word);
            assert_eq!(crc, expected);
        }
    }
}
