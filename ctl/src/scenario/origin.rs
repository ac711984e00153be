//! Where the user wrote each part of a scenario.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use ssts_proto::v1::Violation;

use crate::error::Problem;

/// What the user wrote a part of a scenario with.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Bytes of the file.
    Span(Range<usize>),
    /// A flag of the command line.
    Flag(&'static str),
    /// The command line as a whole.
    Everywhere,
}

/// The places of a scenario's fields, by the contract's names, such as `phases[0].burners[1].path`.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    file_name: String,
    text: String,
    places: BTreeMap<String, Place>,
}

impl Origin {
    pub(super) fn of_file(name: &str, text: &str) -> Self {
        Self { file_name: name.to_owned(), text: text.to_owned(), places: BTreeMap::new() }
    }

    /// Where the paths that the file names begin.
    pub(super) fn folder(&self) -> PathBuf {
        Path::new(&self.file_name).parent().map(Path::to_owned).unwrap_or_default()
    }

    pub(super) fn set(&mut self, field: impl Into<String>, place: Place) {
        self.places.insert(field.into(), place);
    }

    /// A field that is written where another one is.
    pub(super) fn copy(&mut self, from: &str, to: impl Into<String>) {
        if let Some(place) = self.places.get(from) {
            let place = place.clone();
            self.set(to, place);
        }
    }

    /// The violation at the place where the user wrote its cause.
    pub(super) fn problem(&self, violation: &Violation) -> Problem {
        let Violation { field, message, mend, .. } = violation;
        // Agents name fields as the scenario has them, or as the request does.
        match self.find(field.strip_prefix("scenario.").unwrap_or(field)) {
            Some(Place::Flag(flag)) => Problem::new(format!("{flag}: {message}"), mend),
            Some(Place::Span(span)) => self.problem_at(span.clone(), message, mend),
            None if !self.file_name.is_empty() => {
                Problem::new(format!("{}: {message}", self.file_name), mend)
            }
            Some(Place::Everywhere) => Problem::new(message, mend),
            None if field.is_empty() => Problem::new(message, mend),
            None => Problem::new(format!("{field}: {message}"), mend),
        }
    }

    /// A problem with the line it is about, as compilers show it.
    pub(super) fn problem_at(&self, span: Range<usize>, message: &str, mend: &str) -> Problem {
        let Position { line, column, text, width } = self.position(span);
        let gutter = line.to_string();
        let blank = " ".repeat(gutter.len());
        let indent: String =
            text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        Problem::new(
            format!(
                "{}:{line}:{column}: {message}\n {gutter} | {text}\n {blank} | {indent}{}",
                self.file_name,
                "^".repeat(width)
            ),
            mend,
        )
    }

    /// The place of the field, or of what it is a part of.
    fn find(&self, field: &str) -> Option<&Place> {
        let mut field = field;
        loop {
            if let Some(place) = self.places.get(field) {
                return Some(place);
            }
            field = &field[..field.rfind(['.', '['])?];
        }
    }

    fn position(&self, span: Range<usize>) -> Position<'_> {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let end = span.end.clamp(start, line_end);
        let marked = self.text.get(start..end).map_or(1, |marked| marked.chars().count());
        Position {
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            text: self.text[line_start..line_end].trim_end(),
            width: marked.max(1),
        }
    }
}

struct Position<'a> {
    line: usize,
    column: usize,
    text: &'a str,
    width: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(field: &str) -> Violation {
        Violation {
            field: field.into(),
            message: "bad".into(),
            mend: "mend it".into(),
            ..Violation::default()
        }
    }

    #[test]
    fn a_violation_is_shown_at_the_nearest_place_that_is_known() {
        let mut origin = Origin::of_file("a.toml", "x = 1\n\tl\u{f6}ad = 0\n");
        origin.set("phases[0]", Place::Span(0..5));
        origin.set("phases[0].burners[0].load", Place::Span(15..16));
        let problem = origin.problem(&violation("phases[0].burners[0].load.constant.load_percent"));
        assert_eq!(problem.message, "a.toml:2:9: bad\n 2 | \tl\u{f6}ad = 0\n   | \t       ^");
        let problem = origin.problem(&violation("phases[0].burners[3].path"));
        assert!(problem.message.starts_with("a.toml:1:1: bad"), "{}", problem.message);
        assert_eq!(origin.problem(&violation("phases")).message, "a.toml: bad");
    }

    #[test]
    fn any_span_has_a_position() {
        let origin = Origin::of_file("a.toml", "\u{f6}\n\u{f6}");
        for start in 0..8 {
            for end in 0..8 {
                let _ = origin.problem_at(start..end, "bad", "");
            }
        }
        let _ = Origin::of_file("empty", "").problem_at(0..1, "bad", "");
    }
}
