//! The HTTP burner as users write it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use ssts_proto::{
    v1::{HttpBurner, HttpHeader, HttpMethod, HttpProtocol, burner},
    validate::MAX_BODY_BYTES,
};
use toml::de::DeValue;

use super::{
    Plan,
    flags::single,
    keys::{Findings, Keys, string, whole, wrong_type},
    values::{cores, duration, one_of, percent, size},
};
use crate::{
    cli::{BurnHttp, Headers},
    error::{Failure, Problem},
    quantity,
};

/// `burn http`.
///
/// # Errors
/// A file with the body or with headers can't be read.
pub(crate) fn burn_http(flags: &BurnHttp) -> Result<Plan, Failure> {
    let narrow = |bytes: Option<u64>| bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    let http = HttpBurner {
        url: flags.url.clone(),
        method: HttpMethod::from(flags.method).into(),
        headers: all_headers(&flags.headers)?,
        body: body(flags)?,
        body_bytes: narrow(flags.body_size),
        protocol: HttpProtocol::from(flags.protocol).into(),
        connections: flags.connections,
        streams: flags.streams,
        rate_per_s: flags.rate,
        new_connection: flags.new_connection,
        resume: flags.resume,
        timeout_ms: flags.timeout,
        retries: flags.retries,
        expected_status: flags.expect.as_ref().map(|statuses| statuses.0.clone()).unwrap_or_default(),
        insecure: flags.insecure,
        max_errors_percent: flags.max_errors,
        cores: flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default(),
        rate_tolerance_percent: flags.tolerance,
    };
    let body_flag = if flags.body_file.is_some() { "--body-file" } else { "--body" };
    let places = [
        ("url", "--url"),
        ("method", "--method"),
        ("headers", "--header"),
        ("body", body_flag),
        ("body_bytes", "--body-size"),
        ("protocol", "--protocol"),
        ("connections", "--connections"),
        ("streams", "--streams"),
        ("rate_per_s", "--rate"),
        ("new_connection", "--new-connection"),
        ("resume", "--resume"),
        ("timeout_ms", "--timeout"),
        ("retries", "--retries"),
        ("expected_status", "--expect"),
        ("insecure", "--insecure"),
        ("max_errors_percent", "--max-errors"),
        ("cores", "--cores"),
        ("rate_tolerance_percent", "--tolerance"),
    ];
    Ok(single("burn-http", flags.duration, burner::Kind::Http(http), &places))
}

/// Far more than a service takes.
const MAX_HEADER_FILE_BYTES: u64 = 1 << 20;

fn all_headers(flags: &[Headers]) -> Result<Vec<HttpHeader>, Failure> {
    let mut all = Vec::new();
    for headers in flags {
        match headers {
            Headers::One(header) => all.push(header.clone()),
            Headers::File(path) => all.extend(headers_in(path)?),
        }
    }
    Ok(all)
}

/// One a line. What is wrong with a line is told by its number: it may be a secret.
fn headers_in(path: &Path) -> Result<Vec<HttpHeader>, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(
            format!("--header: {} can't be read: {error}", path.display()),
            "give a file of text that you may read, with a header on each line",
        )
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_HEADER_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = |(index, line): (usize, &str)| {
        quantity::header(line).map_err(|problem| {
            let place = format!("--header: {}:{}", path.display(), index + 1);
            Failure::usage(format!("{place}: {}", problem.message), problem.mend)
        })
    };
    lines.map(header).collect()
}

fn body(flags: &BurnHttp) -> Result<Vec<u8>, Failure> {
    let Some(path) = &flags.body_file else {
        return Ok(flags.body.clone().unwrap_or_default().into_bytes());
    };
    let failed = |error: io::Error| {
        Failure::usage(
            format!("--body-file: {} can't be read: {error}", path.display()),
            "give a file that you may read",
        )
    };
    let mut body = Vec::new();
    // One byte more than is allowed shows that there are too many, even in a pipe or a device.
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut body).map_err(failed)?;
    Ok(body)
}

/// Its keys in a scenario file.
pub(super) fn from_keys(keys: &mut Keys<'_, '_>, found: &mut Findings) -> HttpBurner {
    HttpBurner {
        url: keys.need("url", "url", found, string, "\"http://10.0.0.9:8080/\"").unwrap_or_default(),
        method: keys.read("method", "method", found, method).unwrap_or(HttpMethod::Get).into(),
        headers: keys.read("headers", "headers", found, headers).unwrap_or_default(),
        body: keys.read("body", "body", found, string).unwrap_or_default().into_bytes(),
        body_bytes: keys.read("body_size", "body_bytes", found, |value| narrow(size(value)?)),
        protocol: keys.read("protocol", "protocol", found, protocol).unwrap_or(HttpProtocol::Auto).into(),
        connections: keys.read("connections", "connections", found, |value| narrow(whole(value)?)),
        streams: keys.read("streams", "streams", found, |value| narrow(whole(value)?)),
        rate_per_s: keys.read("rate", "rate_per_s", found, rate),
        new_connection: keys.read("new_connection", "new_connection", found, yes_or_no).unwrap_or_default(),
        resume: keys.read("resume", "resume", found, yes_or_no).unwrap_or_default(),
        timeout_ms: keys.read("timeout", "timeout_ms", found, duration),
        retries: keys.read("retries", "retries", found, |value| narrow(whole(value)?)),
        expected_status: keys.read("expect", "expected_status", found, statuses).unwrap_or_default(),
        insecure: keys.read("insecure", "insecure", found, yes_or_no).unwrap_or_default(),
        max_errors_percent: keys.read("max_errors", "max_errors_percent", found, percent),
        cores: keys.read("cores", "cores", found, cores).unwrap_or_default(),
        rate_tolerance_percent: keys.read("tolerance", "rate_tolerance_percent", found, percent),
    }
}

fn method(value: &DeValue<'_>) -> Result<HttpMethod, Problem> {
    let known = [
        ("GET", HttpMethod::Get),
        ("HEAD", HttpMethod::Head),
        ("POST", HttpMethod::Post),
        ("PUT", HttpMethod::Put),
        ("DELETE", HttpMethod::Delete),
    ];
    one_of(value, "method", &known)
}

fn protocol(value: &DeValue<'_>) -> Result<HttpProtocol, Problem> {
    let known =
        [("auto", HttpProtocol::Auto), ("http1", HttpProtocol::Http1), ("http2", HttpProtocol::Http2)];
    one_of(value, "protocol", &known)
}

/// A list of strings, each `Name: value`.
fn headers(value: &DeValue<'_>) -> Result<Vec<HttpHeader>, Problem> {
    let wrong = |value: &DeValue<'_>| wrong_type(value, "a list of headers, such as [\"Accept: text/html\"]");
    let DeValue::Array(list) = value else { return Err(wrong(value)) };
    let one = |item: &DeValue<'_>| quantity::header(item.as_str().ok_or_else(|| wrong(item))?);
    list.iter().map(|item| one(item.get_ref())).collect()
}

/// A list in quotes, or one status.
fn statuses(value: &DeValue<'_>) -> Result<Vec<u32>, Problem> {
    match value {
        DeValue::String(text) => quantity::statuses(text),
        DeValue::Integer(_) => quantity::statuses(&whole(value)?.to_string()),
        _ => Err(wrong_type(value, "statuses in quotes, such as \"2xx,404\"")),
    }
}

/// In quotes, or a whole number.
fn rate(value: &DeValue<'_>) -> Result<u64, Problem> {
    match value {
        DeValue::String(text) => quantity::network_rate(text),
        _ => whole(value),
    }
}

fn narrow(number: u64) -> Result<u32, Problem> {
    u32::try_from(number).map_err(|_| Problem::new(format!("{number} is far too much"), "use less"))
}

fn yes_or_no(value: &DeValue<'_>) -> Result<bool, Problem> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        _ => Err(wrong_type(value, "true or false")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Burn, Cli, Command};

    fn flags(arguments: &str) -> Result<Plan, Failure> {
        let line = format!("sstsctl burn http {arguments}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Burn(Burn::Http(flags)) => burn_http(&flags),
            other => panic!("{other:?}"),
        }
    }

    fn kind(plan: &Plan) -> &HttpBurner {
        match &plan.scenario.phases[0].burners[0].kind {
            Some(burner::Kind::Http(http)) => http,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_and_file_say_the_same() {
        let plan = flags(
            "--url https://h/a?b --method post -H Accept:x --body hello --protocol http2 --connections 4 --streams 2 \
             --rate 2k --timeout 2s --retries 1 --expect 2xx,404 --insecure --max-errors 5 --cores 0-1 --duration 1s",
        )
        .unwrap();
        plan.validate().unwrap();
        let file = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'http'\n\
                    url = 'https://h/a?b'\nmethod = 'POST'\nheaders = ['Accept: x']\nbody = 'hello'\n\
                    protocol = 'http2'\nconnections = 4\nstreams = 2\nrate = '2k'\ntimeout = '2s'\nretries = 1\n\
                    expect = '2xx,404'\ninsecure = true\nmax_errors = 5\ncores = '0-1'\n";
        let from_file = Plan::from_toml("x.toml", file).unwrap();
        assert_eq!(kind(&plan), kind(&from_file));
        assert_eq!(kind(&plan).expected_status, [2, 404]);
        assert_eq!(kind(&plan).headers[0], HttpHeader { name: "Accept".into(), value: "x".into() });
    }

    #[test]
    fn a_body_is_text_a_file_or_a_size() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file").unwrap();
        let path = file.path().display();
        let plan = flags(&format!("--url http://h --method PUT --body-file {path} --duration 1s")).unwrap();
        assert_eq!(kind(&plan).body, b"from a file");
        let failure = flags("--url http://h --method PUT --body-file /no/such --duration 1s").unwrap_err();
        assert!(failure.to_string().contains("--body-file"), "{failure}");
        let endless = flags("--url http://h --method PUT --body-file /dev/zero --duration 1s").unwrap();
        let failure = endless.validate().unwrap_err();
        assert!(failure.problems[0].message.starts_with("--body-file: "), "{failure}");
    }

    #[test]
    fn headers_come_from_files_too_and_a_wrong_one_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Authorization: Bearer s3cret\r\n\nX-Two: b\n").unwrap();
        let path = file.path().display();
        let of = |more: &str| flags(&format!("--url http://h -H X-One:a -H @{path} {more} --duration 1s"));
        let plan = of("-H X-Three:c").unwrap();
        let headers: Vec<_> =
            kind(&plan).headers.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        let given = [("X-One", "a"), ("Authorization", "Bearer s3cret"), ("X-Two", "b"), ("X-Three", "c")];
        assert_eq!(headers, given);
        std::fs::write(file.path(), "X-Two: b\ns3cret\n").unwrap();
        let failure = of("").unwrap_err().to_string();
        assert!(failure.contains(&format!("{path}:2: a header without a name")), "{failure}");
        assert!(!failure.contains("s3cret"), "{failure}");
        let failure = flags("--url http://h -H @/no/such --duration 1s").unwrap_err();
        assert!(failure.to_string().contains("--header: /no/such can't be read"), "{failure}");
    }

    #[test]
    fn violations_name_the_flag() {
        for (arguments, flag) in [
            ("--url ftp://h --duration 1s", "--url: "),
            ("--url http://h --insecure --duration 1s", "--insecure: "),
            ("--url https://h --resume --duration 1s", "--resume: "),
            ("--url http://h --body x --duration 1s", "--body: "),
            ("--url http://h -H Host:x --duration 1s", "--header: "),
            ("--url http://h --connections 1 --cores 0-1 --duration 1s", "--cores: "),
        ] {
            let failure = flags(arguments).unwrap().validate().unwrap_err();
            assert!(failure.problems[0].message.starts_with(flag), "{failure}");
        }
    }
}
