//! Commands against an agent that lives in the test and does what the test wants.

mod fake_agent;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Parser as _;
use ssts_proto::v1::{RunSummary, agent_server::AgentServer};
use tokio::{net::UnixListener, sync::watch};
use tokio_stream::wrappers::UnixListenerStream;

use self::fake_agent::{Behaviour, FakeAgent};
use super::*;
use crate::{cli::Cli, json::tests::assert_valid};

/// Text that a test reads back.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What a command did.
#[derive(Debug)]
struct Outcome {
    code: u8,
    results: String,
    messages: String,
    calls: Vec<String>,
}

/// An agent on a socket, and what it was asked.
struct Bed {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Bed {
    fn new(behaviour: Behaviour) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let agent =
            FakeAgent { behaviour, calls: calls.clone(), run: watch::Sender::new(RunSummary::default()) };
        let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let server = tonic::transport::Server::builder().add_service(AgentServer::new(agent));
        tokio::spawn(server.serve_with_incoming(listener));
        Self { _folder: folder, socket, calls }
    }

    /// Carries out a command line, with interruptions at intervals after it reached the watch.
    async fn carry_out(&self, line: &str, interruptions: usize) -> Outcome {
        let host = format!("unix:{}", self.socket.display());
        let arguments =
            ["sstsctl", "--store", "none", "--host", &host].into_iter().chain(line.split_whitespace());
        let Cli { global, command } = Cli::try_parse_from(arguments).unwrap();
        let (results, messages) = (Captured::default(), Captured::default());
        let output = Output::captured(results.clone(), messages.clone());
        let (sender, interrupts) = Interrupts::by_hand();
        let mut session = Session { global, output, interrupts };
        let calls = self.calls.clone();
        let interrupt = async move {
            while !calls.lock().unwrap().iter().any(|call| call == "watch") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for _ in 0..interruptions {
                tokio::time::sleep(Duration::from_millis(50)).await;
                sender.send(()).unwrap();
            }
            std::future::pending::<()>().await;
        };
        let work = tokio::time::timeout(Duration::from_secs(20), carry_out(command, &mut session));
        let result = tokio::select! {
            result = work => result.expect("it hangs"),
            () = interrupt => unreachable!("it never ends"),
        };
        let exit = result.unwrap_or_else(|failure| {
            session.output.failure(&failure);
            failure.exit
        });
        Outcome {
            code: exit.code(),
            results: results.text(),
            messages: messages.text(),
            calls: self.calls.lock().unwrap().clone(),
        }
    }
}

async fn outcome(behaviour: Behaviour, line: &str, interruptions: usize) -> Outcome {
    Bed::new(behaviour).carry_out(line, interruptions).await
}

const BURN: &str = "burn cpu --cores 0 --duration 10s";

#[tokio::test]
async fn a_run_that_passes_is_printed_and_ends_with_0() {
    let outcome = outcome(Behaviour::Passes, BURN, 0).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome.results.starts_with("burn-cpu pass: every phase came to its end\n"),
        "{}",
        outcome.results
    );
    assert!(outcome.messages.contains("phase burn-cpu started"), "{}", outcome.messages);
    assert_eq!(outcome.calls[0], "start");
}

#[tokio::test]
async fn json_is_one_object_that_the_schema_describes() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("--output json {BURN} --report {}", folder.path().display());
    let outcome = outcome(Behaviour::Passes, &line, 0).await;
    assert_valid(&outcome.results, "Result");
    let files =
        ["report.md", "report.json"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap());
    assert!(files[0].starts_with("# burn-cpu pass"), "{}", files[0]);
    assert_valid(&files[1], "Result");
    let result: serde_json::Value = serde_json::from_str(&outcome.results).unwrap();
    let burner = &result["hosts"][0]["burners"][0];
    assert_eq!(burner["rates"]["flops_per_s"], 500.0);
    assert!(burner.get("achieved_load").is_none() && burner.get("bytes").is_none(), "{burner}");
    assert_eq!(result["hosts"][0]["burners"][1]["latency_ns"]["p50"], 80);
    assert!(result["hosts"][0]["telemetry"]["host.memory.available"][0].get("max").is_none());
}

#[tokio::test]
async fn every_other_command_prints_json_that_the_schema_describes() {
    for (line, definition) in [
        ("info", "Info"),
        ("status", "Status"),
        ("runs", "Runs"),
        ("halt --reason test", "Halted"),
        ("halt --clear", "Halted"),
        ("scenarios", "Scenarios"),
        ("scenarios show quick", "Scenario"),
        ("run quick --detach", "Commanded"),
        ("freeze some-run", "Commanded"),
        ("plan quick", "Plan"),
    ] {
        let outcome = outcome(Behaviour::GoesOn, &format!("--output json {line}"), 0).await;
        assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
        assert_valid(&outcome.results, definition);
    }
    let halted = outcome(Behaviour::IsHalted, "--output json status", 0).await;
    assert_valid(&halted.results, "Status");
}

#[tokio::test]
async fn a_plan_that_would_be_refused_names_the_rule_and_starts_nothing() {
    let refused = outcome(Behaviour::Refuses, "--output json plan quick", 0).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_valid(&refused.results, "Plan");
    assert_eq!(refused.calls.iter().filter(|call| *call != "plan").count(), 0, "{refused:?}");
    let told = outcome(Behaviour::Refuses, "plan quick", 0).await;
    assert!(told.results.contains("policy.max_load_percent"), "{}", told.results);
    assert!(told.messages.contains("built-in scenario quick:"), "{}", told.messages);
}

#[tokio::test]
async fn ctrl_c_stops_the_run_waits_for_the_proof_and_prints_what_was_measured() {
    let outcome = outcome(Behaviour::GoesOn, BURN, 1).await;
    assert_eq!(outcome.code, 130, "{outcome:?}");
    assert!(outcome.calls.contains(&"stop".to_owned()) && outcome.calls.contains(&"renew".to_owned()));
    assert!(!outcome.calls.contains(&"halt".to_owned()));
    assert!(outcome.results.starts_with("burn-cpu aborted: stopped by a user"), "{}", outcome.results);
}

#[tokio::test]
async fn a_second_ctrl_c_halts_and_says_how_to_clear() {
    let outcome = outcome(Behaviour::OnlyHaltHelps, BURN, 2).await;
    assert_eq!(outcome.code, 130, "{outcome:?}");
    assert!(outcome.calls.contains(&"halt".to_owned()), "{outcome:?}");
    assert!(outcome.messages.contains("sstsctl halt --clear"), "{}", outcome.messages);
    assert!(outcome.results.contains("aborted: halted"), "{}", outcome.results);
}

#[tokio::test]
async fn a_record_is_read_on_where_the_connection_broke() {
    let outcome = outcome(Behaviour::GoesOn, "telemetry some-run", 0).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let values: Vec<_> = outcome.results.lines().skip(1).filter_map(|line| line.rsplit(',').next()).collect();
    assert_eq!(values, (0..20).map(|value: u32| value.to_string()).collect::<Vec<_>>());
    assert!(outcome.calls.len() > 2, "it broke: {:?}", outcome.calls);
}

#[tokio::test]
async fn an_agent_that_vanishes_ends_the_command_with_5() {
    let outcome = outcome(Behaviour::Vanishes, BURN, 0).await;
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(outcome.messages.contains("lost the agent during run"), "{}", outcome.messages);
    assert_eq!(outcome.results, "");
}

#[tokio::test]
async fn a_refusal_names_the_flag_and_the_mend() {
    let outcome = outcome(Behaviour::Refuses, BURN, 0).await;
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert_eq!(outcome.messages, "error: --cores: core 99 does not exist\nmend: use 0-1\n");
}

#[tokio::test]
async fn a_halted_agent_starts_nothing_and_the_mend_is_told() {
    let outcome = outcome(Behaviour::IsHalted, BURN, 0).await;
    assert_eq!(outcome.code, 4, "{outcome:?}");
    assert!(outcome.messages.contains("by somebody: smoke"), "{}", outcome.messages);
    assert!(outcome.messages.contains("sstsctl halt --clear"), "{}", outcome.messages);
}

#[tokio::test]
async fn wrong_data_ends_with_6() {
    assert_eq!(outcome(Behaviour::FindsWrongData, BURN, 0).await.code, 6);
}

#[tokio::test]
async fn a_detached_run_has_no_lease_and_its_id_is_printed() {
    let outcome = outcome(Behaviour::GoesOn, &format!("{BURN} --detach"), 0).await;
    assert_eq!(outcome.code, 0);
    assert_eq!(outcome.calls, ["start detached"]);
    assert!(ssts_proto::validate::run_id(outcome.results.trim_end()), "{}", outcome.results);
}

#[tokio::test]
async fn runs_are_watched_controlled_and_reported_later() {
    let bed = Bed::new(Behaviour::GoesOn);
    let run_id = bed.carry_out(&format!("{BURN} --detach"), 0).await.results.trim_end().to_owned();
    let watched = bed.carry_out("watch", 1).await;
    assert_eq!((watched.code, watched.results.as_str()), (130, ""), "{watched:?}");
    let stopped = bed.carry_out("--output json stop", 0).await;
    assert_valid(&stopped.results, "Commanded");
    let watched = bed.carry_out(&format!("--output json watch {run_id}"), 0).await;
    assert_eq!(watched.code, 4, "{watched:?}");
    assert_valid(&watched.results, "Result");
    let markdown = bed.carry_out(&format!("report {run_id} --format md"), 0).await;
    assert!(markdown.code == 0 && markdown.results.starts_with("# burn-cpu aborted"), "{markdown:?}");
}

#[tokio::test]
async fn what_is_left_is_told_and_blocks_until_it_is_given_up() {
    let bed = Bed::new(Behaviour::GoesOn);
    let told = bed.carry_out("recover", 0).await;
    assert_eq!(told.code, 5, "{told:?}");
    assert!(
        ["nothing starts", "processes", "some words", "end it"]
            .iter()
            .all(|part| told.results.contains(part))
    );
    let given_up = bed.carry_out("--output json recover --force --reason gone", 0).await;
    assert_eq!(given_up.code, 0, "{given_up:?}");
    assert_valid(&given_up.results, "Recovered");
    assert!(given_up.results.contains("\"gone\""), "{given_up:?}");
    assert_eq!(given_up.calls, ["recover", "recover"]);
}

#[tokio::test]
async fn a_run_that_is_unknown_or_missing_is_an_error_of_usage() {
    for line in [
        "report no-such-run",
        "watch no-such-run",
        "pause no-such-run",
        "stop",
        "resume",
        "--output json watch",
    ] {
        let outcome = outcome(Behaviour::GoesOn, line, 0).await;
        assert_eq!(outcome.code, 2, "{line}: {outcome:?}");
        assert!(outcome.messages.contains("mend: ") && outcome.results.is_empty(), "{outcome:?}");
    }
}
