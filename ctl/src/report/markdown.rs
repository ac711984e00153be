//! A document as Markdown.

use super::document::{Align, Block, Document, Table};

/// The document for a wiki, a ticket or a file.
pub(crate) fn to_markdown(document: &Document) -> String {
    let mut out = String::new();
    for block in &document.blocks {
        match block {
            Block::Title(text, _) => out += &format!("# {}\n\n", escaped(text)),
            Block::Heading(text) => out += &format!("## {}\n\n", escaped(text)),
            Block::Facts(facts) => {
                for (name, value) in facts {
                    out += &format!("- {}: {}\n", escaped(name), escaped(value));
                }
                out.push('\n');
            }
            Block::Table(table) => write_table(&mut out, table),
            Block::Line(text) => out += &format!("{}\n\n", escaped(text)),
        }
    }
    out
}

fn write_table(out: &mut String, table: &Table) {
    let mut line = |cells: Vec<String>| *out += &format!("| {} |\n", cells.join(" | "));
    line(table.columns.iter().map(|(name, _)| escaped(name)).collect());
    let rule = |align: Align| if align == Align::Right { "---:" } else { "---" };
    line(table.columns.iter().map(|(_, align)| rule(*align).to_owned()).collect());
    for row in &table.rows {
        line(row.iter().map(|cell| escaped(cell)).collect());
    }
    out.push('\n');
}

/// What would otherwise be taken for markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '#') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::document::Tone, *};

    #[test]
    fn tables_and_facts_become_markdown() {
        let mut table = Table::new(&[("name", Align::Left), ("p50", Align::Right)]);
        table.row(["a|b".into(), "1 ms".into()]);
        let mut document = Document::default();
        document.title("Run", Tone::Good);
        document.fact("seed", "7");
        document.section("Latency", table);
        assert_eq!(
            to_markdown(&document),
            "# Run\n\n- seed: 7\n\n## Latency\n\n| name | p50 |\n| --- | ---: |\n| a\\|b | 1 ms |\n\n"
        );
    }
}
