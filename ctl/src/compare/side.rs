//! What stands on one side of a comparison: runs of the history or of an agent, results in files.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Key,
    figures::{self, Figures},
};
use crate::{error::Failure, json::rfc3339, stats::Center, store::KeptRun};

/// A result is some hundred KB; of a host with a thousand cores some 50 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// What a side was named by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A run, by its id, the beginning of it, as `latest` or `baseline:NAME`.
    Run(String),
    /// All runs of the history that have this tag.
    Tag(String),
    /// A result in a file, or all that are in a folder.
    Path(PathBuf),
}

impl Item {
    /// Whether a filter changes which runs it means.
    pub(crate) fn is_narrowed(&self) -> bool {
        match self {
            Self::Run(run) => run == "latest",
            Self::Tag(_) => true,
            Self::Path(_) => false,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => f.write_str(run),
            Self::Tag(tag) => write!(f, "tag:{tag}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// One run, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SideRun {
    pub(crate) id: String,
    pub(crate) scenario: String,
    /// Of several, joined by commas.
    pub(crate) host: String,
    pub(crate) kernel: String,
    pub(crate) agent: String,
    /// Empty while it goes on.
    pub(crate) verdict: String,
    /// RFC 3339.
    pub(crate) started_at: String,
    pub(crate) figures: Figures,
    /// Of its phases, where its record was read.
    pub(crate) windows: BTreeMap<Key, (Vec<f64>, Center)>,
}

impl SideRun {
    /// From an object that `--output json` printed for a run; `from` names it in messages.
    pub(crate) fn of_result(result: &Value, from: &str) -> Result<Self, Failure> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let hosts = result["hosts"].as_array().filter(|hosts| !hosts.is_empty());
        let (Some(hosts), true) = (hosts, result["run_id"].is_string()) else {
            return Err(Failure::usage(
                format!("{from} is no result of a run"),
                "use what `sstsctl --output json run …` or `sstsctl --output json report RUN` printed",
            ));
        };
        let all = |key: &str| hosts.iter().map(|host| text(&host[key])).collect::<Vec<_>>().join(", ");
        Ok(Self {
            id: text(&result["run_id"]),
            scenario: text(&result["scenario"]),
            host: all("host"),
            kernel: all("kernel_release"),
            agent: all("agent_version"),
            verdict: text(&result["verdict"]),
            started_at: text(&result["started_at"]),
            figures: figures::of_result(result),
            windows: BTreeMap::new(),
        })
    }

    /// A run of the history, with its figures.
    pub(crate) fn of_history(run: &KeptRun, figures: Figures) -> Self {
        let all = |what: fn(&crate::store::KeptHost) -> &str| {
            run.hosts.iter().map(what).collect::<Vec<_>>().join(", ")
        };
        Self {
            id: run.run_id.clone(),
            scenario: run.scenario.clone(),
            host: all(|host| &host.host),
            kernel: all(|host| host.kernel_release.as_deref().unwrap_or_default()),
            agent: all(|host| host.agent_version.as_deref().unwrap_or_default()),
            verdict: run.verdict.clone(),
            started_at: rfc3339(run.started_at_ns),
            figures,
            windows: BTreeMap::new(),
        }
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        Self::of_result(&read_result(path)?, &path.display().to_string())
    }
}

fn read_result(path: &Path) -> Result<Value, Failure> {
    let unreadable = |error: &dyn fmt::Display| {
        Failure::usage(
            format!("can't read {}: {error}", path.display()),
            "name a file that `sstsctl --output json` wrote",
        )
    };
    let size = fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(&format!("{size} bytes are more than a result has")));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

/// One side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Side {
    /// As it was named.
    pub(crate) name: String,
    pub(crate) runs: Vec<SideRun>,
}

impl Side {
    /// Adds a run; the same one twice would make a comparison surer than it is.
    pub(crate) fn add(&mut self, run: SideRun) -> Result<(), Failure> {
        if self.runs.iter().any(|known| known.id == run.id) {
            return Err(Failure::usage(
                format!("run {} stands twice on one side", run.id),
                "name each run once",
            ));
        }
        self.runs.push(run);
        Ok(())
    }
}

/// Reads a result from its file, or all results in a folder.
pub(crate) fn result_files(path: &Path) -> Result<Vec<SideRun>, Failure> {
    files(path)?.iter().map(|file| SideRun::of_file(file)).collect()
}

/// The same, whole as they were printed.
pub(crate) fn read_results(path: &Path) -> Result<Vec<Value>, Failure> {
    let read = |file: &PathBuf| {
        let result = read_result(file)?;
        // What is no result is refused in the same words.
        SideRun::of_result(&result, &file.display().to_string()).map(|_| result)
    };
    files(path)?.iter().map(read).collect()
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error: std::io::Error| {
        Failure::usage(
            format!("can't read folder {}: {error}", path.display()),
            "name a folder of results that you may read",
        )
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::usage(
            format!("no result is in {}", path.display()),
            "results are files whose names end in .json",
        ));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn files_and_folders_of_results_are_read_and_others_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let result = figures::tests::result();
        fs::write(path("a.json"), result.to_string()).unwrap();
        fs::write(path("notes.txt"), "no result").unwrap();
        let read = result_files(folder.path()).unwrap();
        assert_eq!((read.len(), read[0].scenario.as_str(), read[0].verdict.as_str()), (1, "quick", "pass"));
        assert_eq!(read, result_files(&path("a.json")).unwrap());

        fs::write(path("b.json"), "{\"runs\": []}").unwrap();
        for (item, told) in
            [("b.json", "is no result of a run"), ("notes.txt", "can't read"), ("none.json", "none.json")]
        {
            let failure = result_files(&path(item)).unwrap_err();
            assert!(failure.exit == Exit::Usage && failure.to_string().contains(told), "{failure}");
        }
        let empty = tempfile::tempdir().unwrap();
        let failure = result_files(empty.path()).unwrap_err();
        assert!(failure.to_string().contains("no result is in"), "{failure}");
    }

    #[test]
    fn a_run_stands_on_a_side_once() {
        let mut side = Side::default();
        let run = SideRun { id: "a".into(), ..SideRun::default() };
        side.add(run.clone()).unwrap();
        assert!(side.add(run).unwrap_err().to_string().contains("stands twice"));
    }
}
