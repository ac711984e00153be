use std::{collections::BTreeMap, path::PathBuf};

use super::*;
use crate::cli::Host;

fn member(name: &str, labels: &[(&str, &str)], watts: Option<f64>) -> Member {
    Member {
        name: name.into(),
        host: Host::Unix(PathBuf::from(format!("/run/{name}"))),
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        watts,
    }
}

/// `racks` racks of so many hosts each, rack after rack, each host of 500 W.
fn racks(racks: usize, hosts: usize) -> Fleet {
    let members = (0..racks * hosts)
        .map(|index| {
            let rack = format!("r{}", index / hosts);
            member(&format!("n{index}"), &[("rack", &rack)], Some(500.0))
        })
        .collect();
    Fleet { members, domains: vec!["rack".into()] }
}

fn sizes(waves: &[Wave]) -> Vec<usize> {
    waves.iter().map(|wave| wave.members.len()).collect()
}

fn asked(portions: &str) -> WaveOptions {
    let waves = portions.split(',').map(|text| Portion::parse_some(text).unwrap()).collect();
    WaveOptions { waves, ..WaveOptions::default() }
}

fn per(domain: &str, most: &str) -> MaxPer {
    MaxPer { domain: domain.into(), most: Portion::parse_some(most).unwrap() }
}

#[test]
fn a_canary_and_then_shares_of_all_hosts() {
    let fleet = racks(5, 4);
    assert_eq!(sizes(&asked("1,10%,50%,100%").draw(&fleet).unwrap()), [1, 1, 8, 10]);
    assert_eq!(sizes(&asked("1").draw(&fleet).unwrap()), [1, 19], "the rest is the last wave");
    assert_eq!(sizes(&asked("100%").draw(&fleet).unwrap()), [20]);
    assert_eq!(sizes(&WaveOptions::default().draw(&fleet).unwrap()), [20]);
    let waves = asked("1,10%").draw(&fleet).unwrap();
    let names: Vec<_> = waves.iter().map(|wave| (wave.asked.as_str(), wave.part)).collect();
    assert_eq!(names, [("1", None), ("10%", None), ("100%", None)]);
    assert_eq!(waves[0].members, [0], "the canary is the inventory's first");
    assert_eq!(waves[0].watts, Some(500.0));
}

#[test]
fn every_wave_of_a_small_fleet_has_a_host_while_there_are_some() {
    assert_eq!(sizes(&asked("1,10%,50%,100%").draw(&racks(1, 5)).unwrap()), [1, 1, 1, 2]);
    assert_eq!(sizes(&asked("1,10%,50%,100%").draw(&racks(1, 2)).unwrap()), [1, 1]);
    assert_eq!(sizes(&asked("5,10,100%").draw(&racks(1, 7)).unwrap()), [5, 2]);
    assert_eq!(sizes(&asked("1").draw(&Fleet::default()).unwrap()), [0; 0]);
}

#[test]
fn waves_that_fall_are_refused() {
    let failure = asked("50%,10%").draw(&racks(2, 10)).expect_err("they fall");
    assert!(failure.to_string().contains("let them rise"), "{failure}");
    assert!(failure.to_string().contains("2 after 10"), "{failure}");
}

#[test]
fn a_wave_is_spread_over_racks() {
    let fleet = racks(4, 5);
    let waves = asked("4,8,100%").draw(&fleet).unwrap();
    for wave in &waves[..2] {
        let mut racks: Vec<_> = wave.members.iter().map(|index| index / 5).collect();
        racks.dedup();
        assert_eq!(racks, [0, 1, 2, 3], "{wave:?}");
    }
}

#[test]
fn a_wave_that_would_break_a_bound_is_parted() {
    let fleet = racks(3, 4);
    let options = WaveOptions { max_per: vec![per("rack", "1")], ..asked("1,100%") };
    let waves = options.draw(&fleet).unwrap();
    assert_eq!(sizes(&waves), [1, 3, 3, 3, 2]);
    assert_eq!(waves[4].part, Some((4, 4)));
    let options = WaveOptions { max_per: vec![per("rack", "50%")], ..WaveOptions::default() };
    assert_eq!(sizes(&options.draw(&fleet).unwrap()), [6, 6]);
    let by_watts = |domain: Option<&str>, watts: f64| WaveOptions {
        max_watts: vec![MaxWatts { domain: domain.map(str::to_owned), watts }],
        ..WaveOptions::default()
    };
    assert_eq!(sizes(&by_watts(None, 2_000.0).draw(&fleet).unwrap()), [4, 4, 4]);
    assert_eq!(sizes(&by_watts(Some("rack"), 1_499.0).draw(&fleet).unwrap()), [6, 6]);
    let impossible = by_watts(None, 499.0).draw(&fleet).expect_err("no host alone keeps it");
    assert!(impossible.to_string().contains("host n0 alone may draw 500 W"), "{impossible}");
}

#[test]
fn a_bound_that_can_not_be_judged_is_refused() {
    let mut fleet = racks(2, 2);
    fleet.members[2].watts = None;
    let watts =
        WaveOptions { max_watts: vec![MaxWatts { domain: None, watts: 1e4 }], ..WaveOptions::default() };
    let failure = watts.draw(&fleet).expect_err("one host's watts are not known");
    assert!(failure.to_string().contains("of n2 it is not known"), "{failure}");
    let power = |domain: &str| WaveOptions { max_per: vec![per(domain, "1")], ..WaveOptions::default() };
    let failure = power("rakc").draw(&fleet).expect_err("no host has it");
    assert!(failure.to_string().contains("'rakc', and no host has it"), "{failure}");
    let failure = power("racks").draw(&fleet).expect_err("no host has it");
    assert!(failure.to_string().contains("did you mean 'rack'"), "{failure}");
    fleet.members[1].labels.clear();
    let failure = power("rack").draw(&fleet).expect_err("one host has none");
    assert!(failure.to_string().contains("'rack', and these hosts have none: n1"), "{failure}");
}

/// Fleets and wishes of all kinds: every host runs once, no wave is over a bound, and the same is drawn again.
#[test]
fn whatever_is_asked_every_host_runs_once_and_no_wave_is_over_a_bound() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let mut drawn = 0;
    for case in 0..2_000 {
        let (fleet, options) = (any_fleet(&mut random), any_options(&mut random));
        let waves = match options.draw(&fleet) {
            Ok(waves) => waves,
            Err(failure) => {
                assert!(!failure.problems[0].mend.is_empty(), "{failure}");
                continue;
            }
        };
        drawn += 1;
        assert_eq!(options.draw(&fleet).unwrap(), waves, "case {case}: the same again");
        let mut seen: Vec<usize> = waves.iter().flat_map(|wave| wave.members.clone()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..fleet.members.len()).collect::<Vec<_>>(), "case {case}: each host once");
        assert!(waves.iter().all(|wave| !wave.members.is_empty()), "case {case}: a wave of nobody");
        for wave in &waves {
            assert_bounds(&fleet, &options, wave, case);
        }
        let mut done = 0;
        for portion in &options.waves {
            let of_it = waves.iter().filter(|wave| wave.asked == portion.to_string());
            let before = done;
            done += of_it.map(|wave| wave.members.len()).sum::<usize>();
            // Each wish has a wave, unless those before it took all hosts.
            assert!(done > before || before == fleet.members.len(), "case {case}: {portion} is lost");
            assert!(done >= portion.of(fleet.members.len()), "case {case}: {done} of {portion}");
        }
    }
    assert!(drawn > 800, "{drawn}");
}

fn assert_bounds(fleet: &Fleet, options: &WaveOptions, wave: &Wave, case: usize) {
    let members = || wave.members.iter().map(|index| &fleet.members[*index]);
    for MaxPer { domain, most } in &options.max_per {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        members().for_each(|member| *count.entry(member.labels[domain].as_str()).or_default() += 1);
        for (value, count) in count {
            let of_value = fleet.members.iter().filter(|member| member.labels[domain] == value).count();
            assert!(count <= most.of(of_value), "case {case}: {count} of {domain}={value}, {most}");
        }
    }
    for MaxWatts { domain, watts } in &options.max_watts {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for member in members() {
            let value = domain.as_ref().map_or("", |domain| member.labels[domain].as_str());
            *sums.entry(value).or_default() += member.watts.unwrap();
        }
        assert!(sums.values().all(|sum| *sum <= watts + ROUNDING_W), "case {case}: {sums:?}, {watts} W");
    }
}

fn any_fleet(random: &mut fastrand::Rng) -> Fleet {
    let has_watts = random.u8(..10) > 0;
    let members = (0..random.usize(0..60))
        .map(|index| {
            let (rack, power) = (random.u8(..8).to_string(), random.u8(..3).to_string());
            let watts = has_watts.then(|| f64::from(random.u32(100..900)));
            member(&format!("n{index}"), &[("rack", &rack), ("power", &power)], watts)
        })
        .collect();
    let domains = if random.bool() { vec!["rack".into()] } else { Vec::new() };
    Fleet { members, domains }
}

fn any_options(random: &mut fastrand::Rng) -> WaveOptions {
    let portion = |random: &mut fastrand::Rng| {
        if random.bool() {
            Portion::Hosts(random.usize(1..20))
        } else {
            Portion::Percent(random.f64() * 99.0 + 1.0)
        }
    };
    let mut waves: Vec<Portion> =
        (0..random.usize(0..4)).map(|_| Portion::Hosts(random.usize(1..9))).collect();
    waves.sort_by_key(|portion| portion.of(usize::MAX));
    waves.dedup();
    if random.bool() {
        waves.push(Portion::Percent(100.0));
    }
    let domain = |random: &mut fastrand::Rng| if random.bool() { "rack" } else { "power" }.to_owned();
    let max_per =
        (0..random.usize(0..3)).map(|_| MaxPer { domain: domain(random), most: portion(random) }).collect();
    let max_watts = (0..random.usize(0..2))
        .map(|_| MaxWatts {
            domain: random.bool().then(|| domain(random)),
            watts: f64::from(random.u32(600..5_000)),
        })
        .collect();
    WaveOptions { waves, max_per, max_watts, max_failures: None }
}
