//! AES-128 and SHA-256 as their standards describe them: FIPS 197 (2001), FIPS 180-4 (2015). Slow, without tables of more than the
//! S-box, and not for secrets: its time depends on the data.

/// FIPS 197, 5.1.1: the inverse in GF(2^8), then an affine map.
pub(super) const S_BOX: [u8; 256] = s_box();

/// FIPS 180-4, 4.2.2.
#[rustfmt::skip]
pub(super) const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Times x, modulo x^8 + x^4 + x^3 + x + 1.
pub(super) const fn times_x(a: u8) -> u8 {
    a << 1 ^ if a & 0x80 == 0 { 0 } else { 0x1b }
}

const fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b > 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = times_x(a);
        b >>= 1;
    }
    product
}

const fn s_box() -> [u8; 256] {
    let mut s_box = [0; 256];
    let mut a = 0;
    while a < 256 {
        // The inverse is the 254th power.
        let (mut inverse, mut power) = (1, 0);
        while power < 254 {
            inverse = times(inverse, a as u8);
            power += 1;
        }
        let i = inverse;
        s_box[a] = i ^ i.rotate_left(1) ^ i.rotate_left(2) ^ i.rotate_left(3) ^ i.rotate_left(4) ^ 0x63;
        a += 1;
    }
    s_box
}

/// FIPS 197, 5.2.
pub(super) fn round_keys(key: &[u8; 16]) -> [[u8; 16]; 11] {
    let mut keys = [*key; 11];
    let mut constant = 1;
    for round in 1..11 {
        let before = keys[round - 1];
        let mut word = [before[13], before[14], before[15], before[12]].map(|byte| S_BOX[usize::from(byte)]);
        word[0] ^= constant;
        constant = times_x(constant);
        for column in 0..4 {
            for row in 0..4 {
                word[row] ^= before[4 * column + row];
                keys[round][4 * column + row] = word[row];
            }
        }
    }
    keys
}

/// FIPS 197, 5.1.
pub(super) fn encrypt(block: &mut [u8; 16], round_keys: &[[u8; 16]; 11]) {
    add_round_key(block, &round_keys[0]);
    for (round, key) in round_keys.iter().enumerate().skip(1) {
        // SubBytes and ShiftRows: row r of the state, which lies in columns, moves r to the left.
        let old = *block;
        for (at, byte) in block.iter_mut().enumerate() {
            *byte = S_BOX[usize::from(old[(at + 4 * (at % 4)) % 16])];
        }
        if round < 10 {
            mix_columns(block);
        }
        add_round_key(block, key);
    }
}

fn mix_columns(block: &mut [u8; 16]) {
    for column in block.as_chunks_mut::<4>().0 {
        let old = *column;
        for row in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|down| old[(row + down) % 4]);
            column[row] = times(a, 2) ^ times(b, 3) ^ c ^ d;
        }
    }
}

fn add_round_key(block: &mut [u8; 16], key: &[u8; 16]) {
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// FIPS 180-4, 6.2.2.
pub(super) fn compress(state: &mut [u32; 8], message: &[u8; 64]) {
    let mut w = [0u32; 64];
    for (word, bytes) in w.iter_mut().zip(message.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for t in 16..64 {
        let small = |x: u32, a: u32, b: u32, shift: u32| x.rotate_right(a) ^ x.rotate_right(b) ^ x >> shift;
        w[t] = small(w[t - 2], 17, 19, 10)
            .wrapping_add(w[t - 7])
            .wrapping_add(small(w[t - 15], 7, 18, 3))
            .wrapping_add(w[t - 16]);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for t in 0..64 {
        let sum_1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = e & f ^ !e & g;
        let first = h.wrapping_add(sum_1).wrapping_add(choice).wrapping_add(K[t]).wrapping_add(w[t]);
        let sum_0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = a & b ^ a & c ^ b & c;
        (h, g, f, e) = (g, f, e, d.wrapping_add(first));
        (d, c, b, a) = (c, b, a, first.wrapping_add(sum_0).wrapping_add(majority));
    }
    for (word, gain) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_encrypted_as_in_the_standards_example() {
        // FIPS 197, appendix B.
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let mut block = 0x3243_f6a8_885a_308d_3131_98a2_e037_0734_u128.to_be_bytes();
        encrypt(&mut block, &round_keys(&key));
        assert_eq!(u128::from_be_bytes(block), 0x3925_841d_02dc_09fb_dc11_8597_196a_0b32);
    }

    #[test]
    fn the_hash_of_abc_is_the_standards() {
        // FIPS 180-4: NIST's example of one block.
        let mut state = [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ];
        let mut message = [0; 64];
        message[..4].copy_from_slice(b"abc\x80");
        message[63] = 24;
        compress(&mut state, &message);
        assert_eq!(state[0], 0xba78_16bf);
        assert_eq!(state[7], 0xf200_15ad);
    }
}
