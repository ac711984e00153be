//! The page itself.

use super::{
    observed::Observed,
    plot::{Chart, escaped},
};
use crate::report::{Align, Block, Document, Table, Tone};

const STYLE: &str = include_str!("page.css");

/// One page with the document and, where a record is there, plots of what was observed. It loads nothing from anywhere.
pub(crate) fn to_html(
    document: &Document,
    observed: Option<&Observed>,
    host: &Document,
    scenario: &str,
) -> String {
    let mut out = head(document);
    let mut blocks = document.blocks().peekable();
    // What it came to first, then the plots, then the rest.
    while let Some(block) = blocks.next_if(|block| !matches!(block, Block::Heading(_))) {
        write_block(&mut out, block);
    }
    if let Some(observed) = observed {
        write_plots(&mut out, observed);
    }
    blocks.for_each(|block| write_block(&mut out, block));
    out.push_str("<h2>What the host is</h2>\n");
    host.blocks()
        .filter(|block| !matches!(block, Block::Title(..)))
        .for_each(|block| write_block(&mut out, block));
    if !scenario.is_empty() {
        out += &format!("<h2>Scenario as carried out</h2>\n<pre>{}</pre>\n", escaped(scenario));
    }
    out + "</body></html>\n"
}

/// One page with the document, and plots of it: a heading and the element itself of each.
pub(crate) fn to_plotted_html(document: &Document, plots: &[(String, String)]) -> String {
    let mut out = head(document);
    let mut blocks = document.blocks().peekable();
    while let Some(block) = blocks.next_if(|block| !matches!(block, Block::Heading(_))) {
        write_block(&mut out, block);
    }
    for (title, plot) in plots {
        out += &format!("<section><h2>{}</h2>{plot}</section>\n", escaped(title));
    }
    blocks.for_each(|block| write_block(&mut out, block));
    out + "</body></html>\n"
}

/// All that stands before the document.
fn head(document: &Document) -> String {
    let title = document.blocks().find_map(|block| match block {
        Block::Title(text, _) => Some(escaped(text)),
        _ => None,
    });
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{}</title><style>{STYLE}</style></head><body>\n",
        title.unwrap_or_default()
    )
}

fn write_plots(out: &mut String, observed: &Observed) {
    let (marks, end_s) = (observed.marks(), observed.end_s());
    if observed.lost_frames() > 0 {
        *out += &format!(
            "<p class=\"caution\">{} frames of the record were lost; the plots have gaps there.</p>\n",
            observed.lost_frames()
        );
    }
    for chart in observed.charts() {
        *out += &format!(
            "<section><h2>{}</h2>{}</section>\n",
            escaped(Chart::title(&chart)),
            chart.to_svg(end_s, &marks)
        );
    }
    if !marks.is_empty() {
        out.push_str("<section><h2>Marks</h2><ol class=\"marks\">");
        for mark in &marks {
            *out += &format!("<li><b>{:.3} s</b> {}</li>", mark.second, escaped(&mark.text));
        }
        out.push_str("</ol></section>\n");
    }
}

fn write_block(out: &mut String, block: &Block) {
    *out += &match block {
        Block::Title(text, tone) => {
            let tone = match tone {
                Tone::Plain => "plain",
                Tone::Good => "good",
                Tone::Bad => "bad",
                Tone::Caution => "caution",
            };
            format!("<h1 class=\"{tone}\">{}</h1>\n", escaped(text))
        }
        Block::Heading(text) => format!("<h2>{}</h2>\n", escaped(text)),
        Block::Facts(facts) => {
            let rows: String = facts
                .iter()
                .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value)))
                .collect();
            format!("<dl>{rows}</dl>\n")
        }
        Block::Table(table) => table_html(table) + "\n",
        Block::Line(text) => format!("<p>{}</p>\n", escaped(text)),
    };
}

fn table_html(table: &Table) -> String {
    let columns = table.columns();
    let cell = |tag: &str, index: usize, text: &str| {
        let class = if columns[index].1 == Align::Right { " class=\"r\"" } else { "" };
        format!("<{tag}{class}>{}</{tag}>", escaped(text))
    };
    let head: String = columns.iter().enumerate().map(|(index, (name, _))| cell("th", index, name)).collect();
    let rows: String = table
        .rows()
        .map(|row| {
            let cells: String = row.iter().enumerate().map(|(index, text)| cell("td", index, text)).collect();
            format!("<tr>{cells}</tr>")
        })
        .collect();
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_text_and_never_markup() {
        let mut document = Document::default();
        document.title("<script>alert(1)</script>", Tone::Bad);
        document.fact("host", "a & b");
        let mut table = Table::new(&[("n", Align::Right)]);
        table.row(["\"><img src=x>".into()]);
        document.section("<h1>", table);
        let html = to_html(&document, Some(&Observed::default()), &document, "<b>");
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>"), "{html}");
        assert!(html.contains("a &amp; b") && html.contains("class=\"r\""), "{html}");
    }

    #[test]
    fn the_page_loads_nothing() {
        let html = to_html(&Document::default(), None, &Document::default(), "");
        for loads in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!html.contains(loads), "{loads}");
        }
    }
}
