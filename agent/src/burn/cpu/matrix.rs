//! A blocked matrix product C = A·B. Factors are whole numbers so small that every product and sum is exact in the precision's
//! fraction: the reference multiplies in 64-bit integers, in another order, and the bits must be the same.
//!
//! A and B are packed once into panels, as the product needs them; the micro-kernel keeps a tile of C in registers (Goto, van
//! de Geijn: Anatomy of high-performance matrix multiplication, 2008).

use std::sync::Arc;

use super::{
    Isa,
    kernel::{Kernel, Work},
    matrix_vector,
    recipe::Precision,
};
use crate::burn::{BurnError, random::split_mix};

/// Rows of A and C.
pub(super) const ROWS: usize = 64;
/// Columns of B and C, in words of 64 bits.
pub(super) const COLUMN_WORDS: usize = 72;

/// How one form cuts the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Columns of A and rows of B.
    pub(super) depth: usize,
    /// Rows of a tile.
    pub(super) tile_rows: usize,
    /// Columns of a tile, in words.
    pub(super) tile_words: usize,
}

/// So that tiles fill the registers (24 of 32, 12 of 16, 8 of 16), and a unit takes some 50 µs.
pub(super) fn cut(isa: Isa) -> Cut {
    match isa {
        Isa::Portable => Cut { depth: 64, tile_rows: 4, tile_words: 4 },
        Isa::Avx2 => Cut { depth: 256, tile_rows: 4, tile_words: 12 },
        Isa::Avx512 => Cut { depth: 512, tile_rows: 8, tile_words: 24 },
    }
}

/// The factors.
#[derive(Debug)]
pub(super) struct Factors {
    /// Panels of `tile_rows` rows, column by column; one number in each word.
    pub(super) a: Vec<u64>,
    /// Panels of `tile_words` columns, row by row.
    pub(super) b: Vec<u64>,
}

/// The `matrix` kernel.
#[derive(Debug)]
pub(super) struct Matrix {
    isa: Isa,
    precision: Precision,
    seed: u64,
    factors: Arc<Factors>,
    expected: Arc<[u64]>,
    got: Vec<u64>,
}

/// Whole factors as they are drawn, row by row.
struct Whole {
    a: Vec<i64>,
    b: Vec<i64>,
}

impl Matrix {
    pub(super) fn new(isa: Isa, precision: Precision, seed: u64) -> Self {
        let factors = Arc::new(Whole::new(isa, precision, seed).pack(isa, precision));
        let got = vec![0; ROWS * COLUMN_WORDS];
        Self { isa, precision, seed, factors, expected: Arc::new([]), got }
    }
}

impl Whole {
    fn new(isa: Isa, precision: Precision, seed: u64) -> Self {
        let mut state = seed;
        // With a depth of 2^9: 2·21 + 9 bits of 53, 2·7 + 9 of 24.
        let bits = match precision {
            Precision::Double => 21,
            Precision::Single => 7,
        };
        let mut number = || {
            let magnitude = (split_mix(&mut state) >> (64 - bits)).cast_signed();
            if split_mix(&mut state) & 1 == 0 { magnitude } else { -magnitude }
        };
        let depth = cut(isa).depth;
        let columns = COLUMN_WORDS * precision.per_word();
        let a = (0..ROWS * depth).map(|_| number()).collect();
        Self { a, b: (0..depth * columns).map(|_| number()).collect() }
    }

    fn pack(&self, isa: Isa, precision: Precision) -> Factors {
        let Cut { depth, tile_rows, tile_words } = cut(isa);
        let per_word = precision.per_word();
        let columns = COLUMN_WORDS * per_word;
        let mut a = Vec::with_capacity(self.a.len());
        for panel in 0..ROWS / tile_rows {
            for k in 0..depth {
                let row = |row| bits(self.a[(panel * tile_rows + row) * depth + k], precision);
                a.extend((0..tile_rows).map(row));
            }
        }
        let mut b = Vec::with_capacity(depth * COLUMN_WORDS);
        for panel in 0..COLUMN_WORDS / tile_words {
            for k in 0..depth {
                let first = k * columns + panel * tile_words * per_word;
                let numbers = &self.b[first..first + tile_words * per_word];
                b.extend(numbers.chunks_exact(per_word).map(|numbers| word(numbers, precision)));
            }
        }
        Factors { a, b }
    }

    /// In the order of tiles: panel of A, panel of B, row, column.
    fn product(&self, isa: Isa, precision: Precision) -> Arc<[u64]> {
        let Cut { depth, tile_rows, tile_words } = cut(isa);
        let per_word = precision.per_word();
        let columns = COLUMN_WORDS * per_word;
        let mut c = vec![0i64; ROWS * columns];
        for row in 0..ROWS {
            let sums = &mut c[row * columns..(row + 1) * columns];
            for k in 0..depth {
                let a = self.a[row * depth + k];
                for (sum, b) in sums.iter_mut().zip(&self.b[k * columns..]) {
                    *sum += a * b;
                }
            }
        }
        let mut words = Vec::with_capacity(ROWS * COLUMN_WORDS);
        for down in 0..ROWS / tile_rows {
            for across in 0..COLUMN_WORDS / tile_words {
                for row in 0..tile_rows {
                    let first = (down * tile_rows + row) * columns + across * tile_words * per_word;
                    let numbers = &c[first..first + tile_words * per_word];
                    words.extend(numbers.chunks_exact(per_word).map(|numbers| word(numbers, precision)));
                }
            }
        }
        words.into()
    }
}

fn bits(number: i64, precision: Precision) -> u64 {
    match precision {
        Precision::Double => (number as f64).to_bits(),
        Precision::Single => u64::from((number as f32).to_bits()),
    }
}

fn word(numbers: &[i64], precision: Precision) -> u64 {
    numbers.iter().rev().fold(0, |word: u64, number| word.wrapping_shl(32) | bits(*number, precision))
}

impl Kernel for Matrix {
    fn work(&self) -> Work {
        let products = ROWS * COLUMN_WORDS * self.precision.per_word() * cut(self.isa).depth;
        Work { operations: products as u64, bytes: 0, flops: 2 * products as u64 }
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        let (factors, expected) = (self.factors.clone(), self.expected.clone());
        let got = vec![0; self.got.len()];
        Ok(Box::new(Self { factors, expected, got, ..*self }))
    }

    fn learn(&mut self) {
        self.expected = Whole::new(self.isa, self.precision, self.seed).product(self.isa, self.precision);
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        matrix_vector::compute(self.isa, self.precision, &self.factors, &mut self.got);
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, &self.expected)
    }
}
