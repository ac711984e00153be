//! A real Prometheus reads an agent, and promtool looks at what it says.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use ssts_proto::names::MEASUREMENTS;
use ssts_tests::{
    Ctl, Ground, outside,
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
        let server = Prometheus::start(&ground, &prometheus, address, native);
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
                let may_lack = ["frequency", "temperature", "throttles", "latency", "pressure", "errors"];
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

/// A Prometheus of the story's own, which reads one address every second. Killed when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Prometheus {
    fn start(ground: &Ground, program: &Path, scraped: SocketAddr, native: bool) -> Self {
        let folder = ground.path(format!("prometheus-{native}"));
        fs::create_dir(&folder).expect("the folder is new");
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: ssts\n  static_configs:\n  - targets: ['{scraped}']\n"
        );
        fs::write(&config, text).expect("the folder is ours");
        // Free a moment ago: nobody else asks for ports of the kernel's choice by number.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("a port can be had");
        let log = folder.join("log");
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("the folder is ours"));
        if native {
            command.arg("--enable-feature=native-histograms");
        }
        let child = command.spawn().expect("prometheus can be executed");
        let server = Self { child, address, log };
        let is_up = || TcpStream::connect(address).is_ok();
        assert!(outside::within(PATIENCE, is_up).is_some(), "{}", server.log());
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many series a query gives.
    fn query(&self, query: &str) -> usize {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = page::ask(self.address, request.as_bytes());
        // It starts up a while after it listens.
        if answer.status == 503 {
            return 0;
        }
        let answer: Value = serde_json::from_slice(&answer.body).expect("it answers in JSON");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _best_effort = self.child.kill();
        let _best_effort = self.child.wait();
    }
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
