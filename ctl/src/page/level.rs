//! Values one after the other, the levels that they keep to, and where another one begins.

use super::plot::{escaped, ticks};
use crate::text;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;
const HEIGHT: f64 = 180.0;
const AXIS: f64 = 22.0;
const TOP: f64 = 8.0;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LevelPoint {
    /// What it is of, such as a run.
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) is_outlier: bool,
}

/// The values, with a line where a level begins: by the index of its first value, and the level before and after it.
pub(crate) fn levels_svg(points: &[LevelPoint], unit: &str, changes: &[(usize, f64, f64)]) -> String {
    let least = points.iter().map(|point| point.value).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|point| point.value).fold(f64::NEG_INFINITY, f64::max);
    // A change of a percent is to be seen: the scale is that of the values, not from zero.
    let room = if most > least { (most - least) * 0.08 } else { most.abs().max(1.0) * 0.05 };
    let (low, high) = (least - room, most + room);
    let y = |value: f64| TOP + HEIGHT * (1.0 - ((value - low) / (high - low)).clamp(0.0, 1.0));
    let steps = points.len().saturating_sub(1).max(1) as f64;
    let x = |index: f64| LEFT + index / steps * (WIDTH - LEFT - RIGHT);
    let bottom = TOP + HEIGHT;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">", bottom + AXIS);
    for value in round_between(low, high) {
        let (at, right, label) = (y(value), WIDTH - RIGHT, escaped(&text::quantity(value, unit)));
        svg += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"beside\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    let places: Vec<_> = points
        .iter()
        .enumerate()
        .map(|(index, point)| format!("{:.1},{:.1}", x(index as f64), y(point.value)))
        .collect();
    svg += &format!("<polyline class=\"l0\" points=\"{}\"/>", places.join(" "));
    for (at, (from, level, next)) in changes.iter().enumerate() {
        // Half way between the last value of one level and the first of the next.
        let border = x(*from as f64 - 0.5);
        let begin = at.checked_sub(1).and_then(|it| changes.get(it)).map_or(LEFT, |it| x(it.0 as f64 - 0.5));
        let end = changes.get(at + 1).map_or(WIDTH - RIGHT, |it| x(it.0 as f64 - 0.5));
        svg += &format!(
            "<line class=\"mark\" x1=\"{border:.1}\" x2=\"{border:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>"
        );
        for (from, to, level) in [(begin, border, level), (border, end, next)] {
            svg += &format!(
                "<line class=\"level l1\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>",
                y(*level)
            );
        }
    }
    for (index, point) in points.iter().enumerate() {
        let class = if point.is_outlier { "l4" } else { "l0" };
        svg += &format!(
            "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {}</title></circle>",
            x(index as f64),
            y(point.value),
            escaped(&point.name),
            escaped(&text::quantity(point.value, unit))
        );
    }
    let ends = [(points.first(), LEFT, "start"), (points.last(), WIDTH - RIGHT, "end")];
    for (point, at, anchor) in ends.into_iter().filter_map(|(point, at, anchor)| Some((point?, at, anchor))) {
        svg += &format!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            bottom + 16.0,
            escaped(&point.name)
        );
    }
    svg + "</svg>"
}

/// Some four round numbers.
fn round_between(low: f64, high: f64) -> Vec<f64> {
    let steps = ticks(0.0, high - low, 4);
    let step = steps.get(1).copied().unwrap_or(high - low);
    let first = (low / step).ceil() as i64;
    (first..first + 8).map(|number| number as f64 * step).filter(|value| *value <= high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_levels_and_outliers_are_drawn() {
        let point = |value: f64| LevelPoint { name: "<r>".into(), value, is_outlier: value > 150.0 };
        let points: Vec<_> = [100.0, 100.0, 100.0, 110.0, 200.0, 110.0].map(point).into();
        let svg = levels_svg(&points, "1", &[(3, 100.0, 110.0)]);
        assert_eq!(svg.matches("<circle").count(), 6);
        assert_eq!((svg.matches("dot l4").count(), svg.matches("class=\"mark\"").count()), (1, 1));
        assert_eq!(svg.matches("class=\"level").count(), 2);
        assert!(svg.contains("&lt;r&gt;") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn one_value_and_equal_ones_have_a_place() {
        for values in [vec![5.0], vec![0.0; 4]] {
            let points: Vec<_> = values
                .into_iter()
                .map(|value| LevelPoint { name: String::new(), value, is_outlier: false })
                .collect();
            let svg = levels_svg(&points, "By", &[]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
