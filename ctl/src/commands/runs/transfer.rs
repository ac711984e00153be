//! Runs into a file and out of one.

use std::{
    fs::File,
    io::{IsTerminal as _, Read as _, stdin, stdout},
    path::Path,
};

use super::{Session, open};
use crate::{
    cli::Which,
    error::{Exit, Failure},
    json::TransferredOut,
    report::replace_file,
    store::{Access, Imported},
    text,
};

pub(super) async fn export(file: &Path, which: &Which, session: &mut Session) -> Result<Exit, Failure> {
    let mut store = open(session, Access::Read).await?;
    if file == Path::new("-") {
        if session.wants_json() {
            return Err(Failure::usage(
                "two results for standard output",
                "name a file, or leave --output json out",
            ));
        }
        if stdout().is_terminal() {
            return Err(Failure::usage(
                "an export is nothing for a terminal",
                "name a file, or send it into one",
            ));
        }
        let mut bytes = Vec::new();
        store.export(&which.filter(), &mut bytes).await?;
        return session.output.bytes(&bytes).map(|()| Exit::Pass);
    }
    let mut bytes = Vec::new();
    let runs = store.export(&which.filter(), &mut bytes).await?;
    replace_file(file, &bytes).map_err(|error| {
        Failure::new(
            Exit::Internal,
            format!("can't write {}: {error}", file.display()),
            "make room, or name a file that you may write",
        )
    })?;
    let plural = if runs == 1 { "" } else { "s" };
    let told = format!("{runs} run{plural} in {}, {}", file.display(), text::bytes(bytes.len() as f64));
    tell_transferred(TransferredOut { file: file.display().to_string(), runs, added: None }, &told, session)
}

pub(super) async fn import(file: &Path, session: &mut Session) -> Result<Exit, Failure> {
    let is_stdin = file == Path::new("-");
    let mut bytes = Vec::new();
    let read = if is_stdin {
        stdin().lock().read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Failure::usage(
            format!("can't read {}: {error}", file.display()),
            "name a file that `sstsctl runs export` wrote",
        )
    })?;
    let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
    let mut store = open(session, Access::Write).await?;
    let Imported { runs, added } = store.import(&name, &bytes).await?;
    let told = format!("{added} of {runs} runs added; the history had the others");
    tell_transferred(TransferredOut { file: name, runs, added: Some(added) }, &told, session)
}

fn tell_transferred(out: TransferredOut, told: &str, session: &mut Session) -> Result<Exit, Failure> {
    if session.wants_json() {
        session.output.json(&out)?;
    } else {
        session.output.result(&format!("{told}\n"))?;
    }
    Ok(Exit::Pass)
}
