//! Square roots and divisions: `x ← √(x + P / x)` in every lane, all three operations rounded as IEEE 754 demands, so that every
//! instruction set gives the same bits. `P` changes from step to step, so that the sequence never settles. Roots bring what is
//! apart together, so an error would fade: the exclusive or of all steps' results is part of the answer. The reference
//! computes lane by lane and takes its roots and quotients by integer arithmetic on the fractions.

use std::sync::Arc;

use super::{
    Isa,
    chains::word_near_middle,
    kernel::{Kernel, Work},
    recipe::Precision,
    root_vector,
};
use crate::burn::{BurnError, random::split_mix};

/// Divisions hardly overlap: enough to fill the divider.
pub(super) const CHAINS: usize = 4;
/// Of a unit: some 20 µs on a 512-bit divider.
pub(super) const STEPS: usize = 512;
/// Dividends that are gone through in turn; a power of 2.
pub(super) const DIVIDENDS: usize = 64;
/// A square root, a division, an addition.
const FLOPS: usize = 3;

/// The `sqrt-div` kernel.
#[derive(Debug)]
pub(super) struct Root {
    isa: Isa,
    precision: Precision,
    start: Arc<[u64]>,
    /// Between 1 and 4; binary32 values in both precisions.
    dividends: Arc<[f64; DIVIDENDS]>,
    expected: Arc<[u64]>,
    got: Vec<u64>,
}

/// Words of one chain.
pub(super) fn words(isa: Isa) -> usize {
    match isa {
        Isa::Portable | Isa::Avx2 => 4,
        Isa::Avx512 => 8,
    }
}

impl Root {
    pub(super) fn new(isa: Isa, precision: Precision, seed: u64) -> Self {
        let mut state = seed;
        let start: Arc<[u64]> =
            (0..CHAINS * words(isa)).map(|_| word_near_middle(precision, &mut state)).collect();
        let mut dividend =
            || 1.0 + 3.0 * f64::from((split_mix(&mut state) >> 42) as u32) / f64::from(1u32 << 22);
        let dividends = Arc::new(std::array::from_fn(|_| f64::from(dividend() as f32)));
        Self { isa, precision, got: start.repeat(2), start, dividends, expected: Arc::new([]) }
    }

    /// The last result of a lane, and the exclusive or of all.
    fn end_of_lane(&self, start: u64) -> (u64, u64) {
        (0..STEPS).fold((start, 0), |(bits, all), step| {
            let dividend = self.dividends[step % DIVIDENDS];
            let next = match self.precision {
                Precision::Double => {
                    let x = f64::from_bits(bits);
                    soft::sqrt(x + soft::divide(dividend, x)).to_bits()
                }
                Precision::Single => {
                    let x = f32::from_bits(bits as u32);
                    // Binary64 has more than twice the bits of binary32, so rounding twice is rounding once (Figueroa:
                    // When is double rounding innocuous?, 1995).
                    let quotient = soft::divide(dividend, f64::from(x)) as f32;
                    u64::from((soft::sqrt(f64::from(x + quotient)) as f32).to_bits())
                }
            };
            (next, all ^ next)
        })
    }
}

impl Kernel for Root {
    fn work(&self) -> Work {
        let lanes = CHAINS * words(self.isa) * self.precision.per_word();
        // The addition is counted as a floating-point operation only.
        Work { operations: (2 * lanes * STEPS) as u64, bytes: 0, flops: (FLOPS * lanes * STEPS) as u64 }
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        let (start, expected) = (self.start.clone(), self.expected.clone());
        let (isa, precision, dividends) = (self.isa, self.precision, self.dividends.clone());
        Ok(Box::new(Self { isa, precision, got: start.repeat(2), start, dividends, expected }))
    }

    fn learn(&mut self) {
        let word = |word: &u64| match self.precision {
            Precision::Double => self.end_of_lane(*word),
            Precision::Single => {
                let (low, high) = (self.end_of_lane(word & 0xffff_ffff), self.end_of_lane(word >> 32));
                (low.0 | high.0 << 32, low.1 | high.1 << 32)
            }
        };
        let (last, all): (Vec<u64>, Vec<u64>) = self.start.iter().map(word).unzip();
        self.expected = [last, all].concat().into();
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        root_vector::compute(self.isa, self.precision, &self.dividends, &self.start, &mut self.got);
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, &self.expected)
    }
}

/// Roots and quotients without the processor's divider for floating-point numbers. For normal numbers between 2^-100 and
/// 2^100.
mod soft {
    const FRACTION_BITS: u32 = 52;

    /// The fraction with its leading 1, and the exponent of its last bit.
    fn parts(x: f64) -> (u64, i32) {
        let bits = x.to_bits();
        let fraction = bits & ((1 << FRACTION_BITS) - 1) | 1 << FRACTION_BITS;
        (fraction, (bits >> FRACTION_BITS) as i32 - 1_075)
    }

    /// `value`·2^`exponent`, where `rest` says that there is more behind the last bit; to the nearest, ties to even.
    /// `value` has at least 55 bits.
    fn rounded(value: u128, exponent: i32, rest: bool) -> f64 {
        let spare = 128 - value.leading_zeros() - (FRACTION_BITS + 1);
        let kept = (value >> spare) as u64;
        let behind = value & ((1 << spare) - 1);
        let half = 1u128 << (spare - 1);
        let up = behind > half || behind == half && (rest || kept & 1 == 1);
        // A carry out of the fraction moves on into the exponent, as it must.
        let biased = (exponent + spare as i32 + 1_075) as u64;
        f64::from_bits((biased << FRACTION_BITS) - (1 << FRACTION_BITS) + kept + u64::from(up))
    }

    pub(super) fn divide(dividend: f64, divisor: f64) -> f64 {
        let ((a, a_exponent), (b, b_exponent)) = (parts(dividend), parts(divisor));
        let scaled = u128::from(a) << 60;
        let b = u128::from(b);
        rounded(scaled / b, a_exponent - b_exponent - 60, !scaled.is_multiple_of(b))
    }

    pub(super) fn sqrt(x: f64) -> f64 {
        let (fraction, exponent) = parts(x);
        let odd = exponent.rem_euclid(2);
        let scaled = u128::from(fraction) << (64 + odd);
        let root = scaled.isqrt();
        rounded(root, (exponent - odd - 64) / 2, root * root != scaled)
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn roots_and_quotients_are_those_of_ieee_754() {
            let mut state = 1;
            let mut number = || {
                let bits = crate::burn::random::split_mix(&mut state);
                f64::from_bits(bits >> 12 | (1_000 + bits % 50) << 52)
            };
            for _ in 0..20_000 {
                let (a, b) = (number(), number());
                assert_eq!(super::divide(a, b).to_bits(), (a / b).to_bits(), "{a:e} / {b:e}");
                assert_eq!(super::sqrt(a).to_bits(), a.sqrt().to_bits(), "{a:e}");
            }
            for exact in [1.0, 4.0, 2.25, 9.0] {
                assert_eq!(super::sqrt(exact).to_bits(), f64::sqrt(exact).to_bits());
            }
        }
    }
}
