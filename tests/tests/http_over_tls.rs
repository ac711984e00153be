//! A service behind TLS: who is trusted, what is spoken, how often hands are shaken.
#![expect(clippy::panic, reason = "a story fails by panicking")]

use serde_json::Value;
use ssts_tests::{Certificate, Ctl, Daemon, Ground, Service, tolerance_of, tools};

/// A service behind TLS, and a daemon that may load it.
struct Behind {
    _daemon: Daemon,
    service: Service,
    ground: Ground,
}

impl Behind {
    /// Nothing where the story can't be told.
    fn new(protocols: &[&str], trusts: bool, more: &str) -> Option<Self> {
        if !tools(&["openssl"]) {
            return None;
        }
        let ground = Ground::new();
        let certificate = Certificate::new(&ground.path("home"));
        let service = Service::tls(&certificate, protocols);
        let trusted = if trusts { format!("ca_files = [{:?}]\n", certificate.path()) } else { String::new() };
        let allow = service.url("");
        ground
            .configure(&format!("[observe]\nprobes = false\n[http]\nallow = [\"{allow}\"]\n{trusted}{more}"));
        Some(Self { _daemon: Daemon::start(&ground), service, ground })
    }

    fn burn(&self, flags: &str) -> Ctl {
        let url = self.service.url("/");
        let tolerance = tolerance_of(flags);
        Ctl::new(&self.ground).words(&format!("burn http --url {url} --duration 500ms {flags} {tolerance}"))
    }

    fn burner(&self, flags: &str) -> Value {
        self.burn(flags).json()["hosts"][0]["burners"][0].take()
    }
}

fn figure(burner: &Value, name: &str) -> u64 {
    burner["figures"][name]["value"].as_f64().unwrap_or_else(|| panic!("no {name}: {burner:#}")) as u64
}

#[test]
fn what_the_service_chooses_is_spoken() {
    for (protocols, flags, is_http2) in [
        (&["h2", "http/1.1"][..], "", true),
        (&["http/1.1"], "", false),
        (&["h2", "http/1.1"], "--protocol http1", false),
        (&["h2"], "--protocol http2", true),
    ] {
        let Some(story) = Behind::new(protocols, true, "") else { return };
        let burner = story.burner(&format!("{flags} --rate 100 --connections 2"));
        assert_eq!(story.service.requests(), 50, "{burner:#}");
        assert_eq!(story.service.http2_requests(), if is_http2 { 50 } else { 0 }, "{burner:#}");
        assert_eq!((story.service.handshakes(), figure(&burner, "handshakes")), ((2, 0), 2));
        let variant = burner["variant"].as_str().unwrap_or_default();
        assert!(variant.contains("TLSv1_3"), "{variant}");
    }
}

#[test]
fn a_service_without_http2_is_told_where_that_was_asked() {
    let Some(story) = Behind::new(&["http/1.1"], true, "") else { return };
    let outcome = story.burn("--protocol http2").run();
    outcome.assert_status(5);
    let told = &outcome.stderr;
    assert!(told.contains("does not speak HTTP/2") || told.contains("handshake"), "{told}");
}

#[test]
fn a_certificate_of_an_unknown_issuer_ends_the_run_before_it_begins() {
    let Some(story) = Behind::new(&["http/1.1"], false, "") else { return };
    story.burn("").run().assert_status(5).assert_tells(&["TLS handshake", "certificate"]);
    story
        .burn("--insecure")
        .run()
        .assert_status(2)
        .assert_tells(&["--insecure", "http.allow_insecure = false"]);
    assert_eq!(story.service.requests(), 0);
}

#[test]
fn any_certificate_is_taken_where_both_sides_want_it() {
    let Some(story) = Behind::new(&["http/1.1"], false, "allow_insecure = true\n") else { return };
    let burner = story.burner("--insecure --rate 100");
    assert_eq!(figure(&burner, "status_2xx"), 50, "{burner:#}");
}

#[test]
fn a_connection_for_each_request_is_a_handshake_for_each() {
    let Some(story) = Behind::new(&["http/1.1"], true, "") else { return };
    let burner = story.burner("--new-connection --rate 100 --connections 4");
    assert_eq!(figure(&burner, "sent"), 50, "{burner:#}");
    // One to see that it can be had.
    assert_eq!(story.service.handshakes(), (51, 0), "{burner:#}");
    assert_eq!(figure(&burner, "handshakes"), 51);
    assert_eq!(burner["latency_by_operation"]["handshake"]["count"], 51, "{burner:#}");
    let burner = story.burner("--new-connection --resume --rate 100 --connections 4");
    let (full, resumed) = story.service.handshakes();
    assert!(full < 51 + 10 && resumed > 30, "{full} in full, {resumed} resumed: {burner:#}");
}
