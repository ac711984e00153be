//! Texts that stand for many: `r[1-4]-node[01-16]`.

use std::ops::Range;

use crate::error::Problem;

const MEND: &str = "a range is written as [1-128], [001-128] or [1,3,5-7]";

/// A text with ranges in it, or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Numbers(Vec<Numbers>),
}

/// Numbers in a row, padded with zeros to a width.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Numbers {
    first: u64,
    last: u64,
    width: usize,
}

/// One of the texts that a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) text: String,
    /// What each of its ranges stands at.
    pub(crate) numbers: Vec<String>,
}

/// What is wrong with a pattern, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadPattern {
    pub(crate) at: Range<usize>,
    pub(crate) problem: Problem,
}

impl Pattern {
    /// Brackets that hold a colon are an address of IPv6, and no range.
    ///
    /// # Errors
    /// A range is none.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPattern> {
        let bad = |at: Range<usize>, message: &str| BadPattern { at, problem: Problem::new(message, MEND) };
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(open) = text[at..].find(['[', ']']).map(|found| at + found) {
            plain.push_str(&text[at..open]);
            if text[open..].starts_with(']') {
                return Err(bad(open..open + 1, "a bracket that was not opened"));
            }
            let Some(close) = text[open..].find(']').map(|found| open + found) else {
                return Err(bad(open..text.len(), "a bracket that is not closed"));
            };
            let inner = &text[open + 1..close];
            if inner.contains(':') {
                plain.push_str(&text[open..=close]);
            } else {
                let numbers = inner.split(',').map(Numbers::parse).collect::<Result<_, _>>();
                let numbers = numbers.map_err(|problem| BadPattern { at: open..close + 1, problem })?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Numbers(numbers));
            }
            at = close + 1;
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// How many texts it stands for.
    pub(crate) fn count(&self) -> u64 {
        self.parts.iter().fold(1, |count: u64, part| count.saturating_mul(part.count()))
    }

    /// Whether there is a range in it.
    pub(crate) fn has_ranges(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Numbers(_)))
    }

    /// All of them, the last range running fastest. Whoever asks has looked at the count.
    pub(crate) fn all(&self) -> Vec<Meant> {
        let mut all = vec![Meant { text: String::new(), numbers: Vec::new() }];
        for part in &self.parts {
            match part {
                Part::Text(text) => all.iter_mut().for_each(|meant| meant.text.push_str(text)),
                Part::Numbers(ranges) => {
                    let with = |meant: &Meant, number: String| {
                        let mut meant = meant.clone();
                        meant.text.push_str(&number);
                        meant.numbers.push(number);
                        meant
                    };
                    let each = |meant: &Meant| {
                        let numbers = ranges.iter().flat_map(Numbers::all);
                        numbers.map(|number| with(meant, number)).collect::<Vec<_>>()
                    };
                    all = all.iter().flat_map(each).collect();
                }
            }
        }
        all
    }
}

impl Part {
    fn count(&self) -> u64 {
        match self {
            Self::Text(_) => 1,
            Self::Numbers(ranges) => {
                ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.count()))
            }
        }
    }
}

impl Numbers {
    fn parse(text: &str) -> Result<Self, Problem> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.trim(), last.trim());
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = is_number.then(|| text.parse::<u64>().ok()).flatten();
            number.ok_or_else(|| Problem::new(format!("'{text}' is no number of a range"), MEND))
        };
        let numbers = Self { first: number(first)?, last: number(last)?, width: first.len() };
        if numbers.last < numbers.first {
            let mend = format!("write it as [{last}-{first}]");
            return Err(Problem::new(format!("a range from {first} down to {last}"), mend));
        }
        let is_padded = |text: &str| text.len() > 1 && text.starts_with('0');
        if (is_padded(first) || is_padded(last)) && first.len() != last.len() {
            let message = format!("{first} and {last} are padded to different widths");
            return Err(Problem::new(message, "write both with as many digits, such as [001-128]"));
        }
        Ok(numbers)
    }

    fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    fn all(&self) -> impl Iterator<Item = String> {
        let width = self.width;
        (self.first..=self.last).map(move |number| format!("{number:0width$}"))
    }
}

/// A text with the placeholders `{name}`, `{1}`, `{2}` … filled in.
///
/// # Errors
/// There is no such thing.
pub(crate) fn filled(text: &str, meant: &Meant) -> Result<String, Problem> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (key, after) = after.split_once('}').ok_or_else(|| {
            Problem::new("a brace that is not closed", "write {name}, or {1} for the first range")
        })?;
        let index = key.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match (key, index.and_then(|index| meant.numbers.get(index))) {
            ("name", _) => filled.push_str(&meant.text),
            (_, Some(number)) => filled.push_str(number),
            (_, None) => {
                let mend = match meant.numbers.len() {
                    0 => "use {name}; the name has no range".to_owned(),
                    1 => "use {name}, or {1} for what its range stands at".to_owned(),
                    count => format!("use {{name}}, or {{1}} to {{{count}}} for what its ranges stand at"),
                };
                return Err(Problem::new(format!("nothing is called {{{key}}} here"), mend));
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pattern: &str) -> Vec<String> {
        Pattern::parse(pattern).unwrap().all().into_iter().map(|meant| meant.text).collect()
    }

    #[test]
    fn a_pattern_stands_for_every_text_of_its_ranges() {
        assert_eq!(texts("db1.example.org"), ["db1.example.org"]);
        assert_eq!(texts("n[08-11]"), ["n08", "n09", "n10", "n11"]);
        assert_eq!(texts("n[1,3,5-7]x"), ["n1x", "n3x", "n5x", "n6x", "n7x"]);
        assert_eq!(texts("r[1-2]n[9-10]"), ["r1n9", "r1n10", "r2n9", "r2n10"]);
        assert_eq!(
            texts("https://[fe80::1]:70[01-02]"),
            ["https://[fe80::1]:7001", "https://[fe80::1]:7002"]
        );
        assert_eq!(Pattern::parse("node[001-128]").unwrap().count(), 128);
        assert!(!Pattern::parse("[::1]").unwrap().has_ranges());
    }

    #[test]
    fn an_absurd_range_is_counted_and_not_written_out() {
        let pattern = Pattern::parse("n[0-18446744073709551615][0-18446744073709551615]").unwrap();
        assert_eq!(pattern.count(), u64::MAX);
    }

    #[test]
    fn what_is_no_range_is_told_at_its_place() {
        for (text, at, words) in [
            ("n[1-", 1..4, "not closed"),
            ("n1]", 2..3, "not opened"),
            ("n[]", 1..3, "'' is no number"),
            ("n[a-c]", 1..6, "'a' is no number"),
            ("n[3-1]", 1..6, "3 down to 1"),
            ("n[01-128]", 1..9, "different widths"),
            ("n[1-2,,4]", 1..9, "'' is no number"),
            ("n[99999999999999999999]", 1..23, "is no number"),
        ] {
            let bad = Pattern::parse(text).expect_err(text);
            assert_eq!(bad.at, at, "{text}");
            assert!(bad.problem.message.contains(words), "{text}: {}", bad.problem.message);
        }
    }

    #[test]
    fn placeholders_stand_for_the_name_and_its_numbers() {
        let meant = Pattern::parse("r[7]n[03]").unwrap().all().remove(0);
        assert_eq!(
            filled("https://{name}.rack{1}.example.org:7{2}", &meant).unwrap(),
            "https://r7n03.rack7.example.org:703"
        );
        for (text, mend) in
            [("{3}", "{1} to {2}"), ("{rack}", "{name}"), ("{0}", "{name}"), ("{name", "{name}")]
        {
            let problem = filled(text, &meant).expect_err(text);
            assert!(problem.mend.contains(mend), "{text}: {}", problem.mend);
        }
    }
}
