//! How conditions on a fleet are written.
//!
//! ```text
//! condition := "hosts" count comparison number [ "%" ]
//!            | aggregate "across" [ "reporting" ] "hosts" "of" threshold
//! count     := "passed" | "failed" | "aborted" | "unready" | "lost"
//! aggregate := "min" | "max" | "mean" | "sum" | "p1" … "p99"
//! threshold := of one host, as a scenario has it; its statistic may also follow a space
//! ```

use std::ops::Range;

use ssts_proto::{
    thresholds::{self, COMPARISONS, STATISTICS, Wrong},
    v1::ThresholdComparison,
    validate::{self, Violations},
};

use super::{Aggregate, COUNTS, FleetThreshold, Subject, figure};
use crate::scenario::keys::did_you_mean;

/// Bytes of one.
const MAX_BYTES: usize = 256;
const AGGREGATES: [(&str, Aggregate); 4] =
    [("min", Aggregate::Min), ("max", Aggregate::Max), ("mean", Aggregate::Mean), ("sum", Aggregate::Sum)];
/// What can be written.
const MEND: &str = "write 'p95 across hosts of host.temperature.max < 85' or 'hosts failed <= 1%'";

impl FleetThreshold {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, and which part.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        if text.len() > MAX_BYTES {
            let message = format!("a text of {} bytes", text.len());
            return Err(Wrong { part: 0..text.len(), message, mend: format!("use at most {MAX_BYTES}") });
        }
        let mut words = Words { text, at: 0 };
        let (part, first) = words.next();
        let subject = match first {
            "" => return Err(wrong(0..text.len(), "a condition on nothing", MEND)),
            "hosts" => counted(&mut words)?,
            _ => across(first, &part, &mut words)?,
        };
        Ok(Self { that: text.trim().to_owned(), subject })
    }
}

/// Words with their places.
struct Words<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Words<'t> {
    /// The next one; at the end an empty one. A comparison is a word of its own.
    fn next(&mut self) -> (Range<usize>, &'t str) {
        let rest = &self.text[self.at..];
        let begin = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[begin..];
        let is_sign = |c: char| matches!(c, '<' | '>' | '=' | '!');
        let end = match rest.find(|c: char| !is_sign(c)) {
            Some(0) => rest.find(|c: char| c.is_whitespace() || is_sign(c)),
            end => end,
        };
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at = begin + word.len();
        (begin..self.at, word)
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }
}

fn wrong(part: Range<usize>, message: impl Into<String>, mend: impl Into<String>) -> Wrong {
    Wrong { part, message: message.into(), mend: mend.into() }
}

/// After `hosts`.
fn counted(words: &mut Words<'_>) -> Result<Subject, Wrong> {
    let names = COUNTS.map(|(name, _)| name);
    let (part, word) = words.next();
    let which = COUNTS.iter().find(|(name, _)| *name == word).map(|(_, which)| *which).ok_or_else(|| {
        let hint = did_you_mean(word, names);
        let shown: String = word.chars().take(40).collect();
        wrong(part, format!("hosts do not come to '{shown}'"), format!("{hint}use {}", names.join(", ")))
    })?;
    let (part, sign) = words.next();
    let comparison: ThresholdComparison =
        COMPARISONS.iter().find(|(known, _)| *known == sign).map(|(_, comparison)| *comparison).ok_or_else(
            || {
                let shown: String = sign.chars().take(40).collect();
                wrong(part, format!("'{shown}' compares nothing"), "use <, <=, >, >=, == or !=")
            },
        )?;
    let rest = words.rest();
    let begin = words.at + (rest.len() - rest.trim_start().len());
    let number = rest.trim();
    let (digits, is_share) = match number.strip_suffix('%') {
        Some(digits) => (digits.trim_end(), true),
        None => (number, false),
    };
    let value = digits.parse::<f64>().ok().filter(|value| {
        value.is_finite() && *value >= 0.0 && if is_share { *value <= 100.0 } else { value.fract() == 0.0 }
    });
    let value = value.ok_or_else(|| {
        let shown: String = number.chars().take(40).collect();
        let mend = "write how many, such as 2, or percent of those that were tried, such as 1%";
        wrong(begin..begin + number.len(), format!("'{shown}' is no number of hosts"), mend)
    })?;
    Ok(Subject::Hosts { which, comparison, value, is_share })
}

/// After an aggregate.
fn across(first: &str, part: &Range<usize>, words: &mut Words<'_>) -> Result<Subject, Wrong> {
    let aggregate = aggregate(first, part)?;
    let mut only_reporting = false;
    for expected in ["across", "hosts", "of"] {
        let (mut part, mut word) = words.next();
        if expected == "hosts" && word == "reporting" {
            only_reporting = true;
            (part, word) = words.next();
        }
        if word != expected {
            let shown: String = word.chars().take(40).collect();
            let found = if shown.is_empty() { "it ends".to_owned() } else { format!("'{shown}' stands") };
            return Err(wrong(part, format!("{found} where '{expected}' belongs"), MEND));
        }
    }
    let begin = words.at;
    let of = thresholds::parse(&joined(words.rest()))
        .map_err(|found| Wrong { part: begin + found.part.start..begin + found.part.end, ..found })?;
    let whole = begin..words.text.len();
    if of.comparison() == ThresholdComparison::Within {
        let mend = "write a comparison and a value: < 85";
        return Err(wrong(whole, "a fleet's threshold is compared with a value", mend));
    }
    if let Some(metric) = thresholds::metric(&of.metric)
        && !figure::is_told(metric, of.statistic())
    {
        let name = STATISTICS.iter().find(|(_, known)| *known == of.statistic());
        let name = name.map_or("such statistic", |(name, _)| name);
        let message = format!("a host's result has no {name} of {}", metric.name);
        return Err(wrong(whole, message, "use p50, p95, p99, max, min or mean"));
    }
    let mut found = Violations::default();
    validate::any_threshold("", &of, &mut found);
    match found.into_vec().into_iter().next() {
        Some(violation) => Err(wrong(whole, violation.message, violation.mend)),
        None => Ok(Subject::Across { aggregate, only_reporting, of: Box::new(of) }),
    }
}

fn aggregate(word: &str, part: &Range<usize>) -> Result<Aggregate, Wrong> {
    if let Some((_, aggregate)) = AGGREGATES.iter().find(|(name, _)| *name == word) {
        return Ok(*aggregate);
    }
    let percent = word.strip_prefix('p').and_then(|digits| digits.parse::<u8>().ok());
    if let Some(percent) = percent.filter(|percent| (1..=99).contains(percent)) {
        return Ok(Aggregate::Percentile(percent));
    }
    let shown: String = word.chars().take(40).collect();
    let hint = did_you_mean(word, ["hosts", "min", "max", "mean", "sum", "p50", "p95", "p99"]);
    let mend = format!("{hint}begin with hosts, or with min, max, mean, sum or a percentile such as p95");
    Err(wrong(part.clone(), format!("'{shown}' is nothing that hosts come to"), mend))
}

/// With a point before the statistic, where a space stands: of the same length, so that places stay what they are.
fn joined(text: &str) -> String {
    let at = text.find(['<', '>', '=', '!']).unwrap_or(text.len());
    let subject = text[..at].trim_end();
    let Some((before, last)) = subject.rsplit_once(' ') else { return text.to_owned() };
    let is_statistic = STATISTICS.iter().any(|(name, _)| *name == last);
    let is_after_name = before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if is_statistic && is_after_name {
        format!("{before}.{last}{}", &text[subject.len()..])
    } else {
        text.to_owned()
    }
}
