//! Flags of `burn http`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ssts_proto::v1::{HttpHeader, HttpMethod, HttpProtocol};

use super::{
    RunOptions,
    values::{
        Cores, Statuses, core_list, duration, header, network_rate, percent_or_none, rate_tolerance, size,
        statuses,
    },
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sstsctl burn http --url http://10.0.0.9:8080/ --rate 2000 --duration 1m
  sstsctl burn http --url https://shop.example/api/items --rate 500 --connections 64 --duration 5m
  sstsctl burn http --url https://10.0.0.9/ --new-connection --rate 200 --duration 30s
  sstsctl burn http --url https://shop.example/ --protocol http2 --connections 4 --streams 32 --duration 30s
  sstsctl burn http --url http://10.0.0.9/orders --method POST --body-size 2KiB --expect 201 --rate 100 --duration 1m

The agent's [http] in its configuration says which URLs may be loaded, with which methods and how hard; nothing else
ever is, and redirects are not followed. With a rate, requests are due at fixed instants whatever the service does, and
latency counts from then (open loop). Without one, each connection sends its next request when the one before is
answered, and latency says nothing of those who would have waited (closed loop).";

#[derive(Debug, Args)]
pub(crate) struct BurnHttp {
    /// What is asked for.
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// How.
    #[arg(long, value_name = "METHOD", default_value = "GET", ignore_case = true)]
    pub(crate) method: Method,
    /// A header such as 'Accept: text/html', or @FILE with one a line; may be repeated.
    ///
    /// Whoever may list processes sees what stands on the command line: put secrets into a file that only you may read. @- is
    /// standard input. Values that look like secrets are not kept in the run's record, wherever they come from.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE|@FILE", value_parser = header)]
    pub(crate) headers: Vec<Headers>,
    /// Sent with each request.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["body_file", "body_size"])]
    pub(crate) body: Option<String>,
    /// A file on this host, at most 1 MiB: as --body.
    #[arg(long, value_name = "FILE", conflicts_with = "body_size")]
    pub(crate) body_file: Option<PathBuf>,
    /// A body of so many bytes of no meaning.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) body_size: Option<u64>,
    /// What is spoken; auto is what the service chooses through TLS, and HTTP/1.1 without TLS.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) protocol: Protocol,
    /// Connections, shared out among the cores. [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: Option<u32>,
    /// Requests under way at once on an HTTP/2 connection. [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) streams: Option<u32>,
    /// Requests a second of all connections together; without it as many as are answered.
    #[arg(long, value_name = "RATE", value_parser = network_rate, allow_hyphen_values = true)]
    pub(crate) rate: Option<u64>,
    /// Percent of --rate that may be undone at the end before the run counts as failed. [default: 2]
    #[arg(long, value_name = "PCT", value_parser = rate_tolerance, allow_hyphen_values = true)]
    pub(crate) tolerance: Option<f64>,
    /// A connection for each request, with its TLS handshake.
    #[arg(long)]
    pub(crate) new_connection: bool,
    /// Let TLS sessions be resumed; only with --new-connection.
    #[arg(long)]
    pub(crate) resume: bool,
    /// What one request may take from when it is sent. [default: 5s]
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) timeout: Option<u64>,
    /// How often a request that failed is sent again. [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    pub(crate) retries: Option<u32>,
    /// Statuses that count as success. [default: 2xx,3xx]
    #[arg(long, value_name = "LIST", value_parser = statuses)]
    pub(crate) expect: Option<Statuses>,
    /// Take any certificate; the agent's configuration must allow it.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Requests that may fail before the run counts as failed. [default: 1]
    #[arg(long, value_name = "PCT", value_parser = percent_or_none, allow_hyphen_values = true)]
    pub(crate) max_errors: Option<f64>,
    /// The cores, a worker on each; without it the last one that the agent may use.
    #[arg(long, value_name = "LIST", value_parser = core_list)]
    pub(crate) cores: Option<Cores>,
    /// How long, such as 30s or 1h30m.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: u64,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

/// One header, or a file of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Headers {
    One(HttpHeader),
    /// Read where sstsctl runs, when the run is made.
    File(PathBuf),
}

/// What is asked of the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
}

impl From<Method> for HttpMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Head => Self::Head,
            Method::Post => Self::Post,
            Method::Put => Self::Put,
            Method::Delete => Self::Delete,
        }
    }
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// What the service chooses.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; without TLS at once.
    Http2,
}

impl From<Protocol> for HttpProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => Self::Auto,
            Protocol::Http1 => Self::Http1,
            Protocol::Http2 => Self::Http2,
        }
    }
}
