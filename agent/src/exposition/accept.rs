//! Which format a reader wants: RFC 9110, section 12.5.1.

use super::{gathered::Filled, protobuf, text};

/// A format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus's text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each after its length: the one that has native histograms.
    Protobuf,
}

impl Format {
    pub(super) const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The one that an `Accept` header prefers; text for whoever does not say.
    pub(super) fn preferred(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> = parts
                .filter_map(|part| part.split_once('='))
                .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
                .collect();
            let parameter = |wanted| {
                parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
            };
            let weight: f64 = parameter("q").map_or(Ok(1.0), str::parse).unwrap_or(0.0);
            let version = parameter("version");
            let format = match media.to_ascii_lowercase().as_str() {
                "application/vnd.google.protobuf"
                    if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                        && parameter("encoding") == Some("delimited") =>
                {
                    Self::Protobuf
                }
                "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                    Self::OpenMetrics
                }
                "text/plain" if matches!(version, None | Some("0.0.4")) => Self::Text,
                "text/*" | "*/*" => Self::Text,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, format);
            }
        }
        best.1
    }

    /// What the answer's `Content-Type` says.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// As a label has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::OpenMetrics => "openmetrics",
            Self::Protobuf => "protobuf",
        }
    }

    pub(super) fn encode(self, families: &[Filled<'_>]) -> Vec<u8> {
        match self {
            Self::Text => text::encode(families, text::Dialect::Prometheus),
            Self::OpenMetrics => text::encode(families, text::Dialect::OpenMetrics),
            Self::Protobuf => protobuf::encode(families),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_gets_what_it_prefers_of_what_there_is() {
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("image/png", Format::Text),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Text),
            // As Prometheus 2.42 asks.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                &format!("{protobuf},application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1"),
                Format::Protobuf,
            ),
            (
                &format!("{protobuf};q=0.3, application/openmetrics-text; version=1.0.0; q=0.8"),
                Format::OpenMetrics,
            ),
            (&format!("{protobuf};q=0, text/plain"), Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/vnd.google.protobuf;proto=some.other", Format::Text),
            ("application/openmetrics-text;q=nonsense, text/plain;q=0.1", Format::Text),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept}");
        }
    }
}
