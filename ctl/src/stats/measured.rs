//! Series that tests judge: noise in which neighbours are alike, and what real daemons and hosts showed.

use fastrand::Rng;

/// An AR(1) process of the given standard deviation: each value is `phi` times the one before and something new.
pub(crate) fn autoregressive(seed: u64, count: usize, phi: f64, sigma: f64) -> Vec<f64> {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let new = sigma * (1.0 - phi * phi).sqrt();
    let mut value = sigma * normal(&mut rng);
    (0..count)
        .map(|_| {
            value = phi * value + new * normal(&mut rng);
            value
        })
        .collect()
}

/// One of the standard normal distribution, by Box and Muller.
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

/// One value a second, of a host that others used meanwhile: how it was recorded is at the top of the file.
const RECORDED: &str = include_str!("measured.csv");

/// A column of what was recorded.
pub(crate) fn recorded(column: &str) -> Vec<f64> {
    let mut lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let at = lines.next().unwrap().split(',').position(|name| name == column).unwrap();
    lines.map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect()
}

/// By then the flight recorder has come to its size, and the daemon's memory with it.
const STEADY_S: usize = 620;

/// A daemon's resident memory less its median, bytes, from some second of the recording on; where that ends it begins anew.
pub(crate) fn resident_noise(seed: u64, count: usize) -> Vec<f64> {
    let values = recorded("agent_resident").split_off(STEADY_S);
    let middle = super::median(&values).unwrap();
    let begin = Rng::with_seed(seed).usize(..values.len());
    values.iter().map(|value| value - middle).cycle().skip(begin).take(count).collect()
}
