//! One run of the history.

use super::{Session, open, result_line, whole_seconds};
use crate::{
    error::{Exit, Failure},
    json::{self, KeptRunOut},
    report::{Align, Document, Table, Tone, to_terminal},
    store::{Access, FigureQuery, KeptFigure, KeptRun, RunFilter},
    text,
};

pub(super) async fn show(reference: &str, session: &mut Session) -> Result<Exit, Failure> {
    let mut store = open(session, Access::Read).await?;
    let run = store.find(reference).await?;
    let result = store.result(&run).await?;
    if session.wants_json() {
        let result = serde_json::from_str(&result).map_err(|error| {
            Failure::new(Exit::Internal, format!("the kept result is no JSON: {error}"), "")
        })?;
        return session.output.json(&KeptRunOut { run: (&run).into(), result }).map(|()| Exit::Pass);
    }
    let figures =
        store.figures(&FigureQuery { runs: RunFilter::run(&run.run_id), ..FigureQuery::default() }).await?;
    let document = kept_document(&run, &figures);
    session.output.result(&to_terminal(&document, session.output.in_color())).map(|()| Exit::Pass)
}

/// What the history has of a run, for people.
pub(in crate::commands) fn kept_document(run: &KeptRun, figures: &[KeptFigure]) -> Document {
    let mut document = Document::default();
    let tone = match run.verdict.as_str() {
        "pass" => Tone::Good,
        "aborted" => Tone::Caution,
        _ => Tone::Bad,
    };
    document.title(&format!("{} {}", run.scenario, result_line(run)), tone);
    document.fact("run", &run.run_id);
    for host in &run.hosts {
        let of_agent = host.agent_version.as_ref().map(|version| format!("sstsd {version}"));
        let about: Vec<_> = host.kernel_release.clone().into_iter().chain(of_agent).collect();
        document.fact("host", format!("{} ({})", host.host, about.join(", ")));
    }
    document.fact("started", json::rfc3339(run.started_at_ns));
    document.fact("duration", text::duration(run.duration_ns.unsigned_abs() / 1_000_000));
    document.fact("seed", run.seed.to_string());
    document.fact("afterwards", run.receipt.as_deref().unwrap_or_default());
    document.fact("tags", run.tags.join(", "));
    document.fact("baseline", run.baselines.join(", "));
    document.fact("kept", format!("{} by sstsctl {}", whole_seconds(run.kept_at_ns), run.client_version));
    document.fact("takes", format!("{} of the store", text::bytes(run.bytes as f64)));
    let of_burners: Vec<_> =
        figures.iter().filter(|kept| kept.figure.metric.starts_with("result.")).collect();
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("burner", Align::Left),
        ("figure", Align::Left),
        ("statistic", Align::Left),
        ("value", Align::Right),
    ]);
    for kept in &of_burners {
        let figure = &kept.figure;
        let label = |name: &str| figure.labels.get(name).map(String::as_str).unwrap_or_default();
        let burner = format!("{} {}", label("phase"), label("kind"));
        let name =
            figure.metric.trim_start_matches("result.").trim_start_matches("figure.").replace('_', " ");
        table.row([
            if run.hosts.len() > 1 { figure.host.to_string() } else { String::new() },
            burner.trim().to_owned(),
            format!("{name} {}", label("operation")).trim().to_owned(),
            if &*figure.statistic == "value" { String::new() } else { figure.statistic.to_string() },
            text::quantity(figure.value, &figure.unit),
        ]);
    }
    document.section("Figures of the burners", table);
    let others = figures.len() - of_burners.len();
    document.line(&format!("{others} figures of the host, and all else, are in the JSON: --output json"));
    document
}
