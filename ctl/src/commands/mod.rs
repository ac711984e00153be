//! What each command does.

mod audit;
mod baselines;
mod compare;
mod control;
mod drill;
mod fleet;
mod fleet_run;
mod follow;
mod form;
mod history;
mod info;
mod lease;
mod net_mesh;
mod odd;
mod pki;
mod plan;
mod recover;
mod report;
mod run;
mod runs;
mod scenarios;
mod shell;
mod sides;
mod telemetry;
mod top;
mod trend;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use self::report::fetch as fetch_run;
use crate::{
    cli::{Burn, Command, ComparisonForm, Global, RunOptions},
    connect::{Agent, Fallback},
    error::{Exit, Failure},
    fleet::Fleet,
    interrupts::Interrupts,
    output::{Format, Output},
    scenario::{Plan, burn_cpu, burn_disk, burn_http, burn_memory, burn_network, headroom},
};

/// What a command works with beside its own arguments.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) global: Global,
    pub(crate) output: Output,
    pub(crate) interrupts: Interrupts,
}

impl Session {
    fn wants_json(&self) -> bool {
        self.global.output == Format::Json
    }

    /// As `--output` says.
    fn default_form(&self) -> ComparisonForm {
        match self.global.output {
            Format::Text => ComparisonForm::Text,
            Format::Json => ComparisonForm::Json,
        }
    }

    /// The agent that is asked for, unless the user interrupts the search.
    async fn agent(&mut self, fallback: Fallback) -> Result<Agent, Failure> {
        let Self { global, output, interrupts } = self;
        tokio::select! {
            agent = Agent::find(global, fallback, output) => agent,
            () = interrupts.next() => Err(Failure::interrupted()),
        }
    }

    /// The fleet that is asked for, unless the user interrupts its listing. None where the command is about one host.
    async fn fleet(&mut self) -> Result<Option<Fleet>, Failure> {
        let Self { global, interrupts, .. } = self;
        tokio::select! {
            asked = Fleet::asked(global) => asked,
            () = interrupts.next() => Err(Failure::interrupted()),
        }
    }

    /// Does one thing with the agent, unless the user interrupts it; a private agent is gone afterwards.
    async fn with_agent(
        &mut self,
        fallback: Fallback,
        work: impl AsyncFnOnce(&mut Agent, &mut Output, Format) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        let mut agent = self.agent(fallback).await?;
        let Self { global, output, interrupts } = self;
        let result = tokio::select! {
            result = work(&mut agent, output, global.output) => result,
            () = interrupts.next() => Err(Failure::interrupted()),
        };
        agent.close().await;
        result.map(|()| Exit::Pass)
    }
}

/// Waves and thresholds of a fleet say nothing of one host: who asked for them on the command line is told so before anything
/// is done, and of a scenario that brings some it is said that they are left out.
fn not_on_one_host(plan: &Plan, options: &RunOptions, session: &mut Session) -> Result<(), Failure> {
    if options.waves.spec().is_asked() {
        return Err(Failure::usage(
            "waves and thresholds of a fleet, and there is one host",
            "name the fleet with --fleet, or several hosts with --host; or leave --wave, --max-per, --max-watts, \
             --max-failures and --fleet-threshold out",
        ));
    }
    if plan.fleet.is_asked() {
        session.output.message("the scenario's [fleet] is left out: this is one host");
    }
    Ok(())
}

/// Carries out a command.
pub(crate) async fn carry_out(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    use Fallback::{Private, Refuse};
    if let Some(exit) = fleet::carry_out(&command, session).await? {
        return Ok(exit);
    }
    match command {
        Command::Info => session.with_agent(Private, info::info).await,
        Command::Status => session.with_agent(Refuse, info::status).await,
        Command::Runs(asked) => runs::runs(asked, session).await,
        Command::Burn(Burn::Cpu(flags)) => run::run(burn_cpu(&flags), &flags.options, session).await,
        Command::Burn(Burn::Memory(flags)) => run::run(burn_memory(&flags), &flags.options, session).await,
        Command::Burn(Burn::Disk(flags)) => run::run(burn_disk(&flags)?, &flags.options, session).await,
        Command::Burn(Burn::Network(flags)) => run::run(burn_network(&flags), &flags.options, session).await,
        Command::Burn(Burn::Http(flags)) => run::run(burn_http(&flags)?, &flags.options, session).await,
        Command::Run { scenario, settings, options } => {
            run::run(Plan::find(&scenario, &settings.set)?, &options, session).await
        }
        Command::Headroom(flags) => run::run(headroom(&flags)?, &flags.options, session).await,
        Command::NetMesh(flags) => net_mesh::net_mesh(&flags, session).await,
        Command::Plan { what, scenario, settings, options } => {
            plan::plan(what, scenario, &settings, options, session).await
        }
        Command::Top { rate, once } => top::top(rate, once, session).await,
        Command::Watch { run, flags } => watch::watch(run, &flags, session).await,
        Command::Stop { run } => session.with_agent(Refuse, control::stop(run)).await,
        Command::Pause { run } => session.with_agent(Refuse, control::pause(run)).await,
        Command::Resume { run } => session.with_agent(Refuse, control::resume(run)).await,
        Command::Halt { reason, clear, .. } => session.with_agent(Refuse, control::halt(reason, clear)).await,
        Command::Recover { force, reason } => recover::recover(force, reason, session).await,
        Command::Report { run, form } => report::report(&run, &form, session).await,
        Command::Compare(flags) => compare::compare(*flags, session).await,
        Command::Trend(flags) => trend::trend(*flags, session).await,
        Command::Odd(flags) => odd::odd(*flags, session).await,
        Command::Scenarios { command } => scenarios::scenarios(command, session),
        Command::Telemetry { run, metric, follow, frozen } => {
            let fallback = if run.is_some() { Private } else { Refuse };
            session.with_agent(fallback, telemetry::telemetry(run, metric, follow, frozen)).await
        }
        Command::Freeze { run, reason } => session.with_agent(Refuse, control::freeze(run, reason)).await,
        Command::Drill { only, halt, .. } => drill::drill(only, halt, session).await,
        // It was carried out above.
        Command::Collect(_) => Ok(Exit::Pass),
        Command::Pki { command } => pki::pki(command, session),
        Command::Audit { command } => audit::audit(command, session),
        Command::Completions { shell } => shell::completions(shell, &mut session.output),
        Command::Man { dir } => shell::man(dir.as_deref(), &mut session.output),
        Command::Schema { inventory } => shell::schema(inventory, &mut session.output),
    }
}
