//! What a collector gets that metrics are pushed to by OTLP: all of them, again and again, whatever became of a push before.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value},
    metrics::v1::{ExponentialHistogramDataPoint, Metric, NumberDataPoint, metric::Data, number_data_point},
};
use prost::Message as _;
use ssts_tests::{
    Ctl, Daemon, Ground,
    page::{self, Page, TEXT},
};

/// A loaded machine, a debug build.
const PATIENCE: Duration = Duration::from_secs(60);

/// One push as it came.
struct Push {
    /// Method, target and version, as the first line has them.
    line: String,
    headers: BTreeMap<String, String>,
    request: ExportMetricsServiceRequest,
}

/// A collector that answers with what `status` says at the moment.
struct Collector {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    pushes: mpsc::Receiver<Push>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let status = Arc::new(AtomicU16::new(200));
        let (sender, pushes) = mpsc::channel();
        let answers = status.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(push) = answer(stream, answers.load(Relaxed)) else { continue };
                if sender.send(push).is_err() {
                    break;
                }
            }
        });
        Self { address, status, pushes }
    }

    fn next(&self) -> Push {
        self.pushes.recv_timeout(PATIENCE).expect("a push in time")
    }

    fn daemon(&self, ground: &Ground) -> (Daemon, SocketAddr) {
        let endpoint = format!("http://{}/v1/metrics", self.address);
        ground.configure(&format!(
            "[metrics.otlp]\nendpoint = \"{endpoint}\"\ninterval = \"1s\"\n\
             headers = {{ authorization = \"Bearer a-secret\" }}\n"
        ));
        page::serving(ground)
    }
}

fn answer(mut stream: TcpStream, status: u16) -> Option<Push> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    write!(stream, "HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n").ok()?;
    let request = ExportMetricsServiceRequest::decode(&body[..]).expect("what is pushed is OTLP");
    Some(Push { line: line.trim_end().to_owned(), headers, request })
}

impl Push {
    fn metrics(&self) -> BTreeMap<&str, &Metric> {
        let of_scope = self.request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        of_scope.flat_map(|scope| &scope.metrics).map(|metric| (metric.name.as_str(), metric)).collect()
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        let points: &[NumberDataPoint] =
            match self.metrics().get(name).and_then(|metric| metric.data.as_ref()) {
                Some(Data::Sum(sum)) => &sum.data_points,
                Some(Data::Gauge(gauge)) => &gauge.data_points,
                _ => &[],
            };
        let value = |point: &NumberDataPoint| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => Some(value),
            _ => None,
        };
        points.iter().map(|point| value(point).expect("a double")).collect()
    }

    fn histograms(&self, name: &str) -> Vec<ExponentialHistogramDataPoint> {
        match self.metrics().get(name).and_then(|metric| metric.data.as_ref()) {
            Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.clone(),
            _ => Vec::new(),
        }
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

#[test]
fn a_collector_gets_what_a_scrape_gets() {
    let ground = Ground::new();
    let collector = Collector::start();
    let (_daemon, address) = collector.daemon(&ground);
    let first = collector.next();
    assert_eq!(first.line, "POST /v1/metrics HTTP/1.1");
    assert_eq!(first.headers["content-type"], "application/x-protobuf");
    assert_eq!(first.headers["authorization"], "Bearer a-secret");
    let resource = first.request.resource_metrics[0].resource.as_ref().expect("who it is");
    let hostname = nix::unistd::gethostname().expect("a name").into_string().expect("plain text");
    assert_eq!(text(&resource.attributes, "host.name"), Some(hostname));
    assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("sstsd"));

    let folder = ground.disk().display().to_string();
    let burn = ["burn", "disk", "--path", &folder, "--size", "8MiB", "--duration", "3s"];
    Ctl::new(&ground).args(burn).run().assert_status(0);
    let last = std::iter::repeat_with(|| collector.next())
        .find(|push| push.numbers("ssts_runs_finished").iter().sum::<f64>() > 0.0)
        .expect("it is endless");

    let page = Page::of(address, TEXT);
    let families: Vec<_> = page.kinds.keys().map(|name| name.trim_end_matches("_total")).collect();
    for (name, metric) in last.metrics() {
        assert!(families.contains(&name), "{name} is not among those of a scrape");
        assert!(!metric.description.is_empty(), "{name}");
    }
    assert!(last.metrics().len() + 5 >= families.len(), "{} of {}", last.metrics().len(), families.len());
    let [before, after] =
        [&first, &last].map(|push| push.numbers("ssts_host_cpu_seconds").iter().sum::<f64>());
    assert!(after > before, "the host's CPU time goes on: {before} {after}");
    let latencies = last.histograms("ssts_burner_latency_seconds");
    assert!(!latencies.is_empty(), "a disk burner's latencies are among them");
    for point in latencies {
        let buckets = point.positive.as_ref().expect("buckets");
        let counted: u64 = buckets.bucket_counts.iter().sum();
        assert_eq!(counted + point.zero_count, point.count);
        assert!(point.start_time_unix_nano > 0 && point.time_unix_nano > point.start_time_unix_nano);
    }
}

#[test]
fn what_a_failed_push_had_the_next_one_has() {
    let ground = Ground::new();
    let collector = Collector::start();
    collector.status.store(503, Relaxed);
    let (daemon, _) = collector.daemon(&ground);
    let refused = collector.next();
    assert!(refused.numbers("ssts_frames")[0] >= 0.0);
    Ctl::new(&ground).words("burn cpu --cores 0 --load 10 --duration 1s").run().assert_status(0);
    let unheard = collector.next();
    collector.status.store(200, Relaxed);
    let heard = std::iter::repeat_with(|| collector.next())
        .find(|push| {
            push.metrics().contains_key("ssts_exposition_pushes")
                && push.numbers("ssts_runs_finished").iter().sum::<f64>() > 0.0
        })
        .expect("it is endless");
    let failed = heard.metrics()["ssts_exposition_pushes"];
    let Some(Data::Sum(sum)) = &failed.data else { panic!("a counter: {failed:?}") };
    let of = |outcome: &str| {
        let point = sum
            .data_points
            .iter()
            .find(|point| text(&point.attributes, "outcome").as_deref() == Some(outcome));
        match point.and_then(|point| point.value) {
            Some(number_data_point::Value::AsDouble(count)) => count,
            other => panic!("{outcome}: {other:?}"),
        }
    };
    assert!(of("failed") >= 2.0, "two were refused at least");
    assert!(heard.numbers("ssts_frames")[0] > unheard.numbers("ssts_frames")[0]);
    let log = daemon.log();
    assert_eq!(log.matches("metrics could not be pushed").count(), 1, "told once:\n{log}");
    assert!(!log.contains("a-secret"), "{log}");
}

#[test]
fn a_collector_that_never_answers_holds_up_nothing() {
    let ground = Ground::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}/v1/metrics", silent.local_addr().expect("it is bound"));
    ground.configure(&format!("[metrics.otlp]\nendpoint = \"{endpoint}\"\ninterval = \"1s\"\n"));
    let (_daemon, address) = page::serving(&ground);
    let _held = silent.accept().expect("it is called");
    Ctl::new(&ground).words("burn cpu --cores 0 --load 10 --duration 1s").run().assert_status(0);
    assert!(!Page::of(address, TEXT).samples.is_empty());
}

#[test]
fn what_can_never_be_pushed_to_is_told_at_the_start() {
    for (otlp, told) in [
        ("endpoint = \"ftp://x\"", "http://127.0.0.1:4318/v1/metrics"),
        ("endpoint = \"http://x/v1/metrics\"\ninterval = \"1ms\"", "use 1s to 1h"),
        (
            "endpoint = \"http://x/v1/metrics\"\nheaders = { \"a b\" = \"c\" }",
            "'a b' with its value is no HTTP header",
        ),
        ("endpoint = \"https://x/v1/metrics\"\nca_files = [\"/nowhere.pem\"]", "/nowhere.pem"),
    ] {
        let ground = Ground::new();
        ground.configure(&format!("[metrics.otlp]\n{otlp}\n"));
        let (status, words) = Daemon::refusal(Daemon::command(&ground));
        assert_eq!(status, Some(2), "{otlp}: {words}");
        assert!(words.contains(told), "{otlp}: {words}");
    }
}
