//! Bounds of the HTTP burner.

use std::{collections::HashSet, ops::RangeInclusive};

use super::{MAX_RATE_PER_S, Violations, known, rate};
use crate::{
    http_url::{HttpUrl, Scheme},
    v1::{HttpBurner, HttpHeader, HttpMethod, HttpProtocol},
};

/// Bytes of a body that a client sends along.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Bytes of a body that the burner makes.
pub const MAX_GENERATED_BODY_BYTES: u32 = 16 << 20;
/// Connections of one burner.
pub const MAX_CONNECTIONS: u32 = 10_000;
/// Requests under way at once on an HTTP/2 connection.
pub const MAX_HTTP_STREAMS: u32 = 1_000;
/// Most requests at a time, over all connections: each takes some kilobytes.
const MAX_REQUESTS_AT_A_TIME: u64 = 65_536;
/// Times that a request is sent again.
pub const MAX_RETRIES: u32 = 10;
/// Requests that may fail where nothing is said, percent.
pub const DEFAULT_MAX_ERRORS_PERCENT: f64 = 1.0;
/// An hour.
const MAX_TIMEOUT_MS: u64 = 3_600_000;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_EXPECTED: usize = 64;

/// Fields that frameworks obey in place of the request line: they would lead around what an agent allows.
const REWRITING_HEADERS: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Fields that frame a message or belong to the connection: the burner's own (RFC 9110, 7.6.1; RFC 9112, 6).
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn check(field: &str, http: &HttpBurner, found: &mut Violations) {
    let part = |name: &str| format!("{field}.{name}");
    let url = HttpUrl::parse(&http.url);
    if let Err(why) = &url {
        let shown: String = http.url.chars().take(200).collect();
        let mend = "use one such as http://10.0.0.2:8080/path or https://host/path";
        found.add(part("url"), format!("'{shown}' {why}"), mend);
    }
    known::<HttpMethod>(&part("method"), http.method, found);
    known::<HttpProtocol>(&part("protocol"), http.protocol, found);
    bounds(&part, http, found);
    rate::tolerance(field, http.rate_tolerance_percent, http.rate_per_s.is_some(), found);
    body(&part, http, found);
    headers(&part("headers"), &http.headers, found);
    expected(&part("expected_status"), &http.expected_status, found);
    if url.is_ok_and(|url| url.scheme() == Scheme::Http) {
        for (key, is_set) in [("insecure", http.insecure), ("resume", http.resume)] {
            if is_set {
                found.add(part(key), "means nothing without TLS", "leave it out, or use an https:// URL");
            }
        }
    }
    if http.resume && !http.new_connection {
        let mend = "leave it out, or use a new connection for each request";
        found.add(part("resume"), "means nothing where connections are kept", mend);
    }
    if http.streams.is_some() && http.protocol() == HttpProtocol::Http1 {
        found.add(part("streams"), "means nothing with HTTP/1.1", "leave it out, or use HTTP/2");
    }
    if http.streams.is_some() && http.new_connection {
        let mend = "leave it out, or keep the connections";
        found.add(part("streams"), "means nothing with a connection for each request", mend);
    }
    cores(&part("cores"), http, found);
}

fn bounds(part: &dyn Fn(&str) -> String, http: &HttpBurner, found: &mut Violations) {
    let mut out_of = |what: &str, value: Option<u64>, bounds: RangeInclusive<u64>, key: &str| {
        if let Some(value) = value.filter(|value| !bounds.contains(value)) {
            let mend = format!("use {} to {}", bounds.start(), bounds.end());
            found.add(part(key), format!("{what} of {value}"), mend);
        }
    };
    let wide = |value: Option<u32>| value.map(u64::from);
    out_of("a number of connections", wide(http.connections), 1..=MAX_CONNECTIONS.into(), "connections");
    out_of("a number of streams", wide(http.streams), 1..=MAX_HTTP_STREAMS.into(), "streams");
    let at_a_time =
        wide(http.connections).zip(wide(http.streams)).map(|(connections, streams)| connections * streams);
    out_of(
        "a number of requests at a time, over all connections,",
        at_a_time,
        0..=MAX_REQUESTS_AT_A_TIME,
        "streams",
    );
    out_of("a rate a second", http.rate_per_s, 1..=MAX_RATE_PER_S, "rate_per_s");
    out_of("a timeout in ms", http.timeout_ms, 1..=MAX_TIMEOUT_MS, "timeout_ms");
    out_of("a number of retries", wide(http.retries), 0..=MAX_RETRIES.into(), "retries");
    out_of("a body in bytes", wide(http.body_bytes), 1..=MAX_GENERATED_BODY_BYTES.into(), "body_bytes");
    if let Some(percent) = http.max_errors_percent.filter(|percent| !(0.0..=100.0).contains(percent)) {
        found.add(
            part("max_errors_percent"),
            format!("{percent} % of requests that may fail"),
            "use 0 to 100",
        );
    }
}

fn body(part: &dyn Fn(&str) -> String, http: &HttpBurner, found: &mut Violations) {
    if http.body.len() > MAX_BODY_BYTES {
        let message = format!("a body of {} bytes", http.body.len());
        found.add(part("body"), message, format!("use at most {MAX_BODY_BYTES} bytes"));
    }
    if !http.body.is_empty() && http.body_bytes.is_some() {
        found.add(part("body_bytes"), "a size for a body that is given", "leave one of both out");
    }
    let has_body = !http.body.is_empty() || http.body_bytes.is_some();
    let method = http.method();
    if has_body && matches!(method, HttpMethod::Unspecified | HttpMethod::Get | HttpMethod::Head) {
        let key = if http.body.is_empty() { "body_bytes" } else { "body" };
        let message = format!("{} has no body", method_name(method));
        found.add(part(key), message, "leave it out, or use the method POST or PUT");
    }
}

fn headers(field: &str, headers: &[HttpHeader], found: &mut Violations) {
    let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        found.add(
            field,
            format!("{} headers of {bytes} bytes", headers.len()),
            format!("use at most {MAX_HEADERS} of {MAX_HEADER_BYTES} bytes together"),
        );
    }
    for header in headers {
        let shown: String = header.name.chars().take(80).collect();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if header.name.is_empty() || !header.name.bytes().all(is_token) {
            found.add(field, format!("'{shown}' is no name of a header"), "use one such as Accept");
        } else if OWN_HEADERS.contains(&header.name.to_ascii_lowercase().as_str()) {
            found.add(field, format!("the header {shown} is the burner's own"), "leave it out");
        }
        if REWRITING_HEADERS.contains(&header.name.to_ascii_lowercase().as_str()) {
            let message = format!("the header {shown} makes some services take another method or path");
            let mend = "leave it out: the agent's http.allow and http.methods say what may be asked";
            found.add(field, message, mend);
        }
        // No value is shown: it may be a secret.
        if !header.value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            let message = format!("the value of the header {shown} holds a character that no header can");
            found.add(field, message, "use visible ASCII, spaces and tabs");
        }
    }
}

fn expected(field: &str, statuses: &[u32], found: &mut Violations) {
    if statuses.len() > MAX_EXPECTED {
        found.add(field, format!("{} statuses", statuses.len()), format!("use at most {MAX_EXPECTED}"));
    }
    if let Some(status) = statuses.iter().find(|status| !matches!(status, 1..=5 | 100..=599)) {
        found.add(field, format!("{status} is no status"), "use 100 to 599, or a class such as 2xx");
    }
}

fn cores(field: &str, http: &HttpBurner, found: &mut Violations) {
    let mut seen = HashSet::new();
    if let Some(core) = http.cores.iter().find(|core| !seen.insert(**core)) {
        found.add(field, format!("core {core} is named twice"), "name each core once");
    }
    if let Some(connections) = http.connections.filter(|connections| http.cores.len() > *connections as usize)
    {
        found.add(
            field,
            format!("{} cores for {connections} connections", http.cores.len()),
            "use at least as many connections as cores",
        );
    }
}

/// As requests name it.
pub fn method_name(method: HttpMethod) -> &'static str {
    match method {
        HttpMethod::Unspecified | HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
    }
}

/// Whether a header of this name carries what no record should keep.
pub fn is_secret(header: &str) -> bool {
    let name = header.to_ascii_lowercase();
    ["auth", "cookie", "token", "secret", "api-key", "apikey", "password"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(http: &HttpBurner) -> Vec<String> {
        let mut found = Violations::default();
        check("b", http, &mut found);
        found.into_vec().into_iter().map(|violation| violation.field).collect()
    }

    fn good() -> HttpBurner {
        HttpBurner { url: "https://h/a".into(), ..HttpBurner::default() }
    }

    #[test]
    fn a_url_is_enough() {
        assert!(wrong(&good()).is_empty());
    }

    #[test]
    fn each_bad_setting_is_found_in_its_place() {
        let header = |name: &str, value: &str| vec![HttpHeader { name: name.into(), value: value.into() }];
        let (post, get) = (HttpMethod::Post.into(), HttpMethod::Get.into());
        for (field, http) in [
            ("b.url", HttpBurner { url: "ftp://h".into(), ..good() }),
            ("b.method", HttpBurner { method: 99, ..good() }),
            ("b.protocol", HttpBurner { protocol: 99, ..good() }),
            ("b.headers", HttpBurner { headers: header("a b", "c"), ..good() }),
            ("b.headers", HttpBurner { headers: header("Host", "c"), ..good() }),
            ("b.headers", HttpBurner { headers: header("X-HTTP-Method-Override", "DELETE"), ..good() }),
            ("b.headers", HttpBurner { headers: header("a", "c\r\nd: e"), ..good() }),
            ("b.headers", HttpBurner { headers: header("a", &"c".repeat(20_000)), ..good() }),
            ("b.body", HttpBurner { body: vec![1], method: get, ..good() }),
            ("b.body", HttpBurner { body: vec![1; (1 << 20) + 1], method: post, ..good() }),
            ("b.body_bytes", HttpBurner { body: vec![1], body_bytes: Some(1), method: post, ..good() }),
            ("b.body_bytes", HttpBurner { body_bytes: Some(0), method: post, ..good() }),
            ("b.connections", HttpBurner { connections: Some(0), ..good() }),
            ("b.connections", HttpBurner { connections: Some(10_001), ..good() }),
            ("b.streams", HttpBurner { streams: Some(0), ..good() }),
            ("b.streams", HttpBurner { streams: Some(1_000), connections: Some(1_000), ..good() }),
            ("b.streams", HttpBurner { streams: Some(2), protocol: HttpProtocol::Http1.into(), ..good() }),
            ("b.streams", HttpBurner { streams: Some(2), new_connection: true, ..good() }),
            ("b.rate_per_s", HttpBurner { rate_per_s: Some(0), ..good() }),
            ("b.rate_tolerance_percent", HttpBurner { rate_tolerance_percent: Some(5.0), ..good() }),
            ("b.timeout_ms", HttpBurner { timeout_ms: Some(0), ..good() }),
            ("b.retries", HttpBurner { retries: Some(11), ..good() }),
            ("b.expected_status", HttpBurner { expected_status: vec![6], ..good() }),
            ("b.max_errors_percent", HttpBurner { max_errors_percent: Some(f64::NAN), ..good() }),
            ("b.insecure", HttpBurner { url: "http://h".into(), insecure: true, ..good() }),
            ("b.resume", HttpBurner { resume: true, ..good() }),
            ("b.cores", HttpBurner { cores: vec![1, 1], ..good() }),
            ("b.cores", HttpBurner { cores: vec![0, 1], connections: Some(1), ..good() }),
        ] {
            assert_eq!(wrong(&http), [field], "{http:?}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        assert!(["Authorization", "cookie", "X-Api-Key", "X-Auth-Token"].iter().all(|name| is_secret(name)));
        assert!(!is_secret("Accept"));
    }
}
