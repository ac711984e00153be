//! URLs of HTTP burners and the rules that allow them: a strict subset of RFC 3986, so that nobody along the way reads a
//! URL otherwise than the rule that allowed it was read.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 4_096;

/// How it is spoken to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Through TLS.
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlHost {
    /// In lower case, no dot at the end.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl fmt::Display for UrlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A URL without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    scheme: Scheme,
    host: UrlHost,
    port: u16,
    /// Begins with a slash.
    path: String,
    query: Option<String>,
}

impl HttpUrl {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, as an end of a sentence that begins with the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("is longer than {MAX_URL_BYTES} bytes"));
        }
        let foreign = |c: char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c);
        if let Some(c) = text.chars().find(|c| foreign(*c)) {
            return Err(format!("holds {c:?}, which has to be percent-encoded"));
        }
        let (scheme, rest) = text.split_once("://").ok_or("does not begin with http:// or https://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("does not begin with http:// or https://".into()),
        };
        if rest.contains('#') {
            return Err("has a fragment, which is never sent".into());
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = authority_of(authority, scheme)?;
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        check_path(path)?;
        Ok(Self { scheme, host, port, path: path.to_owned(), query })
    }

    /// How it is spoken to the host.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whom to ask.
    pub fn host(&self) -> &UrlHost {
        &self.host
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as a request names them.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Host and port, the port where it is not the scheme's, as the header Host names them.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether it has a query.
    pub fn has_query(&self) -> bool {
        self.query.is_some()
    }

    /// As a rule, whether it allows `url`: the same scheme, host and port, and its path or one below it.
    pub fn permits(&self, url: &Self) -> bool {
        let prefix = self.path.trim_end_matches('/');
        let below = url.path.strip_prefix(prefix);
        self.scheme == url.scheme
            && self.host == url.host
            && self.port == url.port
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.target())
    }
}

fn authority_of(authority: &str, scheme: Scheme) -> Result<(UrlHost, u16), String> {
    if authority.contains('@') {
        return Err("names a user; send credentials in a header".into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']').ok_or("has a bracket that is not closed")?;
            let ip: Ipv6Addr = ip.parse().map_err(|_| format!("names [{ip}], which is no IPv6 address"))?;
            (UrlHost::Ip(ip.into()), port.strip_prefix(':').or_else(|| port.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host_of(host)?, Some(port)),
            None => (host_of(authority)?, Some("")),
        },
    };
    let port = port.ok_or("has something other than a port after its address")?;
    let is_absent = port.is_empty() && !authority.ends_with(':');
    let number =
        port.parse::<u16>().ok().filter(|number| *number > 0 && port.bytes().all(|b| b.is_ascii_digit()));
    let port = if is_absent { Some(scheme.port()) } else { number };
    Ok((host, port.ok_or_else(|| format!("has no port of 1 to 65535 in '{authority}'"))?))
}

fn host_of(host: &str) -> Result<UrlHost, String> {
    let labels: Vec<&str> = host.split('.').collect();
    // What ends in a number is an address to resolvers, in forms such as 127.1 too: only the usual one is taken.
    let last = labels.last().copied().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x") {
        let ip: Result<Ipv4Addr, _> = host.parse();
        return ip.map(|ip| UrlHost::Ip(ip.into())).map_err(|_| format!("names '{host}', which is no host"));
    }
    let good = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !labels.iter().all(good) {
        return Err(format!("names '{host}', which is no host"));
    }
    Ok(UrlHost::Name(host.to_ascii_lowercase()))
}

/// No way out of a prefix: neither a dot segment, however it is written, nor an encoded separator.
fn check_path(path: &str) -> Result<(), String> {
    for segment in path.split('/') {
        let decoded = decoded(segment)?;
        if decoded.contains(&b'/') || decoded.contains(&b'\\') || decoded.contains(&0) {
            return Err("has an encoded slash, backslash or NUL in its path".into());
        }
        // Whoever decodes twice would see another path.
        if decoded.contains(&b'%') || decoded.iter().any(u8::is_ascii_control) {
            return Err("has an encoded '%' or control character in its path".into());
        }
        // Some servers cut parameters and spaces off before they look: `..;x`, `.. `.
        let name = decoded.split(|b| *b == b';').next().unwrap_or_default();
        if matches!(name.trim_ascii(), b"." | b"..") {
            return Err("has a segment '.' or '..' in its path".into());
        }
    }
    Ok(())
}

fn decoded(segment: &str) -> Result<Vec<u8>, String> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next()), digit(bytes.next()));
        let (high, low) = high.zip(low).ok_or("has a '%' without two hexadecimal digits")?;
        decoded.push((high << 4 | low) as u8);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap_or_else(|error| panic!("{text} {error}"))
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        assert_eq!(url("HTTP://Host.Example").to_string(), "http://host.example/");
        assert_eq!(url("https://h:443/a?b=c").to_string(), "https://h/a?b=c");
        assert_eq!(url("https://h?x").target(), "/?x");
        assert_eq!(url("http://[::1]:8080/").authority(), "[::1]:8080");
        assert_eq!(url("http://127.0.0.1/").host(), &UrlHost::Ip([127, 0, 0, 1].into()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "h/a",
            "ftp://h/",
            "http:///a",
            "http://user@h/",
            "http://user:x@h/",
            "http://h/#f",
            "http://h:0/",
            "http://h:/",
            "http://h:+80/",
            "http://h:65536/",
            "http://h:80:80/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0x1/",
            "http://[::1/",
            "http://[::1]x/",
            "http://h./",
            "http://h..x/",
            "http://-h/",
            "http://h/a b",
            "http://h/ä",
            "http://h\\@x/",
            "http://h/a/../b",
            "http://h/a/.",
            "http://h/a/%2e%2E/b",
            "http://h/a/..%2fb",
            "http://h/a/..;x/b",
            "http://h/a/%5c",
            "http://h/a/%0",
            "http://h/a/%zz",
            "http://h/a/%252e%252e/b",
            "http://h/a/..%20/b",
            "http://h/a/..%09/b",
            "http://h/a\n",
        ] {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
        assert!(HttpUrl::parse(&format!("http://h/{}", "a".repeat(MAX_URL_BYTES))).is_err());
    }

    #[test]
    fn a_rule_allows_its_path_and_what_lies_below() {
        let rule = url("https://svc.example:8443/api");
        for allowed in [
            "https://svc.example:8443/api",
            "https://SVC.example:8443/api/",
            "https://svc.example:8443/api/x?y",
        ] {
            assert!(rule.permits(&url(allowed)), "{allowed}");
        }
        assert!(rule.permits(&url("https://svc.example:8443/api?q")));
        for other in [
            "http://svc.example:8443/api",
            "https://svc.example/api",
            "https://svc.example.evil:8443/api",
            "https://x.svc.example:8443/api",
            "https://svc.example:8443/apix",
            "https://svc.example:8443/",
            "https://svc.example:8443/API",
            "https://svc.example:8443/%61pi",
        ] {
            assert!(!rule.permits(&url(other)), "{other}");
        }
        assert!(url("http://h").permits(&url("http://h/any/thing")));
        assert!(url("http://h/a/").permits(&url("http://h/a")));
    }
}
