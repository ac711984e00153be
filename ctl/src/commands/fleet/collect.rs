//! `collect`: what hosts remember of their runs, into the history. Each host's run is kept for itself, under `RUN@HOST`: a run of a
//! fleet has one id on all of them. Doing it twice is doing it once.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use ssts_proto::v1::{ListRunsRequest, ReadRecordRequest, Run, RunState};
use tonic::Code;

use super::{Session, exit, json, print, title};
use crate::{
    cli::CollectFlags,
    commands::{history::place, report},
    connect::{Client, Fallback, cannot_reach},
    error::{Exit, Failure, Problem},
    fleet::{Answer, Fleet, Member, each},
    json::CollectedHostOut,
    report::{Align, Document, Table},
    status,
    store::{Access, Document as Kept, KnownRuns, NewRun, Place, Store, on_host},
};

/// Hosts that are fetched from at once: results and records are large.
const AT_ONCE: usize = 16;
/// As many as an agent remembers.
const MOST_RUNS: u32 = 1_000;

/// What came from a host, before it is kept.
#[derive(Debug, Default)]
struct Fetched {
    finished: usize,
    going_on: usize,
    new: Vec<Run>,
    records: Vec<PathBuf>,
    kept: Vec<String>,
}

/// What is to be fetched.
#[derive(Debug, Clone)]
struct Wish {
    run: Option<String>,
    records: Option<PathBuf>,
    /// What the history has.
    known: Arc<KnownRuns>,
    /// Of a fleet, where each host's run is kept for itself.
    by_host: bool,
}

/// `collect [RUN]` of a fleet.
pub(super) async fn collect(
    fleet: &Fleet,
    flags: &CollectFlags,
    session: &mut Session,
) -> Result<Exit, Failure> {
    of(fleet, true, flags, session).await
}

/// `collect [RUN]` of one host.
pub(super) async fn of_one(flags: &CollectFlags, session: &mut Session) -> Result<Exit, Failure> {
    let agent = session.agent(Fallback::Refuse).await?;
    of(&Fleet::of_hosts(std::slice::from_ref(&agent.host)), false, flags, session).await
}

async fn of(
    fleet: &Fleet,
    by_host: bool,
    flags: &CollectFlags,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let place = place(session.global.store.as_ref())?;
    if place == Place::Nowhere && flags.records.is_none() {
        return Err(Failure::usage(
            "there is no history to collect into: the store is 'none'",
            "name one with --store PATH, or a folder for records with --records DIR",
        ));
    }
    let known = match place {
        Place::Nowhere => KnownRuns::default(),
        _ => Store::open(&place, Access::Read).await?.known_runs().await?,
    };
    let wish = Wish { run: flags.run.clone(), records: flags.records.clone(), known: known.into(), by_host };
    let mut answers = fetch_all(fleet, &wish, session).await?;
    if let Some(run) = &flags.run {
        let is_nowhere = |fetched: &Fetched| fetched.finished + fetched.going_on == 0;
        if answers.iter().all(|answer| answer.result.as_ref().is_ok_and(is_nowhere)) {
            let message = format!("none of the {} hosts remembers a run '{run}'", answers.len());
            return Err(Failure::usage(
                message,
                "`sstsctl collect` without it fetches all that they remember",
            ));
        }
    }
    if place != Place::Nowhere {
        keep(&place, &mut answers, by_host, &flags.tags).await?;
    }
    show(&answers, session)?;
    Ok(exit(&answers))
}

async fn fetch_all(
    fleet: &Fleet,
    wish: &Wish,
    session: &mut Session,
) -> Result<Vec<Answer<Fetched>>, Failure> {
    let Session { global, interrupts, .. } = session;
    let asked = each(
        &fleet.members,
        AT_ONCE,
        |member: Member| {
            let (pki, wish) = (global.pki.clone(), wish.clone());
            async move {
                let dialled = member.line(pki.as_ref())?.dial().await;
                let client = dialled.map_err(|error| cannot_reach(&member.host, &error))?;
                fetch(&member, client, &wish).await
            }
        },
        |_| (),
    );
    tokio::select! {
        answers = asked => Ok(answers),
        () = interrupts.next() => Err(Failure::interrupted()),
    }
}

async fn fetch(member: &Member, mut client: Client, wish: &Wish) -> Result<Fetched, Failure> {
    let listed = client.list_runs(ListRunsRequest { limit: Some(MOST_RUNS) }).await;
    let listed = listed.map_err(|refusal| status::failure(&refusal))?.into_inner().runs;
    let mut fetched = Fetched::default();
    for summary in listed {
        if wish.run.as_ref().is_some_and(|wanted| *wanted != summary.run_id) {
            continue;
        }
        if summary.state() != RunState::Finished {
            fetched.going_on += 1;
            continue;
        }
        fetched.finished += 1;
        let id = summary.run_id;
        let kept_as = if wish.by_host { on_host(&id, &member.file_name()) } else { id.clone() };
        if !wish.known.has(&kept_as) {
            let run = report::fetch(&mut client, &id).await?;
            // Whoever ran it on this host alone may have kept it.
            if !wish.known.has_of_host(&run) {
                fetched.new.push(run);
            }
        }
        if let Some(folder) = &wish.records
            && let Some(file) = record(&mut client, &id, &folder.join(member.file_name())).await?
        {
            fetched.records.push(file);
        }
    }
    Ok(fetched)
}

/// Writes what was kept of a run's telemetry into a folder, from where an earlier attempt broke off. Nothing where there is none, or
/// where it is there already.
async fn record(client: &mut Client, run_id: &str, folder: &Path) -> Result<Option<PathBuf>, Failure> {
    let whole = folder.join(format!("{run_id}.rec"));
    if whole.exists() {
        return Ok(None);
    }
    let part = folder.join(format!("{run_id}.rec.part"));
    let have = fs::metadata(&part).map_or(0, |metadata| metadata.len());
    let request = ReadRecordRequest { run_id: Some(run_id.to_owned()), offset: have, follow: true };
    let mut stream = match client.read_record(request).await {
        Ok(response) => response.into_inner(),
        // It has made room for newer ones.
        Err(refusal) if refusal.code() == Code::NotFound => return Ok(None),
        Err(refusal) => return Err(status::failure(&refusal)),
    };
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Internal,
            format!("can't write {}: {error}", part.display()),
            "make room, or name another folder",
        )
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file: File = OpenOptions::new().create(true).append(true).open(&part).map_err(failed)?;
    while let Some(piece) = stream.message().await.map_err(|refusal| status::failure(&refusal))? {
        file.write_all(&piece.data).map_err(failed)?;
    }
    file.sync_all().and_then(|()| fs::rename(&part, &whole)).map_err(failed)?;
    Ok(Some(whole))
}

/// Keeps what is new. A run that can't be kept is told of its host, and keeps no other from it.
async fn keep(
    place: &Place,
    answers: &mut [Answer<Fetched>],
    by_host: bool,
    tags: &[String],
) -> Result<(), Failure> {
    let mut store = Store::open(place, Access::Write).await?;
    for answer in answers.iter_mut() {
        let Ok(fetched) = &mut answer.result else { continue };
        let mut problems: Vec<Problem> = Vec::new();
        for run in fetched.new.drain(..) {
            let kept = async {
                let document = Kept::of_run(&run)?;
                let document = if by_host { document.on_host(&answer.member.file_name()) } else { document };
                let id = document.run_id.clone();
                store.keep(&NewRun::now(document, tags.to_vec())).await.map(|is_new| is_new.then_some(id))
            };
            match kept.await {
                Ok(id) => fetched.kept.extend(id),
                Err(failure) => problems.extend(failure.problems),
            }
        }
        if !problems.is_empty() {
            answer.result = Err(Failure { exit: Exit::Internal, problems });
        }
    }
    let retention = store.retention().await?;
    store.prune(retention).await?;
    Ok(())
}

fn show(answers: &[Answer<Fetched>], session: &mut Session) -> Result<(), Failure> {
    if session.wants_json() {
        let out = |fetched: &Fetched| CollectedHostOut {
            finished: fetched.finished,
            going_on: fetched.going_on,
            kept: fetched.kept.clone(),
            records: fetched.records.iter().map(|path| path.display().to_string()).collect(),
        };
        return session.output.json(&json(answers, out));
    }
    let mut document = Document::default();
    title(&mut document, answers, "were collected from");
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("finished", Align::Right),
        ("new", Align::Right),
        ("records", Align::Right),
        ("still on", Align::Right),
    ]);
    for answer in answers {
        let name = answer.member.name.clone();
        match &answer.result {
            Ok(fetched) => table.row([
                name,
                fetched.finished.to_string(),
                fetched.kept.len().to_string(),
                fetched.records.len().to_string(),
                fetched.going_on.to_string(),
            ]),
            Err(_) => table.row([name, "?".into()]),
        }
    }
    document.table(table);
    let kept: usize = answers
        .iter()
        .filter_map(|answer| answer.result.as_ref().ok())
        .map(|fetched| fetched.kept.len())
        .sum();
    if kept > 0 {
        document.line("`sstsctl runs` lists them, `sstsctl report RUN@HOST` prints one");
    }
    print(&document, answers, &mut session.output)
}
