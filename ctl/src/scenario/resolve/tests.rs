//! Of includes, variables and the matrix, through the whole of a scenario's reading.

use std::fs;

use ssts_proto::v1::{Burner, CpuBurner, DiskBurner, burner::Kind, profile::Shape};
use tempfile::TempDir;

use super::Setting;
use crate::{
    error::Problem,
    scenario::{Finding, Plan, toml_file::parse},
};

const CPU: &str = "[[phase.burner]]\nkind = 'cpu'\n";

fn settings(pairs: &[(&str, &str)]) -> Vec<Setting> {
    let setting = |(name, value): &(&str, &str)| Setting { name: (*name).into(), value: (*value).into() };
    pairs.iter().map(setting).collect()
}

fn plan(text: &str, pairs: &[(&str, &str)]) -> Plan {
    parse("s.toml", text, &settings(pairs)).unwrap_or_else(|found| panic!("{text}\n{found:#?}"))
}

/// What is wrong, each in one text.
fn wrong(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let found = parse("s.toml", text, &settings(pairs)).expect_err("it was accepted");
    let told = found.into_iter().map(Finding::problem);
    told.map(|problem| format!("{}\nmend: {}", problem.message, problem.mend)).collect()
}

fn disk(burner: &Burner) -> &DiskBurner {
    match &burner.kind {
        Some(Kind::Disk(disk)) => disk,
        other => panic!("{other:?}"),
    }
}

fn cpu(burner: &Burner) -> &CpuBurner {
    match &burner.kind {
        Some(Kind::Cpu(cpu)) => cpu,
        other => panic!("{other:?}"),
    }
}

const VARIED: &str = "name = 'varied'\ndescription = 'at ${peak} for ${soak}, $${soak}'\n\
    [variables.soak]\ntype = 'duration'\ndefault = '10s'\ndescription = 'how long'\n\
    [variables.peak]\ntype = 'percent'\ndefault = 80\n\
    [variables.size]\ntype = 'bytes'\ndefault = '1MiB'\n\
    [variables.depth]\ntype = 'integer'\ndefault = 4\n\
    [variables.where]\ntype = 'text'\ndefault = '/var/tmp'\n\
    [variables.cores]\ntype = 'list'\ndefault = [0, 1]\n\
    [[phase]]\nname = 'one'\nduration = '${soak}'\n\
    [[phase.burner]]\nkind = 'disk'\npath = '${where}'\nsize = '${size}'\ndepth = '${depth}'\n\
    [[phase.burner]]\nkind = 'cpu'\nload = 'sine:10..${peak}/1s'\ncores = '${cores}'\n\
    [[phase.burner]]\nkind = 'cpu'\nload = '${peak}'\n";

#[test]
fn variables_stand_for_values_of_their_type() {
    let plan = plan(VARIED, &[]);
    let phase = &plan.scenario.phases[0];
    assert_eq!(plan.scenario.description, "at 80% for 10s, ${soak}");
    assert_eq!(phase.duration_ms, 10_000);
    let disk = disk(&phase.burners[0]);
    assert_eq!((disk.path.as_str(), disk.size_bytes, disk.depth), ("/var/tmp", 1 << 20, Some(4)));
    assert_eq!(cpu(&phase.burners[1]).cores, [0, 1]);
    let Some(Shape::Sine(sine)) = cpu(&phase.burners[1]).load.clone().unwrap().shape else { panic!() };
    assert_eq!(sine.high_percent, 80.0);
    let Some(Shape::Constant(constant)) = cpu(&phase.burners[2]).load.clone().unwrap().shape else {
        panic!()
    };
    assert_eq!(constant.load_percent, 80.0);
}

#[test]
fn the_command_line_sets_them() {
    let plan =
        plan(VARIED, &[("soak", "1m"), ("size", "2MiB"), ("cores", "3,4"), ("soak", "2m"), ("depth", "8")]);
    let phase = &plan.scenario.phases[0];
    assert_eq!(phase.duration_ms, 120_000, "the last one holds");
    assert_eq!((disk(&phase.burners[0]).size_bytes, disk(&phase.burners[0]).depth), (2 << 20, Some(8)));
    assert_eq!(cpu(&phase.burners[1]).cores, [3, 4]);
}

#[test]
fn what_is_wrong_with_variables_is_told_at_its_place() {
    let phase = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '${soak}'\n";
    let mut missed = Vec::new();
    for (text, pairs, parts) in [
        (
            format!("{phase}[variables.sok]\ntype = 'duration'\ndefault = '1s'\n"),
            &[][..],
            &["s.toml:4:12", "no variable 'soak'", "did you mean 'sok'"][..],
        ),
        (phase.to_owned(), &[], &["s.toml:4:12", "no variable 'soak'", "[variables.NAME]"]),
        (
            format!("{phase}[variables.soak]\ntype = 'duration'\n"),
            &[],
            &["s.toml:5:12", "has no value", "--set soak="],
        ),
        (
            format!("{phase}[variables.soak]\ntype = 'duraton'\ndefault = '1s'\n"),
            &[],
            &["s.toml:6:8", "no type 'duraton'", "did you mean 'duration'"],
        ),
        (
            format!("{phase}[variables.soak]\ntype = 'duration'\ndefault = '5parsecs'\n"),
            &[],
            &["s.toml:7:11", "5parsecs", "no unit 'parsecs'"],
        ),
        (
            format!("{phase}[variables.soak]\ntype = 'duration'\ndefault = 5\n"),
            &[],
            &["s.toml:7:11", "the number 5 stands here"],
        ),
        (
            format!("{phase}[variables.soak]\ntype = 'duration'\ndefault = '1s'\ndefalt = 1\n"),
            &[],
            &["s.toml:8:1", "did you mean 'default'"],
        ),
        (
            format!("{phase}[variables.soak]\ntype = 'text'\ndefault = 'long'\n"),
            &[],
            &["s.toml:4:12", "'long' is not a duration", "(soak is long)"],
        ),
        (
            format!("{phase}[variables.soak]\ntype = 'list'\ndefault = []\n"),
            &[],
            &["s.toml:7:11", "a list of 0 items"],
        ),
        (
            format!("{phase}[variables.soak]\ntype = 'text'\ndefault = '${{other}}'\n"),
            &[],
            &["s.toml:7:11", "in the value of a variable"],
        ),
        (format!("{phase}[variables]\nsoak = '1s'\n"), &[], &["s.toml:6:8", "[variables.soak]"]),
        (
            "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[variables.SOAK]\ntype = 'duration'\ndefault = '1s'\n"
                .into(),
            &[],
            &["s.toml:5:12", "'SOAK' is no name"],
        ),
        (
            "name = '${x'\n[[phase]]\nname = 'a'\nduration = '1s'\n".into(),
            &[],
            &["s.toml:1:8", "does not end"],
        ),
        (VARIED.to_owned(), &[("soka", "1s")], &["--set soka=1s", "did you mean 'soak'"]),
        (VARIED.to_owned(), &[("soak", "5parsecs")], &["--set soak=5parsecs", "ms, s, m, h or d"]),
        (VARIED.to_owned(), &[("depth", "much")], &["--set depth=much", "no number"]),
        (VARIED.to_owned(), &[("depth", "99999999999999999999")], &["--set depth=", "out of range"]),
        (VARIED.to_owned(), &[("peak", "130")], &["--set peak=130", "0 to 100"]),
        (VARIED.to_owned(), &[("cores", "[[1]]")], &["--set cores=", "an array stands here"]),
        (VARIED.to_owned(), &[("depth", "0")], &["a depth of 0", "(depth is 0)"]),
    ] {
        let told = wrong(&text, pairs);
        if told.len() != 1 || !parts.iter().all(|part| told[0].contains(part)) {
            missed.push(format!("{text} {pairs:?}: {parts:?} {told:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_phase_stands_once_for_each_combination_that_it_names() {
    let text = format!(
        "name = 'm'\n[matrix]\nsize = ['4KiB', '64KiB']\ndepth = [1, 8, 32]\n\
         [[phase]]\nname = 'warm-up'\nduration = '1s'\n{CPU}\
         [[phase]]\nname = 'read'\nduration = '1s'\n\
         [[phase.burner]]\nkind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nblock = '${{size}}'\ndepth = '${{depth}}'\n\
         [[phase.threshold]]\nthat = 'disk.read.latency.p99 < 1s'\n\
         [[phase]]\nname = 'd${{depth}}-last'\nduration = '1s'\n\
         [[phase.burner]]\nkind = 'disk'\npath = '/tmp'\nsize = '1MiB'\ndepth = '${{depth}}'\n"
    );
    let plan = plan(&text, &[]);
    let names: Vec<_> = plan.scenario.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "warm-up",
            "read-4kib-1",
            "read-4kib-8",
            "read-4kib-32",
            "read-64kib-1",
            "read-64kib-8",
            "read-64kib-32",
            "d1-last",
            "d8-last",
            "d32-last"
        ]
    );
    let last = disk(&plan.scenario.phases[6].burners[0]);
    assert_eq!((last.block_bytes, last.depth), (Some(65_536), Some(32)));
    let of: Vec<_> = plan.scenario.thresholds.iter().map(|threshold| threshold.phase.as_str()).collect();
    assert_eq!(of, names[1..7]);
}

#[test]
fn what_is_wrong_with_a_matrix_is_told_with_its_values() {
    let mut missed = Vec::new();
    let phase = "[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'disk'\npath = '/tmp'\nsize = '1MiB'\n";
    for (text, parts) in [
        (format!("name = 'm'\nmatrix = 3\n{phase}"), ["s.toml:2:10", "no table"]),
        (format!("name = 'm'\n[matrix]\nsize = []\n{phase}block = '${{size}}'\n"), ["s.toml:3:8", "0 items"]),
        (format!("name = 'm'\n[matrix]\nSIZE = [1]\n{phase}"), ["s.toml:3:1", "'SIZE' is no name"]),
        (format!("name = 'm'\n[matrix]\nsize = '4KiB'\n{phase}"), ["s.toml:3:8", "a list"]),
        (
            format!("name = '${{size}}'\n[matrix]\nsize = ['4KiB']\n{phase}"),
            ["s.toml:1:8", "in a phase only"],
        ),
        (
            format!("name = 'm'\n[matrix]\ndepth = [1, 0]\n{phase}depth = '${{depth}}'\n"),
            ["s.toml:11:9", "a depth of 0 (depth is 0)"],
        ),
        (
            format!("name = 'm'\n[matrix]\ndepth = [1, 1]\n{phase}depth = '${{depth}}'\n"),
            ["s.toml:5:8", "a second phase named 'a-1'"],
        ),
        (
            format!(
                "name = 'm'\n[variables.size]\ntype = 'bytes'\ndefault = '4k'\n[matrix]\nsize = ['4KiB']\n{phase}"
            ),
            ["s.toml:6:1", "the name of a variable"],
        ),
    ] {
        let told = wrong(&text, &[]);
        if told.len() != 1 || !parts.iter().all(|part| told[0].contains(part)) {
            missed.push(format!("{text}: {parts:?} {told:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let list = (0..200).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let text = format!(
        "name = 'm'\n[matrix]\na = [{list}]\nb = [{list}]\n{phase}depth = '${{a}}'\nblock = '${{b}}'\n"
    );
    let told = wrong(&text, &[]).join("\n");
    assert!(told.contains("40000 phases") && told.contains("at most 1000"), "{told}");
    assert!(!told.contains("no phase"), "{told}");
}

/// Files in a folder that goes away with it.
fn files(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn read(folder: &TempDir, name: &str) -> Result<Plan, Vec<String>> {
    let told = |problem: Problem| format!("{}\nmend: {}", problem.message, problem.mend);
    Plan::read_file(&folder.path().join(name), &[])
        .map_err(|found| found.into_iter().map(|one| told(one.problem())).collect())
}

#[test]
fn an_included_file_is_put_below_and_its_phases_first() {
    let folder = files(&[
        (
            "base.toml",
            "name = 'base'\ndescription = 'of the base'\n[limits]\nmax_duration = '1h'\nmax_temperature = 90\n\
             [variables.soak]\ntype = 'duration'\ndefault = '1s'\n[[phase]]\nname = 'warm-up'\nduration = '${soak}'\n",
        ),
        (
            "own.toml",
            "include = 'base.toml'\nname = 'own'\n[limits]\nmax_temperature = 80\n[variables.soak]\ndefault = '3s'\n\
             [[phase]]\nname = 'middle'\nduration = '1s'\n[[phase]]\ninclude = ['parts/tail.toml']\n\
             [[phase]]\nname = 'end'\nduration = '1s'\n",
        ),
        (
            "parts/tail.toml",
            "include = 'guards.toml'\n[[phase]]\nname = 'tail'\nduration = '1s'\n[[phase.burner]]\nkind = 'cpu'\nload = 'trace:t.csv'\n",
        ),
        (
            "parts/guards.toml",
            "[[guards]]\nname = 'low'\nmetric = 'host.memory.available'\nbelow = '1GiB'\nreaction = 'stop'\n",
        ),
        ("parts/t.csv", "0,10\n5,50\n"),
    ]);
    let plan = read(&folder, "own.toml").unwrap();
    let scenario = &plan.scenario;
    assert_eq!((scenario.name.as_str(), scenario.description.as_str()), ("own", "of the base"));
    let names: Vec<_> = scenario.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["warm-up", "middle", "tail", "end"]);
    assert_eq!(scenario.phases[0].duration_ms, 3_000, "the type is the base's, the default its own");
    let limits = scenario.limits.unwrap();
    assert_eq!((limits.max_duration_ms, limits.max_temperature_celsius), (Some(3_600_000), Some(80.0)));
    assert_eq!(scenario.guards.len(), 1);
    let again = parse("elsewhere.toml", &plan.toml, &[]).unwrap();
    assert_eq!(again.scenario, plan.scenario, "{}", plan.toml);
    assert_eq!(again.toml, plan.toml);
}

#[test]
fn what_is_wrong_in_an_included_file_is_told_there() {
    let phase = "[[phase]]\nname = 'a'\nduration = '1s'\n";
    for (all, place, parts) in [
        (
            &[
                ("a.toml", "include = 'b.toml'\nname = 'x'\n"),
                ("b.toml", "[[phase]]\nname = 'a'\nduraton = '1s'\nduration = 'x'\n"),
            ][..],
            "b.toml:3:1",
            &["did you mean 'duration'"][..],
        ),
        (&[("a.toml", "include = 'b.toml'\nname = 'x'\n"), ("b.toml", "[[phase\n")], "b.toml:1:", &["mend"]),
        (&[("a.toml", "include = 'c.toml'\nname = 'x'\n")], "a.toml:1:11", &["c.toml", "No such file"]),
        (&[("a.toml", "include = 3\nname = 'x'\n")], "a.toml:1:11", &["the number 3"]),
        (&[("a.toml", "include = '${x}.toml'\nname = 'x'\n")], "a.toml:1:11", &["a variable in the name"]),
        (&[("a.toml", "include = 'a.toml'\nname = 'x'\n")], "a.toml:1:11", &["includes itself"]),
        (
            &[
                ("a.toml", "include = 'b.toml'\nname = 'x'\n"),
                ("b.toml", "include = ['c.toml']\n"),
                ("c.toml", "[[phase]]\ninclude = 'a.toml'\n"),
            ],
            "c.toml:2:11",
            &["includes itself", "a.toml →", "b.toml →", "c.toml →"],
        ),
        (
            &[("a.toml", "name = 'x'\n[[phase]]\ninclude = 'b.toml'\n"), ("b.toml", "name = 'y'\n")],
            "a.toml:3:11",
            &["has no phase"],
        ),
        (
            &[
                ("a.toml", "name = 'x'\n[[phase]]\ninclude = 'b.toml'\nname = 'b'\n"),
                ("b.toml", "[[phase]]\nname = 'a'\nduration = '1s'\n"),
            ],
            "a.toml:4:1",
            &["no key 'name' of its own"],
        ),
    ] {
        let folder = files(all);
        let told = read(&folder, "a.toml").expect_err(place);
        let told = told.join("\n");
        assert!(told.contains(place) && parts.iter().all(|part| told.contains(part)), "{place}: {told}");
    }
    let twice = format!("include = ['b.toml', 'b.toml']\nname = 'x'\n{phase}");
    let folder = files(&[("a.toml", &twice), ("b.toml", "[[phase]]\nname = 'b'\nduration = '1s'\n")]);
    assert!(read(&folder, "a.toml").unwrap_err()[0].contains("a second phase named 'b'"));
}

#[test]
fn a_row_of_files_has_an_end() {
    let names: Vec<String> = (0..20).map(|n| format!("{n}.toml")).collect();
    let texts: Vec<String> = (1..=20).map(|n| format!("include = '{n}.toml'\n")).collect();
    let all: Vec<_> = names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let folder = files(&all);
    assert!(read(&folder, "0.toml").unwrap_err().join("\n").contains("in a row"));
    let many = "include = ['b.toml', 'b.toml', 'b.toml', 'b.toml', 'b.toml', 'b.toml', 'b.toml', 'b.toml']\n";
    let more = many.replace("b.toml", "c.toml");
    let folder = files(&[("a.toml", many), ("b.toml", &more), ("c.toml", "[limits]\nmax_duration = '1h'\n")]);
    assert!(read(&folder, "a.toml").unwrap_err().join("\n").contains("more than 64 files"));
}

#[test]
fn what_is_shown_says_the_same() {
    let full =
        include_str!("../toml_file_tests.rs").split("r#\"").nth(1).unwrap().split("\"#").next().unwrap();
    for text in [VARIED, full, include_str!("../../../scenarios/quick.toml")] {
        let plan = plan(text, &[]);
        let again =
            parse("again.toml", &plan.toml, &[]).unwrap_or_else(|found| panic!("{}\n{found:#?}", plan.toml));
        assert_eq!(again.scenario, plan.scenario, "{}", plan.toml);
        assert_eq!(again.toml, plan.toml);
    }
}
