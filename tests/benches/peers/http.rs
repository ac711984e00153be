//! What a core of ours asks of a web server, beside wrk on the same core: nginx on the other core serves a small file.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use ssts_tests::{Certificate, Ctl, Daemon, Ground, outside};

use crate::{
    ROUNDS,
    measure::{number, result_of},
    peer::is_installed,
    table::{Figure, Pair, Table},
};

/// Of one measurement.
const SECONDS: u32 = 4;
const PORT: u16 = 18_480;
const TLS_PORT: u16 = 18_481;
/// Of the row with a stall: requests a second, and how long nginx stands still.
const STALL_RATE: u32 = 2_000;
const STALL: Duration = Duration::from_millis(500);
/// A histogram's bucket, and the backlog after the stall, are between the two.
const EQUAL: f64 = 0.9;

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let Some(server) = Server::start(ground) else {
        println!("nginx is not installed: nothing of http is measured");
        return;
    };
    let allow = format!("[\"http://127.0.0.1:{PORT}\", \"https://127.0.0.1:{TLS_PORT}\"]");
    let http = format!(
        "[http]\nallow = {allow}\nmax_rate_per_s = 100_000_000\nca_files = [{:?}]\n",
        server.certificate
    );
    ground.configure(&format!("[observe]\nprobes = false\n{http}"));
    let daemon = Daemon::start(ground);
    let plain = format!("http://127.0.0.1:{PORT}/");
    let tls = format!("https://127.0.0.1:{TLS_PORT}/");
    for (name, url, bar) in
        [("GET of 612 B, 64 connections", &plain, Some(0.9)), ("the same through TLS", &tls, None)]
    {
        let mut pair = Pair::default();
        for _ in 0..ROUNDS {
            pair.ours.push(number(&ours(ground, &format!("--url {url} --protocol http1 --connections 64"))["rates"]["operations_per_s"]));
            pair.peer.extend(wrk(url));
        }
        let figure = Figure::new(name, "requests/s", "wrk", pair);
        table.add_figure(Figure { more_is_better: true, bar, ..figure });
    }
    let mut fixed = [Pair::default(), Pair::default(), Pair::default()];
    for _ in 0..ROUNDS {
        let (told, reckoned) = stalled(ground, &server, &plain);
        for ((pair, told), reckoned) in fixed.iter_mut().zip(told).zip(reckoned) {
            pair.ours.push(told);
            pair.peer.push(reckoned);
        }
    }
    for (name, pair) in
        ["p95 at 2,000/s, nginx stopped for 0.5 s", "its p99", "its p99.9"].into_iter().zip(fixed)
    {
        table.add_figure(Figure { bar: Some(EQUAL), ..Figure::new(name, "ms", "reckoning", pair) });
    }
    drop(daemon);
    ground.configure("");
}

fn ours(ground: &Ground, flags: &str) -> Value {
    let words = format!("--output json burn http --cores 0 --duration {SECONDS}s {flags}");
    result_of(Ctl::new(ground).words(&words).spawn())
}

/// Requests a second. Nothing where it is not installed.
fn wrk(url: &str) -> Option<f64> {
    if !is_installed("wrk") {
        return None;
    }
    let output = Command::new("taskset")
        .args(["-c", "0", "timeout", "20", "wrk", "-t1", "-c64"])
        .arg(format!("-d{SECONDS}s"))
        .arg(url)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("Requests/sec:"))?.trim().parse().ok()
}

/// p95, p99 and p99.9 in ms at a fixed rate, of which the server stands still for a while: as told, and as the length of the
/// stall says without any load generator. What waited through a stall of length s follows at twice the rate, as wrk2 has it: a
/// request that is due t after the stall began waits for s - t / 2, up to 2 s; all others take next to nothing. So of n requests
/// in all, those that wait longer than x are 2 (s - x) of the rate, and quantile q is s - (1 - q) / 2 * n / rate.
fn stalled(ground: &Ground, server: &Server, url: &str) -> ([f64; 3], [f64; 3]) {
    let flags = format!("--url {url} --rate {STALL_RATE} --connections 64");
    let words = format!("--output json burn http --cores 0 --duration {SECONDS}s {flags}");
    let running = Ctl::new(ground).words(&words).spawn();
    thread::sleep(Duration::from_millis(1_500));
    let begin = Instant::now();
    server.signal(Signal::SIGSTOP);
    thread::sleep(STALL);
    server.signal(Signal::SIGCONT);
    let stall_ms = begin.elapsed().as_secs_f64() * 1e3;
    let burner = result_of(running);
    let latency = &burner["latency_by_operation"]["request"];
    let told = ["p95", "p99", "p999"].map(|name| number(&latency[name]) / 1e6);
    let window_ms = f64::from(SECONDS) * 1e3;
    (told, [0.95, 0.99, 0.999].map(|q| stall_ms - (1.0 - q) / 2.0 * window_ms))
}

/// nginx with one process, on core 1.
struct Server {
    child: Child,
    certificate: PathBuf,
}

impl Server {
    /// Nothing where it is not installed.
    fn start(ground: &Ground) -> Option<Self> {
        let program = program(ground)?;
        let folder = ground.path("nginx");
        fs::create_dir(&folder).expect("the folder is new");
        let certificate = Certificate::new(&folder);
        fs::write(folder.join("index.html"), "x".repeat(612)).expect("the folder is ours");
        fs::write(folder.join("nginx.conf"), configuration()).expect("the folder is ours");
        let child = Command::new("taskset")
            .args(["-c", "1"])
            .arg(program)
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { child, certificate: certificate.path() };
        let answers =
            outside::within(Duration::from_secs(5), || TcpStream::connect(("127.0.0.1", PORT)).is_ok());
        assert!(answers.is_some(), "nginx does not answer at port {PORT}");
        Some(server)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it is not reaped");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _best_effort = self.child.kill();
        let _best_effort = self.child.wait();
    }
}

/// As `make bench` unpacked it, or the system's.
fn program(ground: &Ground) -> Option<PathBuf> {
    let ours = ground.programs().target.join("tools/nginx/usr/sbin/nginx");
    let system = ["/usr/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from);
    std::iter::once(ours).chain(system).find(|path| path.is_file())
}

fn configuration() -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  keepalive_requests 1000000000;\n  open_file_cache max=10;\n{temporary}\
         \x20 server {{ listen 127.0.0.1:{PORT}; root .; }}\n\
         \x20 server {{ listen 127.0.0.1:{TLS_PORT} ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem; root .; }}\n}}\n"
    )
}
