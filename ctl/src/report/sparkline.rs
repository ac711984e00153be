//! A series in one line of characters.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// As many as stand beside a name on a terminal.
const MOST: usize = 60;

/// A bar for each value from the least to the most; of more than fit, for the mean of neighbours.
pub(crate) fn sparkline(values: &[f64]) -> String {
    let count = values.len().min(MOST);
    let means: Vec<_> = (0..count)
        .map(|bar| {
            let part = &values[bar * values.len() / count..(bar + 1) * values.len() / count];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    means
        .iter()
        .map(|mean| {
            let height = if most > least { (mean - least) / (most - least) } else { 0.5 };
            BARS[((height * BARS.len() as f64) as usize).min(BARS.len() - 1)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_bars_of_their_height() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0]), "▁▃▆█");
        assert_eq!(sparkline(&[5.0, 5.0]), "▅▅");
        assert_eq!(sparkline(&[]), "");
        let many: Vec<_> = (0..1_000).map(f64::from).collect();
        assert_eq!(sparkline(&many).chars().count(), MOST);
    }
}
