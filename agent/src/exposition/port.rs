//! Whether `/metrics` can be served, for `sstsd check`.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use ssts_proto::{
    names::agent,
    v1::{Capability, CapabilityState},
};

use crate::config::MetricsConfig;

/// For an answer of whoever listens.
const PATIENCE: Duration = Duration::from_secs(1);
/// Enough to be sure of who answers: its own series come first.
const ENOUGH_BYTES: u64 = 4_096;

/// Tries each address of the configuration.
pub fn check(config: &MetricsConfig) -> Vec<Capability> {
    let told = |state: CapabilityState, detail: String, mend: &str| Capability {
        name: "metrics".into(),
        state: state.into(),
        detail,
        mend: mend.into(),
    };
    if config.listen.is_empty() {
        return vec![told(CapabilityState::Works, "turned off: metrics.listen is empty".into(), "")];
    }
    let tried = config.listen.iter().map(|address| match TcpListener::bind(address) {
        Ok(_) => told(CapabilityState::Works, format!("can be served at http://{address}/metrics"), ""),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_ours(address) => {
            told(CapabilityState::Works, format!("sstsd serves http://{address}/metrics"), "")
        }
        Err(error) => told(
            CapabilityState::Degraded,
            format!("{address}: {error}"),
            "stop who listens there, or set metrics.listen to another address, [] for none",
        ),
    });
    tried.collect()
}

/// Whether an sstsd answers there.
fn is_ours(address: &SocketAddr) -> bool {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(ENOUGH_BYTES).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer.contains(&agent::BUILD.sample_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_another_has_is_told_with_the_mend() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let config = |listen| MetricsConfig { listen, ..MetricsConfig::default() };
        // It takes the connection and says nothing.
        let [told] = &check(&config(vec![address]))[..] else { panic!("one address, one line") };
        assert_eq!(told.state(), CapabilityState::Degraded);
        assert!(
            told.detail.contains(&address.to_string()) && told.mend.contains("metrics.listen"),
            "{told:?}"
        );
        drop(taken);
        assert_eq!(check(&config(vec!["127.0.0.1:0".parse().unwrap()]))[0].state(), CapabilityState::Works);
        assert!(check(&config(Vec::new()))[0].detail.contains("turned off"));
    }
}
