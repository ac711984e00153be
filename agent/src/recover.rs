//! `sstsd recover`: looks after the runs of an sstsd that is gone.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use ssts_agent::{host::HostRoots, run::recover_after};
use ssts_proto::v1::{ReceiptState, RunReceipt};

use crate::{Failure, cli::Common, configuration};

/// Ends, undoes, looks, and says what is not clean.
pub(crate) fn recover(args: &Common) -> Result<ExitCode, Failure> {
    let config = configuration(args)?;
    let roots = HostRoots::from(config.roots.clone());
    let unclean = recover_after(&config.state_dir.clone().unwrap_or_default(), &roots)?;
    let text = if unclean.is_empty() { "clean\n".to_owned() } else { unclean.iter().map(lines).collect() };
    match io::stdout().write_all(text.as_bytes()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io { what: "standard output", source })
        }
        _ if unclean.is_empty() => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// What is wrong after one run, and the mend for each.
fn lines(unclean: &RunReceipt) -> String {
    let whose = if unclean.run_id.is_empty() { "an earlier run" } else { &unclean.run_id };
    let checks = unclean.receipt.iter().flat_map(|receipt| &receipt.checks);
    let bad = checks.filter(|check| check.state() != ReceiptState::Clean);
    bad.map(|check| {
        let state = if check.state() == ReceiptState::Left { "left" } else { "unknown" };
        format!("{whose}: {} {state}: {}\n  mend: {}\n", check.what, check.detail, check.mend)
    })
    .collect()
}
