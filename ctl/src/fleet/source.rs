//! Where the hosts of a fleet are listed.

use std::{fmt, net::SocketAddr, path::PathBuf};

/// What `--fleet` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// TOML or JSON.
    File(PathBuf),
    /// TOML or JSON.
    StandardInput,
    /// A program and its arguments: it prints JSON, or TOML.
    Command(Vec<String>),
    /// Records of DNS, asked of the system's servers or of this one.
    Srv { name: String, server: Option<SocketAddr> },
}

impl Source {
    /// As the command line has it.
    ///
    /// # Errors
    /// It is none of them; with the mend.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(command) = text.strip_prefix("exec:") {
            return match words(command) {
                None => Err("a quote is not closed".into()),
                Some(words) if words.is_empty() => {
                    Err("no command follows 'exec:', write it as exec:'CMD ARGS'".into())
                }
                Some(words) => Ok(Self::Command(words)),
            };
        }
        match text.strip_prefix("srv:") {
            Some(query) => srv(query),
            None if text == "-" => Ok(Self::StandardInput),
            None if text.is_empty() => Err("name a file, -, exec:CMD or srv:NAME".into()),
            None => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::StandardInput => f.write_str("standard input"),
            Self::Command(words) => write!(f, "exec:{}", words.join(" ")),
            Self::Srv { name, .. } => write!(f, "srv:{name}"),
        }
    }
}

/// `_ssts._tcp.example.org`, maybe with `?server=127.0.0.1:5353`.
fn srv(query: &str) -> Result<Source, String> {
    const MEND: &str = "write it as srv:_ssts._tcp.example.org, or with ?server=127.0.0.1:5353";
    let (name, options) =
        query.split_once('?').map_or((query, None), |(name, options)| (name, Some(options)));
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if name.is_empty() || !is_name {
        return Err(format!("'{name}' is no name of DNS, {MEND}"));
    }
    let server = match options.map(|options| options.split_once('=')) {
        None => None,
        Some(Some(("server", address))) => {
            Some(address.parse().map_err(|_| format!("'{address}' is no address with a port, {MEND}"))?)
        }
        Some(_) => return Err(format!("the only option is server, {MEND}")),
    };
    Ok(Source::Srv { name: name.to_owned(), server })
}

/// Splits a command line at its spaces, but not within quotes. Nothing else means anything: there is no shell.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_known_by_its_beginning() {
        let command = |words: &[&str]| Source::Command(words.iter().map(|word| (*word).to_owned()).collect());
        let server = Some("127.0.0.1:5353".parse().unwrap());
        let name = "_ssts._tcp.example.org".to_owned();
        for (text, source) in [
            ("hosts.toml", Source::File("hosts.toml".into())),
            ("./-", Source::File("./-".into())),
            ("-", Source::StandardInput),
            ("exec:list --all", command(&["list", "--all"])),
            ("exec:list 'two words' \"\" a'b'c", command(&["list", "two words", "", "abc"])),
            ("exec:echo $HOME; true", command(&["echo", "$HOME;", "true"])),
            ("srv:_ssts._tcp.example.org", Source::Srv { name: name.clone(), server: None }),
            ("srv:_ssts._tcp.example.org?server=127.0.0.1:5353", Source::Srv { name, server }),
        ] {
            assert_eq!(Source::parse(text), Ok(source), "{text}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused_with_the_mend() {
        for (text, words) in [
            ("", "name a file"),
            ("exec:", "CMD ARGS"),
            ("exec:list 'all", "not closed"),
            ("srv:", "srv:_ssts._tcp"),
            ("srv:a b", "srv:_ssts._tcp"),
            ("srv:_ssts._tcp.x?server=here", "no address"),
            ("srv:_ssts._tcp.x?port=1", "the only option"),
        ] {
            let refusal = Source::parse(text).expect_err(text);
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
    }
}
