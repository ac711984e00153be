//! A document as plain text in columns, in colour where that is wanted.

use std::iter::repeat_n;

use super::document::{Align, Block, Document, Table, Tone};

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";

/// The document for a terminal.
pub(crate) fn to_terminal(document: &Document, in_color: bool) -> String {
    let mut out = String::new();
    for block in &document.blocks {
        match block {
            Block::Title(text, tone) => out += &format!("{}\n", painted(text, code(*tone), in_color)),
            Block::Heading(text) => out += &format!("\n{}\n", painted(text, BOLD, in_color)),
            Block::Facts(facts) => {
                let width = facts.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
                for (name, value) in facts {
                    out += &format!("  {}  {value}\n", padded(name, width, Align::Left));
                }
            }
            Block::Table(table) => write_table(&mut out, table),
            Block::Line(text) => out += &format!("  {text}\n"),
        }
    }
    out
}

fn write_table(out: &mut String, table: &Table) {
    let widths: Vec<_> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            table.rows.iter().map(|row| width(&row[index])).chain([width(name)]).max().unwrap_or(0)
        })
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).zip(&table.columns);
        let line: Vec<_> = cells.map(|((cell, width), (_, align))| padded(cell, *width, *align)).collect();
        *out += &format!("  {}\n", line.join("  ").trim_end());
    };
    line(&mut table.columns.iter().map(|(name, _)| name.as_str()));
    for row in &table.rows {
        line(&mut row.iter().map(String::as_str));
    }
}

fn padded(text: &str, to: usize, align: Align) -> String {
    let space: String = repeat_n(' ', to.saturating_sub(width(text))).collect();
    match align {
        Align::Left => format!("{text}{space}"),
        Align::Right => format!("{space}{text}"),
    }
}

/// In characters: what we write has one column for each.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn painted(text: &str, code: &str, in_color: bool) -> String {
    if in_color && !code.is_empty() { format!("{code}{text}{RESET}") } else { text.to_owned() }
}

fn code(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => BOLD,
        Tone::Good => "\x1b[1;32m",
        Tone::Bad => "\x1b[1;31m",
        Tone::Caution => "\x1b[1;33m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let mut table = Table::new(&[("name", Align::Left), ("none", Align::Left), ("time", Align::Right)]);
        table.row(["µ".into(), String::new(), "1 µs".into()]);
        table.row(["longer".into(), String::new(), "10 ms".into()]);
        let mut document = Document::default();
        document.title("Title", Tone::Good);
        document.section("Times", table);
        assert_eq!(
            to_terminal(&document, false),
            "Title\n\nTimes\n  name     time\n  µ        1 µs\n  longer  10 ms\n"
        );
        assert!(to_terminal(&document, true).starts_with("\x1b[1;32mTitle\x1b[0m\n"));
    }

    #[test]
    fn what_comes_from_a_host_cannot_command_the_terminal() {
        let mut document = Document::default();
        document.fact("model", "\x1b]0;owned\x07disk\nnext");
        assert_eq!(to_terminal(&document, true), "  model  \u{fffd}]0;owned\u{fffd}disk next\n");
    }
}
