//! The odd ones for people, and for spreadsheets.

use super::{Basis, Evidence, OddOnes, Part, Question, Ranked, Subject};
use crate::{
    error::{Exit, Failure},
    report::{Align, Document, Table, Tone},
    text,
};

/// Of one host or part.
const EVIDENCE_SHOWN: usize = 3;
/// Of those that are not sure to be odd.
const NEXT_SHOWN: usize = 5;

impl Subject {
    /// `web-3`, `web-3 disk sda`.
    pub(crate) fn words(&self) -> String {
        match self.part {
            Part::Host => self.host.clone(),
            part => format!("{} {} {}", self.host, part.name(), self.name),
        }
    }
}

impl Ranked {
    /// `99.8 %`; nothing where it can't be told.
    pub(crate) fn confidence_words(&self) -> String {
        match self.confidence() {
            None => String::new(),
            // Not surer than can be written.
            Some(sure) if sure > 0.9999 => "> 99.99 %".to_owned(),
            Some(sure) => format!("{} %", text::trimmed((sure * 1e4).floor() / 100.0, 2)),
        }
    }
}

/// All of it; with `all` also those that are not sure to be odd.
pub(crate) fn odd_document(odd: &OddOnes, all: bool) -> Document {
    let mut document = Document::default();
    let (title, tone) = title(odd);
    document.title(&title, tone);
    body(odd, all, &mut document);
    document
}

/// A part of a fleet run's report.
pub(crate) fn odd_section(odd: &OddOnes, document: &mut Document) {
    document.heading("The odd ones out");
    document.line(&title(odd).0);
    if !odd.ranked.is_empty() {
        body(odd, false, document);
    }
}

fn title(odd: &OddOnes) -> (String, Tone) {
    let hosts = match odd.hosts {
        1 => "1 host".to_owned(),
        hosts => format!("{hosts} hosts"),
    };
    match odd.odd().count() {
        _ if !odd.tells_something() => ("nothing can be told: there are too few peers".into(), Tone::Caution),
        0 => (format!("none is odd, of {hosts} and their parts"), Tone::Good),
        1 => (format!("1 is odd, of {hosts} and their parts"), Tone::Bad),
        count => (format!("{count} are odd, of {hosts} and their parts"), Tone::Bad),
    }
}

fn body(odd: &OddOnes, all: bool, document: &mut Document) {
    let OddOnes { settings, compared, few_peers, no_spread, without, .. } = odd;
    document.fact("judged by", "distance from the peers' median in their robust standard deviations");
    document.fact("peers", "same model, same phase, same burner; four or more");
    document
        .fact("let be", format!("differences of less than {} %", text::trimmed(settings.change * 100.0, 2)));
    document.fact(
        "odd",
        format!(
            "surer than {} %, corrected for all {compared} values",
            text::trimmed(settings.sure * 100.0, 2)
        ),
    );
    if *few_peers > 0 {
        document.fact("not judged", format!("{few_peers} values with fewer than four peers"));
    }
    if *no_spread > 0 {
        let what = format!("{no_spread} values that are worse than their peers', which are all alike");
        document.fact("how sure is not known", what);
    }
    document.fact("without a result", without.join(", "));
    let sure = odd.odd().count();
    document.section("Odd", table(odd.odd()));
    let (weighed, unweighed): (Vec<_>, Vec<_>) =
        odd.ranked[sure..].iter().partition(|ranked| ranked.p_adjusted.is_some());
    let most = if all { usize::MAX } else { NEXT_SHOWN };
    document.section("Worse than their peers, but maybe by chance", table(weighed.into_iter().take(most)));
    document.section(
        "Worse than their peers, and it can't be told how sure",
        table(unweighed.into_iter().take(most)),
    );
}

fn table<'a>(ranked: impl Iterator<Item = &'a Ranked>) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("what", Left),
        ("sure", Right),
        ("figure", Left),
        ("of", Left),
        ("value", Right),
        ("peers' median", Right),
        ("peers' range", Right),
        ("peers", Right),
        ("score", Right),
        ("", Left),
    ]);
    for ranked in ranked {
        for (index, (question, evidence)) in ranked.evidence.iter().take(EVIDENCE_SHOWN).enumerate() {
            let first = |words: String| if index == 0 { words } else { String::new() };
            let quantity = |value: f64| text::quantity(value, &question.unit);
            table.row([
                first(ranked.subject.words()),
                first(ranked.confidence_words()),
                figure_words(question),
                question.of.clone(),
                quantity(evidence.value),
                quantity(evidence.median),
                format!("{} to {}", quantity(evidence.low), quantity(evidence.high)),
                evidence.peers.to_string(),
                evidence.score.map(score_words).unwrap_or_default(),
                basis_words(evidence).to_owned(),
            ]);
        }
    }
    table
}

fn figure_words(question: &Question) -> String {
    match question.statistic.as_str() {
        "value" => question.metric.clone(),
        statistic => format!("{} {statistic}", question.metric),
    }
}

fn score_words(score: f64) -> String {
    if score >= 1_000.0 { "> 1000".into() } else { format!("{score:.1}") }
}

fn basis_words(evidence: &Evidence) -> &'static str {
    match evidence.basis {
        Basis::Spread => "",
        Basis::Counts => "by chance shared out",
        Basis::NoSpread => "the peers are all alike",
        Basis::FewPeers => "fewer than four peers",
    }
}

/// A line for each value that is worse than its peers'.
pub(crate) fn odd_csv(odd: &OddOnes) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Internal, format!("can't write comma-separated values: {error}"), "")
    };
    let head = [
        "host",
        "part",
        "name",
        "odd",
        "p_adjusted",
        "metric",
        "statistic",
        "of",
        "unit",
        "value",
        "peers",
        "median",
        "low",
        "high",
        "score",
        "p",
        "basis",
    ];
    writer.write_record(head).map_err(|error| failed(&error))?;
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    for ranked in &odd.ranked {
        let Subject { host, part, name } = &ranked.subject;
        for (question, evidence) in &ranked.evidence {
            let record = [
                host.clone(),
                part.name().to_owned(),
                name.clone(),
                ranked.is_odd.to_string(),
                number(ranked.p_adjusted),
                question.metric.clone(),
                question.statistic.clone(),
                question.of.clone(),
                question.unit.clone(),
                evidence.value.to_string(),
                evidence.peers.to_string(),
                evidence.median.to_string(),
                evidence.low.to_string(),
                evidence.high.to_string(),
                number(evidence.score),
                number(evidence.p),
                evidence.basis.name().to_owned(),
            ];
            writer.write_record(&record).map_err(|error| failed(&error))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}
