//! What an HTTP burner is told to do.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::burn::plan::{Figure, Sum};

/// What an HTTP burner does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpLoad {
    /// As [`HttpUrl`](ssts_proto::http_url::HttpUrl) reads it.
    pub url: String,
    /// What the URL's host was found to be when it was allowed; nothing else is connected to.
    pub addresses: Vec<SocketAddr>,
    /// Such as `GET`.
    pub method: String,
    /// Beside those that the burner sets itself.
    pub headers: Vec<(String, String)>,
    /// Sent with each request.
    pub body: Vec<u8>,
    /// A body of so many bytes instead.
    pub body_bytes: Option<u32>,
    /// What is spoken.
    pub version: Version,
    /// Of all workers together.
    pub connections: u32,
    /// Requests under way at once on an HTTP/2 connection.
    pub streams: u32,
    /// Requests a second of all workers together, open loop; none for as fast as they are answered.
    pub rate_per_s: Option<u64>,
    /// What the agent's configuration allows, requests a second: without a rate, and while those that waited are made good.
    pub most_per_s: u64,
    /// A connection for each request.
    pub new_connection: bool,
    /// TLS sessions may be resumed.
    pub resume: bool,
    /// Of one attempt.
    pub timeout: Duration,
    /// Further attempts.
    pub retries: u32,
    /// Statuses, or their first digits.
    pub expected_status: Vec<u16>,
    /// Takes any certificate.
    pub insecure: bool,
    /// Certificates that are trusted beside the host's own.
    pub ca_files: Vec<PathBuf>,
    /// Requests that may fail, percent of those that came to an end.
    pub max_errors_percent: f64,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// What the service chooses.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What is counted beyond what all burners do: the index in [`HttpLoad::FIGURES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Requests taken up; each once, however often it was tried.
    Sent,
    Status2xx,
    Status3xx,
    Status4xx,
    Status5xx,
    /// Answers whose status was none that was expected.
    UnexpectedStatus,
    Timeouts,
    ConnectErrors,
    /// TLS handshakes that failed.
    HandshakeErrors,
    /// Connections or streams that ended before the answer did.
    BrokenAnswers,
    Retries,
    /// Of bodies of answers.
    ReceivedBytes,
    Connections,
    /// TLS handshakes that succeeded.
    Handshakes,
    /// Requests that were due and had no answer at the end.
    Unanswered,
    /// How long after it was due a request was sent, at worst.
    Behind,
}

impl Count {
    /// What a request can fail with.
    pub(crate) const FAILURES: [Self; 5] = [
        Self::UnexpectedStatus,
        Self::Timeouts,
        Self::ConnectErrors,
        Self::HandshakeErrors,
        Self::BrokenAnswers,
    ];
}

const fn count(name: &'static str) -> Figure {
    Figure { name, unit: "1", sum: Sum::Total }
}

impl HttpLoad {
    /// In the order of [`Count`].
    pub const FIGURES: &'static [Figure] = &[
        count("sent"),
        count("status_2xx"),
        count("status_3xx"),
        count("status_4xx"),
        count("status_5xx"),
        count("unexpected_status"),
        count("timeouts"),
        count("connect_errors"),
        count("handshake_errors"),
        count("broken_answers"),
        count("retries"),
        Figure { name: "received_bytes", unit: "By", sum: Sum::Total },
        count("connections"),
        count("handshakes"),
        count("unanswered"),
        Figure { name: "behind", unit: "ns", sum: Sum::Max },
    ];

    /// From when a request was due to the end of its answer; from a connection's first packet to its last before data;
    /// of TLS.
    const LATENCIES: &'static [&'static str] = &["request", "connect", "handshake"];

    /// Names of the latency histograms.
    pub fn latencies(&self) -> &'static [&'static str] {
        if self.is_tls() { Self::LATENCIES } else { &Self::LATENCIES[..2] }
    }

    /// Whether it goes through TLS.
    pub fn is_tls(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// Whether a status is one that was expected.
    pub(super) fn expects(&self, status: u16) -> bool {
        if self.expected_status.is_empty() {
            return matches!(status / 100, 2 | 3);
        }
        self.expected_status.iter().any(|expected| *expected == status || *expected == status / 100)
    }

    /// Connections of one of so many workers; the first ones take the rest.
    pub(super) fn share(&self, worker: usize, workers: usize) -> usize {
        let (connections, workers) = (self.connections as usize, workers.max(1));
        connections / workers + usize::from(worker < connections % workers)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::burn::control::MAX_FIGURES;

    pub(in crate::burn::http) fn load(url: &str) -> HttpLoad {
        HttpLoad {
            url: url.into(),
            addresses: Vec::new(),
            method: "GET".into(),
            headers: Vec::new(),
            body: Vec::new(),
            body_bytes: None,
            version: Version::Auto,
            connections: 5,
            streams: 1,
            rate_per_s: None,
            most_per_s: 1_000,
            new_connection: false,
            resume: false,
            timeout: Duration::from_secs(5),
            retries: 0,
            expected_status: Vec::new(),
            insecure: false,
            ca_files: Vec::new(),
            max_errors_percent: 1.0,
        }
    }

    #[test]
    fn counts_are_figures_with_one_name_each() {
        let names: HashSet<_> = HttpLoad::FIGURES.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), HttpLoad::FIGURES.len());
        assert!(names.len() <= MAX_FIGURES);
        assert_eq!(HttpLoad::FIGURES[Count::Behind as usize].name, "behind");
        assert_eq!(HttpLoad::FIGURES[Count::Retries as usize].name, "retries");
        assert_eq!(HttpLoad::FIGURES.len(), Count::Behind as usize + 1);
    }

    #[test]
    fn connections_are_shared_out_whole() {
        let load = load("http://h/");
        assert_eq!((load.share(0, 2), load.share(1, 2)), (3, 2));
    }

    #[test]
    fn statuses_are_expected_one_by_one_or_by_class() {
        let mut load = load("http://h/");
        assert!(load.expects(204) && load.expects(304) && !load.expects(404));
        load.expected_status = vec![404, 5];
        assert!(load.expects(404) && load.expects(503) && !load.expects(200));
    }
}
