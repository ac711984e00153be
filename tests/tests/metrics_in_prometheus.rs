//! A real Prometheus reads an agent, and promtool looks at what it says.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use ssts_proto::names::MEASUREMENTS;
use ssts_tests::{
    Ctl, Ground, Prometheus, outside,
    page::{self, TEXT, serving},
    prometheus_tool,
};

/// A loaded machine, a debug build.
const PATIENCE: Duration = Duration::from_secs(30);

/// A real Prometheus: it takes both formats that it asks for, native histograms among them, and answers each query of
/// docs/metrics.md.
#[test]
fn prometheus_reads_it_and_answers_what_the_document_says() {
    let Some(prometheus) = prometheus_tool("prometheus") else { return };
    let ground = Ground::new();
    let (daemon, address) = serving(&ground);
    let running = Ctl::new(&ground)
        .words("--output json burn disk --size 16MiB --rw randread --rate 500 --duration 20s --path")
        .args([ground.disk().display().to_string()])
        .spawn();
    daemon.burning(1);
    for native in [false, true] {
        let server = Prometheus::start(&ground, &prometheus, Some(address), native);
        assert!(outside::within(PATIENCE, || server.query("up == 1") == 1).is_some(), "{}", server.log());
        // Rates need two scrapes.
        let rate = || server.query("rate(ssts_host_cpu_seconds_total[1m])") > 0;
        assert!(outside::within(PATIENCE, rate).is_some(), "{}", server.log());
        let log = server.log();
        assert!(
            !log.contains("level=warn component=\"scrape") && !log.contains("msg=\"Append failed\""),
            "{log}"
        );
        if native {
            let p99 = "histogram_quantile(0.99, rate(ssts_burner_latency_seconds[1m])) > 0";
            assert!(outside::within(PATIENCE, || server.query(p99) == 1).is_some(), "{}", server.log());
            continue;
        }
        for measurement in MEASUREMENTS {
            for field in measurement.fields {
                let rows = server.query(field.query);
                // Those that a virtual machine without probes lacks.
                let may_lack =
                    ["frequency", "temperature", "throttles", "latency", "pressure", "errors", "tcp"];
                let (name, field) = (measurement.name, field.name);
                assert!(
                    rows > 0 || may_lack.iter().any(|lack| field.contains(lack)),
                    "{name}.{field} has no value"
                );
            }
        }
    }
    running.outcome().assert_status(0);
}

/// promtool knows what Prometheus's authors think of names.
#[test]
fn promtool_finds_nothing_to_mend() {
    let Some(promtool) = prometheus_tool("promtool") else { return };
    let ground = Ground::new();
    let (_daemon, address) = serving(&ground);
    let page = page::scrape(address, TEXT).body;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be executed");
    child.stdin.take().expect("it is piped").write_all(&page).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
}
