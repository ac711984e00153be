//! The built-in scenarios: as long as they say, each with a page, the same when shown, and whatever is done to their text is read
//! or refused.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    BUILT_IN, Plan, Setting, builtin, malformed_tests::mutated, resolve::Variable, toml_file::parse,
};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios")
}

fn plan(name: &str, settings: &[(&str, &str)]) -> Plan {
    let setting = |(name, value): &(&str, &str)| Setting { name: (*name).into(), value: (*value).into() };
    let settings: Vec<_> = settings.iter().map(setting).collect();
    Plan::find(name, &settings).unwrap_or_else(|failure| panic!("{name}: {failure}"))
}

#[test]
fn each_lasts_as_long_as_its_page_says() {
    for (name, least, most) in [
        ("quick", 15_000, 20_000),
        ("demo", 3 * MINUTE_MS, 3 * MINUTE_MS),
        ("cycle7", 140 * MINUTE_MS, 140 * MINUTE_MS),
        ("peak", 40 * MINUTE_MS, 40 * MINUTE_MS),
        ("soak", 8 * HOUR_MS, 8 * HOUR_MS),
        ("power-step", 13 * MINUTE_MS, 13 * MINUTE_MS),
        ("burn-in", 8 * HOUR_MS, 8 * HOUR_MS),
        ("memtest", 210 * MINUTE_MS, 210 * MINUTE_MS),
        ("disk-qualify", 150 * MINUTE_MS, 150 * MINUTE_MS),
    ] {
        let lasts = plan(name, &[]).duration_ms();
        assert!((least..=most).contains(&lasts), "{name}: {lasts}");
    }
}

#[test]
fn cycle7_has_its_seven_phases_and_one_number_shortens_them() {
    let minutes = [5, 15, 20, 30, 30, 20, 20];
    let names = ["idle", "baseline", "light", "medium", "heavy", "extreme", "chaos"];
    for (scale, ms) in [("1", MINUTE_MS), ("0.1", MINUTE_MS / 10), ("0.016666667", 1_000)] {
        let phases = plan("cycle7", &[("scale", scale)]).scenario.phases;
        let has: Vec<_> = phases.iter().map(|phase| (phase.name.as_str(), phase.duration_ms)).collect();
        let wanted: Vec<_> = names.into_iter().zip(minutes.map(|minutes| minutes * ms)).collect();
        assert_eq!(has, wanted);
    }
}

#[test]
fn the_network_is_left_out_of_chaos_where_no_peer_is_named_and_that_is_told() {
    let alone = plan("cycle7", &[]);
    assert_eq!(alone.scenario.phases[6].burners.len(), 3);
    let [told] = &alone.left_out[..] else { panic!("{:?}", alone.left_out) };
    assert!(told.contains("chaos") && told.contains("network") && told.contains("peer is"), "{told}");
    let with_peer = plan("cycle7", &[("peer", "127.0.0.1")]);
    assert_eq!(with_peer.scenario.phases[6].burners.len(), 4);
    assert!(with_peer.left_out.is_empty());
}

#[test]
fn every_variable_has_a_default_and_says_what_it_is_for() {
    for built_in in &BUILT_IN {
        for Variable { name, default, description, .. } in built_in.plan().unwrap().variables {
            assert!(default.is_some() && !description.is_empty(), "{}: {name}", built_in.name);
        }
    }
}

#[test]
fn a_scenario_that_is_shown_whole_says_the_same() {
    for built_in in &BUILT_IN {
        let plan = built_in.plan().unwrap();
        let again = parse("shown.toml", &plan.toml, &[])
            .unwrap_or_else(|found| panic!("{}: {found:#?}\n{}", built_in.name, plan.toml));
        assert_eq!(again.scenario, plan.scenario, "{}", built_in.name);
    }
}

#[test]
fn each_has_a_page_with_its_name_its_variables_and_a_result() {
    let index = fs::read_to_string(pages().join("README.md")).unwrap();
    for built_in in &BUILT_IN {
        let name = built_in.name;
        let path = pages().join(format!("{name}.md"));
        let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(page.lines().next(), Some(format!("# {name}").as_str()));
        for part in ["## What for", "## What it needs", "## A result", "verdict"] {
            assert!(page.contains(part), "{name}: no '{part}'");
        }
        for variable in built_in.plan().unwrap().variables {
            assert!(page.contains(&format!("`{}`", variable.name)), "{name}: {}", variable.name);
        }
        assert!(index.contains(&format!("({name}.md)")), "{name} is not in the index");
    }
    for entry in fs::read_dir(pages()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.trim_end_matches(".md");
        assert!(name == "README" || builtin::find(name).is_some(), "a page of nothing: {file}");
    }
}

/// A name with a slip of the hand.
#[test]
fn a_name_that_is_nearly_one_is_told() {
    for (written, meant) in
        [("cycl7", "cycle7"), ("burnin", "burn-in"), ("memtets", "memtest"), ("peek", "peak")]
    {
        let failure = Plan::find(written, &[]).expect_err(written);
        assert!(failure.to_string().contains(&format!("did you mean '{meant}'")), "{written}: {failure}");
    }
}

/// Two seconds; `SSTS_FUZZ_SECONDS=600` for ten minutes.
#[test]
fn what_is_made_of_a_built_in_scenario_is_read_or_refused_without_a_panic() {
    let seconds = env::var("SSTS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    // Another text each time where it lasts long: the seed of a failure is told.
    let first = if seconds > 2 { u64::from(std::process::id()) << 32 } else { 1 << 40 };
    let mut rounds = 0u64;
    let mut good = 0u64;
    while Instant::now() < end {
        let built_in = &BUILT_IN[(rounds % BUILT_IN.len() as u64) as usize];
        let mut state = first.wrapping_add(rounds);
        let text = mutated(built_in.toml, &mut state);
        match parse("s.toml", &text, &[]) {
            Ok(plan) => {
                good += 1;
                let again = parse("s.toml", &plan.toml, &[])
                    .unwrap_or_else(|found| panic!("seed {first} + {rounds}: {found:#?}\n{}", plan.toml));
                assert_eq!(again.scenario, plan.scenario, "seed {first} + {rounds}:\n{text}");
            }
            Err(found) => {
                let told = |one: &super::Finding| !one.message.is_empty() && !one.mend.is_empty();
                assert!(!found.is_empty() && found.iter().all(told), "seed {first} + {rounds}:\n{text}");
            }
        }
        rounds += 1;
    }
    // Both kinds came.
    assert!(rounds > 20 && good > 0 && good < rounds, "{good} of {rounds}");
}
