//! What came of a fleet run: printed, kept in the history, and written into a folder, host by host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use ssts_proto::v1::Run;

use super::Session;
use crate::{
    commands::{history, report},
    error::{Exit, Failure, Problem},
    fleet::{HostOutcome, Member, worst},
    json::FleetResultOut,
    output::Format,
    page::{escaped, to_plotted_html},
    report::{fleet_document, prepare_folder, replace_file, to_markdown, to_terminal, write_files},
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
    pub(super) tags: &'a [String],
    pub(super) report: Option<&'a Path>,
}

impl Told<'_> {
    pub(super) async fn tell(&self, session: &mut Session) -> Result<(), Failure> {
        let printed = self.print(session);
        let runs = distinctly_named(self.outcomes);
        let Session { global, output, .. } = &mut *session;
        history::keep_all(&runs, self.tags, global.store.as_ref(), output).await;
        printed?;
        if let Some(folder) = self.report {
            self.write(folder, session).await?;
        }
        Ok(())
    }

    fn print(&self, session: &mut Session) -> Result<(), Failure> {
        let output = &mut session.output;
        match session.global.output {
            Format::Json => output.json(&self.json()),
            Format::Text => {
                let text = to_terminal(&fleet_document(self.run_id, self.outcomes), output.in_color());
                output.result(&text)?;
                let mut mends = BTreeSet::new();
                for outcome in self.outcomes {
                    for Problem { message, mend } in outcome.failure.iter().flat_map(|failure| &failure.problems) {
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

    fn json(&self) -> FleetResultOut {
        FleetResultOut::new(self.run_id, self.outcomes, worst(self.outcomes))
    }

    /// An index, and a folder for each host.
    async fn write(&self, folder: &Path, session: &mut Session) -> Result<(), Failure> {
        let document = fleet_document(self.run_id, self.outcomes);
        let json = serde_json::to_string_pretty(&self.json())
            .map_err(|error| Failure::new(Exit::Internal, format!("can't write JSON: {error}"), ""))?;
        let names = file_names(self.outcomes.iter().map(|outcome| outcome.member.name.as_str()));
        let index = to_plotted_html(&document, &[("Pages".to_owned(), links(self.outcomes, &names))]);
        let files =
            [("index.html", index), ("index.md", to_markdown(&document)), ("report.json", json + "\n")];
        for (name, content) in files {
            let path = folder.join(name);
            replace_file(&path, content.as_bytes()).map_err(|error| unwritable(&path, &error))?;
        }
        for (outcome, name) in self.outcomes.iter().zip(&names) {
            let Some(run) = outcome.ended() else { continue };
            let folder = folder.join(PAGES).join(name);
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

/// Plain names for folders, each once.
fn file_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let plain = |name: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        // Neither hidden nor a folder above.
        plain.trim_matches(|c| matches!(c, '.' | '_')).to_owned()
    };
    let mut unique = |(index, name): (usize, &str)| {
        let plain = plain(name);
        let name = if plain.is_empty() || !seen.insert(plain.clone()) { format!("{plain}-{index}") } else { plain };
        seen.insert(name.clone());
        name
    };
    names.enumerate().map(&mut unique).collect()
}

/// The index leads to each host's page.
fn links(outcomes: &[HostOutcome], names: &[String]) -> String {
    let mut links = String::from("<ul>");
    for (outcome, name) in outcomes.iter().zip(names).filter(|(outcome, _)| outcome.ended().is_some()) {
        let host = escaped(&outcome.member.name);
        links += &format!("<li><a href=\"{PAGES}/{name}/report.html\">{host}</a></li>");
    }
    links + "</ul>"
}

/// The runs that are over. Hosts that call themselves alike are told apart by their names in the fleet.
fn distinctly_named(outcomes: &[HostOutcome]) -> Vec<Run> {
    let hostname = |run: &Run| run.host.as_ref().map(|host| host.hostname.clone()).unwrap_or_default();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for run in outcomes.iter().filter_map(HostOutcome::ended) {
        *count.entry(hostname(run)).or_default() += 1;
    }
    let named = |outcome: &HostOutcome| {
        let mut run = outcome.ended()?.clone();
        if count.get(&hostname(&run)).is_some_and(|count| *count > 1) {
            run.host.get_or_insert_default().hostname.clone_from(&outcome.member.name);
        }
        Some(run)
    };
    outcomes.iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_get_plain_folders_of_their_own() {
        let names = ["node1", "unix:/run/a.sock", "https://[::1]:70", "..", "node1", "a/../b"];
        let folders = file_names(names.into_iter());
        assert_eq!(folders[..3], ["node1", "unix__run_a.sock", "https_____1__70"]);
        assert_eq!(folders.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(folders.iter().all(|name| !name.starts_with('.') && !name.contains('/')), "{folders:?}");
    }
}
