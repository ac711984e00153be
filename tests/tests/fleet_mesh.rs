//! Each two of four hosts measure what is between them, and the one link that is slow is the one that is named.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use serde_json::Value;
use ssts_tests::{Ctl, Daemon, Ground, Switch, note, privileged, tools};

const HOSTS: usize = 4;

/// Daemons at one switch, dropped before it.
struct Hosts {
    daemons: Vec<Option<Daemon>>,
    switch: Switch,
    grounds: Vec<Ground>,
}

impl Hosts {
    /// Nothing where the story can't be told.
    fn new() -> Option<Self> {
        if !privileged() || !tools(&["ip", "tc", "bash"]) {
            return None;
        }
        let switch = Switch::new(HOSTS);
        let mut grounds = vec![Ground::new()];
        for _ in 1..HOSTS {
            grounds.push(Ground::beside(&grounds[0]));
        }
        let start = |(host, ground): (usize, &Ground)| {
            let address = switch.address(host);
            ground.configure(&format!(
                "[observe]\nprobes = false\n[network]\nallowed_peers = [\"10.78.0.0/24\"]\n[network.sink]\n\
                 listen = [\"{address}:7471\"]\nallowed_peers = [\"10.78.0.0/24\"]\n"
            ));
            let program = switch.program(ground, host, &ground.programs().sstsd);
            Some(Daemon::start_program(ground, &program, |_| {}))
        };
        let daemons = grounds.iter().enumerate().map(start).collect();
        Some(Self { daemons, switch, grounds })
    }

    /// They are commanded by their sockets, and know each other by addresses.
    fn inventory(&self) -> String {
        let host = |(host, ground): (usize, &Ground)| {
            format!(
                "[[host]]\nname = \"n{host}\"\naddress = \"unix:{}\"\nlabels = {{ peer = \"{}\" }}\n",
                ground.socket().display(),
                self.switch.address(host)
            )
        };
        self.grounds[0].file("hosts.toml", &self.grounds.iter().enumerate().map(host).collect::<String>())
    }

    fn mesh(&self, flags: &str) -> Ctl {
        let ctl = Ctl::bare(&self.grounds[0]).args(["--fleet", &self.inventory(), "--store", "none"]);
        ctl.words(&format!("net-mesh --rate 100M --datagrams 5M --requests 200 --duration 500ms {flags}"))
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value:#}"))
}

#[test]
fn the_slow_link_is_named_first() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.switch.slow_down(2, 1, "6mbit");
    let mesh = hosts.mesh("").json();
    let links = mesh["links"].as_array().expect("it has links");
    assert_eq!(links.len(), HOSTS * (HOSTS - 1), "{mesh:#}");
    for link in links {
        let (from, to) = (text(link, "from"), text(link, "to"));
        let throughput = link["throughput_bits_per_s"].as_f64().unwrap_or_else(|| panic!("{link:#}"));
        note(format_args!(
            "{from} to {to}: {:.1} Mbit/s, {}, {} %",
            throughput / 1e6,
            link["latency_ns"],
            link["loss_percent"]
        ));
        assert!(link["latency_ns"]["p50"].as_u64().is_some_and(|ns| ns > 0), "{link:#}");
        assert!(link["loss_percent"].is_number(), "{link:#}");
    }
    let odd = mesh["odd_links"].as_array().expect("it has some").first().expect("one link is slow");
    assert_eq!((text(odd, "from"), text(odd, "to")), ("n2", "n1"), "{mesh:#}");
    assert_eq!(text(odd, "metric"), "throughput", "{mesh:#}");
    assert!(odd["row_median"].as_f64() > odd["value"].as_f64(), "{odd:#}");
    assert_eq!(mesh["left_out"], Value::Null, "{mesh:#}");
}

#[test]
fn a_host_that_is_gone_is_left_out_and_one_without_a_sink_is_told() {
    let Some(mut hosts) = Hosts::new() else { return };
    hosts.daemons[3] = None;
    // The last one takes nobody any more.
    hosts.daemons[0] = None;
    let ground = &hosts.grounds[0];
    ground.configure("[observe]\nprobes = false\n[network]\nallowed_peers = [\"10.78.0.0/24\"]\n");
    let program = hosts.switch.program(ground, 0, &ground.programs().sstsd);
    hosts.daemons[0] = Some(Daemon::start_program(ground, &program, |_| {}));
    let outcome = hosts.mesh("--output json").run();
    outcome.assert_status(5);
    let mesh = outcome.json();
    assert_eq!(text(&mesh["left_out"][0], "host"), "n3", "{mesh:#}");
    let links = mesh["links"].as_array().expect("it has links");
    assert_eq!(links.len(), 6, "{mesh:#}");
    for link in links {
        assert_eq!(link["failure"].is_string(), text(link, "to") == "n0", "{link:#}");
    }
    let shown = hosts.mesh("--one-way").run();
    shown.assert_status(5);
    for part in ["Throughput", "Left out", "n3"] {
        assert!(shown.stdout.contains(part), "no {part}: {}", shown.stdout);
    }
    Ctl::bare(&hosts.grounds[0])
        .words("net-mesh")
        .run()
        .assert_status(2)
        .assert_tells(&["there are not two", "--fleet"]);
}
