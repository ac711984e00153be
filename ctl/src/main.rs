//! `sstsctl`: commands hosts that run `sstsd`.

mod audit;
mod cli;
mod commands;
mod compare;
mod connect;
mod display;
mod drill;
mod error;
mod fleet;
mod interrupts;
mod json;
mod load;
mod local;
mod mesh;
mod output;
mod page;
mod pki;
mod product;
mod quantity;
mod record;
mod report;
mod scenario;
mod slices;
mod stats;
mod status;
mod store;
mod telemetry;
mod text;
mod tls;
mod top;
mod trends;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    cli::Cli,
    commands::Session,
    error::{Exit, Failure},
    interrupts::Interrupts,
    output::Output,
};

fn main() -> ExitCode {
    slices::ask();
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            // A reader that has gone away, as `head` does, is no error.
            let _ = refusal.print();
            return ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    let mut output = Output::standard(global.color);
    // The worker renews leases and reads sockets; commands run on this thread, which private agents depend on.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(slices::ask)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Exit::Internal, format!("can't start: {error}"), "");
            output.failure(&failure);
            return ExitCode::from(failure.exit.code());
        }
    };
    let exit = runtime.block_on(async {
        let interrupts = match Interrupts::of_process() {
            Ok(interrupts) => interrupts,
            Err(failure) => {
                output.failure(&failure);
                return failure.exit;
            }
        };
        let mut session = Session { global, output, interrupts };
        commands::carry_out(command, &mut session).await.unwrap_or_else(|failure| {
            session.output.failure(&failure);
            failure.exit
        })
    });
    // Nothing that still runs in the background is worth waiting for.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}
