//! The command line: names, values and help. What each command does is in `commands`.

mod audit;
mod compare;
mod cpu;
mod disk;
mod fleet;
mod form;
mod headroom;
mod http;
mod load;
mod memory;
mod net_mesh;
mod network;
mod odd;
mod pki;
mod runs;
mod values;
mod waves;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use self::values::{duration, frame_rate, host, instant, label, run_id, setting, size, temperature};
pub(crate) use self::{
    audit::Audit,
    compare::{CompareFlags, TrendFlags},
    cpu::BurnCpu,
    disk::BurnDisk,
    fleet::{CollectFlags, FleetFlags, NotReady, OnLoss, StartFlags, WatchFlags},
    form::{ComparisonForm, Form, ReportForm, ReportFormat},
    headroom::HeadroomFlags,
    http::{BurnHttp, Headers},
    load::LoadFlags,
    memory::BurnMemory,
    net_mesh::NetMeshFlags,
    network::BurnNetwork,
    odd::{OddFlags, OddFormat},
    pki::{Issue, Pki},
    runs::{Runs, RunsCommand, Which},
    values::Host,
    waves::WaveFlags,
};
use crate::{
    drill::Fault,
    output::{Color, Format},
    scenario::Setting,
    store::Place,
};

const EXIT_STATUS: &str = "\
Exit status:
  0 pass, 1 internal error, 2 usage or invalid scenario, 3 a threshold failed or a load was missed,
  4 aborted by a guard, a halt, a lost lease or another user, 5 the agent could not be reached or failed,
  6 wrong data found, 130 interrupted.

Examples:
  sstsctl info
  sstsctl burn cpu --load 50 --duration 10s
  sstsctl run quick --report ./report
  sstsctl --fleet hosts.toml --select role=db status";

const RUN_EXAMPLES: &str = "\
SCENARIO is the name of a scenario built into sstsctl, or the path of a TOML file (write ./quick for a file of that
name). Ctrl-C stops the run, waits for the proof that it is over and prints what was measured; a second Ctrl-C halts
the agent.

Examples:
  sstsctl run quick
  sstsctl run burn-in.toml --max-temperature 85 --report ./report
  sstsctl run burn-in.toml --set soak=8h --set peak=90%
  sstsctl --output json run quick > result.json

On a fleet every host is made ready before any begins, and all begin at one instant of their clocks, which are compared before.
Each host has its own result; the exit status is that of the worst: 6, then 5, 4, 3, 0. Ctrl-C stops all, a second one halts all.

  sstsctl --fleet fleet.toml run burn-in.toml
  sstsctl --fleet fleet.toml run burn-in.toml --wave 1,10%,100% --max-per rack=2 --max-failures 2%
  sstsctl --fleet fleet.toml --select role=db run quick --not-ready leave-out --on-loss stop --report ./report";

const PLAN_EXAMPLES: &str = "\
Asks the agent what a start would come to: cores, memory, files, limits, guards, and every rule that it would break, with the
value asked and the value allowed. Over a fleet every host is asked: what would run where, in which wave, and why not elsewhere.
Exit status: 0 it would start, 2 it would be refused, 5 it could not start just now, or a host could not be reached.

Examples:
  sstsctl plan burn-in.toml
  sstsctl plan burn-in.toml --set soak=8h
  sstsctl --fleet fleet.toml plan burn-in.toml --wave 1,50% --max-watts rack=4000
  sstsctl plan burn cpu --load 50 --duration 10s";

const WATCH_EXAMPLES: &str = "\
A run belongs to whoever renews its lease. With --adopt this sstsctl does so from now on, so that it goes on when the one that
started it is gone: within ten seconds, or the hosts have ended it. Ctrl-C then stops it; else it only leaves.

Examples:
  sstsctl watch
  sstsctl watch 01a1fe6f-f750-7063-93f9-0fe3c22de573
  sstsctl --fleet fleet.toml watch 01a1fe6f-f750-7063-93f9-0fe3c22de573 --adopt";

const HALT_EXAMPLES: &str = "\
A halted agent starts nothing until the halt is cleared, not even after a restart.

Over a fleet every host is asked at once, and again until it has confirmed that nothing burns; who has not within --within is
named. Exit status: 0 when all have, else 5.

Examples:
  sstsctl halt --reason 'smoke in rack 7'
  sstsctl halt --clear
  sstsctl --fleet hosts.toml halt --all --reason 'smoke in rack 7'";

const RECOVER_EXAMPLES: &str = "\
After a run the agent looks whether anything is left of it; where something is, or can't be seen, nothing starts until it was
looked at again and seen to be clean. With --force it may stay, and the run's record says who let it.

Examples:
  sstsctl recover
  sstsctl recover --force --reason 'the disk is out of the host'";

const TELEMETRY_EXAMPLES: &str = "\
One line for each reading: time in seconds since 1970, metric, labels, statistic, unit, value. Counters are given by their
rate, histograms by count and percentiles. What could not be read is said once, with the reason and without a value.

Examples:
  sstsctl telemetry > last-ten-minutes.csv
  sstsctl telemetry 01a1fe6f-f750-7063-93f9-0fe3c22de573 --metric block. --metric host.disk.
  sstsctl telemetry 01a1fe6f-f750-7063-93f9-0fe3c22de573 --frozen > before-it-went-wrong.csv";

const DRILL_EXAMPLES: &str = "\
Faults go to a private agent with the host's own configuration, one core at 20 %: a sensor, an error counter and a state disk
of the drill's own, a wrong result, an OOM kill, a lost lease, a halt, SIGKILL, SIGSTOP. The host's own daemon only loses a
lease of one second, on 5 % of one core, and keeps what was found: `sstsd check` tells it. Takes under a minute.

Exit status: 0 when every fault passed, 3 when one did not or could not be tried.

Over a fleet nothing is drilled: the latest drill of each host is shown; 3 where one has none that passed within --max-age, with
the sstsd that it has now.

Examples:
  sstsctl drill
  sstsctl drill --only temperature --only hung-daemon
  sstsctl --output json drill > drill.json
  sstsctl --fleet hosts.toml drill --max-age 7d";

const TOP_EXAMPLES: &str = "\
Keys: ? lists them, q quits, space pauses, the arrows and PgUp go back in the agent's flight recorder, End is live.
What has no reading is shown as -, with the reason below; what is too old as stale.

With a fleet all its hosts are shown, once a second: state, phase, load, hottest sensor, slowest I/O, guards, lag. 1 to 8 sort,
/ filters, m shows a map, Enter looks at one host and Esc comes back, s stops the run, h halts all.

Exit status: 0, 5 where a host of the fleet could not be reached (with --once), 130 interrupted.

Examples:
  sstsctl top
  sstsctl top --rate 10
  sstsctl top --once > host.txt
  sstsctl --fleet fleet.toml --select role=db top
  sstsctl --fleet fleet.toml top --once > fleet.txt";

/// Loads Linux hosts on purpose, watches them, and stops before harm is done.
///
/// sstsctl commands sstsd, the agent on a host. Where no agent listens, `burn`, `run`, `info` and `report` start a private
/// one for the one command. Runs that end are kept in a history: see `sstsctl runs --help`.
#[derive(Debug, Parser)]
#[command(name = "sstsctl", version, after_help = EXIT_STATUS, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The agent to command: unix:PATH, or https://HOST:PORT with the certificates of --pki. May be repeated.
    #[arg(long, global = true, env = "SSTSCTL_HOST", value_name = "ADDRESS", value_parser = host)]
    pub(crate) host: Vec<Host>,
    #[command(flatten)]
    pub(crate) fleet: FleetFlags,
    /// The folder of certificates for agents over TCP, and of the authority. Without it `$XDG_CONFIG_HOME/ssts/pki`.
    #[arg(long, global = true, env = "SSTSCTL_PKI", value_name = "DIR")]
    pub(crate) pki: Option<PathBuf>,
    /// Start a private agent for this one command, as the calling user.
    #[arg(long, global = true)]
    pub(crate) local: bool,
    /// The history of runs: a file, the postgres:// URL of a team's, or `none`. Without it `$XDG_DATA_HOME/ssts/history.db`.
    #[arg(long, global = true, env = "SSTSCTL_STORE", hide_env_values = true, value_name = "PLACE",
          value_parser = Place::parse)]
    pub(crate) store: Option<Place>,
    /// In which form the result is printed.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
    /// Show no progress.
    #[arg(short, long, global = true, visible_alias = "no-progress")]
    pub(crate) quiet: bool,
    /// Show what a private agent logs.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Whether to use colours; `auto` honours NO_COLOR.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in the process")]
pub(crate) enum Command {
    /// Say what the host is, what the agent can do on it, and the mend for what it can't.
    Info,
    /// Run one burner for a duration.
    #[command(subcommand)]
    Burn(Burn),
    /// Run a scenario.
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// A built-in scenario's name, or a TOML file.
        #[arg(value_name = "SCENARIO")]
        scenario: String,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Raise the load until what is protected no longer meets its objective, and say how much more the host takes.
    #[command(after_help = headroom::EXAMPLES)]
    Headroom(Box<HeadroomFlags>),
    /// Measure the network between each two hosts of a fleet, and name the link that is not like the others.
    #[command(after_help = net_mesh::EXAMPLES)]
    NetMesh(Box<NetMeshFlags>),
    /// Say what a scenario or a burner would do on the host, and what speaks against it; nothing is started.
    #[command(after_help = PLAN_EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Plan {
        #[command(subcommand)]
        what: Option<Planned>,
        /// A built-in scenario's name, or a TOML file.
        #[arg(value_name = "SCENARIO", required = true)]
        scenario: Option<String>,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        options: RunOptions,
    },
    /// List, show or check scenarios.
    Scenarios {
        #[command(subcommand)]
        command: Option<Scenarios>,
    },
    /// Say what the agent is doing now.
    Status,
    /// List the runs that were kept, or work with them.
    #[command(after_help = runs::EXAMPLES, args_conflicts_with_subcommands = true)]
    Runs(Runs),
    /// Show the host live on the terminal: cores, disks, network, pressure, guards, the run; or all hosts of a fleet.
    #[command(after_help = TOP_EXAMPLES)]
    Top {
        /// Frames a second, 1 to 10. Those of a fleet come once a second.
        #[arg(long, value_name = "HZ", default_value = "4", value_parser = frame_rate)]
        rate: f64,
        /// Print one picture as plain text, and end: of 80x24 characters, or with a line for each host of a fleet.
        #[arg(long, conflicts_with = "rate")]
        once: bool,
    },
    /// Follow a run to its end, or the host until interrupted.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        /// The run; without it the current one, or the host if there is none.
        #[arg(value_name = "RUN", value_parser = run_id)]
        run: Option<String>,
        #[command(flatten)]
        flags: WatchFlags,
    },
    /// Stop a run, and return when its last burner is gone.
    Stop {
        /// The run; without it the current one.
        #[arg(value_name = "RUN", value_parser = run_id)]
        run: Option<String>,
    },
    /// Freeze a run's load.
    Pause {
        /// The run; without it the current one.
        #[arg(value_name = "RUN", value_parser = run_id)]
        run: Option<String>,
    },
    /// Go on with a paused run.
    Resume {
        /// The run; without it the current one.
        #[arg(value_name = "RUN", value_parser = run_id)]
        run: Option<String>,
    },
    /// The emergency stop: everything down, now, and nothing starts until it is cleared.
    #[command(after_help = HALT_EXAMPLES)]
    Halt {
        /// For whoever finds the agent halted.
        #[arg(long, value_name = "TEXT", conflicts_with = "clear")]
        reason: Option<String>,
        /// Lift the halt instead.
        #[arg(long)]
        clear: bool,
        /// Every host that is named: as it is without, to be said aloud.
        #[arg(long)]
        all: bool,
        /// Of a fleet: how long hosts that don't confirm are asked again.
        #[arg(long, value_name = "D", value_parser = duration, default_value = "30s")]
        within: u64,
    },
    /// Look again at what runs have left or may have left on the host, and undo what can be undone.
    #[command(after_help = RECOVER_EXAMPLES)]
    Recover {
        /// Let runs start again even if something is left or unknown.
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT", requires = "force")]
        reason: Option<String>,
    },
    /// Print the result of a run.
    Report {
        /// The run, as `sstsctl runs` lists it: its id, the beginning of it, latest, or baseline:NAME.
        #[arg(value_name = "RUN", value_parser = compare::reference)]
        run: String,
        #[command(flatten)]
        form: ReportForm,
    },
    /// Say what became better or worse from some runs to others.
    #[command(after_help = compare::COMPARE_EXAMPLES)]
    Compare(Box<CompareFlags>),
    /// Show a metric over many runs, or over the time of one.
    #[command(after_help = compare::TREND_EXAMPLES)]
    Trend(Box<TrendFlags>),
    /// Say which hosts, cores, memory modules, disks and links lag behind their peers, and how sure that is.
    #[command(after_help = odd::EXAMPLES)]
    Odd(Box<OddFlags>),
    /// Print what was kept of a run's telemetry, or the latest ten minutes of the host, as comma-separated values.
    #[command(after_help = TELEMETRY_EXAMPLES)]
    Telemetry {
        /// The run, as `sstsctl runs` lists it; without it what the agent's flight recorder has.
        #[arg(value_name = "RUN", value_parser = run_id)]
        run: Option<String>,
        /// Only metrics whose names begin with this; may be repeated.
        #[arg(long, value_name = "PREFIX")]
        metric: Vec<String>,
        /// Go on until the run is over.
        #[arg(long, requires = "run")]
        follow: bool,
        /// Only windows that were frozen into the record, what was before the run included, each line with when and why.
        #[arg(long, requires = "run")]
        frozen: bool,
    },
    /// Put the latest minute at full rate into the record of the run that is on.
    Freeze {
        /// The run; without it the current one.
        #[arg(value_name = "RUN", value_parser = run_id)]
        run: Option<String>,
        /// For the record.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Put faults to an agent on purpose, and see that it notices, stops the load and leaves nothing.
    #[command(after_help = DRILL_EXAMPLES)]
    Drill {
        /// Only this fault; may be repeated.
        #[arg(long, value_name = "FAULT")]
        only: Vec<Fault>,
        /// Also halt the host's own daemon, and lift the halt.
        #[arg(long)]
        halt: bool,
        /// Of a fleet: how long ago the latest drill of a host may have been.
        #[arg(long, value_name = "D", value_parser = duration, default_value = "30d")]
        max_age: u64,
    },
    /// Fetch from hosts what the history does not have yet of the runs that they remember.
    #[command(after_help = fleet::COLLECT_EXAMPLES)]
    Collect(CollectFlags),
    /// Make certificates for agents that are commanded over TCP.
    #[command(after_help = pki::EXAMPLES)]
    Pki {
        #[command(subcommand)]
        command: Pki,
    },
    /// Look at the log of who commanded an agent.
    #[command(after_help = audit::EXAMPLES)]
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages into a folder, or print the first one.
    Man {
        /// The folder; made if it is missing.
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Print the JSON Schema of what `--output json` prints.
    #[command(hide = true)]
    Schema {
        /// Of inventories instead.
        #[arg(long)]
        inventory: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Burn {
    /// Compute on cores, and check every result.
    #[command(after_help = cpu::EXAMPLES)]
    Cpu(BurnCpu),
    /// Read or write an unnamed file.
    #[command(after_help = disk::EXAMPLES)]
    Disk(BurnDisk),
    /// Fill memory, and hold it, stream through it, or verify it.
    #[command(after_help = memory::EXAMPLES)]
    Memory(Box<BurnMemory>),
    /// Exchange data with the sink of another agent.
    #[command(after_help = network::EXAMPLES)]
    Network(BurnNetwork),
    /// Send requests to a service under test.
    #[command(after_help = http::EXAMPLES)]
    Http(Box<BurnHttp>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Planned {
    /// What one burner would do.
    #[command(subcommand)]
    Burn(Burn),
}

/// Values for the variables of a scenario.
#[derive(Debug, Default, Args)]
pub(crate) struct Settings {
    /// Give a variable of the scenario a value; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) set: Vec<Setting>,
}

/// What `burn` and `run` take alike. Limits can only be tighter than the agent's own.
#[derive(Debug, Default, Args)]
pub(crate) struct RunOptions {
    /// Stop when the hottest sensor goes above this, in °C.
    #[arg(long, value_name = "C", value_parser = temperature, allow_hyphen_values = true)]
    pub(crate) max_temperature: Option<f64>,
    /// Stop when less memory than this is available.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) min_available_memory: Option<u64>,
    /// Stop the whole run after this long, preparation and pauses included.
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) max_duration: Option<u64>,
    /// Begin to burn at this instant: +30s, or 2026-01-31T08:00:00Z. What has to be made ready is made ready before.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) start_at: Option<i64>,
    /// Let its workers be on cores that other runs use, if they say so, too. Otherwise a core is one run's.
    #[arg(long)]
    pub(crate) share_cores: bool,
    /// Return at once; the run ends by itself.
    #[arg(long, conflicts_with = "report")]
    pub(crate) detach: bool,
    /// Write report.html, report.md and report.json into this folder; made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Start of every pseudo-random sequence, to repeat a run; without it, one is drawn and reported.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Keep the run in the history with this tag; may be repeated.
    #[arg(long = "tag", value_name = "TAG", value_parser = label, conflicts_with = "detach")]
    pub(crate) tags: Vec<String>,
    #[command(flatten)]
    pub(crate) start: StartFlags,
    #[command(flatten)]
    pub(crate) waves: WaveFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenarios {
    /// List the built-in scenarios.
    List,
    /// Print a scenario whole: what it includes put in, its variables filled in, its matrix carried out.
    ///
    /// Without --set a built-in scenario is printed as it is, to start one's own from.
    Show {
        /// A built-in scenario's name, or a TOML file.
        #[arg(value_name = "SCENARIO")]
        scenario: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Print the JSON Schema of scenario files, for editors.
    Schema,
    /// Say everything that is wrong with scenario files.
    Check {
        /// The TOML files.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        settings: Settings,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from(arguments).expect_err("it was accepted");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
        error.to_string()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_examples_is_accepted() {
        for help in [
            EXIT_STATUS,
            cpu::EXAMPLES,
            disk::EXAMPLES,
            memory::EXAMPLES,
            network::EXAMPLES,
            http::EXAMPLES,
            RUN_EXAMPLES,
            WATCH_EXAMPLES,
            PLAN_EXAMPLES,
            HALT_EXAMPLES,
            RECOVER_EXAMPLES,
            DRILL_EXAMPLES,
            TOP_EXAMPLES,
            headroom::EXAMPLES,
            odd::EXAMPLES,
            runs::EXAMPLES,
            pki::EXAMPLES,
            audit::EXAMPLES,
            fleet::COLLECT_EXAMPLES,
        ] {
            for line in help.lines().filter(|line| line.starts_with("  sstsctl ")) {
                let line = line.split(" > ").next().unwrap_or_default().replace("'smoke in rack 7'", "smoke");
                let line = line.replace("'the disk is out of the host'", "gone");
                let parsed = Cli::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
            }
        }
    }

    #[test]
    fn bad_values_are_refused_with_the_mend() {
        let burn = ["sstsctl", "burn", "cpu", "--duration", "1s"];
        for (flag, value, mend) in [
            ("--load", "0", "1 to 100"),
            ("--load", "101", "1 to 100"),
            ("--load", "-5", "1 to 100"),
            ("--cores", "3-1", "0-3,8"),
            ("--max-temperature", "0", "1 to 150"),
            ("--max-duration", "5parsecs", "ms, s, m, h or d"),
            ("--min-available-memory", "much", "MiB"),
            ("--mode", "borrowed", "own"),
            ("--load", "sine:10..90", "sine:10..90/10s"),
            ("--load", "trace:no-such-file.csv", "time,value"),
            ("--tolerance", "0", "0.1 to 100"),
            ("--start-at", "yesterday", "+30s"),
            ("--start-at", "2020-01-01T00:00:00Z", "it is past"),
            ("--wave", "1,0%", "above 0%"),
            ("--max-per", "rack", "rack=25%"),
            ("--max-watts", "rack=hot", "kW"),
            ("--max-failures", "some", "such as 10%"),
            ("--fleet-threshold", "hosts fialed < 1", "did you mean 'failed'"),
        ] {
            let text = refusal(&[&burn[..], &[flag, value]].concat());
            assert!(text.contains(mend), "{text}");
            assert!(text.contains(flag), "{text}");
        }
        let text = refusal(&["sstsctl", "burn", "cpu", "--duration", "10"]);
        assert!(text.contains("it has no unit"), "{text}");
    }

    #[test]
    fn an_address_without_encryption_is_refused() {
        let text = refusal(&["sstsctl", "--host", "10.0.0.1:7000", "info"]);
        assert!(text.contains("TCP comes with TLS, use https://10.0.0.1:7000"), "{text}");
    }
}
