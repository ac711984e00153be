//! What verification writes to a block, and how it looks at one.

use super::Store;
use crate::burn::{
    cpu::Isa,
    memory::{data::Steps, portable, region::Block},
};

/// How far ahead of a check its lines are asked for. Measured: 2 KiB gives a tenth more than none.
const AHEAD_BYTES: usize = 2_048;

/// Writes the data of a stepped pattern to one block.
pub(in crate::burn::memory) fn write_steps(isa: Isa, block: &mut Block, steps: &Steps, store: Store) {
    by_isa!(isa, write_steps(block, steps, store));
}

/// Whether one block holds the data of a stepped pattern.
pub(in crate::burn::memory) fn check_steps(isa: Isa, block: &Block, steps: &Steps) -> bool {
    by_isa!(isa, check_steps(block, steps))
}

/// Writes `base`, each word XOR `salt`, to one block.
pub(in crate::burn::memory) fn write_salted(
    isa: Isa,
    block: &mut Block,
    base: &Block,
    salt: u64,
    store: Store,
) {
    by_isa!(isa, write_salted(block, base, salt, store));
}

/// The CRCs of a block's quarters.
pub(in crate::burn::memory) fn crcs(isa: Isa, block: &Block) -> [u32; 4] {
    by_isa!(isa, crcs(block))
}

/// The vector forms. `$registers` make a line; the intrinsics are the same ones in two widths.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_forms {
    (
        $name:ident, $features:literal, $register:ident, $bytes:literal,
        $load:ident, $store:ident, $stream:ident, $set1:ident, $zero:ident, $xor:ident, $or:ident, $add:ident,
        $is_zero:expr, $rotate:expr
    ) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::{AHEAD_BYTES, Store};
            use crate::burn::memory::{
                data::{QUARTER_WORDS, Steps},
                region::{BLOCK_BYTES, Block},
            };

            /// Bytes of a register.
            const STEP: usize = $bytes;
            /// Registers of a line.
            const REGISTERS: usize = 64 / STEP;
            const _: () = assert!(BLOCK_BYTES.is_multiple_of(4 * STEP));

            #[target_feature(enable = $features)]
            fn first(steps: &Steps) -> [$register; REGISTERS] {
                // SAFETY: a line of 64 bytes is exactly so many registers, and every bit pattern is one.
                unsafe { std::ptr::read_unaligned(steps.first.as_ptr().cast()) }
            }

            #[target_feature(enable = $features)]
            pub(super) fn write_steps(block: &mut Block, steps: &Steps, store: Store) {
                let mut line = first(steps);
                let (bits, more) = (steps.rotate_bits, $set1(steps.add.cast_signed()));
                let to = block.0.as_mut_ptr().cast::<u8>();
                let mut at = 0;
                while at < BLOCK_BYTES {
                    for (part, register) in line.iter_mut().enumerate() {
                        // SAFETY: inside the block, which is aligned for the widest register.
                        unsafe {
                            let to = to.add(at + part * STEP).cast();
                            match store {
                                Store::Cached => $store(to, *register),
                                Store::NonTemporal => $stream(to, *register),
                            }
                        }
                        *register = $add($rotate(*register, bits), more);
                    }
                    at += REGISTERS * STEP;
                }
            }

            #[target_feature(enable = $features)]
            pub(super) fn check_steps(block: &Block, steps: &Steps) -> bool {
                let mut line = first(steps);
                let (bits, more) = (steps.rotate_bits, $set1(steps.add.cast_signed()));
                let from = block.0.as_ptr().cast::<u8>();
                let mut differing = [$zero(); REGISTERS];
                let mut at = 0;
                while at < BLOCK_BYTES {
                    _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at + AHEAD_BYTES).cast());
                    for (part, register) in line.iter_mut().enumerate() {
                        // SAFETY: inside the block, which is aligned for the widest register.
                        let got = unsafe { $load(from.add(at + part * STEP).cast()) };
                        differing[part] = $or(differing[part], $xor(got, *register));
                        *register = $add($rotate(*register, bits), more);
                    }
                    at += REGISTERS * STEP;
                }
                differing.iter().all(|register| $is_zero(*register))
            }

            #[target_feature(enable = $features)]
            pub(super) fn write_salted(block: &mut Block, base: &Block, salt: u64, store: Store) {
                let salt = $set1(salt.cast_signed());
                let (from, to) = (base.0.as_ptr().cast::<u8>(), block.0.as_mut_ptr().cast::<u8>());
                let mut at = 0;
                while at < BLOCK_BYTES {
                    // SAFETY: inside both blocks, which are aligned for the widest register.
                    unsafe {
                        let word = $xor($load(from.add(at).cast()), salt);
                        match store {
                            Store::Cached => $store(to.add(at).cast(), word),
                            Store::NonTemporal => $stream(to.add(at).cast(), word),
                        }
                    }
                    at += STEP;
                }
            }

            #[target_feature(enable = $features)]
            pub(super) fn crcs(block: &Block) -> [u32; 4] {
                let mut crcs = [u64::from(!0u32); 4];
                let ahead = block.0.as_ptr().cast::<i8>();
                let (first, rest) = block.0.split_at(QUARTER_WORDS);
                let (second, rest) = rest.split_at(QUARTER_WORDS);
                let (third, fourth) = rest.split_at(QUARTER_WORDS);
                for (index, (((a, b), c), d)) in first.iter().zip(second).zip(third).zip(fourth).enumerate() {
                    if index % 2 == 0 {
                        // Every line of the next block once.
                        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(BLOCK_BYTES + index * 32));
                    }
                    crcs[0] = _mm_crc32_u64(crcs[0], *a);
                    crcs[1] = _mm_crc32_u64(crcs[1], *b);
                    crcs[2] = _mm_crc32_u64(crcs[2], *c);
                    crcs[3] = _mm_crc32_u64(crcs[3], *d);
                }
                crcs.map(|crc| crc as u32)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_forms!(
    avx2,
    "avx2,sse4.2",
    __m256i,
    32,
    _mm256_load_si256,
    _mm256_store_si256,
    _mm256_stream_si256,
    _mm256_set1_epi64x,
    _mm256_setzero_si256,
    _mm256_xor_si256,
    _mm256_or_si256,
    _mm256_add_epi64,
    |register| _mm256_testz_si256(register, register) == 1,
    |register, bits: u32| {
        // A shift by 64 gives 0, so that a rotation by 0 is one.
        let (left, right) =
            (_mm_cvtsi32_si128(bits.cast_signed()), _mm_cvtsi32_si128(64 - bits.cast_signed()));
        _mm256_or_si256(_mm256_sll_epi64(register, left), _mm256_srl_epi64(register, right))
    }
);
#[cfg(target_arch = "x86_64")]
vector_forms!(
    avx512,
    "avx512f,sse4.2",
    __m512i,
    64,
    _mm512_load_si512,
    _mm512_store_si512,
    _mm512_stream_si512,
    _mm512_set1_epi64,
    _mm512_setzero_si512,
    _mm512_xor_si512,
    _mm512_or_si512,
    _mm512_add_epi64,
    |register| _mm512_test_epi64_mask(register, register) == 0,
    |register, bits: u32| _mm512_rolv_epi64(register, _mm512_set1_epi64(i64::from(bits)))
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::memory::data::{Data, RandomData};

    #[test]
    fn every_form_writes_each_pattern_and_finds_any_flipped_bit_of_it() {
        let address = 0x7f12_3456_7000;
        let patterns = [
            Data::Constant(0x5555_5555_5555_5555),
            Data::Walking { shift: 3, invert: false },
            Data::Walking { shift: 63, invert: true },
            Data::Address { invert: false },
            Data::Address { invert: true },
        ];
        for (isa, data) in
            Isa::available().into_iter().flat_map(|isa| patterns.iter().map(move |data| (isa, data)))
        {
            let steps = data.steps(address);
            for store in [Store::Cached, Store::NonTemporal] {
                let mut block = Block::ZERO;
                write_steps(isa, &mut block, &steps, store);
                for (index, word) in block.0.iter().enumerate() {
                    assert_eq!(*word, data.word(0, address, index), "{isa:?} {data:?} {index}");
                }
                assert!(check_steps(isa, &block, &steps), "{isa:?} {data:?}");
                for (index, bit) in [(0, 0), (7, 63), (8, 1), (300, 31), (511, 63)] {
                    block.0[index] ^= 1 << bit;
                    assert!(!check_steps(isa, &block, &steps), "{isa:?} {data:?} {index}");
                    block.0[index] ^= 1 << bit;
                }
            }
        }
    }

    #[test]
    fn every_form_writes_random_blocks_and_finds_any_flipped_bit_by_crc() {
        let random = RandomData::new(9);
        for isa in Isa::available() {
            for (index, store) in [(0, Store::Cached), (77, Store::NonTemporal)] {
                let salt = random.salt(index);
                let mut block = Block::ZERO;
                write_salted(isa, &mut block, &random.base, salt, store);
                assert_eq!(crcs(isa, &block), random.crcs(salt), "{isa:?}");
                for place in [0, 127, 128, 300, 511] {
                    block.0[place] ^= 1 << 17;
                    assert_ne!(crcs(isa, &block), random.crcs(salt), "{isa:?} {place}");
                    block.0[place] ^= 1 << 17;
                }
            }
        }
    }
}
