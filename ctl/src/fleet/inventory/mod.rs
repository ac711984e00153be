//! Inventories: TOML or JSON from a file, standard input or a command, or the records of a domain. `docs/fleet.md`
//! describes them for users.

mod address;
mod command;
mod dns;
mod hosts;
mod json;
mod labels;
mod schema;
mod srv;
mod text;

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
};

pub(crate) use self::schema::schema;
use super::{Fleet, Source};
use crate::error::Failure;

/// Far beyond any inventory: what is larger is another kind of file.
const MAX_BYTES: u64 = 16 << 20;

/// What a source lists.
///
/// # Errors
/// It can't be read, or what it lists is wrong: everything that is, with its place.
pub(super) async fn read(source: &Source) -> Result<Fleet, Failure> {
    let name = source.to_string();
    match source {
        Source::File(path) => text::parse(&name, file(path)?),
        Source::StandardInput => text::parse(&name, standard_input().await?),
        Source::Srv { name, server } => srv::hosts(name, *server).await,
        Source::Command(words) => text::parse(&name, command::printed(words).await?),
    }
}

fn file(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        let mend = match error.kind() {
            ErrorKind::NotFound => "give the path of an inventory; docs/fleet.md shows one",
            ErrorKind::PermissionDenied => "make it readable for yourself",
            _ => "give an inventory's TOML or JSON file",
        };
        Failure::usage(format!("can't read the inventory {}: {error}", path.display()), mend)
    };
    let bytes = File::open(path).and_then(all_of).map_err(failed)?;
    as_text(&path.display().to_string(), bytes)
}

async fn standard_input() -> Result<String, Failure> {
    // It may be a terminal, or never end: an interruption is not kept waiting for it.
    let bytes = tokio::task::spawn_blocking(|| all_of(std::io::stdin())).await;
    match bytes {
        Ok(Ok(bytes)) => as_text("standard input", bytes),
        Ok(Err(error)) => Err(Failure::usage(
            format!("can't read the inventory from standard input: {error}"),
            "write it there, as in `list | sstsctl --fleet - info`",
        )),
        Err(error) => {
            Err(Failure::new(crate::error::Exit::Internal, format!("the reader ended: {error}"), ""))
        }
    }
}

/// One byte more than is allowed shows that there are too many, even in a pipe or a device.
fn all_of(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn as_text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("{name} is larger than {} MiB", MAX_BYTES >> 20);
        return Err(Failure::usage(message, "give an inventory of TOML or JSON"));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{name} is not UTF-8 text"), "save it as UTF-8 text"))
}
