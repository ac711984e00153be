use super::*;
use crate::error::Exit;

fn fleet(text: &str) -> Fleet {
    parse("fleet.toml", text.to_owned()).unwrap_or_else(|failure| panic!("{failure}"))
}

fn refusal(text: &str) -> String {
    let failure = parse("fleet.toml", text.to_owned()).expect_err(text);
    assert_eq!(failure.exit, Exit::Usage);
    failure.to_string()
}

const WHOLE: &str = r#"
domains = ["rack", "row"]

[defaults]
port = 7000
watts = 300
labels = { site = "ber", row = "1" }

[[host]]
name = "r[1-2]n[01-02]"
address = "https://{name}.example.org"
rack = "r{1}"
power = "a"
labels = { role = "db", slot = "{2}" }
groups = ["canary"]

[[host]]
name = "web[1,3]"
address = "https://10.0.0.[11-12]:7443"
labels = { row = 2, gpu = true }
watts = 450.5

[[host]]
name = "here"
address = "unix:/run/ssts/sstsd.sock"

[group.busy]
hosts = ["r1*", "web3"]
labels = { load = "high", role = "any" }

[group.canary]
watts = 200
"#;

#[test]
fn an_inventory_has_hosts_with_what_they_their_groups_and_the_defaults_say() {
    let fleet = fleet(WHOLE);
    let names: Vec<_> = fleet.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["r1n01", "r1n02", "r2n01", "r2n02", "web1", "web3", "here"]);
    let told = |name: &str| {
        let member = fleet.members.iter().find(|member| member.name == name).unwrap();
        let labels: Vec<_> = member.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        format!("{} {} {:?}", member.host, labels.join(" "), member.watts)
    };
    assert_eq!(
        told("r1n02"),
        "https://r1n02.example.org:7000 group=busy,canary load=high power=a rack=r1 role=db row=1 site=ber slot=02 \
         Some(200.0)"
    );
    assert_eq!(
        told("web3"),
        "https://10.0.0.12:7443 gpu=true group=busy load=high role=any row=2 site=ber Some(450.5)"
    );
    assert_eq!(told("here"), "unix:/run/ssts/sstsd.sock row=1 site=ber Some(300.0)");
    assert_eq!(fleet.domains, ["rack", "row"]);
}

#[test]
fn a_host_needs_no_more_than_a_name() {
    let fleet = fleet("[[host]]\nname = 'node[001-128].example.org'\npower = 'b'\n");
    assert_eq!(fleet.members.len(), 128);
    assert_eq!(fleet.members[127].host.to_string(), "https://node128.example.org:7443");
    assert_eq!(fleet.domains, ["power"]);
}

#[test]
fn json_has_the_same_keys() {
    let json = r#"{ "defaults": { "port": 7000 },
        "host": [ { "name": "db[1-2]", "rack": "r{1}", "watts": 3.5e2, "groups": ["eu"] } ],
        "group": { "eu": { "labels": { "zone": "\u0065u" } } } }"#;
    let toml = "[defaults]\nport = 7000\n[[host]]\nname = 'db[1-2]'\nrack = 'r{1}'\nwatts = 350\ngroups = ['eu']\n\
                [group.eu]\nlabels = { zone = 'eu' }\n";
    assert_eq!(fleet(json), fleet(toml));
}

#[test]
fn everything_that_is_wrong_is_told_at_its_place_with_the_mend() {
    let host = |more: &str| format!("[[host]]\nname = 'a'\n{more}\n");
    for (text, words) in [
        (String::new(), &["needs hosts", "[[host]]"][..]),
        ("host = []".into(), &["the list of hosts is empty"]),
        ("[[host]]\naddress = 'x'".into(), &["fleet.toml:1:1", "a host needs the key 'name'"]),
        ("[[hosts]]\nname = 'a'".into(), &["fleet.toml:1:3", "did you mean 'host'"]),
        (host("rak = 'r1'"), &["fleet.toml:3:1", "no key 'rak'", "did you mean 'rack'"]),
        (host("address = 'http://a:1'"), &["fleet.toml:3:11", "https://a:1", "HOST:PORT"]),
        (host("address = 'https://{rack}'"), &["nothing is called {rack}"]),
        (host("address = 7"), &["the number 7", "an address in quotes"]),
        (host("port = 0"), &["no port 0"]),
        (host("watts = -3"), &["no host draws -3 W"]),
        (host("labels = { name = 'x' }"), &["fleet.toml:3:12", "every host has 'name' anyway"]),
        (host("labels = { 'a b' = 'x' }"), &["'a b' is no name of a label"]),
        (host("labels = { role = [] }"), &["an array stands here"]),
        (host("labels = { rack = 'a' }\nrack = 'b'"), &["'rack' is said twice"]),
        (host("groups = 'eu'"), &["a list of names"]),
        (host("groups = ['a,b']"), &["'a,b' is no name of a group"]),
        (host("[[host]]\nname = 'a'\naddress = 'b'"), &["fleet.toml:4:8", "two hosts of the name 'a'"]),
        (host("[[host]]\nname = 'b'\naddress = 'a'"), &["b and a are at one address: https://a:7443"]),
        ("[[host]]\nname = 'a[1-2]'\naddress = 'b'".into(), &["at one address", "{name}"]),
        ("[[host]]\nname = 'a[1-2]'\naddress = 'b[1-3]'".into(), &["3 addresses for 2 hosts", "{name}"]),
        ("[[host]]\nname = 'node[3-1]'".into(), &["fleet.toml:2:13", "3 down to 1", "[1-3]"]),
        ("[[host]]\nname = 'n[1-10001]'".into(), &["there are 10001 hosts", "10000 are the most"]),
        (
            "[[host]]\nname = 'n[1-9000]'\n[[host]]\nname = 'm[1-9000]'".into(),
            &["fleet.toml:4:8", "18000 hosts"],
        ),
        ("[[host]]\nname = 'a b'".into(), &["' ' in a host's name"]),
        (
            "domains = ['rak']\n[[host]]\nname = 'a'\nrack = 'x'".into(),
            &["fleet.toml:1:12", "did you mean 'rack'"],
        ),
        (host("[group.eu]\nlabels = { a = 'x' }"), &["no host is in this group"]),
        (host("[group.eu]\nhosts = ['b*']"), &["none of the hosts has such a name"]),
        (
            host("[group.x]\nhosts = ['a']\npower = '1'\n[group.y]\nhosts = ['a']\npower = '2'"),
            &["fleet.toml:8:9", "power of a is '2' here, and '1' by group 'x'"],
        ),
        (host("x = "), &["mend the TOML syntax"]),
        (format!("a{} = 1", ".a".repeat(40)), &["very many parts"]),
        ("{ \"host\": [ { \"name\": \"a\" } }".into(), &["fleet.toml:1:", "mend the JSON syntax"]),
        ("{ \"host\": [\n { \"name\": null } ] }".into(), &["fleet.toml:2:12", "null"]),
        ("{ \"host\": [\n { \"name\": \"a\", \"name\": \"b\" } ] }".into(), &["'name' stands here twice"]),
        ("{ \"host\": [\n { \"name\": \"a\", \"rak\": \"b\" } ] }".into(), &["fleet.toml:2:17", "'rack'"]),
        ("{ \"host\": [ { \"name\": \"a\" }, ] }".into(), &["mend the JSON syntax"]),
    ] {
        let told = refusal(&text);
        for words in words {
            assert!(told.contains(words), "{text}\n{told}");
        }
        assert!(told.contains("mend: "), "{told}");
    }
}

#[test]
fn of_many_that_are_wrong_alike_one_is_told() {
    let told = refusal("[[host]]\nname = 'n[1-9999]'\nrack = '{7}'\n");
    assert_eq!(told.matches("error:").count(), 1, "{told}");
    let told = refusal("[[host]]\nname = 'n[1-9999]'\nrak = 'x'\nwats = 1\n");
    assert_eq!(told.matches("error:").count(), 2, "{told}");
}
