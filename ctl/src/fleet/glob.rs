//! Texts with `*` and `?` for others, and ranges.

use std::collections::HashSet;

use super::{MAX_HOSTS, pattern::Pattern};
use crate::error::Problem;

/// Matches any of some texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    exact: HashSet<String>,
    wild: Vec<String>,
}

impl Glob {
    /// `*` stands for any characters, `?` for one, `[01-16]` for each number.
    ///
    /// # Errors
    /// A range is none, or absurd.
    pub(crate) fn any<T: AsRef<str>>(texts: &[T]) -> Result<Self, Problem> {
        let (mut exact, mut wild) = (HashSet::new(), Vec::new());
        for text in texts {
            let pattern = Pattern::parse(text.as_ref()).map_err(|bad| bad.problem)?;
            if pattern.count() > MAX_HOSTS {
                let message = format!("{} stands for more than {MAX_HOSTS} texts", text.as_ref());
                return Err(Problem::new(message, "use a smaller range, or *"));
            }
            for meant in pattern.all() {
                if meant.text.contains(['*', '?']) {
                    wild.push(meant.text);
                } else {
                    exact.insert(meant.text);
                }
            }
        }
        Ok(Self { exact, wild })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.exact.contains(text) || self.wild.iter().any(|wild| fits(wild, text))
    }
}

/// A `*` first stands for nothing, and for one character more each time that what follows does not fit.
fn fits(wild: &str, text: &str) -> bool {
    let (wild, text): (Vec<char>, Vec<char>) = (wild.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the latest star is, and what it stands for up to.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match wild.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((starred, upto)) = star else { return false };
                star = Some((starred, upto + 1));
                at = starred + 1;
                seen = upto + 1;
            }
        }
    }
    wild[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_questions_for_one_character() {
        for (wild, text, fits) in [
            ("db*", "db1", true),
            ("db*", "db", true),
            ("*db", "web", false),
            ("*b*b", "abab", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("n?", "n1", true),
            ("n?", "n", false),
            ("n?", "n12", false),
            ("*", "", true),
            ("ö?*", "öäx", true),
        ] {
            assert_eq!(Glob::any(&[wild]).unwrap().matches(text), fits, "{wild} {text}");
        }
    }

    #[test]
    fn a_range_stands_for_each_of_its_numbers() {
        let glob = Glob::any(&["n[08-10]", "web*"]).unwrap();
        let matched: Vec<_> = ["n08", "n10", "n11", "n8", "web7"].map(|text| glob.matches(text)).into();
        assert_eq!(matched, [true, true, false, false, true]);
        assert!(Glob::any(&["n[1-10001]"]).unwrap_err().message.contains("10000"));
    }
}
