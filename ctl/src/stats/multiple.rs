//! Many questions at once: of twenty metrics that did not change, one is expected to look as if at 5 %.

/// Each p-value as what it is worth among all: rejecting those up to `q` keeps the expected share of false ones among the
/// rejected below `q`. Holds for values that are independent or rise and fall together, as metrics of one host do.
///
/// Benjamini and Hochberg, Controlling the False Discovery Rate, J. R. Statist. Soc. B 57 (1995); Benjamini and Yekutieli,
/// Annals of Statistics 29 (2001), for dependence.
pub(crate) fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<_> = (0..p.len()).collect();
    order.sort_by(|one, other| p[*other].total_cmp(&p[*one]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least = 1.0f64;
    for (place, index) in order.into_iter().enumerate() {
        let rank = p.len() - place;
        least = least.min(p[index] * p.len() as f64 / rank as f64);
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's own example, section 4: four of fifteen are rejected at 5 %.
    #[test]
    fn the_published_example_rejects_four() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0000,
        ];
        let adjusted = benjamini_hochberg(&p);
        assert_eq!(adjusted.iter().filter(|p| **p <= 0.05).count(), 4);
        assert!((adjusted[3] - 0.0095 * 15.0 / 4.0).abs() < 1e-12);
        assert!(adjusted.is_sorted());
    }

    #[test]
    fn the_order_of_the_values_does_not_matter() {
        assert_eq!(benjamini_hochberg(&[0.5, 0.01]), [0.5, 0.02]);
        assert_eq!(benjamini_hochberg(&[0.01, 0.5]), [0.02, 0.5]);
        assert_eq!(benjamini_hochberg(&[0.9, 0.9]), [0.9, 0.9]);
        assert!(benjamini_hochberg(&[]).is_empty());
    }
}
