//! The examples of `docs/scenarios.md` are scenarios.

use std::fs;

use super::Plan;

const GUIDE: &str = include_str!("../../../docs/scenarios.md");

/// Each example: a name of its own, or the one that it gives in its first line, and its text.
pub(super) fn examples() -> Vec<(String, String)> {
    let blocks = GUIDE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let named = |(index, text): (usize, &str)| {
        let first = text.lines().next().unwrap_or_default();
        let name = first.strip_prefix("# ").filter(|name| name.ends_with(".toml"));
        (name.map_or_else(|| format!("example-{index}.toml"), str::to_owned), text.to_owned())
    };
    blocks.enumerate().map(named).collect()
}

/// With what an example leaves out of a whole scenario. One without a name of its own begins with a table.
pub(super) fn completed(text: &str) -> String {
    let top = text.split("\n[").next().unwrap_or_default();
    let is_named = top.lines().any(|line| line.starts_with("name ="));
    let name = if is_named && !top.starts_with('[') { "" } else { "name = 'example'\n" };
    let phase =
        if text.contains("[[phase]]") { "" } else { "\n[[phase]]\nname = 'example'\nduration = '1s'\n" };
    format!("{name}{text}{phase}")
}

#[test]
fn every_example_is_a_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let examples = examples();
    assert!(examples.len() >= 6, "{}", examples.len());
    for (name, text) in &examples {
        fs::write(folder.path().join(name), completed(text)).unwrap();
    }
    for (name, text) in &examples {
        let path = folder.path().join(name);
        if let Err(found) = Plan::read_file(&path, &[]) {
            panic!("{name}:\n{text}\n{found:#?}");
        }
    }
}

#[test]
fn every_metric_that_the_guide_names_of_burners_is_known() {
    let known = ssts_proto::thresholds::all_names();
    let table = GUIDE.split("| | of |").nth(1).unwrap().split("The statistic").next().unwrap();
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split(" |").next().unwrap_or_default().split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(known.iter().any(|known| known == name), "{name}");
    }
}
