//! Readers of single values, in the form that clap wants: a message that names the value and the mend.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ssts_proto::{
    v1::{BlockShare, InjectedError, memory_burner::Size, profile::Shape},
    validate::{self, RATE_TOLERANCE_PERCENT},
};

use super::http::Headers;
use crate::{error::Problem, load, quantity, scenario::Setting, store};

/// Where an agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A Unix socket.
    Unix(PathBuf),
    /// A name or an address, and a port.
    Tls(String, u16),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(socket) => write!(f, "unix:{}", socket.display()),
            Self::Tls(name, port) if name.contains(':') => write!(f, "https://[{name}]:{port}"),
            Self::Tls(name, port) => write!(f, "https://{name}:{port}"),
        }
    }
}

/// A list of cores; a type of its own, because clap takes a bare `Vec` for a repeated argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores(pub(crate) Vec<u32>);

/// Block sizes with their shares; a type of its own as [`Cores`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocks(pub(crate) Vec<BlockShare>);

/// Statuses of HTTP; a type of its own as [`Cores`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statuses(pub(crate) Vec<u32>);

impl Host {
    /// As the command line has it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        host(text)
    }
}

pub(super) fn host(text: &str) -> Result<Host, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("no path follows 'unix:'".into()),
        // As a URL has it: unix:///run/ssts/sstsd.sock.
        Some(path) => Ok(Host::Unix(path.strip_prefix("//").unwrap_or(path).into())),
        None if text.starts_with('/') => Err(format!("write it as unix:{text}")),
        None => match text.strip_prefix("https://") {
            Some(address) => tls_host(address),
            None => Err(format!("TCP comes with TLS, use https://{}", text.trim_start_matches("http://"))),
        },
    }
}

fn tls_host(address: &str) -> Result<Host, String> {
    const MEND: &str = "write it as https://HOST:PORT, an IPv6 address in brackets";
    let address = address.trim_end_matches('/');
    let (name, port) = address.rsplit_once(':').ok_or_else(|| format!("it has no port; {MEND}"))?;
    let port: Option<u16> = port.parse().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| format!("its port is no number; {MEND}"))?;
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match name {
        "" => Err(format!("it has no host; {MEND}")),
        name if name.contains(['/', '@', '[', ']']) => Err(format!("'{name}' is no host; {MEND}")),
        name => Ok(Host::Tls(name.to_owned(), port)),
    }
}

pub(super) fn duration(text: &str) -> Result<u64, String> {
    quantity::duration_ms(text).map_err(one_line)
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    quantity::size_bytes(text).map_err(one_line)
}

pub(super) fn size_or_percent(text: &str) -> Result<Size, String> {
    quantity::size_or_percent(text).map_err(one_line)
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    quantity::percent_of_all(text).map_err(one_line)
}

pub(super) fn load(text: &str) -> Result<Shape, String> {
    load::shape(text, Path::new("")).map_err(one_line)
}

/// Percentage points.
pub(super) fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(points) if (0.1..=100.0).contains(&points) => Ok(points),
        _ => Err("use 0.1 to 100 percentage points".into()),
    }
}

/// Percent of a rate.
pub(super) fn rate_tolerance(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if RATE_TOLERANCE_PERCENT.contains(&percent) => Ok(percent),
        _ => Err("use 0.1 to 100 percent of the rate".into()),
    }
}

/// `+30s`, or an instant in UTC: in ns of Unix time.
pub(super) fn instant(text: &str) -> Result<i64, String> {
    const MEND: &str = "write it from now on, such as +30s, or as 2026-01-31T08:00:00Z";
    let now = SystemTime::now();
    let instant = match text.strip_prefix('+') {
        Some(ahead) => now + Duration::from_millis(quantity::duration_ms(ahead).map_err(one_line)?),
        None => humantime::parse_rfc3339(text).map_err(|error| format!("{error}; {MEND}"))?,
    };
    if instant <= now {
        return Err(format!("it is past; {MEND}"));
    }
    let since_epoch = instant.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).map_err(|_| format!("it is too far ahead; {MEND}"))
}

/// `7d` ago, `2026-01-31`, or an instant in UTC: in ns of Unix time.
pub(super) fn past(text: &str) -> Result<i64, String> {
    const MEND: &str = "write how long ago, such as 7d, or 2026-01-31, or 2026-01-31T08:00:00Z";
    if let Ok(age_ms) = quantity::duration_ms(text) {
        let then = SystemTime::now() - Duration::from_millis(age_ms);
        let since_epoch = then.duration_since(UNIX_EPOCH).unwrap_or_default();
        return i64::try_from(since_epoch.as_nanos()).map_err(|_| format!("it is too long ago; {MEND}"));
    }
    let instant =
        if text.len() == "2026-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let instant: jiff::Timestamp = instant.parse().map_err(|_| format!("it is no time; {MEND}"))?;
    i64::try_from(instant.as_nanosecond()).map_err(|_| format!("no clock shows it; {MEND}"))
}

/// A tag, or a baseline's name.
pub(super) fn label(text: &str) -> Result<String, String> {
    store::label(text).map_err(one_line)
}

/// A name that a baseline may have.
pub(super) fn baseline_name(text: &str) -> Result<String, String> {
    store::baseline_name(text).map_err(one_line)
}

pub(super) fn core_list(text: &str) -> Result<Cores, String> {
    quantity::cores(text).map(Cores).map_err(one_line)
}

pub(super) fn injected_error(text: &str) -> Result<InjectedError, String> {
    quantity::injected_error(text).map_err(one_line)
}

pub(super) fn rate(text: &str) -> Result<u64, String> {
    quantity::rate_per_s(text).map_err(one_line)
}

pub(super) fn block_sizes(text: &str) -> Result<Blocks, String> {
    quantity::block_sizes(text).map(Blocks).map_err(one_line)
}

pub(super) fn network_rate(text: &str) -> Result<u64, String> {
    quantity::network_rate(text).map_err(one_line)
}

/// `Name: value`, or `@FILE`, as curl has it.
pub(super) fn header(text: &str) -> Result<Headers, String> {
    match text.strip_prefix('@') {
        Some("") => Err("name the file behind the @".into()),
        Some("-") => Ok(Headers::File("/dev/stdin".into())),
        Some(path) => Ok(Headers::File(path.into())),
        None => quantity::header(text).map(Headers::One).map_err(one_line),
    }
}

pub(super) fn statuses(text: &str) -> Result<Statuses, String> {
    quantity::statuses(text).map(Statuses).map_err(one_line)
}

/// A share of requests, 0 included.
pub(super) fn percent_or_none(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("use 0 to 100 percent".into()),
    }
}

pub(super) fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(celsius) if (1.0..=150.0).contains(&celsius) => Ok(celsius),
        _ => Err("use 1 to 150 °C".into()),
    }
}

/// `NAME=VALUE`.
pub(super) fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok(Setting { name: name.trim().to_owned(), value: value.to_owned() })
        }
        _ => Err("write it as NAME=VALUE, such as --set size=4GiB".into()),
    }
}

/// How often a picture is drawn, 1/s.
pub(super) fn frame_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=10.0).contains(&rate) => Ok(rate),
        _ => Err("use 1 to 10 frames a second".into()),
    }
}

pub(super) fn run_id(text: &str) -> Result<String, String> {
    if validate::run_id(text) {
        Ok(text.to_owned())
    } else {
        Err("it is no run's id; `sstsctl runs` lists them".into())
    }
}

pub(super) fn one_line(problem: Problem) -> String {
    let Problem { message, mend } = problem;
    format!("{message}; {mend}")
}
