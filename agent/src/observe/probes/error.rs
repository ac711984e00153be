//! Why a probe is off. Each message says what failed, on what, why, and what mends it.

use std::{error::Error, io, path::PathBuf};

use aya::{EbpfError, programs::ProgramError};
use thiserror::Error as ThisError;

use super::program::Kind;

/// Why a probe is off.
#[derive(Debug, ThisError)]
pub(super) enum ProbeError {
    #[error("turned off in the configuration")]
    TurnedOff,
    #[error("{path} does not say which CPUs there can be")]
    NoCpus { path: PathBuf },
    #[error(
        "no kernel types at {path} ({reason}): a kernel built with CONFIG_DEBUG_INFO_BTF=y shows them there"
    )]
    NoTypes { path: PathBuf, reason: String },
    #[error("this kernel's types have no {what}")]
    NoType { what: String },
    #[error("this kernel passes {what} in another place than any known one")]
    Prototype { what: &'static str },
    #[error(
        "tracefs is not mounted at {path} and can't be opened without ({source}): `mount -t tracefs tracefs {path}`"
    )]
    NoTracefs { path: PathBuf, source: io::Error },
    #[error("tracefs, events/{event}/{file}: {reason}")]
    Tracepoint { event: String, file: &'static str, reason: String },
    #[error("{what}: not permitted; it takes root, or the capabilities CAP_BPF and CAP_PERFMON")]
    Denied { what: String },
    #[error("{what}: {reason}")]
    Kernel { what: String, reason: String },
    #[error("{}", told(.0))]
    NoKind(Vec<(Kind, ProbeError)>),
    #[error("its test at the start failed: {0}")]
    Canary(String),
}

impl ProbeError {
    /// The kernel refused a call of ours.
    pub(super) fn call(what: impl Into<String>, source: &io::Error) -> Self {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { what },
            _ => Self::Kernel { what, reason: source.to_string() },
        }
    }

    /// Loading an object failed.
    pub(super) fn object(what: impl Into<String>, error: &EbpfError) -> Self {
        Self::chain(what.into(), error)
    }

    /// Every kind of hook was refused.
    pub(super) fn of_all_kinds(mut refusals: Vec<(Kind, Self)>) -> Self {
        // It is the same privilege that all lack.
        if let Some(place) = refusals.iter().position(|(_, error)| matches!(error, Self::Denied { .. })) {
            return refusals.swap_remove(place).1;
        }
        if refusals.len() == 1 { refusals.remove(0).1 } else { Self::NoKind(refusals) }
    }

    /// The object and its reader don't fit: a fault in the build.
    pub(super) fn lacks(name: &str) -> Self {
        Self::Kernel {
            what: format!("the probe's object has no {name}"),
            reason: "it was built wrongly".into(),
        }
    }

    /// Loading or attaching a program failed.
    pub(super) fn program(what: impl Into<String>, error: &ProgramError) -> Self {
        let what = what.into();
        let ProgramError::LoadError { io_error, verifier_log } = error else {
            return Self::chain(what, error);
        };
        if io_error.kind() == io::ErrorKind::PermissionDenied && io_error.raw_os_error() == Some(libc::EPERM)
        {
            return Self::Denied { what };
        }
        // The verifier's verdict is the last line before its statistics.
        let log = verifier_log.to_string();
        tracing::debug!(what, log, "the verifier refused a program");
        let statistics = ["processed ", "verification time ", "stack depth "];
        let said = |line: &&str| !line.is_empty() && !statistics.iter().any(|words| line.starts_with(words));
        let verdict = log.lines().rev().find(said);
        Self::Kernel {
            what,
            reason: format!("{io_error}; the verifier says: {}", verdict.unwrap_or("nothing")),
        }
    }

    /// An error of a library with all that it says of its causes.
    fn chain(what: String, error: &(dyn Error + 'static)) -> Self {
        let mut reason = error.to_string();
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.raw_os_error() == Some(libc::EPERM)) {
                return Self::Denied { what };
            }
            let text = error.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = error.source();
        }
        Self::Kernel { what, reason }
    }
}

/// Each refusal once, with the kinds of hooks that met it.
fn told(refusals: &[(Kind, ProbeError)]) -> String {
    let mut parts: Vec<(Vec<&str>, String)> = Vec::new();
    for (kind, error) in refusals {
        let (name, reason) = (kind.name(), error.to_string());
        match parts.iter_mut().find(|(_, told)| *told == reason) {
            Some((names, _)) => names.push(name),
            None => parts.push((vec![name], reason)),
        }
    }
    let part = |(names, reason): &(Vec<&str>, String)| format!("by {}: {reason}", names.join(" and "));
    parts.iter().map(part).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_of_two_kinds_is_told_once() {
        let none = || ProbeError::NoType { what: "struct request".into() };
        let refusals = vec![
            (Kind::Btf, none()),
            (Kind::Raw, none()),
            (Kind::Recorded, ProbeError::Prototype { what: "a pid" }),
        ];
        assert_eq!(
            ProbeError::of_all_kinds(refusals).to_string(),
            "by BTF tracepoints and raw tracepoints: this kernel's types have no struct request; \
             by tracepoints: this kernel passes a pid in another place than any known one"
        );
    }
}
