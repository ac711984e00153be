//! Loops over blocks at the speed of memory, in the widest registers there are. Kept apart because intrinsics are `unsafe`.
//!
//! Stores of the streaming loops are non-temporal: a line goes to memory without being read first, so that the bytes counted
//! are the bytes moved (Intel 64 and IA-32 Optimization Reference Manual, "Non-temporal stores"). The portable forms know
//! only ordinary stores.
#![expect(unsafe_code, reason = "intrinsics, and functions that need instruction sets")]

use super::{
    data::{LINE_WORDS, QUARTER_WORDS, Steps},
    portable,
    region::{BLOCK_BYTES, Block},
};
use crate::burn::cpu::Isa;

/// How far ahead of a check its lines are asked for. Measured: 2 KiB gives a tenth more than none.
const AHEAD_BYTES: usize = 2_048;

/// Calls the form of a loop for the chosen instructions.
macro_rules! by_isa {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa {
            Isa::Portable => portable::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Isa` is chosen among those that the host has (`Isa::available`, at admission).
            Isa::Avx2 => unsafe { avx2::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 => unsafe { avx512::$function($($argument),*) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => unreachable!("not available on this architecture"),
        }
    };
}

/// How a loop stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    /// Through the caches: for lines that are there already.
    Cached,
    /// Past them.
    NonTemporal,
}

/// `to[i] = from[i]`
pub(super) fn copy(isa: Isa, from: &[Block], to: &mut [Block]) {
    assert_eq!(from.len(), to.len());
    by_isa!(isa, copy(from, to));
}

/// `to[i] = factor * from[i]`, in double precision.
pub(super) fn scale(isa: Isa, factor: f64, from: &[Block], to: &mut [Block]) {
    assert_eq!(from.len(), to.len());
    by_isa!(isa, scale(factor, from, to));
}

/// `to[i] = a[i] + b[i]`, in double precision.
pub(super) fn add(isa: Isa, a: &[Block], b: &[Block], to: &mut [Block]) {
    assert!(a.len() == to.len() && b.len() == to.len());
    by_isa!(isa, add(a, b, to));
}

/// `to[i] = a[i] + factor * b[i]`, in double precision.
pub(super) fn triad(isa: Isa, factor: f64, a: &[Block], b: &[Block], to: &mut [Block]) {
    assert!(a.len() == to.len() && b.len() == to.len());
    by_isa!(isa, triad(factor, a, b, to));
}

/// Reads all; gives the OR of it, so that no load can be left out.
pub(super) fn read(isa: Isa, blocks: &[Block]) -> u64 {
    by_isa!(isa, read(blocks))
}

/// Writes the data of a stepped pattern to one block.
pub(super) fn write_steps(isa: Isa, block: &mut Block, steps: &Steps, store: Store) {
    by_isa!(isa, write_steps(block, steps, store));
}

/// Whether one block holds the data of a stepped pattern.
pub(super) fn check_steps(isa: Isa, block: &Block, steps: &Steps) -> bool {
    by_isa!(isa, check_steps(block, steps))
}

/// Writes `base`, each word XOR `salt`, to one block.
pub(super) fn write_salted(isa: Isa, block: &mut Block, base: &Block, salt: u64, store: Store) {
    by_isa!(isa, write_salted(block, base, salt, store));
}

/// The CRCs of a block's quarters.
pub(super) fn crcs(isa: Isa, block: &Block) -> [u32; 4] {
    by_isa!(isa, crcs(block))
}

/// To be called after non-temporal stores, before another core may look at what was stored.
pub(super) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Takes a block out of this core's caches, so that the next look at it is one at memory.
pub(super) fn flush(block: &Block) {
    #[cfg(target_arch = "x86_64")]
    {
        for line in block.0.chunks_exact(LINE_WORDS) {
            // SAFETY: every x86-64 has SSE2; the line is valid memory.
            unsafe { std::arch::x86_64::_mm_clflush(line.as_ptr().cast()) };
        }
        // Loads may pass a store fence, and so be served from the lines that are about to leave.
        // SAFETY: as above.
        unsafe { std::arch::x86_64::_mm_mfence() };
    }
    let _ = block;
}

/// One register's worth after the other: each slice's register under its name, and what is stored.
#[cfg(target_arch = "x86_64")]
macro_rules! stream {
    ($load:ident, $store:ident, $to:ident; $($name:ident in $from:expr),+ => $value:expr) => {{
        let bytes = size_of_val($to);
        let to = $to.as_mut_ptr().cast::<u8>();
        let mut at = 0;
        while at < bytes {
            let mut part = 0;
            while part < 4 * STEP {
                // SAFETY: all slices have `bytes` bytes (asserted above), a multiple of four registers, and blocks are
                // aligned for the widest; `at + part` is below `bytes`.
                unsafe {
                    $(let $name = $load($from.as_ptr().cast::<u8>().add(at + part).cast());)+
                    $store(to.add(at + part).cast(), $value);
                }
                part += STEP;
            }
            at += 4 * STEP;
        }
        _mm_sfence();
    }};
}

/// The vector forms. `$registers` make a line; the intrinsics are the same ones in two widths.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_forms {
    (
        $name:ident, $features:literal, $register:ident, $bytes:literal,
        $load:ident, $store:ident, $stream:ident, $set1:ident, $zero:ident, $xor:ident, $or:ident, $add:ident,
        $load_pd:ident, $stream_pd:ident, $set1_pd:ident, $mul_pd:ident, $add_pd:ident,
        $is_zero:expr, $rotate:expr
    ) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::{AHEAD_BYTES, BLOCK_BYTES, Block, QUARTER_WORDS, Steps, Store};

            /// Bytes of a register.
            const STEP: usize = $bytes;
            /// Registers of a line.
            const REGISTERS: usize = 64 / STEP;
            const _: () = assert!(BLOCK_BYTES.is_multiple_of(4 * STEP));

            #[target_feature(enable = $features)]
            pub(super) fn copy(from: &[Block], to: &mut [Block]) {
                stream!($load_pd, $stream_pd, to; x in from => x);
            }

            #[target_feature(enable = $features)]
            pub(super) fn scale(factor: f64, from: &[Block], to: &mut [Block]) {
                let factor = $set1_pd(factor);
                stream!($load_pd, $stream_pd, to; x in from => $mul_pd(factor, x));
            }

            #[target_feature(enable = $features)]
            pub(super) fn add(a: &[Block], b: &[Block], to: &mut [Block]) {
                stream!($load_pd, $stream_pd, to; x in a, y in b => $add_pd(x, y));
            }

            #[target_feature(enable = $features)]
            pub(super) fn triad(factor: f64, a: &[Block], b: &[Block], to: &mut [Block]) {
                let factor = $set1_pd(factor);
                stream!($load_pd, $stream_pd, to; x in a, y in b => $add_pd(x, $mul_pd(factor, y)));
            }

            #[target_feature(enable = $features)]
            pub(super) fn read(blocks: &[Block]) -> u64 {
                let mut or = [$zero(); 4];
                let (from, bytes) = (blocks.as_ptr().cast::<u8>(), size_of_val(blocks));
                let mut at = 0;
                while at < bytes {
                    for (part, or) in or.iter_mut().enumerate() {
                        // SAFETY: `bytes` is a multiple of four registers, and blocks are aligned for the widest.
                        *or = $or(*or, unsafe { $load(from.add(at + part * STEP).cast()) });
                    }
                    at += 4 * STEP;
                }
                let all = $or($or(or[0], or[1]), $or(or[2], or[3]));
                let mut words = [0u64; STEP / 8];
                // SAFETY: the array has as many bytes as the register; no alignment is asked for.
                unsafe { std::ptr::write_unaligned(words.as_mut_ptr().cast(), all) };
                words.iter().fold(0, |or, word| or | word)
            }

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
    "avx2,fma,sse4.2",
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
    _mm256_load_pd,
    _mm256_stream_pd,
    _mm256_set1_pd,
    _mm256_mul_pd,
    _mm256_add_pd,
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
    _mm512_load_pd,
    _mm512_stream_pd,
    _mm512_set1_pd,
    _mm512_mul_pd,
    _mm512_add_pd,
    |register| _mm512_test_epi64_mask(register, register) == 0,
    |register, bits: u32| _mm512_rolv_epi64(register, _mm512_set1_epi64(i64::from(bits)))
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::{
        memory::data::{Data, RandomData},
        random::split_mix,
    };

    fn random_blocks(count: usize, seed: u64) -> Vec<Block> {
        let mut state = seed;
        (0..count).map(|_| Block(std::array::from_fn(|_| (split_mix(&mut state) >> 40).max(1)))).collect()
    }

    fn numbers(count: usize, seed: u64) -> Vec<Block> {
        let mut blocks = random_blocks(count, seed);
        blocks.iter_mut().flat_map(|block| &mut block.0).for_each(|word| *word = (*word as f64).to_bits());
        blocks
    }

    fn words(blocks: &[Block]) -> impl Iterator<Item = u64> {
        blocks.iter().flat_map(|block| block.0)
    }

    #[test]
    fn every_form_of_the_streaming_loops_computes_the_same() {
        let (a, b) = (numbers(3, 1), numbers(3, 2));
        let pairs = || words(&a).map(f64::from_bits).zip(words(&b).map(f64::from_bits));
        for isa in Isa::available() {
            let mut to = vec![Block::ZERO; 3];
            copy(isa, &a, &mut to);
            assert!(words(&to).eq(words(&a)), "{isa:?}");
            scale(isa, 3.0, &a, &mut to);
            assert!(words(&to).eq(pairs().map(|(a, _)| (3.0 * a).to_bits())), "{isa:?}");
            add(isa, &a, &b, &mut to);
            assert!(words(&to).eq(pairs().map(|(a, b)| (a + b).to_bits())), "{isa:?}");
            triad(isa, 3.0, &a, &b, &mut to);
            assert!(words(&to).eq(pairs().map(|(a, b)| (a + 3.0 * b).to_bits())), "{isa:?}");
            assert_eq!(read(isa, &a), words(&a).fold(0, |or, word| or | word), "{isa:?}");
        }
    }

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
