//! AES and SHA-256 by the processor's own instructions, and a portable form with tables. Kept apart because intrinsics are
//! `unsafe`.
#![expect(unsafe_code, reason = "calls functions that need instruction sets, and loads and stores registers")]

use std::hint::black_box;

use super::{
    Isa,
    crypto::{BLOCK_WORDS, DIGEST_WORDS, Input, Size, from_state, size, to_state},
    crypto_reference::{K, S_BOX, times_x},
    recipe::KernelName,
};

/// One unit: the blocks of all streams, then the state of the hash.
///
/// # Panics
/// When `end` is not as long as that, or the host lacks the instructions.
pub(super) fn compute(isa: Isa, input: &Input, end: &mut [u64]) {
    let words = size(isa).streams * BLOCK_WORDS + DIGEST_WORDS;
    assert!(input.start.len() == words && end.len() == words);
    debug_assert!(isa.is_available_for(KernelName::Crypto));
    let input = black_box(input);
    match isa {
        Isa::Portable => portable(input, end),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Recipe::build` makes this kernel only where the host has the instructions; the slices are long enough, as
        // just checked.
        Isa::Avx2 => unsafe {
            aes_128(input, end);
            sha(input, end, size(isa).compressions);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe {
            aes_512(input, end);
            sha(input, end, size(isa).compressions);
        },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("admission lets through what the host has"),
    }
}

/// SubBytes and MixColumns of one byte at the top of its column: Daemen, Rijmen: The Rijndael block cipher, 1999, 5.2.1.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let s = S_BOX[at];
        let double = times_x(s);
        table[at] = u32::from_le_bytes([double, s, s, double ^ s]);
        at += 1;
    }
    table
};

fn portable(input: &Input, end: &mut [u64]) {
    let Size { streams, encryptions, compressions } = size(Isa::Portable);
    let keys = input.round_keys.map(|key| {
        let mut columns = [0; 4];
        for (column, bytes) in columns.iter_mut().zip(key.as_chunks::<4>().0) {
            *column = u32::from_le_bytes(*bytes);
        }
        columns
    });
    for stream in 0..streams {
        let at = stream * BLOCK_WORDS;
        let [low, high] = [input.start[at], input.start[at + 1]];
        let mut columns = [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32];
        for _ in 0..encryptions {
            columns = encrypt_by_table(columns, &keys);
        }
        end[at] = u64::from(columns[0]) | u64::from(columns[1]) << 32;
        end[at + 1] = u64::from(columns[2]) | u64::from(columns[3]) << 32;
    }
    let digest = streams * BLOCK_WORDS;
    let mut state = to_state(&input.start[digest..]);
    for _ in 0..compressions {
        compress_rolling(&mut state, &input.message);
    }
    end[digest..].copy_from_slice(&from_state(&state));
}

fn encrypt_by_table(mut columns: [u32; 4], keys: &[[u32; 4]; 11]) -> [u32; 4] {
    let add = |columns: [u32; 4], key: &[u32; 4]| std::array::from_fn(|at| columns[at] ^ key[at]);
    columns = add(columns, &keys[0]);
    // Row r comes from the column r to the right.
    let byte = |columns: &[u32; 4], at: usize, row: usize| (columns[(at + row) % 4] >> (8 * row)) as u8;
    for key in &keys[1..10] {
        let mixed = |at| {
            (0..4).fold(0, |sum, row| {
                sum ^ TABLE[usize::from(byte(&columns, at, row))].rotate_left(8 * row as u32)
            })
        };
        columns = add(std::array::from_fn(mixed), key);
    }
    let last = |at| {
        (0..4).fold(0, |sum, row| sum | u32::from(S_BOX[usize::from(byte(&columns, at, row))]) << (8 * row))
    };
    add(std::array::from_fn(last), &keys[10])
}

/// With 16 words of schedule at a time: FIPS 180-4, 6.2.2, and its remark on limited memory (6.1.3).
fn compress_rolling(state: &mut [u32; 8], message: &[u8; 64]) {
    let mut w = [0u32; 16];
    for (word, bytes) in w.iter_mut().zip(message.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let mut v = *state;
    for t in 0..64 {
        if t >= 16 {
            let (x, y) = (w[(t + 14) % 16], w[(t + 1) % 16]);
            w[t % 16] = w[t % 16]
                .wrapping_add(x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10)
                .wrapping_add(w[(t + 9) % 16])
                .wrapping_add(y.rotate_right(7) ^ y.rotate_right(18) ^ y >> 3);
        }
        // The variables turn by one place a step instead of being moved.
        let at = |name: usize| (name + 64 - t) % 8;
        let (a, b, c, e, f, g) = (v[at(0)], v[at(1)], v[at(2)], v[at(4)], v[at(5)], v[at(6)]);
        let first = v[at(7)]
            .wrapping_add(e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
            .wrapping_add(g ^ e & (f ^ g))
            .wrapping_add(K[t].wrapping_add(w[t % 16]));
        v[at(3)] = v[at(3)].wrapping_add(first);
        v[at(7)] = first
            .wrapping_add(a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22))
            .wrapping_add(a & b | c & (a | b));
    }
    for (word, gain) in state.iter_mut().zip(v) {
        *word = word.wrapping_add(gain);
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! aes_form {
    (
        $name:ident, $features:literal, $words:literal, $streams:literal,
        $load:ident, $store:ident, $xor:ident, $round:ident, $last:ident, $key:expr
    ) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(input: &Input, end: &mut [u64]) {
            use std::arch::x86_64::*;

            let keys: [_; 11] = std::array::from_fn(|round| {
                // SAFETY: a key has 16 bytes.
                let key = unsafe { _mm_loadu_si128(input.round_keys[round].as_ptr().cast()) };
                $key(key)
            });
            let mut x: [_; $streams] = std::array::from_fn(|at| {
                // SAFETY: the caller's: the slice holds all streams.
                unsafe { $load(input.start.as_ptr().add(at * $words).cast()) }
            });
            for _ in 0..64 {
                for x in &mut x {
                    *x = $xor(*x, keys[0]);
                }
                for key in &keys[1..10] {
                    for x in &mut x {
                        *x = $round(*x, *key);
                    }
                }
                for x in &mut x {
                    *x = $last(*x, keys[10]);
                }
            }
            for (at, x) in x.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { $store(end.as_mut_ptr().add(at * $words).cast(), x) };
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
aes_form!(
    aes_128,
    "aes,avx2",
    2,
    8,
    _mm_loadu_si128,
    _mm_storeu_si128,
    _mm_xor_si128,
    _mm_aesenc_si128,
    _mm_aesenclast_si128,
    |key| key
);
#[cfg(target_arch = "x86_64")]
aes_form!(
    aes_512,
    "aes,vaes,avx512f",
    8,
    8,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
    _mm512_xor_si512,
    _mm512_aesenc_epi128,
    _mm512_aesenclast_epi128,
    _mm512_broadcast_i32x4
);

/// As Intel's white paper on the SHA extensions (Gulley and others, 2013) has it: the state in two registers, ABEF and CDGH.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sha,sse4.1,ssse3")]
unsafe fn sha(input: &Input, end: &mut [u64], compressions: usize) {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32, _mm_storeu_si128,
    };

    let from = input.start.len() - DIGEST_WORDS;
    let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    // SAFETY: a message has four quarters of 16 bytes.
    let message: [__m128i; 4] = std::array::from_fn(|quarter| unsafe {
        _mm_shuffle_epi8(_mm_loadu_si128(input.message.as_ptr().add(16 * quarter).cast()), big_endian)
    });
    // SAFETY: a state has two halves of 16 bytes at the end of the slice.
    let (low, high) = unsafe {
        let state = input.start.as_ptr().add(from);
        (_mm_loadu_si128(state.cast()), _mm_loadu_si128(state.add(2).cast()))
    };
    // DCBA and HGFE become FEBA and HGDC, as the instructions want them.
    let low = _mm_shuffle_epi32::<0xb1>(low);
    let high = _mm_shuffle_epi32::<0x1b>(high);
    let mut abef = _mm_alignr_epi8::<8>(low, high);
    let mut cdgh = _mm_blend_epi16::<0xf0>(high, low);
    for _ in 0..compressions {
        let before = (abef, cdgh);
        let mut w = message;
        for group in 0..16 {
            let now = group % 4;
            if group >= 4 {
                let (one, two, three) = ((group + 1) % 4, (group + 2) % 4, (group + 3) % 4);
                let sum = _mm_add_epi32(
                    _mm_sha256msg1_epu32(w[now], w[one]),
                    _mm_alignr_epi8::<4>(w[three], w[two]),
                );
                w[now] = _mm_sha256msg2_epu32(sum, w[three]);
            }
            // SAFETY: four of 64 constants.
            let k = unsafe { _mm_loadu_si128(K.as_ptr().add(4 * group).cast()) };
            let wk = _mm_add_epi32(w[now], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0e>(wk));
        }
        abef = _mm_add_epi32(abef, before.0);
        cdgh = _mm_add_epi32(cdgh, before.1);
    }
    let low = _mm_shuffle_epi32::<0x1b>(abef);
    let high = _mm_shuffle_epi32::<0xb1>(cdgh);
    let dcba = _mm_blend_epi16::<0xf0>(low, high);
    let hgfe = _mm_alignr_epi8::<8>(high, low);
    // SAFETY: as for the start; the caller gave as much room.
    unsafe {
        let state = end.as_mut_ptr().add(from);
        _mm_storeu_si128(state.cast(), dcba);
        _mm_storeu_si128(state.add(2).cast(), hgfe);
    }
}
