//! Where the user wrote each part of a scenario.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use ssts_proto::v1::Violation;

use super::source::{Position, SourceFile, Sources};
use crate::error::Problem;

/// What the user wrote a part of a scenario with.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Of the files' text.
    Span(Range<usize>),
    /// A flag of the command line.
    Flag(&'static str),
    /// The command line as a whole.
    Everywhere,
}

/// Something that stands more than once, with other values each time: all places anew, from a base on.
#[derive(Debug, Clone)]
struct Copy {
    base: usize,
    /// Such as `size is 4KiB`.
    note: String,
}

/// The places of a scenario's fields, by the contract's names, such as `phases[0].burners[1].path`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    sources: Arc<Sources>,
    copies: Vec<Copy>,
    /// The first place that is neither a file's nor a copy's.
    end: usize,
    /// What stands for something else, by where it was written.
    notes: BTreeMap<usize, String>,
    places: BTreeMap<String, Place>,
}

/// Something wrong, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Absent where it is about no place of a file.
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
    pub(crate) mend: String,
}

impl Finding {
    /// With its place in the message, as compilers have it.
    pub(crate) fn problem(self) -> Problem {
        let Self { position, message, mend } = self;
        match position {
            Some(Position { file, line, column, snippet }) => {
                Problem::new(format!("{file}:{line}:{column}: {message}\n{snippet}"), mend)
            }
            None => Problem::new(message, mend),
        }
    }
}

impl Origin {
    #[cfg(test)]
    pub(crate) fn of_file(name: &str, text: &str) -> Self {
        Self::of(Arc::new(Sources::of_file(name, text)))
    }

    pub(crate) fn of(sources: Arc<Sources>) -> Self {
        Self { end: sources.end(), sources, ..Self::default() }
    }

    /// Where the paths that are named at that place begin.
    pub(crate) fn folder(&self, span: &Range<usize>) -> PathBuf {
        let file = self.sources.file_at(self.written(span).start);
        file.map(SourceFile::folder).unwrap_or_default()
    }

    /// Says what a value stands for.
    pub(crate) fn note(&mut self, span: &Range<usize>, note: String) {
        self.notes.insert(span.start, note);
    }

    /// Room for a copy of all places: how far it is from them.
    pub(crate) fn copy(&mut self, note: String) -> usize {
        let base = self.end;
        self.copies.push(Copy { base, note });
        self.end += self.sources.end();
        base
    }

    /// Where the text stands that a place, maybe of a copy, is of.
    fn written(&self, span: &Range<usize>) -> Range<usize> {
        let base = self.copy_at(span.start).map_or(0, |copy| copy.base);
        span.start - base..span.end.max(span.start) - base
    }

    /// Where a part of a string stands that was written as it is; else the whole string.
    pub(crate) fn within(&self, span: &Range<usize>, text: &str, part: &Range<usize>) -> Range<usize> {
        let written = self.written(span);
        let Some(file) = self.sources.file_at(written.start) else { return span.clone() };
        let raw = written
            .start
            .checked_sub(file.base)
            .zip(written.end.checked_sub(file.base))
            .and_then(|(start, end)| file.text.get(start..end));
        match raw.and_then(|raw| raw.find(text)) {
            Some(at) if !text.is_empty() => {
                let begin = span.start + at + part.start;
                begin..(begin + part.len()).max(begin + 1)
            }
            _ => span.clone(),
        }
    }

    fn copy_at(&self, place: usize) -> Option<&Copy> {
        let after = self.copies.partition_point(|copy| copy.base <= place);
        self.copies.get(after.checked_sub(1)?)
    }

    pub(crate) fn set(&mut self, field: impl Into<String>, place: Place) {
        self.places.insert(field.into(), place);
    }

    /// A field that is written where another one is.
    pub(crate) fn copy_place(&mut self, from: &str, to: impl Into<String>) {
        if let Some(place) = self.places.get(from) {
            let place = place.clone();
            self.set(to, place);
        }
    }

    /// The violation at the place where the user wrote its cause.
    pub(crate) fn problem(&self, violation: &Violation) -> Problem {
        self.finding(violation).problem()
    }

    /// The same, with its place apart.
    pub(crate) fn finding(&self, violation: &Violation) -> Finding {
        let Violation { field, message, mend, .. } = violation;
        let plain = |message: String| Finding { position: None, message, mend: mend.clone() };
        let file_name = self.sources.files.first().map(|file| &file.name);
        // Agents name fields as the scenario has them, or as the request does.
        match (self.find(field.strip_prefix("scenario.").unwrap_or(field)), file_name) {
            (Some(Place::Flag(flag)), _) => plain(format!("{flag}: {message}")),
            (Some(Place::Span(span)), _) => self.finding_at(span, message, mend),
            (None, Some(file_name)) => plain(format!("{file_name}: {message}")),
            (Some(Place::Everywhere), _) => plain(message.clone()),
            (None, None) if field.is_empty() => plain(message.clone()),
            (None, None) => plain(format!("{field}: {message}")),
        }
    }

    /// Something wrong with what stands at a span.
    pub(crate) fn finding_at(&self, span: &Range<usize>, message: &str, mend: &str) -> Finding {
        let written = self.written(span);
        let stands_for = self.notes.get(&span.start).into_iter();
        let notes: Vec<&str> =
            stands_for.chain(self.copy_at(span.start).map(|copy| &copy.note)).map(String::as_str).collect();
        let message =
            if notes.is_empty() { message.to_owned() } else { format!("{message} ({})", notes.join(", ")) };
        Finding { position: self.sources.position(&written), message, mend: mend.to_owned() }
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

    /// The places where the fields were written, in the order of the files; what has none comes last.
    pub(crate) fn sorted(&self, found: Vec<Found>) -> Vec<Found> {
        let mut keyed: Vec<_> = found
            .into_iter()
            .map(|found| {
                let place = found.span.as_ref().map_or(usize::MAX, |span| self.written(span).start);
                (place, found)
            })
            .collect();
        keyed.sort_by_key(|(place, _)| *place);
        let mut told = HashSet::new();
        keyed.retain(|(place, found)| told.insert((*place, found.message.clone())));
        keyed.into_iter().map(|(_, found)| found).collect()
    }

    /// With its place, as it is told.
    pub(crate) fn told(&self, found: &Found) -> Finding {
        match &found.span {
            Some(span) => self.finding_at(span, &found.message, &found.mend),
            None => Finding { position: None, message: found.message.clone(), mend: found.mend.clone() },
        }
    }
}

/// Something wrong, before it is told: a file may have more of it than anybody reads.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) span: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) mend: String,
}

impl Origin {
    /// The place of a violation's cause, as it is collected.
    pub(crate) fn found(&self, violation: &Violation) -> Found {
        let Violation { field, message, mend, .. } = violation;
        if let Some(Place::Span(span)) = self.find(field) {
            let span = Some(span.clone());
            return Found { span, message: message.clone(), mend: mend.clone() };
        }
        let Finding { message, mend, .. } = self.finding(violation);
        Found { span: None, message, mend }
    }
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
    fn a_copy_is_told_where_it_was_written_and_with_its_values() {
        let mut origin = Origin::of_file("a.toml", "x = 1\ny = 2\n");
        let by = origin.copy("size is 4KiB".into());
        let by_again = origin.copy("size is 8KiB".into());
        for (by, note) in [(by, "4KiB"), (by_again, "8KiB")] {
            let finding = origin.finding_at(&(10 + by..11 + by), "bad", "");
            let position = finding.position.unwrap();
            assert_eq!((position.line, position.column), (2, 5));
            assert!(finding.message.contains(note), "{}", finding.message);
        }
    }
}
