//! What came of a fleet run: printed, kept in the history, and written into a folder, host by host.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use ssts_proto::v1::Run;

use super::Session;
use crate::{
    commands::{history, report},
    error::{Exit, Failure, Problem},
    fleet::{Course, HostOutcome, Member, OddOnes, OddSettings, odd_ones_of, odd_section, worst},
    json::FleetResultOut,
    output::Format,
    page::{escaped, to_plotted_html},
    report::{
        Document, fleet_document, fleet_thresholds_table, prepare_folder, replace_file, to_markdown,
        to_terminal, waves_table, write_files,
    },
    stats::LEAST_PEERS,
    text::printable,
};

/// Mends that are told, each once.
const MOST_MENDS: usize = 5;
const PAGES: &str = "hosts";

/// What is told of a fleet run.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) run_id: &'a str,
    pub(super) outcomes: &'a [HostOutcome],
    /// Of whoever ran it: how it came over the fleet.
    pub(super) course: Option<&'a Course>,
    pub(super) tags: &'a [String],
    pub(super) report: Option<&'a Path>,
}

impl Told<'_> {
    pub(super) async fn tell(&self, session: &mut Session) -> Result<(), Failure> {
        let odd = self.odd()?;
        let printed = self.print(odd.as_ref(), session);
        let runs: Vec<_> = self
            .outcomes
            .iter()
            .filter_map(|outcome| Some((Some(outcome.member.file_name()), outcome.ended()?)))
            .collect();
        let Session { global, output, .. } = &mut *session;
        history::keep_all(&runs, self.tags, global.store.as_ref(), output).await;
        printed?;
        if let Some(folder) = self.report {
            self.write(folder, odd.as_ref(), session).await?;
        }
        Ok(())
    }

    /// Who lags behind the others. Nothing where there are too few of them.
    fn odd(&self) -> Result<Option<OddOnes>, Failure> {
        if self.outcomes.iter().filter(|outcome| outcome.ended().is_some()).count() <= LEAST_PEERS {
            return Ok(None);
        }
        let odd = odd_ones_of(self.outcomes, OddSettings::default())?;
        Ok(Some(odd).filter(OddOnes::tells_something))
    }

    fn document(&self, odd: Option<&OddOnes>) -> Document {
        let mut document = fleet_document(self.run_id, self.outcomes);
        if let Some(course) = self.course {
            document.section("Waves", waves_table(course));
            document.section("Thresholds of the fleet", fleet_thresholds_table(&course.thresholds));
        }
        if let Some(odd) = odd {
            odd_section(odd, &mut document);
        }
        document
    }

    fn print(&self, odd: Option<&OddOnes>, session: &mut Session) -> Result<(), Failure> {
        let output = &mut session.output;
        match session.global.output {
            Format::Json => output.json(&self.json(odd)),
            Format::Text => {
                let text = to_terminal(&self.document(odd), output.in_color());
                output.result(&text)?;
                let mut mends = BTreeSet::new();
                for outcome in self.outcomes {
                    for Problem { message, mend } in
                        outcome.failure.iter().flat_map(|failure| &failure.problems)
                    {
                        let line = format!("error: {}: {message}", outcome.member.name);
                        output.message(&printable(&line));
                        mends.insert(mend.as_str());
                    }
                }
                for mend in mends.into_iter().filter(|mend| !mend.is_empty()).take(MOST_MENDS) {
                    output.message(&printable(&format!("mend: {mend}")));
                }
                Ok(())
            }
        }
    }

    fn json(&self, odd: Option<&OddOnes>) -> FleetResultOut {
        let result = match self.course {
            Some(course) => {
                FleetResultOut::new(self.run_id, self.outcomes, course.exit()).with_course(course)
            }
            None => FleetResultOut::new(self.run_id, self.outcomes, worst(self.outcomes)),
        };
        result.with_odd(odd)
    }

    /// An index, and a folder for each host.
    async fn write(
        &self,
        folder: &Path,
        odd: Option<&OddOnes>,
        session: &mut Session,
    ) -> Result<(), Failure> {
        let document = self.document(odd);
        let json = serde_json::to_string_pretty(&self.json(odd))
            .map_err(|error| Failure::new(Exit::Internal, format!("can't write JSON: {error}"), ""))?;
        let index = to_plotted_html(&document, &[("Pages".to_owned(), links(self.outcomes))]);
        let files =
            [("index.html", index), ("index.md", to_markdown(&document)), ("report.json", json + "\n")];
        for (name, content) in files {
            let path = folder.join(name);
            replace_file(&path, content.as_bytes()).map_err(|error| unwritable(&path, &error))?;
        }
        for outcome in self.outcomes {
            let Some(run) = outcome.ended() else { continue };
            let folder = folder.join(PAGES).join(outcome.member.file_name());
            prepare_folder(&folder)?;
            let pki = session.global.pki.clone();
            let page = tokio::select! {
                page = page(&outcome.member, run, pki.as_ref()) => page?,
                () = session.interrupts.next() => return Err(Failure::interrupted()),
            };
            write_files(run, page, &folder)?;
        }
        session.output.message(&format!("wrote {}", folder.join("index.html").display()));
        Ok(())
    }
}

/// With plots where the host still has its telemetry.
async fn page(member: &Member, run: &Run, pki: Option<&PathBuf>) -> Result<String, Failure> {
    if let Ok(line) = member.line(pki)
        && let Ok(mut client) = line.dial().await
        && let Ok(page) = report::page(Some(&mut client), run).await
    {
        return Ok(page);
    }
    report::page(None, run).await
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Internal,
        format!("can't write {}: {error}", path.display()),
        "make room or name another folder, then use `sstsctl report RUN`",
    )
}

/// The index leads to each host's page.
fn links(outcomes: &[HostOutcome]) -> String {
    let mut links = String::from("<ul>");
    for member in outcomes.iter().filter(|outcome| outcome.ended().is_some()).map(|outcome| &outcome.member) {
        let (host, name) = (escaped(&member.name), member.file_name());
        links += &format!("<li><a href=\"{PAGES}/{name}/report.html\">{host}</a></li>");
    }
    links + "</ul>"
}
