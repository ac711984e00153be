//! A real Prometheus.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::{Ground, outside, page};

/// A loaded machine, a debug build.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of a story's own, which reads one address every second. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    /// Where it answers.
    pub address: SocketAddr,
    log: PathBuf,
}

impl Prometheus {
    /// Starts it: it reads `scraped`, or itself.
    ///
    /// # Panics
    /// If it does not listen within half a minute.
    pub fn start(ground: &Ground, program: &Path, scraped: Option<SocketAddr>, native: bool) -> Self {
        let folder = ground.path(format!("prometheus-{native}"));
        fs::create_dir(&folder).expect("the folder is new");
        // Free a moment ago: nobody else asks for ports of the kernel's choice by number.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("a port can be had");
        let scraped = scraped.unwrap_or(address);
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: ssts\n  static_configs:\n  - targets: ['{scraped}']\n"
        );
        fs::write(&config, text).expect("the folder is ours");
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

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many series a query gives.
    ///
    /// # Panics
    /// If it finds the query wrong.
    pub fn query(&self, query: &str) -> usize {
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
