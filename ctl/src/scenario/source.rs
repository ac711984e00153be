//! The text that a scenario was read from: one file, or several that include each other. Every place in any of them is one
//! number, so that a value carries where it was written wherever it is moved to.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

/// Characters of a line that a snippet shows at most.
const MAX_SNIPPET: usize = 160;
/// Characters that a long line shows before what is marked.
const BEFORE_MARK: usize = 40;

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// As the user would call it.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Where it begins among all places.
    pub(crate) base: usize,
    /// Offsets at which its lines begin.
    lines: Vec<usize>,
    /// The files that it includes, by the place where each is named.
    pub(crate) included: BTreeMap<usize, usize>,
}

impl SourceFile {
    pub(crate) fn new(name: &str, text: String, base: usize) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { name: name.to_owned(), text, base, lines, included: BTreeMap::new() }
    }

    /// Where the paths that it names begin.
    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(&self.name).parent().map(Path::to_owned).unwrap_or_default()
    }

    /// The first place after it.
    pub(crate) fn end(&self) -> usize {
        self.base + self.text.len() + 1
    }
}

/// All files, the one that was asked for first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) files: Vec<SourceFile>,
}

/// A place as people have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// The line, or the part of a long one, and below it what is marked.
    pub(crate) snippet: String,
}

impl Sources {
    #[cfg(test)]
    pub(crate) fn of_file(name: &str, text: &str) -> Self {
        Self { files: vec![SourceFile::new(name, text.to_owned(), 0)] }
    }

    /// The first place that no file has.
    pub(crate) fn end(&self) -> usize {
        self.files.last().map_or(0, SourceFile::end)
    }

    /// The file that a place is in.
    pub(crate) fn file_at(&self, place: usize) -> Option<&SourceFile> {
        let after = self.files.partition_point(|file| file.base <= place);
        self.files.get(after.checked_sub(1)?)
    }

    /// A span as compilers show it.
    pub(crate) fn position(&self, span: &Range<usize>) -> Option<Position> {
        let file = self.file_at(span.start)?;
        let text = file.text.as_str();
        let mut start = (span.start - file.base).min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line = file.lines.partition_point(|begin| *begin <= start);
        let line_start = file.lines[line - 1];
        let line_end = file.lines.get(line).map_or(text.len(), |next| next - 1).max(start);
        let end = span.end.saturating_sub(file.base).clamp(start, line_end);
        let width = text.get(start..end).map_or(1, |marked| marked.chars().count()).max(1);
        let column = text[line_start..start].chars().count() + 1;
        let shown = text[line_start..line_end].trim_end();
        Some(Position { file: file.name.clone(), line, column, snippet: snippet(line, column, shown, width) })
    }
}

fn snippet(line: usize, column: usize, text: &str, width: usize) -> String {
    let length = text.chars().count();
    let cut = if length > MAX_SNIPPET { (column - 1).saturating_sub(BEFORE_MARK) } else { 0 };
    let (before, after) = (if cut > 0 { "…" } else { "" }, if length > cut + MAX_SNIPPET { "…" } else { "" });
    let shown: String = text.chars().skip(cut).take(MAX_SNIPPET).collect();
    let indent: String = before
        .chars()
        .chain(shown.chars().take(column - 1 - cut))
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let marks = "^".repeat(width.min(MAX_SNIPPET.saturating_sub(column - 1 - cut)).max(1));
    let gutter = line.to_string();
    let blank = " ".repeat(gutter.len());
    format!(" {gutter} | {before}{shown}{after}\n {blank} | {indent}{marks}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_span_has_a_position() {
        let sources = Sources::of_file("a.toml", "\u{f6}\n\u{f6}");
        for start in 0..8 {
            for end in 0..8 {
                assert!(sources.position(&(start..end)).is_some());
            }
        }
        let empty = Sources::of_file("empty", "").position(&(0..1)).unwrap();
        assert_eq!((empty.line, empty.column), (1, 1));
    }

    #[test]
    fn a_place_is_in_the_file_that_it_was_written_in() {
        let mut sources = Sources::of_file("a.toml", "x = 1\ny = 2");
        let base = sources.end();
        sources.files.push(SourceFile::new("sub/b.toml", "z = 3".into(), base));
        assert_eq!(sources.position(&(6..7)).unwrap().line, 2);
        let there = sources.position(&(base + 4..base + 5)).unwrap();
        assert_eq!((there.file.as_str(), there.line, there.column), ("sub/b.toml", 1, 5));
        assert_eq!(sources.files[1].folder(), Path::new("sub"));
    }

    #[test]
    fn a_long_line_is_cut_around_what_is_marked() {
        let text = format!("{}load = 0{}", "x".repeat(1_000), "y".repeat(1_000));
        let position = Sources::of_file("a.toml", &text).position(&(1_007..1_008)).unwrap();
        assert_eq!(position.column, 1_008);
        assert!(
            position.snippet.len() < 500 && position.snippet.contains("load = 0"),
            "{}",
            position.snippet
        );
        let [shown, marks] = position.snippet.lines().collect::<Vec<_>>()[..] else { panic!() };
        let at = |line: &str, c: char| line.chars().position(|of| of == c);
        assert_eq!(
            at(shown, '0').unwrap() - at(shown, '|').unwrap(),
            at(marks, '^').unwrap() - at(marks, '|').unwrap()
        );
    }
}
