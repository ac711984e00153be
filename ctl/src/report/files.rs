//! `report.html`, `report.md` and `report.json` in a folder of the user's choice. Each is there whole or not at all.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use ssts_proto::v1::Run;

use super::{run_document, to_markdown};
use crate::{
    error::{Exit, Failure},
    json::ResultOut,
};

/// Makes the folder and sees that files can be made in it, before anything is started.
pub(crate) fn prepare_folder(folder: &Path) -> Result<(), Failure> {
    let try_out = || {
        fs::create_dir_all(folder)?;
        let probe = folder.join(temporary("probe"));
        fs::File::create(&probe)?;
        fs::remove_file(&probe)
    };
    try_out().map_err(|error| {
        Failure::usage(
            format!("--report: can't write into {}: {error}", folder.display()),
            "name a folder that you may write to",
        )
    })
}

/// Writes the files and returns their paths. `page` is what goes into `report.html`.
pub(crate) fn write_files(run: &Run, page: String, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let json = serde_json::to_string_pretty(&ResultOut::from(run))
        .map_err(|error| Failure::new(Exit::Internal, format!("can't write JSON: {error}"), ""))?;
    let files = [
        ("report.html", page),
        ("report.md", to_markdown(&run_document(run, &[]))),
        ("report.json", json + "\n"),
    ];
    let mut written = Vec::new();
    for (name, content) in files {
        let path = folder.join(name);
        replace(folder, name, content.as_bytes()).map_err(|error| {
            Failure::new(
                Exit::Internal,
                format!("can't write {}: {error}", path.display()),
                "make room or name another folder, then use `sstsctl report RUN`",
            )
        })?;
        written.push(path);
    }
    Ok(written)
}

/// Writes a file that is there whole or not at all.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    replace(folder, &name.to_string_lossy(), content)
}

/// Writes beside the place, then renames into it.
fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = folder.join(temporary(name));
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(name))
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

fn temporary(name: &str) -> String {
    format!(".{name}.{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_written_and_nothing_else_is_left() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        prepare_folder(&folder).unwrap();
        write_files(&Run::default(), String::new(), &folder).unwrap();
        let paths = write_files(&Run::default(), String::new(), &folder).unwrap();
        assert_eq!(paths, ["report.html", "report.md", "report.json"].map(|name| folder.join(name)));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_refused_before_the_run() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(prepare_folder(&file.join("below")).unwrap_err().exit, Exit::Usage);
        assert_eq!(prepare_folder(&file).unwrap_err().exit, Exit::Usage);
    }
}
