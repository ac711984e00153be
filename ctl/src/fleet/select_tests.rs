use super::*;
use crate::{cli::Host, error::Exit};

fn member(name: &str, labels: &[(&str, &str)]) -> Member {
    Member {
        name: name.to_owned(),
        host: Host::Tls(format!("{name}.example.org"), 7443),
        labels: labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        watts: None,
    }
}

fn fleet() -> Fleet {
    let members = vec![
        member("db1", &[("role", "db"), ("rack", "r1"), ("group", "canary,eu")]),
        member("db2", &[("role", "db"), ("rack", "r2"), ("group", "eu")]),
        member("web1", &[("role", "web"), ("rack", "r1"), ("gpu", "a100")]),
        member("web2", &[("role", "web"), ("rack", "r2")]),
        member("spare", &[("rack", "r2")]),
    ];
    Fleet { members, domains: vec!["rack".into()] }
}

fn flags(select: &[&str], exclude: &[&str], limit: Option<u32>) -> FleetFlags {
    let parsed = |texts: &[&str]| texts.iter().map(|text| Selection::parse(text).unwrap()).collect();
    FleetFlags { fleet: None, select: parsed(select), exclude: parsed(exclude), limit }
}

fn names(select: &[&str], exclude: &[&str], limit: Option<u32>) -> Vec<String> {
    let narrowed = fleet().narrowed(&flags(select, exclude, limit)).unwrap();
    narrowed.members.into_iter().map(|member| member.name).collect()
}

#[test]
fn a_set_is_what_all_its_terms_hold_for() {
    for (set, expected) in [
        ("role=db", &["db1", "db2"][..]),
        ("role==db", &["db1", "db2"]),
        ("role=db,rack!=r1", &["db2"]),
        ("role!=db", &["web1", "web2", "spare"]),
        ("role in (db, web), rack=r1", &["db1", "web1"]),
        ("role notin (db)", &["web1", "web2", "spare"]),
        ("gpu", &["web1"]),
        ("!gpu,role", &["db1", "db2", "web2"]),
        ("!quarantined", &["db1", "db2", "web1", "web2", "spare"]),
        ("name=db*", &["db1", "db2"]),
        ("*1", &["db1", "web1"]),
        ("name=web[1-2]", &["web1", "web2"]),
        ("web[2,7]", &["web2"]),
        ("spare", &["spare"]),
        ("!spare,rack=r2", &["db2", "web2"]),
        ("group=eu", &["db1", "db2"]),
        ("group!=canary,group=eu", &["db2"]),
        ("address=https://web?.example.org:7443", &["web1", "web2"]),
    ] {
        assert_eq!(names(&[set], &[], None), expected, "{set}");
    }
}

#[test]
fn several_sets_are_united_then_some_are_left_out_and_the_first_are_taken() {
    assert_eq!(names(&["role=web", "db2"], &[], None), ["db2", "web1", "web2"]);
    assert_eq!(names(&[], &["rack=r2"], None), ["db1", "web1"]);
    assert_eq!(names(&["role"], &["db1", "gpu"], Some(1)), ["db2"]);
    assert_eq!(names(&[], &[], Some(99)).len(), 5);
}

#[test]
fn selecting_nobody_names_what_there_is() {
    let failure = |select: &[&str], exclude: &[&str]| {
        let failure = fleet().narrowed(&flags(select, exclude, None)).expect_err("somebody is left");
        assert_eq!(failure.exit, Exit::Usage);
        failure.to_string()
    };
    let told = failure(&["role=mail"], &[]);
    assert!(told.contains("none of the 5 hosts is selected"), "{told}");
    assert!(told.contains("role=db|web") && told.contains("rack=r1|r2"), "{told}");
    assert!(told.contains("group=canary|eu") && told.contains("name=db1|db2"), "{told}");
    let told = failure(&["rak=r1"], &[]);
    assert!(told.contains("no host has the label 'rak'") && told.contains("did you mean 'rack'"), "{told}");
    // Whoever is to be spared must not be loaded because of a slip.
    let told = failure(&[], &["web3"]);
    assert!(told.contains("--exclude 'web3'") && told.contains("did you mean 'web"), "{told}");
    failure(&[], &["name=*"]);
}

#[test]
fn what_is_no_set_is_refused_with_the_mend() {
    for text in [
        "",
        "role=",
        "=db",
        "role=db,",
        "role in db",
        "role in (db",
        "role on (db)",
        "role in (db,)",
        "in (a)",
        "a b",
        "role=db)",
        "!",
        "a=[3-1]",
        "(a)",
        "x[1-99999]",
    ] {
        let refusal = Selection::parse(text).expect_err(text);
        assert!(!refusal.is_empty(), "{text}");
    }
}
