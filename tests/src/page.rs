//! `/metrics` as a reader sees it: asked for over TCP, and read as strictly as Prometheus's documents of the formats are written.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{Daemon, Ground, outside};

/// What Prometheus asks for.
pub const TEXT: &str = "text/plain;version=0.0.4";
/// The same.
pub const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
/// The same.
pub const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer of HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// By lower-case names.
    pub headers: HashMap<String, String>,
    /// What follows them.
    pub body: Vec<u8>,
}

/// One line of a text format.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With `_total` and the like.
    pub name: String,
    /// By their names.
    pub labels: BTreeMap<String, String>,
    /// Its number.
    pub value: f64,
}

/// A text format that was read.
#[derive(Debug, Default)]
pub struct Page {
    /// All of them.
    pub samples: Vec<Sample>,
    /// What each family is.
    pub kinds: BTreeMap<String, String>,
}

/// A daemon that serves metrics at a port of the kernel's choice, and where.
pub fn serving(ground: &Ground) -> (Daemon, SocketAddr) {
    let daemon = Daemon::start_with(ground, |command| {
        command.env("SSTSD_METRICS__LISTEN", "127.0.0.1:0");
    });
    let mut address = None;
    outside::within(PATIENCE, || {
        address = served_at(&daemon.log());
        address.is_some()
    });
    let address = address.unwrap_or_else(|| panic!("nothing is served:\n{}", daemon.log()));
    (daemon, address)
}

/// Where a daemon says in its log that it serves metrics, of the latest one.
pub fn served_at(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.rsplit_once("metrics are served at http://")?;
    rest.split_once('/')?.0.parse().ok()
}

/// Asks for `/metrics` in a format.
pub fn scrape(address: SocketAddr, accept: &str) -> Answer {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    let answer = ask(address, request.as_bytes());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer
}

/// Sends a request, and reads until the other side closes.
pub fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    stream.write_all(request).expect("it takes a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers in time, and closes");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no header: {}", String::from_utf8_lossy(&answer)));
    let head = String::from_utf8(answer[..end].to_vec()).expect("a header is text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {head}")),
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    }
}

impl Page {
    /// Asks and reads.
    pub fn of(address: SocketAddr, accept: &str) -> Self {
        let answer = scrape(address, accept);
        Self::read(&String::from_utf8(answer.body).expect("a text format is UTF-8"), accept == OPENMETRICS)
    }

    /// Reads one of the two text formats, and fails the story where a rule of it is broken.
    pub fn read(text: &str, openmetrics: bool) -> Self {
        let text = if openmetrics {
            text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("it does not end with EOF"))
        } else {
            assert!(!text.contains("# EOF") && text.ends_with('\n'));
            text
        };
        let mut page = Self::default();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let (what, rest) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                let (name, value) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                match what {
                    "TYPE" => {
                        family = name.to_owned();
                        let known = page.kinds.insert(family.clone(), value.to_owned());
                        assert!(known.is_none(), "a family is told twice: {line}");
                    }
                    "HELP" => assert_eq!(name, family, "{line}"),
                    "UNIT" => assert!(
                        openmetrics && name == family && name.ends_with(&format!("_{value}")),
                        "{line}"
                    ),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let sample = sample(line);
            let kind = page.kinds.get(&family).unwrap_or_else(|| panic!("a sample without a family: {line}"));
            let suffixes: &[&str] = match (kind.as_str(), openmetrics) {
                ("counter", true) => &["_total"],
                ("info", true) => &["_info"],
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                ("gauge", _) | ("counter", false) => &[""],
                _ => panic!("{line}: a {kind}"),
            };
            assert!(
                suffixes.iter().any(|suffix| sample.name == format!("{family}{suffix}")),
                "{line}: of {family}"
            );
            assert!(kind != "counter" || sample.value >= 0.0, "{line}");
            page.samples.push(sample);
        }
        let mut seen: Vec<_> = page.samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
        seen.sort();
        let twice = seen.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
        page.histograms_add_up();
        page
    }

    /// The values of a series in the order of the page, of those that have these labels.
    pub fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(name, value)| sample.labels.get(*name).is_some_and(|have| have == value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).collect()
    }

    /// The one value of a series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        match self.values(name, labels)[..] {
            [value] => value,
            ref values => panic!("{name} {labels:?}: {values:?}"),
        }
    }

    /// Buckets rise with their bounds, and the last is the count.
    fn histograms_add_up(&self) {
        let mut buckets: BTreeMap<Series<'_>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in &self.samples {
            let Some(name) = sample.name.strip_suffix("_bucket") else { continue };
            let bound = sample.labels["le"].parse().expect("a bound is a number");
            let others = sample.labels.iter().filter(|(name, _)| *name != "le").collect();
            buckets.entry((name, others)).or_default().push((bound, sample.value));
        }
        for ((name, labels), buckets) in buckets {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?}: {buckets:?}");
            let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, self.value(&format!("{name}_count"), &labels))));
        }
    }
}

/// Name and labels.
type Series<'a> = (&'a str, Vec<(&'a String, &'a String)>);

/// `name{label="value",...} number`.
fn sample(line: &str) -> Sample {
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}")));
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            let (value, after) = quoted(value).unwrap_or_else(|| panic!("{line}"));
            assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',').unwrap_or_else(|| panic!("{line}"));
        }
    }
    let number = rest.strip_prefix(' ').and_then(|number| number.parse().ok());
    Sample { name: name.to_owned(), labels, value: number.unwrap_or_else(|| panic!("no number: {line}")) }
}

/// Up to the closing quotation mark, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            }),
            _ => value.push(character),
        }
    }
    None
}
