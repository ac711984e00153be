//! Where a host's agent listens, as inventories have it.

use rustls::pki_types::ServerName;

use crate::{cli::Host, error::Problem};

const MEND: &str = "write it as https://HOST:PORT, as HOST alone, or as unix:PATH";

/// `https://db1.example.org:7443`, or without `https://`, or without a port; `unix:/run/ssts/sstsd.sock`.
///
/// # Errors
/// It is no address.
pub(super) fn read(text: &str, port: u16) -> Result<Host, Problem> {
    if text.starts_with("unix:") || text.starts_with('/') || text.starts_with("http://") {
        return Host::parse(text).map_err(|message| Problem::new(message, MEND));
    }
    let address = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let with_port =
        if has_port(address) { address.to_owned() } else { format!("{}:{port}", bracketed(address)) };
    let host = Host::parse(&format!("https://{with_port}")).map_err(|message| Problem::new(message, MEND))?;
    match &host {
        Host::Tls(name, _) if ServerName::try_from(name.as_str()).is_err() => {
            Err(Problem::new(format!("'{name}' is neither a host's name nor an address"), MEND))
        }
        _ => Ok(host),
    }
}

fn has_port(address: &str) -> bool {
    match address.rfind(']') {
        // Of IPv6, which has colons of its own.
        Some(close) => address[close..].contains(':'),
        None => address.matches(':').count() == 1,
    }
}

/// An address of IPv6 that stands there bare.
fn bracketed(address: &str) -> String {
    if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_all_its_forms() {
        for (text, host) in [
            ("https://db1.example.org:7000", "https://db1.example.org:7000"),
            ("https://db1", "https://db1:7443"),
            ("db1", "https://db1:7443"),
            ("10.0.0.1:7000", "https://10.0.0.1:7000"),
            ("https://[fe80::1]:7000/", "https://[fe80::1]:7000"),
            ("[fe80::1]", "https://[fe80::1]:7443"),
            ("fe80::1", "https://[fe80::1]:7443"),
            ("unix:/run/ssts/sstsd.sock", "unix:/run/ssts/sstsd.sock"),
        ] {
            assert_eq!(read(text, 7443).map(|host| host.to_string()), Ok(host.to_owned()), "{text}");
        }
        for text in ["", "http://db1:7000", "/run/x", "unix:", "db 1", "db1:0", "db1:x", "https://a/b", "a@b"]
        {
            let problem = read(text, 7443).expect_err(text);
            assert!(problem.mend.contains("HOST:PORT"), "{text}");
        }
    }
}
