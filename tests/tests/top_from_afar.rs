//! `sstsctl top` on one host, looking at another one over TLS: it is as live as on the spot, and survives the cable.

use std::path::Path;

use ssts_tests::{Ctl, Daemon, Ground, Pki, Side, Terminal, Wire, privileged, tls_address, tools};

const FAR: &str = "10.77.0.2";

fn is_live(screen: &str) -> bool {
    screen.contains(" LIVE ") && screen.contains("   0 [")
}

/// What was started is stopped by one who may; one who may only look is told so. In between somebody pulls the cable.
#[test]
fn a_host_behind_a_cable_is_watched_over_tls() {
    if !privileged() || !tools(&["ip"]) {
        return;
    }
    let wire = Wire::new();
    let ground = Ground::new();
    let near = Ground::beside(&ground);
    let pki = Pki::of_host_at(&ground, "pki", FAR);
    let folders = ["viewer", "operator"].map(|role| pki.client(&ground, role, role));
    ground.configure(&pki.config(""));
    let far = wire.program(&ground, Side::Far, &ground.programs().sstsd);
    let daemon = Daemon::start_program(&ground, &far, |_| {});
    let host = format!("https://{}", tls_address(&daemon));
    let ctl = wire.program(&near, Side::Near, &near.programs().sstsctl);
    let call =
        |client: &Path| Ctl::by(&near, &ctl).args(["--pki", &client.display().to_string(), "--host", &host]);
    let top = |client: &Path| -> Terminal { call(client).words("top --rate 10").on_terminal() };
    let [viewer, operator] = &folders;

    let mut watching = top(viewer);
    watching.shows("the cores of the host behind the cable", is_live);
    call(operator).words("burn cpu --load 20 --duration 5m --detach").run().assert_status(0);
    watching.shows("the run", |screen| screen.contains("run burn-cpu running"));

    wire.set_up(false);
    watching.shows("that nothing comes", |screen| screen.contains(" LOST "));
    wire.set_up(true);
    watching.shows("a live picture again", |screen| {
        is_live(screen) && !screen.contains("no connection") && screen.contains("run burn-cpu running")
    });

    watching.keys("s");
    watching.shows("the question", |screen| screen.contains("stop run "));
    watching.keys("y");
    watching.shows("that a viewer may not", |screen| screen.contains("can't be stopped"));
    let mut acting = top(operator);
    acting.shows("the run", |screen| is_live(screen) && screen.contains("run burn-cpu running"));
    acting.keys("s");
    acting.shows("the question", |screen| screen.contains("stop run "));
    acting.keys("y");
    acting.shows("that it was stopped", |screen| screen.contains("no run; the latest: burn-cpu"));
    watching.shows("the same", |screen| screen.contains("no run; the latest: burn-cpu"));
    for mut top in [watching, acting] {
        top.keys("q");
        assert_eq!(top.end().code(), Some(0));
        top.assert_given_back();
    }
}
