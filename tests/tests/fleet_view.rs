//! One view of several hosts, on a real terminal.

use ssts_tests::{Ctl, Daemon, Ground, Terminal};

const ESCAPE: &str = "\x1b";
const ENTER: &str = "\r";

/// Three daemons, h1 to h3, and an inventory of them.
struct Fleet {
    // Dropped in this order: daemons, then folders.
    daemons: Vec<Daemon>,
    grounds: Vec<Ground>,
    inventory: String,
}

impl Fleet {
    fn new() -> Self {
        let mut grounds = vec![Ground::new()];
        while grounds.len() < 3 {
            grounds.push(Ground::beside(&grounds[0]));
        }
        let host = |(number, ground): (usize, &Ground)| {
            let socket = ground.socket();
            format!(
                "[[host]]\nname = \"h{number}\"\naddress = \"unix:{}\"\nrack = \"r{number}\"\n",
                socket.display()
            )
        };
        let inventory: String = (1..).zip(&grounds).map(host).collect();
        let inventory = grounds[0].file("fleet.toml", &inventory);
        let start = |ground: &Ground| {
            ground.configure("[observe]\nprobes = false\n");
            Daemon::start(ground)
        };
        Self { daemons: grounds.iter().map(start).collect(), grounds, inventory }
    }

    fn ctl(&self, words: &str) -> Ctl {
        Ctl::bare(&self.grounds[0]).args(["--fleet", &self.inventory]).words(words)
    }
}

/// The hosts' rows, in their order: each begins with a host's name.
fn rows(screen: &str) -> Vec<String> {
    let is_row = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| matches!(word, "h1" | "h2" | "h3"))
            && words.next().is_some_and(|word| STANDINGS.contains(&word))
    };
    screen.lines().filter(is_row).map(str::to_owned).collect()
}

const STANDINGS: [&str; 6] = ["idle", "running", "pending", "halted", "unreachable", "silent"];

fn order(screen: &str) -> Vec<String> {
    rows(screen).iter().filter_map(|row| row.split_whitespace().next().map(str::to_owned)).collect()
}

fn stands(screen: &str, name: &str, standing: &str) -> bool {
    rows(screen).iter().any(|row| row.split_whitespace().take(2).eq([name, standing]))
}

fn shows_order(top: &Terminal, what: &str, expected: &[&str]) {
    top.shows(what, |screen| order(screen) == expected);
}

/// A person at work: sorts, filters, looks into a host and comes back, loses a host, stops the run, halts all, quits.
#[test]
fn hosts_are_sorted_filtered_opened_stopped_and_halted() {
    let mut fleet = Fleet::new();
    let burn = "--store none burn cpu --load 30 --duration 5m --detach";
    Ctl::new(&fleet.grounds[1]).words(burn).run().assert_status(0);

    let mut top = fleet.ctl("top").on_terminal();
    let screen = top.shows("the run of h2, and its load", |screen| {
        stands(screen, "h2", "running")
            && stands(screen, "h1", "idle")
            && stands(screen, "h3", "idle")
            && screen.contains("1/1 burn-cpu")
            && screen.contains("/30%")
    });
    assert!(screen.starts_with("fleet of 3 hosts") && screen.contains("1 running  2 idle"), "{screen}");
    assert_eq!(order(&screen), ["h2", "h1", "h3"], "by state\n{screen}");
    assert!(top.is_alternate() && top.hides_cursor() && !top.is_as_before());

    top.keys("1");
    shows_order(&top, "hosts by their names", &["h1", "h2", "h3"]);
    top.keys("1");
    shows_order(&top, "the other way round", &["h3", "h2", "h1"]);
    top.keys("/rack=r1");
    shows_order(&top, "the one of the rack", &["h1"]);
    top.keys(ENTER);
    top.shows("the filter", |screen| screen.contains("filter: rack=r1 (1)"));
    top.keys(ESCAPE);
    top.shows("all of them", |screen| order(screen).len() == 3);
    top.keys("m");
    top.shows("the map", |screen| order(screen).is_empty() && screen.contains("R running"));
    top.keys("m2");
    shows_order(&top, "hosts by their state", &["h2", "h1", "h3"]);

    // The cursor is with the first.
    top.keys("\x1b[H");
    top.keys(ENTER);
    top.shows("the host's own view", |screen| {
        screen.contains(" LIVE ") && screen.contains("run burn-cpu running") && screen.contains("Esc fleet")
    });
    top.keys(ESCAPE);
    top.shows("the fleet again", |screen| screen.starts_with("fleet of 3 hosts") && order(screen).len() == 3);

    drop(fleet.daemons.pop());
    let lost = top.shows("that h3 is gone", |screen| stands(screen, "h3", "unreachable"));
    assert_eq!(order(&lost), ["h3", "h2", "h1"], "the worst first\n{lost}");
    assert!(lost.contains("1 unreachable"), "{lost}");

    top.keys("sn");
    top.shows("that nothing was done", |screen| screen.contains("nothing was done"));
    top.keys("s");
    top.shows("the question", |screen| screen.contains("on 1 host?"));
    top.keys("y");
    top.shows("that it is quiet", |screen| screen.contains("stopping: 1 of 1 are quiet"));
    top.shows("that h2 has no run", |screen| stands(screen, "h2", "idle"));

    top.keys("h");
    top.shows("the question", |screen| screen.contains("halt all 3 hosts?"));
    top.keys("y");
    top.shows("who is quiet, and who has not confirmed", |screen| {
        screen.contains("halting: 2 of 3 are quiet; not confirmed by h3")
    });
    top.shows("that both are halted", |screen| {
        stands(screen, "h1", "halted") && stands(screen, "h2", "halted")
    });

    top.keys("q");
    assert_eq!(top.end().code(), Some(0));
    top.assert_given_back();

    // The same as text: h3 is told, and the exit status says that somebody is missing.
    let once = fleet.ctl("top --once").run();
    once.assert_status(5);
    assert_eq!(order(&once.stdout), ["h3", "h1", "h2"], "{}", once.stdout);
    assert!(!once.stdout.contains('\x1b') && once.stdout.contains("2 halted"), "{}", once.stdout);
}

/// However it is ended, the terminal is as it was; and a host that comes back is shown again.
#[test]
fn a_host_that_comes_back_is_shown_again() {
    let mut fleet = Fleet::new();
    drop(fleet.daemons.pop());
    let mut top = fleet.ctl("top").on_terminal();
    top.shows("that h3 is not there", |screen| {
        stands(screen, "h3", "unreachable") && stands(screen, "h1", "idle")
    });
    fleet.daemons.push(Daemon::start(&fleet.grounds[2]));
    top.shows("that h3 is there", |screen| stands(screen, "h3", "idle"));
    top.keys("\x03");
    assert_eq!(top.end().code(), Some(130));
    top.assert_given_back();
    let refused = fleet.ctl("--output json top").run();
    refused.assert_status(2);
}
