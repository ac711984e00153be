//! One link, one way: a run on the host that sends, against the sink of the one that receives.

use std::time::Duration;

use ssts_proto::v1::{
    Burner, BurnerResult, GetRunRequest, NetworkBurner, NetworkProtocol, Phase, RenewLeaseRequest, Run,
    RunState, RunSummary, Scenario, StartRequest, StopRequest, Verdict, WatchRequest, burner,
    watch_response::Item,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::Measured;
use crate::{
    connect::Client,
    error::{Exit, Failure},
    status,
};

/// After this long without a sign of life the agent stops the run.
const TTL_MS: u64 = 10_000;
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Beyond what was asked for: three phases are made ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the scenario, and of the phases that follow each other in it.
const NAME: &str = "net-mesh";
const PHASES: [&str; 3] = ["throughput", "latency", "loss"];

/// What each link is measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measurement {
    /// Of each of the three parts.
    pub(crate) part_ms: u64,
    /// Of TCP; as much as goes where there is none.
    pub(crate) rate_bits_per_s: Option<u64>,
    pub(crate) requests_per_s: u64,
    pub(crate) datagram_rate_bits_per_s: u64,
}

impl Measurement {
    /// Throughput, then latency, then loss: each alone.
    fn scenario(&self, peer: &str) -> Scenario {
        let network = |protocol: NetworkProtocol| NetworkBurner {
            peer: peer.to_owned(),
            protocol: protocol.into(),
            rate_bits_per_s: match protocol {
                NetworkProtocol::Udp => Some(self.datagram_rate_bits_per_s),
                NetworkProtocol::RequestResponse => None,
                _ => self.rate_bits_per_s,
            },
            rate_per_s: (protocol == NetworkProtocol::RequestResponse).then_some(self.requests_per_s),
            // What a link can't carry is what is measured.
            rate_tolerance_percent: match protocol {
                NetworkProtocol::Tcp => self.rate_bits_per_s.map(|_| 100.0),
                _ => Some(100.0),
            },
            ..NetworkBurner::default()
        };
        let kinds = [NetworkProtocol::Tcp, NetworkProtocol::RequestResponse, NetworkProtocol::Udp];
        let phase = |(name, protocol): (&str, NetworkProtocol)| Phase {
            name: name.into(),
            duration_ms: self.part_ms,
            burners: vec![Burner { kind: Some(burner::Kind::Network(network(protocol))) }],
            ..Phase::default()
        };
        Scenario {
            name: NAME.into(),
            phases: PHASES.into_iter().zip(kinds).map(phase).collect(),
            ..Scenario::default()
        }
    }

    fn longest(&self) -> Duration {
        Duration::from_millis(self.part_ms.saturating_mul(PHASES.len() as u64)).saturating_add(PATIENCE)
    }
}

/// Measures from the agent at the end of `client` to the sink at `peer`. Ends early, with what was measured, when told to stop.
///
/// # Errors
/// The run was refused, or did not do what it should.
pub(crate) async fn measure(
    mut client: Client,
    peer: &str,
    measurement: &Measurement,
    run_id: &str,
    stop: watch::Receiver<bool>,
) -> Result<Measured, Failure> {
    let request = StartRequest {
        run_id: run_id.to_owned(),
        scenario: Some(measurement.scenario(peer)),
        lease_ttl_ms: Some(TTL_MS),
        start_at_unix_ns: None,
    };
    client.start(request).await.map_err(|refusal| refused(status::failure(&refusal)))?;
    let followed = timeout(measurement.longest(), follow(client.clone(), run_id, stop)).await;
    if !matches!(followed, Ok(Ok(()))) {
        // Its lease ends it, otherwise.
        let reason = "the mesh does not go on".to_owned();
        let _best_effort = client.stop(StopRequest { run_id: run_id.to_owned(), reason }).await;
    }
    match followed {
        Ok(followed) => followed?,
        Err(_) => {
            let message = format!("run {run_id} did not end within {:?}", measurement.longest());
            return Err(Failure::agent(message, "see the agent's log: `journalctl -u sstsd`"));
        }
    }
    let request = GetRunRequest { run_id: run_id.to_owned() };
    let run = client.get_run(request).await.map_err(|error| status::failure(&error))?.into_inner().run;
    let run = run.unwrap_or_default();
    let summary = run.summary.clone().unwrap_or_default();
    if summary.verdict() == Verdict::Pass { Ok(figures(&run)) } else { Err(not_done(&summary)) }
}

/// To the end of the run; its lease is renewed meanwhile.
async fn follow(mut client: Client, run_id: &str, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let request = WatchRequest { run_id: Some(run_id.to_owned()), states: true, ..WatchRequest::default() };
    let failed = |error: tonic::Status| status::failure(&error);
    let mut stream = client.watch(request).await.map_err(failed)?.into_inner();
    let mut renewals = interval(RENEW_EVERY);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.message() => match message.map_err(failed)?.map(|message| message.item) {
                Some(Some(Item::State(run))) if run.state() == RunState::Finished => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
            _ = renewals.tick() => {
                // It may be over just now; otherwise the next one will do, or the run ends by itself.
                let _tried_again = client.renew_lease(RenewLeaseRequest { run_id: run_id.to_owned() }).await;
            }
            () = told_to_stop(&mut stop) => return Err(Failure::interrupted()),
        }
    }
}

/// Never, where nobody is left to tell it.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A usage error here is the other host's configuration.
fn refused(failure: Failure) -> Failure {
    Failure { exit: Exit::AgentFailed, ..failure }
}

fn not_done(summary: &RunSummary) -> Failure {
    let cause = &summary.cause_message;
    Failure::agent(
        format!("run {} was not carried out: {cause}", summary.run_id),
        "see that the other host has a [network.sink] that allows this one, and that this one's network.allowed_peers has it",
    )
}

fn figures(run: &Run) -> Measured {
    let burner = |phase: usize| {
        run.burners.iter().find(|burner| burner.phase_index as usize == phase && !burner.superseded)
    };
    let figure = |burner: &BurnerResult, name: &str| {
        burner.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    };
    let throughput = burner(0).and_then(|burner| {
        let seconds = burner.burning_ns as f64 / 1e9;
        let bits = figure(burner, "sink_received_bytes")? * 8.0;
        (seconds > 0.0).then_some(bits / seconds)
    });
    let latency = burner(1).and_then(|burner| burner.latencies.first()).filter(|latency| latency.count > 0);
    let loss = burner(2).and_then(|burner| {
        let sent = figure(burner, "sent").filter(|sent| *sent > 0.0)?;
        Some(100.0 * figure(burner, "lost")? / sent)
    });
    Measured {
        throughput_bits_per_s: throughput,
        latency_p50_ns: latency.map(|latency| latency.p50_ns),
        latency_p99_ns: latency.map(|latency| latency.p99_ns),
        loss_percent: loss,
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::{
        v1::{Figure, OperationLatency},
        validate,
    };

    use super::*;

    const MEASUREMENT: Measurement = Measurement {
        part_ms: 1_000,
        rate_bits_per_s: Some(1_000_000),
        requests_per_s: 200,
        datagram_rate_bits_per_s: 10_000_000,
    };

    #[test]
    fn what_is_asked_of_an_agent_is_within_its_bounds() {
        for rate_bits_per_s in [None, Some(1_000_000)] {
            let scenario = Measurement { rate_bits_per_s, ..MEASUREMENT }.scenario("10.0.0.2");
            let mut found = validate::Violations::default();
            validate::scenario(&scenario, &mut found);
            assert_eq!(found.into_vec(), []);
            assert_eq!(scenario.phases.len(), 3);
        }
    }

    #[test]
    fn figures_are_those_of_each_part_and_none_where_there_is_none() {
        let figure = |name: &str, value| Figure { name: name.into(), unit: "1".into(), value };
        let tcp = BurnerResult {
            burning_ns: 2_000_000_000,
            figures: vec![figure("sink_received_bytes", 250e6)],
            ..BurnerResult::default()
        };
        let latency = OperationLatency { count: 9, p50_ns: 80, p99_ns: 200, ..OperationLatency::default() };
        let rr = BurnerResult { phase_index: 1, latencies: vec![latency], ..BurnerResult::default() };
        let figures_of_udp = vec![figure("sent", 200.0), figure("lost", 3.0)];
        let udp = BurnerResult { phase_index: 2, figures: figures_of_udp, ..BurnerResult::default() };
        let measured = figures(&Run { burners: vec![tcp, rr, udp], ..Run::default() });
        let expected = Measured {
            throughput_bits_per_s: Some(1e9),
            latency_p50_ns: Some(80),
            latency_p99_ns: Some(200),
            loss_percent: Some(1.5),
        };
        assert_eq!(measured, expected);
        assert_eq!(figures(&Run::default()), Measured::default());
    }
}
