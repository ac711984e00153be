//! What an HTTP burner becomes on this host.

use std::{net::SocketAddr, time::Duration};

use ssts_proto::{
    http_url::{HttpUrl, UrlHost},
    v1::{HttpBurner, HttpMethod, HttpProtocol},
    validate::{DEFAULT_MAX_ERRORS_PERCENT, Violations, is_secret, method_name},
};

use super::{Offer, network};
use crate::{
    burn::{
        http::{HttpLoad, Version},
        plan::{Load, Plan},
    },
    config::HttpConfig,
};

const DEFAULT_CONNECTIONS: u32 = 16;
const DEFAULT_STREAMS: u32 = 8;
const DEFAULT_TIMEOUT_MS: u64 = 5_000;
/// Stands in the record for what should not be kept there.
const HIDDEN: &str = "(not kept)";

/// Its cores and what they do; fills in what was left open.
pub(super) fn plan(
    offer: &Offer<'_>,
    field: &str,
    http: &mut HttpBurner,
    found: &mut Violations,
) -> Option<(Vec<u32>, Load)> {
    let config = offer.http;
    let before = found.len();
    let addresses = allowed(config, field, http, found);
    if http.insecure && !config.allow_insecure {
        found.add(
            format!("{field}.insecure"),
            "this agent takes no certificate unseen: http.allow_insecure = false",
            "leave it out, name the certificate's issuer in the agent's http.ca_files, or set http.allow_insecure there",
        );
    }
    if http.cores.is_empty() {
        // As network burners.
        http.cores = offer.last_cores(field, 1, found)?;
    }
    http.cores = offer.choose_cores(field, &http.cores, found)?;
    let addresses = addresses.filter(|_| found.len() == before)?;
    if http.method() == HttpMethod::Unspecified {
        http.set_method(HttpMethod::Get);
    }
    if http.protocol() == HttpProtocol::Unspecified {
        http.set_protocol(HttpProtocol::Auto);
    }
    let workers = http.cores.len() as u32;
    let load = HttpLoad {
        url: HttpUrl::parse(&http.url).ok()?.to_string(),
        addresses,
        method: method_name(http.method()).into(),
        headers: http.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
        body: http.body.clone(),
        body_bytes: http.body_bytes,
        version: match http.protocol() {
            HttpProtocol::Unspecified | HttpProtocol::Auto => Version::Auto,
            HttpProtocol::Http1 => Version::Http1,
            HttpProtocol::Http2 => Version::Http2,
        },
        connections: *http.connections.get_or_insert(DEFAULT_CONNECTIONS.max(workers)),
        streams: http.streams.unwrap_or(DEFAULT_STREAMS),
        rate_per_s: http.rate_per_s,
        most_per_s: config.max_rate_per_s,
        new_connection: http.new_connection,
        resume: http.resume,
        timeout: Duration::from_millis(*http.timeout_ms.get_or_insert(DEFAULT_TIMEOUT_MS)),
        retries: *http.retries.get_or_insert(0),
        // At most 599: the protocol's bounds were checked.
        expected_status: http.expected_status.iter().map(|status| *status as u16).collect(),
        insecure: http.insecure,
        ca_files: config.ca_files.clone(),
        max_errors_percent: *http.max_errors_percent.get_or_insert(DEFAULT_MAX_ERRORS_PERCENT),
    };
    for header in http.headers.iter_mut().filter(|header| is_secret(&header.name)) {
        HIDDEN.clone_into(&mut header.value);
    }
    http.url = without_secrets(&http.url);
    Some((http.cores.clone(), Load::Http(load)))
}

/// A URL as it may stand in records: parameters of its query whose names tell of a secret lose their values.
fn without_secrets(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let hidden = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    };
    let query: Vec<_> = query.split('&').map(hidden).collect();
    format!("{path}?{}", query.join("&"))
}

/// Keeps the HTTP burners of a phase together within the agent's limits. Those without a rate share what the others leave, but
/// for up to half of it: those with a rate need some to catch up after a stall.
pub(super) fn keep_limits(field: &str, plans: &mut [Plan], config: &HttpConfig, found: &mut Violations) {
    let loads: Vec<&mut HttpLoad> = plans
        .iter_mut()
        .filter_map(|plan| match &mut plan.load {
            Load::Http(load) => Some(load),
            _ => None,
        })
        .collect();
    let mut beyond = |what: &str, sum: u64, key: &str, most: u64| {
        found.add(
            format!("{field}.burners"),
            format!("{sum} {what} of the HTTP burners together are more than this agent's {key} = {most}"),
            format!("ask for fewer, or change {key} in the agent's configuration"),
        );
    };
    let connections: u64 = loads.iter().map(|load| u64::from(load.connections)).sum();
    if connections > config.max_connections.into() {
        beyond("connections", connections, "http.max_connections", config.max_connections.into());
    }
    // Each request may be sent so many times.
    let times = |load: &HttpLoad| u64::from(load.retries) + 1;
    let rate = loads
        .iter()
        .filter_map(|load| Some(load.rate_per_s?.saturating_mul(times(load))))
        .fold(0, u64::saturating_add);
    let without = loads
        .iter()
        .filter(|load| load.rate_per_s.is_none())
        .map(|load| times(load))
        .fold(0, u64::saturating_add);
    if rate.saturating_add(without) > config.max_rate_per_s {
        beyond(
            "requests a second, retries included,",
            rate.saturating_add(without),
            "http.max_rate_per_s",
            config.max_rate_per_s,
        );
        return;
    }
    let left = config.max_rate_per_s - rate;
    let spare = rate.min(if without == 0 { left } else { (left - without) / 2 });
    for load in loads {
        load.most_per_s = match load.rate_per_s {
            // Of at most twice the rate: no overflow.
            Some(asked) => asked + (u128::from(asked) * u128::from(spare) / u128::from(rate.max(1))) as u64,
            None => (left - spare) / without,
        };
    }
}

/// Where the service is, if the configuration allows the URL and the method.
fn allowed(
    config: &HttpConfig,
    field: &str,
    http: &HttpBurner,
    found: &mut Violations,
) -> Option<Vec<SocketAddr>> {
    // The protocol's bounds were checked.
    let url = HttpUrl::parse(&http.url).ok()?;
    let method = http.method();
    if !config.methods.iter().any(|allowed| method_name(allowed.0) == method_name(method)) {
        let names: Vec<_> = config.methods.iter().map(|method| method_name(method.0)).collect();
        found.add(
            format!("{field}.method"),
            format!(
                "{} is none that this agent may use: http.methods = [{}]",
                method_name(method),
                names.join(", ")
            ),
            "choose among those, or add it to http.methods in the agent's configuration",
        );
    }
    let field = format!("{field}.url");
    if !config.allow.iter().any(|rule| rule.0.permits(&url)) {
        let rules: Vec<_> = config.allow.iter().map(ToString::to_string).collect();
        found.add(
            field,
            format!("{url} is none of those that this agent may load: http.allow = [{}]", rules.join(", ")),
            "choose one of those or below, or add it to http.allow in the agent's configuration",
        );
        return None;
    }
    let addresses = match url.host() {
        UrlHost::Ip(ip) => Ok(vec![SocketAddr::new(*ip, url.port())]),
        UrlHost::Name(name) => network::look_up(name.clone(), url.port()),
    };
    addresses
        .map_err(|why| {
            found.add(
                field,
                format!("the host {} is not known to this one: {why}", url.host()),
                "use a name that it resolves, or an address",
            );
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_tells_in_secret_is_in_no_record() {
        for (url, kept) in [
            ("http://h/p", "http://h/p"),
            ("http://h/p?page=2&Token=abc&q=a=b", "http://h/p?page=2&Token=(not kept)&q=a=b"),
            ("http://h/?api_key", "http://h/?api_key"),
            ("http://h/?password=", "http://h/?password=(not kept)"),
        ] {
            assert_eq!(without_secrets(url), kept);
        }
    }
}
