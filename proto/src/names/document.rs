//! Makes the tables of `docs/metrics.md`, between the marks that name them.

use std::{env, fmt::Write as _, fs, path::Path};

use super::{
    FamilyKind, Merge, agent,
    family::{Family, NOT_EXPOSED},
    measurement::MEASUREMENTS,
    opentelemetry::{Attribute, OPENTELEMETRY},
};
use crate::catalogue::ALL;

fn labels(family: &Family) -> String {
    family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
}

fn kind(family: &Family) -> &'static str {
    match family.kind {
        FamilyKind::Gauge => "gauge",
        FamilyKind::Counter => "counter",
        FamilyKind::Histogram => "histogram",
        FamilyKind::Info => "info",
    }
}

fn series() -> String {
    let mut text = String::from(
        "| series | kind | labels | of the catalogue | what it is |\n| --- | --- | --- | --- | --- |\n",
    );
    for metric in ALL {
        let Some(family) = Family::of(metric) else { continue };
        let merged = match family.merge {
            Merge::None => "",
            Merge::Sum => " Summed over burners and workers.",
            Merge::Least => " The least of all burners.",
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | `{}` | {}{merged} |",
            family.sample_name(),
            kind(&family),
            labels(&family),
            metric.name,
            family.help
        );
    }
    text
}

fn own() -> String {
    let mut text = String::from("| series | kind | labels | what it is |\n| --- | --- | --- | --- |\n");
    for family in agent::ALL {
        let (name, kind, labels) = (family.sample_name(), kind(family), labels(family));
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {} |", family.help);
    }
    text
}

fn not_exposed() -> String {
    let names: Vec<_> = NOT_EXPOSED.iter().map(|metric| format!("`{}`", metric.name)).collect();
    names.join(", ") + "\n"
}

fn opentelemetry() -> String {
    let mut text =
        String::from("| OpenTelemetry | attributes | here | of the catalogue |\n| --- | --- | --- | --- |\n");
    for same in OPENTELEMETRY {
        let attributes: Vec<_> = same
            .attributes
            .iter()
            .map(|(name, value)| match value {
                Attribute::Is(value) => format!("`{name}` = {value}"),
                Attribute::Label(label) => format!("`{name}`: label `{label}`"),
            })
            .collect();
        let here = Family::of(same.metric).map(|family| family.sample_name()).unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{}` | {} | `{here}` | `{}` |",
            same.name,
            attributes.join("; "),
            same.metric.name
        );
    }
    text
}

fn measurements() -> String {
    let mut text = String::from("| measurement | field | query |\n| --- | --- | --- |\n");
    for measurement in MEASUREMENTS {
        for field in measurement.fields {
            let _ = writeln!(text, "| `{}` | `{}` | `{}` |", measurement.name, field.name, field.query);
        }
    }
    text
}

/// The text with what stands between a table's marks replaced.
fn replaced(text: &str, table: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- begin: {table} -->\n"), format!("<!-- end: {table} -->"));
    let (head, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{begin} is missing"));
    let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("{end} is missing"));
    format!("{head}{begin}{content}{end}{tail}")
}

#[test]
fn the_tables_of_the_document_are_those_of_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let committed = fs::read_to_string(&path).unwrap();
    let mut text = committed.clone();
    for (table, content) in [
        ("series", series()),
        ("own", own()),
        ("not exposed", not_exposed()),
        ("opentelemetry", opentelemetry()),
        ("measurements", measurements()),
    ] {
        text = replaced(&text, table, &content);
    }
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
        return;
    }
    assert!(
        text == committed,
        "docs/metrics.md is stale: UPDATE_DOCS=1 cargo test -p ssts-proto names, and commit it"
    );
}
