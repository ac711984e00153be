//! The known answers of `chains`: the same steps by scalar instructions, four lanes at a time and one chain after the other.
//! A core gives a burst of work when it begins, and what waits for the answer is the start of the burner.
#![expect(unsafe_code, reason = "scalar instructions by name: a compiler would make vectors of them")]

use super::{
    Isa,
    chains::{A, B, C, Shape},
    recipe::Precision,
    sweep::{LINE_WORDS, Line},
};

/// Lanes that step together: as many as hide most of a multiply-add's latency.
const GROUP: usize = 4;

/// The end of every chain.
pub(super) fn ends(shape: &Shape, start: &[u64], lines: &[Line]) -> Vec<u64> {
    let words = shape.words();
    let chains = start.chunks_exact(words).enumerate();
    chains.flat_map(|(chain, start)| end_of_chain(shape, chain, start, lines)).collect()
}

fn end_of_chain(shape: &Shape, chain: usize, start: &[u64], lines: &[Line]) -> Vec<u64> {
    let precision = shape.precision;
    let mut lanes = unpack(precision, start);
    if shape.adds_only(chain) {
        // Every sum is exact, and so is one multiplication.
        lanes.iter_mut().for_each(|lane| *lane += C * shape.steps as f64);
        return pack(precision, &lanes);
    }
    // The first chain takes its addend from the first register's worth of the line, the third from the second.
    let part = match chain {
        0 => Some(0),
        2 if start.len() < LINE_WORDS => Some(start.len()),
        _ => None,
    };
    let addends: Vec<Vec<f64>> = match part {
        Some(part) if shape.gap > 0 => {
            lines.iter().map(|line| unpack(precision, &line.0[part..part + start.len()])).collect()
        }
        _ => Vec::new(),
    };
    for (group, lanes) in lanes.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let first = group * GROUP;
        let step = stepper(shape);
        if addends.is_empty() {
            step(lanes, [B; GROUP], shape.steps);
        }
        for addends in &addends {
            step(lanes, [B; GROUP], shape.gap - 1);
            step(lanes, std::array::from_fn(|lane| addends[first + lane]), 1);
        }
    }
    pack(precision, &lanes)
}

/// Steps lanes so many times with the same addends.
type Stepper = fn(&mut [f64; GROUP], [f64; GROUP], usize);

fn stepper(shape: &Shape) -> Stepper {
    match (shape.precision, shape.isa) {
        (Precision::Double, Isa::Portable) => |lanes, addends, steps| {
            for _ in 0..steps {
                for (lane, addend) in lanes.iter_mut().zip(addends) {
                    *lane = *lane * A + addend;
                }
            }
        },
        (Precision::Single, Isa::Portable) => |lanes, addends, steps| {
            let mut singles = lanes.map(|lane| lane as f32);
            for _ in 0..steps {
                for (lane, addend) in singles.iter_mut().zip(addends) {
                    *lane = *lane * A as f32 + addend as f32;
                }
            }
            *lanes = singles.map(f64::from);
        },
        (Precision::Double, Isa::Avx2 | Isa::Avx512) => |lanes, addends, steps| {
            fused::double(lanes, addends, A, steps);
        },
        (Precision::Single, Isa::Avx2 | Isa::Avx512) => |lanes, addends, steps| {
            let mut singles = lanes.map(|lane| lane as f32);
            fused::single(&mut singles, addends.map(|addend| addend as f32), A as f32, steps);
            *lanes = singles.map(f64::from);
        },
    }
}

#[cfg(target_arch = "x86_64")]
mod fused {
    use std::arch::asm;

    use super::{GROUP, Isa};

    macro_rules! fused {
        ($name:ident, $number:ty, $instruction:literal) => {
            /// `x ← x·a + addend` in each lane, rounded once, so many times.
            pub(super) fn $name(
                lanes: &mut [$number; GROUP],
                addends: [$number; GROUP],
                a: $number,
                steps: usize,
            ) {
                assert!(Isa::Avx2.is_available(), "whoever has a fused form has FMA");
                let [mut x0, mut x1, mut x2, mut x3] = *lanes;
                let [b0, b1, b2, b3] = addends;
                for _ in 0..steps {
                    // SAFETY: the host has FMA, as just checked; registers alone are read and written.
                    unsafe {
                        asm!(
                            concat!($instruction, " {x0}, {a}, {b0}"),
                            concat!($instruction, " {x1}, {a}, {b1}"),
                            concat!($instruction, " {x2}, {a}, {b2}"),
                            concat!($instruction, " {x3}, {a}, {b3}"),
                            x0 = inout(xmm_reg) x0, x1 = inout(xmm_reg) x1, x2 = inout(xmm_reg) x2, x3 = inout(xmm_reg) x3,
                            b0 = in(xmm_reg) b0, b1 = in(xmm_reg) b1, b2 = in(xmm_reg) b2, b3 = in(xmm_reg) b3,
                            a = in(xmm_reg) a,
                            options(pure, nomem, nostack, preserves_flags)
                        );
                    }
                }
                *lanes = [x0, x1, x2, x3];
            }
        };
    }
    fused!(double, f64, "vfmadd213sd");
    fused!(single, f32, "vfmadd213ss");
}

#[cfg(not(target_arch = "x86_64"))]
mod fused {
    use super::GROUP;

    pub(super) fn double(lanes: &mut [f64; GROUP], addends: [f64; GROUP], a: f64, steps: usize) {
        for _ in 0..steps {
            lanes.iter_mut().zip(addends).for_each(|(lane, addend)| *lane = lane.mul_add(a, addend));
        }
    }

    pub(super) fn single(lanes: &mut [f32; GROUP], addends: [f32; GROUP], a: f32, steps: usize) {
        for _ in 0..steps {
            lanes.iter_mut().zip(addends).for_each(|(lane, addend)| *lane = lane.mul_add(a, addend));
        }
    }
}

/// The numbers in words, lowest first. Every binary32 is a binary64.
fn unpack(precision: Precision, words: &[u64]) -> Vec<f64> {
    match precision {
        Precision::Double => words.iter().map(|word| f64::from_bits(*word)).collect(),
        Precision::Single => {
            let lane = |bits: u64| f64::from(f32::from_bits(bits as u32));
            words.iter().flat_map(|word| [lane(*word), lane(word >> 32)]).collect()
        }
    }
}

fn pack(precision: Precision, lanes: &[f64]) -> Vec<u64> {
    match precision {
        Precision::Double => lanes.iter().map(|lane| lane.to_bits()).collect(),
        Precision::Single => {
            // Exact: what comes here is a binary32.
            let bits = |lane: f64| u64::from((lane as f32).to_bits());
            lanes.as_chunks::<2>().0.iter().map(|[low, high]| bits(*low) | bits(*high) << 32).collect()
        }
    }
}
