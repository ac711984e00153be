//! What a unit, or a Prometheus server, says when it is asked. On a thread of its own: an answer may take long, and that it
//! does is what is to be known.

use std::{io, time::Duration};

use serde_json::Value;
use ssts_proto::{
    catalogue as metrics,
    http_url::{HttpUrl, Scheme},
    v1::AbsenceReason,
};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use tracing::warn;

use super::answer::{self, Answer};
use crate::{
    clock,
    config::ProtectConfig,
    observe::{
        frame::{Frame, Reading},
        schema::{Column, Schema},
        source::Source,
    },
    privileges,
};

/// Where it is asked, and what for.
#[derive(Debug)]
pub(super) struct Asked {
    unit: String,
    url: HttpUrl,
    /// Path and query.
    target: String,
    timeout: Duration,
    question: Question,
    client: Option<Client>,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Are you well?
    Health,
    /// What is the value of that?
    Query,
}

struct Client {
    runtime: Runtime,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Asked {
    /// All that are asked for one unit.
    pub(super) fn all(one: &ProtectConfig) -> Vec<Self> {
        let asked = |url: &HttpUrl, target, question| Self {
            unit: one.unit.clone(),
            url: url.clone(),
            target,
            timeout: one.timeout,
            question,
            client: None,
            columns: Vec::new(),
        };
        let health = one.health_url.as_ref().map(|url| asked(&url.0, url.0.target(), Question::Health));
        let query = one.prometheus_url.as_ref().zip(one.query.as_ref()).map(|(url, query)| {
            // https://prometheus.io/docs/prometheus/latest/querying/api/, "Instant queries".
            let base = url.0.target();
            let target = format!("{}/api/v1/query?query={}", base.trim_end_matches('/'), encoded(query));
            asked(&url.0, target, Question::Query)
        });
        health.into_iter().chain(query).collect()
    }

    /// By which its age is told.
    pub(super) fn name(&self) -> String {
        match self.question {
            Question::Health => format!("health {}", self.unit),
            Question::Query => format!("query {}", self.unit),
        }
    }

    fn ask(&mut self) -> io::Result<Answer> {
        if self.client.is_none() {
            // It reads what others send.
            if let Err(error) = privileges::settle(privileges::Duty::Answer, false) {
                warn!(%error, "a thread keeps capabilities that it doesn't need");
            }
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let tls = (self.url.scheme() == Scheme::Https).then(answer::tls).transpose()?;
            self.client = Some(Client { runtime, tls });
        }
        let Some(client) = &self.client else { return Err(io::ErrorKind::NotConnected.into()) };
        let get = answer::get(&self.url, &self.target, client.tls.as_ref());
        let answered = async { tokio::time::timeout(self.timeout, get).await };
        client.runtime.block_on(answered).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Source for Asked {
    fn describe(&mut self, schema: &mut Schema) {
        let all: &[_] = match self.question {
            Question::Health => &[
                &metrics::PROTECTED_HEALTH_LATENCY,
                &metrics::PROTECTED_HEALTH_STATUS,
                &metrics::PROTECTED_HEALTH_UP,
            ],
            Question::Query => &[&metrics::PROTECTED_QUERY_VALUE],
        };
        self.columns = all.iter().map(|metric| schema.column(metric, &[&self.unit])).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        let began = clock::monotonic();
        let answer = self.ask();
        let took = clock::monotonic().saturating_sub(began);
        let readings = match self.question {
            Question::Health => health(&answer, took).to_vec(),
            Question::Query => {
                vec![answer.map_err(|error| absence(&error)).and_then(|answer| value(&answer))]
            }
        };
        for (column, reading) in self.columns.iter().zip(readings) {
            frame.set(*column, reading);
        }
    }
}

/// Latency, status, and whether it is up: that no answer came in time is known, and no missing reading.
fn health(answer: &io::Result<Answer>, took: Duration) -> [Reading; 3] {
    match answer {
        Ok(answer) => {
            let well = (200..300).contains(&answer.status);
            [Ok(took.as_secs_f64()), Ok(answer.status.into()), Ok(well.into())]
        }
        Err(error) => [Err(absence(error)), Err(absence(error)), Ok(0.0)],
    }
}

fn absence(error: &io::Error) -> AbsenceReason {
    match error.kind() {
        io::ErrorKind::PermissionDenied => AbsenceReason::Denied,
        _ => AbsenceReason::ReadFailed,
    }
}

/// The one value of a vector or scalar.
fn value(answer: &Answer) -> Reading {
    let read = || -> Option<f64> {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        let data = &answer["data"];
        let pair = match data["resultType"].as_str()? {
            "scalar" => &data["result"],
            "vector" => match &data["result"].as_array()?[..] {
                [one] => &one["value"],
                _ => return None,
            },
            _ => return None,
        };
        pair[1].as_str()?.parse().ok().filter(|value: &f64| value.is_finite())
    };
    if answer.status != 200 {
        return Err(AbsenceReason::ReadFailed);
    }
    read().ok_or(AbsenceReason::Malformed)
}

/// For a query of a URL: RFC 3986, 2.3.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded += &format!("%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use hyper::body::Bytes;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn a_query_has_one_value_or_none() {
        let one = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1.5,"0.25"]}]}}"#;
        assert_eq!(value(&answer(200, one)), Ok(0.25));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"3"]}}"#;
        assert_eq!(value(&answer(200, scalar)), Ok(3.0));
        let none = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        for body in [none, "", "{}", &one.replace("0.25", "NaN")] {
            assert_eq!(value(&answer(200, body)), Err(AbsenceReason::Malformed), "{body}");
        }
        assert_eq!(value(&answer(503, one)), Err(AbsenceReason::ReadFailed));
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encoded("rate(a{b=\"c d\"}[1m])"), "rate%28a%7Bb%3D%22c%20d%22%7D%5B1m%5D%29");
    }

    /// A service that answers each connection with the same; its URL.
    fn service(response: &'static str) -> HttpUrl {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _asked = stream.read(&mut [0; 1_024]);
                let _gone = stream.write_all(response.as_bytes());
            }
        });
        HttpUrl::parse(&format!("http://{address}/health")).unwrap()
    }

    fn sampled(url: HttpUrl) -> Vec<Reading> {
        let mut asked = Asked {
            unit: "x.service".into(),
            target: url.target(),
            url,
            timeout: Duration::from_millis(300),
            question: Question::Health,
            client: None,
            columns: Vec::new(),
        };
        let mut schema = Schema::new(1);
        asked.describe(&mut schema);
        let mut frame = Frame::default();
        frame.reset(&schema, 1);
        thread::spawn(move || {
            asked.sample(&mut frame);
            frame.readings().to_vec()
        })
        .join()
        .unwrap()
    }

    #[test]
    fn a_service_is_well_ill_or_silent() {
        let well = sampled(service("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"));
        assert!(well[0].is_ok_and(|latency| latency > 0.0) && well[1..] == [Ok(204.0), Ok(1.0)], "{well:?}");
        let ill = sampled(service("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(ill[1..], [Ok(503.0), Ok(0.0)]);
        // It takes the connection, by its queue, and never answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = HttpUrl::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let silent = sampled(silent);
        assert_eq!(silent, [Err(AbsenceReason::ReadFailed), Err(AbsenceReason::ReadFailed), Ok(0.0)]);
    }
}
