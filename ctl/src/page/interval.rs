//! Changes as bars: where each lies, and where no change is.

use super::plot::{escaped, ticks};
use crate::text;

const WIDTH: f64 = 960.0;
/// Names stand there.
const LEFT: f64 = 400.0;
const RIGHT: f64 = 16.0;
const ROW: f64 = 20.0;
const AXIS: f64 = 22.0;
const TOP: f64 = 8.0;
/// A change of a hundred times would hide all others: what is beyond is drawn at the edge.
const WIDEST: f64 = 200.0;
const NARROWEST: f64 = 1.0;
/// Letters of a name that have room.
const NAME: usize = 62;

/// Whether a change is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Good,
    Bad,
    Neither,
    Unknown,
}

/// One change, percent of what was before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) change: f64,
    /// Where it lies, where that is known.
    pub(crate) between: Option<(f64, f64)>,
    pub(crate) look: Look,
}

/// The bars below each other, over one axis with no change in the middle of it. `let_be` is what does not count.
pub(crate) fn intervals_svg(bars: &[Bar], let_be: f64) -> String {
    let ends =
        |bar: &Bar| [bar.change, bar.between.map_or(0.0, |it| it.0), bar.between.map_or(0.0, |it| it.1)];
    let reach = bars.iter().flat_map(ends).filter(|end| end.is_finite()).map(f64::abs);
    let reach = (reach.fold(let_be * 1.5, f64::max) * 1.05).clamp(NARROWEST, WIDEST);
    let x = |percent: f64| {
        let share = (percent.clamp(-reach, reach) + reach) / (2.0 * reach);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let bottom = TOP + ROW * bars.len() as f64;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">", bottom + AXIS);
    svg += &format!(
        "<rect class=\"letbe\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        x(-let_be),
        x(let_be) - x(-let_be),
        bottom - TOP
    );
    for percent in ticks(0.0, reach, 3).into_iter().filter(|percent| *percent <= reach) {
        // No change stands there once.
        let signs: &[f64] = if percent == 0.0 { &[1.0] } else { &[-1.0, 1.0] };
        for sign in signs {
            let at = x(sign * percent);
            let label = if percent == 0.0 {
                "0".into()
            } else {
                format!("{}{}", if *sign < 0.0 { "−" } else { "+" }, text::trimmed(percent, 2))
            };
            svg += &format!(
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/><text class=\"below\" x=\"{at:.1}\" y=\"{:.1}\">{label} %</text>",
                bottom + 16.0
            );
        }
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + (row as f64 + 0.5) * ROW;
        let class = match bar.look {
            Look::Good => "l2",
            Look::Bad => "l4",
            Look::Neither => "l0",
            Look::Unknown => "tick",
        };
        let words = match bar.between {
            Some((low, high)) => {
                format!("{}: {:+.2} %, between {low:+.2} and {high:+.2} %", bar.name, bar.change)
            }
            None => format!("{}: {:+.2} %", bar.name, bar.change),
        };
        svg += &format!("<g><title>{}</title>", escaped(&words));
        svg += &format!(
            "<text class=\"beside\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            escaped(&shortened(&bar.name))
        );
        if let Some((low, high)) = bar.between {
            svg += &format!(
                "<line class=\"bar {class}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                x(low),
                x(high).max(x(low) + 1.0)
            );
        }
        let at = x(bar.change);
        svg += &format!(
            "<line class=\"point {class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/></g>",
            y - 6.0,
            y + 6.0
        );
    }
    svg + "</svg>"
}

/// The end of a name tells more than its middle.
fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= NAME {
        return name.to_owned();
    }
    letters[..NAME - 1].iter().chain(&['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(change: f64, between: Option<(f64, f64)>) -> Bar {
        Bar { name: "a <b>".into(), change, between, look: Look::Bad }
    }

    #[test]
    fn no_change_is_in_the_middle_and_a_bar_from_its_least_to_its_most() {
        let svg = intervals_svg(&[bar(-10.0, Some((-20.0, 0.0)))], 2.0);
        // −20 % is at the left end less a twentieth, 0 in the middle of 400 to 944.
        assert!(svg.contains("class=\"bar l4\" x1=\"413.0\" x2=\"672.0\""), "{svg}");
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("between -20.00 and +0.00 %"), "{svg}");
    }

    #[test]
    fn what_is_beyond_the_edge_is_drawn_at_it() {
        let svg = intervals_svg(&[bar(1e6, None), bar(1.0, Some((0.5, f64::INFINITY)))], 2.0);
        assert!(svg.contains("x1=\"944.0\"") && !svg.contains("inf\""), "{svg}");
        assert_eq!(svg.matches("class=\"bar").count(), 1);
    }
}
