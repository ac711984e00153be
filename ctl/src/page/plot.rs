//! Plots as SVG: lines over time, and heat maps over time.

use super::bins::Spread;
use crate::text;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;
const LINES_HEIGHT: f64 = 180.0;
const AXIS: f64 = 22.0;
const TOP: f64 = 8.0;
/// A row of a heat map of names, at most.
const ROW_HEIGHT: f64 = 18.0;
/// A heat map is no higher than this, with more rows than it has pixels too.
const HEAT_HEIGHT: f64 = 240.0;
/// Steps of a heat map's scale; the page has a colour for each.
const STEPS: f64 = 9.0;

/// One line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    /// Seconds and values.
    pub(super) points: Vec<(f64, f64)>,
}

/// Something that happened.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) second: f64,
    pub(super) text: String,
}

/// A map of how much, over time.
#[derive(Debug)]
pub(super) struct Heat {
    pub(super) rows: HeatRows,
    /// What the deepest colour stands for; the greatest value there is where it isn't given.
    pub(super) greatest: Option<f64>,
    pub(super) unit: &'static str,
}

#[derive(Debug)]
pub(super) enum HeatRows {
    /// One for each name.
    Named(Vec<(String, Vec<Cell>)>),
    /// Half octaves of a value, the least at the bottom: begin, end, counts.
    Octaves(Vec<(f64, f64, Spread)>),
}

/// Begin and end, s, and the value.
pub(super) type Cell = (f64, f64, f64);

/// One plot.
#[derive(Debug)]
pub(super) enum Chart {
    Lines { title: String, unit: &'static str, lines: Vec<Line> },
    Heat { title: String, heat: Heat },
}

impl Chart {
    pub(super) fn title(&self) -> &str {
        match self {
            Self::Lines { title, .. } | Self::Heat { title, .. } => title,
        }
    }

    /// The plot, over the time from 0 to `end_s`, as an SVG element.
    pub(super) fn to_svg(&self, end_s: f64, marks: &[Mark]) -> String {
        let axis = Axis { end_s: end_s.max(0.1) };
        match self {
            Self::Lines { unit, lines, .. } => lines_svg(&axis, unit, lines, marks),
            Self::Heat { heat, .. } => heat_svg(&axis, heat, marks),
        }
    }
}

/// Where an instant lies.
struct Axis {
    end_s: f64,
}

impl Axis {
    fn x(&self, second: f64) -> f64 {
        LEFT + (second / self.end_s).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// The frame around a plot of that height: time axis and marks.
    fn svg(&self, height: f64, marks: &[Mark], body: &str) -> String {
        let total = TOP + height + AXIS;
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {total:.0}\" role=\"img\">");
        svg += body;
        for mark in marks.iter().filter(|mark| (0.0..=self.end_s).contains(&mark.second)) {
            let x = self.x(mark.second);
            let text = escaped(&mark.text);
            let bottom = TOP + height;
            svg += &format!(
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"><title>{text}</title></line>"
            );
        }
        for second in ticks(0.0, self.end_s, 8).into_iter().filter(|second| *second <= self.end_s) {
            let (x, y) = (self.x(second), TOP + height);
            let label = text::clock((second * 1e3) as u64);
            let label = if self.end_s < 10.0 { format!("{} s", text::trimmed(second, 1)) } else { label };
            svg += &format!(
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y:.1}\" y2=\"{:.1}\"/><text class=\"below\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
                y + 4.0,
                y + 17.0
            );
        }
        svg + "</svg>"
    }
}

fn lines_svg(axis: &Axis, unit: &str, lines: &[Line], marks: &[Mark]) -> String {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let greatest = values().fold(f64::MIN_POSITIVE, f64::max);
    // Loads and temperatures are read from zero on.
    let scale = ticks(0.0, greatest, 4);
    let top = scale.last().copied().unwrap_or(greatest).max(greatest);
    let y = |value: f64| TOP + LINES_HEIGHT * (1.0 - (value / top).clamp(0.0, 1.0));
    let mut body = String::new();
    for value in scale {
        let (at, right) = (y(value), WIDTH - RIGHT);
        let label = escaped(&text::quantity(value, unit));
        body += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"beside\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let mut points = String::new();
        for (second, value) in &line.points {
            points += &format!("{:.1},{:.1} ", axis.x(*second), y(*value));
        }
        body += &format!(
            "<polyline class=\"l{}\" points=\"{}\"><title>{}</title></polyline>",
            index % 6,
            points.trim_end(),
            escaped(&line.name)
        );
    }
    let mut legend = String::from("<p class=\"legend\">");
    for (index, line) in lines.iter().enumerate() {
        let last = line.points.last().map_or(String::new(), |(_, value)| text::quantity(*value, unit));
        legend += &format!(
            "<span><i class=\"k{}\"></i>{} <small>last {}</small></span>",
            index % 6,
            escaped(&line.name),
            escaped(&last)
        );
    }
    axis.svg(LINES_HEIGHT, marks, &body) + &legend + "</p>"
}

fn heat_svg(axis: &Axis, heat: &Heat, marks: &[Mark]) -> String {
    /// Begin, end, row from the top, value.
    type Placed = (f64, f64, usize, f64);
    let (names, cells): (Vec<String>, Vec<Placed>) = match &heat.rows {
        HeatRows::Named(rows) => {
            let cells = rows.iter().enumerate().flat_map(|(row, (_, cells))| {
                cells.iter().map(move |(begin, end, value)| (*begin, *end, row, *value))
            });
            (rows.iter().map(|(name, _)| name.clone()).collect(), cells.collect())
        }
        HeatRows::Octaves(bins) => {
            let rows = || bins.iter().flat_map(|(.., spread)| spread.rows().map(|(row, _)| row));
            let (Some(least), Some(most)) = (rows().min(), rows().max()) else { return String::new() };
            let names =
                (least..=most).rev().map(|row| text::quantity(Spread::lower_bound(row), heat.unit)).collect();
            let cells = bins.iter().flat_map(|(begin, end, spread)| {
                spread.rows().map(move |(row, count)| (*begin, *end, (most - row) as usize, count as f64))
            });
            (names, cells.collect())
        }
    };
    let greatest = heat.greatest.unwrap_or_else(|| cells.iter().map(|cell| cell.3).fold(0.0, f64::max));
    let height = (names.len() as f64 * ROW_HEIGHT).min(HEAT_HEIGHT);
    let row_height = height / names.len().max(1) as f64;
    // Counts spread over orders of magnitude: rare slow ones must be seen.
    let step = |value: f64| {
        let share = if heat.greatest.is_some() { value / greatest } else { value.ln_1p() / greatest.ln_1p() };
        (share * STEPS).ceil().clamp(0.0, STEPS) as u32
    };
    let mut body = String::new();
    // Neighbours of one colour are one rectangle.
    let mut open: Option<(f64, f64, usize, u32)> = None;
    let mut draw = |cell: (f64, f64, usize, u32)| {
        let (begin, end, row, step) = cell;
        let (x, y) = (axis.x(begin), TOP + row as f64 * row_height);
        body += &format!(
            "<rect class=\"h{step}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (axis.x(end) - x).max(0.5),
            row_height
        );
    };
    let mut sorted = cells;
    sorted.sort_by(|a, b| a.2.cmp(&b.2).then(a.0.total_cmp(&b.0)));
    for (begin, end, row, value) in sorted {
        let step = step(value);
        match &mut open {
            Some(last) if last.2 == row && last.3 == step && (last.1 - begin).abs() < 1e-6 => last.1 = end,
            _ => {
                if let Some(last) = open.replace((begin, end, row, step)) {
                    draw(last);
                }
            }
        }
    }
    if let Some(last) = open {
        draw(last);
    }
    // As many names as there is room for.
    let every = (14.0 / row_height).ceil().max(1.0) as usize;
    for (row, name) in names.iter().enumerate().step_by(every) {
        let y = TOP + (row as f64 + 0.5) * row_height + 4.0;
        body +=
            &format!("<text class=\"beside\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>", LEFT - 6.0, escaped(name));
    }
    let what = match heat.greatest {
        Some(greatest) => format!("0 to {}", text::quantity(greatest, heat.unit)),
        None => format!("1 to {} in a cell, logarithmic", text::count(greatest)),
    };
    let keys: String = (1..=STEPS as u32).map(|step| format!("<i class=\"k h{step}\"></i>")).collect();
    axis.svg(height, marks, &body)
        + &format!("<p class=\"legend\"><span>{keys} {}</span></p>", escaped(&what))
}

/// Round numbers from `from` on, the last one at `to` or the first beyond it; about `count`.
pub(super) fn ticks(from: f64, to: f64, count: usize) -> Vec<f64> {
    let rough = (to - from) / count as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return vec![from];
    }
    let magnitude = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|round| round * magnitude).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let steps = ((to - from) / step - 1e-9).ceil().max(1.0) as usize;
    (0..=steps).map(|n| from + n as f64 * step).collect()
}

/// What would otherwise be taken for markup.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(ticks(0.0, 100.0, 4), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(0.0, 87.0, 4), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(0.0, 0.0, 4), [0.0]);
        assert!(ticks(0.0, f64::INFINITY, 4).len() == 1);
    }

    #[test]
    fn lines_lie_where_their_values_are() {
        let lines = vec![Line { name: "a<b".into(), points: vec![(0.0, 0.0), (10.0, 100.0)] }];
        let marks =
            [Mark { second: 5.0, text: "phase \"x\"".into() }, Mark { second: 99.0, text: "later".into() }];
        let svg = Chart::Lines { title: String::new(), unit: "%", lines }.to_svg(10.0, &marks);
        assert!(svg.contains("points=\"84.0,188.0 948.0,8.0\""), "{svg}");
        assert!(
            svg.contains("a&lt;b") && svg.contains("phase &quot;x&quot;") && !svg.contains("later"),
            "{svg}"
        );
    }

    #[test]
    fn neighbours_of_one_colour_are_one_rectangle() {
        let cells = vec![(0.0, 1.0, 50.0), (1.0, 2.0, 50.0), (2.0, 3.0, 100.0)];
        let rows = HeatRows::Named(vec![("core 0".into(), cells)]);
        let heat = Heat { rows, greatest: Some(100.0), unit: "%" };
        let svg = Chart::Heat { title: String::new(), heat }.to_svg(3.0, &[]);
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert!(svg.contains("class=\"h5\"") && svg.contains("class=\"h9\""), "{svg}");
    }
}
