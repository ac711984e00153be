//! What a run would come to on each host of a fleet, for people.

use ssts_proto::v1::PlanResponse;

use super::{Align, Document, Table, Tone};
use crate::{
    error::Problem,
    fleet::{Answer, FleetPlan, Taken, named, would_start},
    scenario::{self, Plan},
    text,
};

/// The whole plan.
pub(crate) fn fleet_plan_document(planned: &FleetPlan, plan: &Plan) -> Document {
    let (ready, all) = (planned.ready(), planned.hosts.len());
    let name = &plan.scenario.name;
    let mut document = Document::default();
    let tone = match ready {
        _ if ready == all => Tone::Good,
        0 => Tone::Bad,
        _ => Tone::Caution,
    };
    document.title(&format!("{name} would start on {ready} of {all} hosts"), tone);
    document.fact("duration", text::duration(scenario::duration_ms(&plan.scenario)));
    document.fact("seed", plan.scenario.seed.to_string());
    let options = &plan.fleet.waves;
    document.fact("at once", options.bound_words().join(", "));
    if planned.waves.len() > 1 {
        document.fact("between waves", options.failure_words());
    }
    for left_out in &plan.left_out {
        document.line(left_out);
    }
    document.section("Waves", waves(planned));
    document.section("Hosts", hosts(planned));
    document.section("Why not", why_not(planned, plan));
    let mut table = Table::new(&[("threshold of the fleet", Align::Left), ("judged", Align::Left)]);
    for threshold in &plan.fleet.thresholds {
        let when = if threshold.is_of_waves() { "after each wave, and at the end" } else { "at the end" };
        table.row([threshold.that.clone(), when.to_owned()]);
    }
    document.section("Thresholds of the fleet", table);
    document
}

fn waves(planned: &FleetPlan) -> Table {
    let mut table = Table::new(&[
        ("wave", Align::Right),
        ("asked", Align::Left),
        ("hosts", Align::Right),
        ("draw", Align::Right),
        ("", Align::Left),
    ]);
    for (index, wave) in planned.waves.iter().enumerate() {
        let names: Vec<&str> =
            wave.members.iter().map(|host| planned.hosts[*host].member.name.as_str()).collect();
        table.row([
            (index + 1).to_string(),
            wave.asked_words(),
            names.len().to_string(),
            wave.watts.map(|watts| format!("{watts} W")).unwrap_or_default(),
            named(&names),
        ]);
    }
    table
}

fn hosts(planned: &FleetPlan) -> Table {
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("wave", Align::Right),
        ("labels", Align::Left),
        ("would start", Align::Left),
        ("cores", Align::Left),
        ("memory", Align::Right),
        ("disk", Align::Right),
    ]);
    for (index, host) in planned.hosts.iter().enumerate() {
        let response = host.result.as_ref().ok();
        let taken = response.map(Taken::of).unwrap_or_default();
        let labels = host.member.labels.iter().map(|(name, value)| format!("{name}={value}"));
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| text::bytes(bytes as f64)).unwrap_or_default();
        table.row([
            host.member.name.clone(),
            planned.wave_of(index).map(|wave| wave.to_string()).unwrap_or_default(),
            labels.collect::<Vec<_>>().join(" "),
            state(host).to_owned(),
            text::core_list(&taken.cores),
            bytes(taken.memory_bytes),
            bytes(taken.disk_bytes),
        ]);
    }
    table
}

fn state(host: &Answer<PlanResponse>) -> &'static str {
    match &host.result {
        _ if would_start(host) => "yes",
        Ok(response) if response.violations.is_empty() => "not now",
        Ok(_) => "refused",
        Err(_) => "not reached",
    }
}

/// Every reason once, with the hosts that it is of.
fn why_not(planned: &FleetPlan, plan: &Plan) -> Table {
    let mut reasons: Vec<(Problem, Vec<&str>)> = Vec::new();
    for host in &planned.hosts {
        for problem in problems(host, plan) {
            let name = host.member.name.as_str();
            match reasons.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, hosts)) => hosts.push(name),
                None => reasons.push((problem, vec![name])),
            }
        }
    }
    let mut table = Table::new(&[("hosts", Align::Left), ("why", Align::Left), ("mend", Align::Left)]);
    for (Problem { message, mend }, hosts) in reasons {
        table.row([named(&hosts), message, mend]);
    }
    table
}

fn problems(host: &Answer<PlanResponse>, plan: &Plan) -> Vec<Problem> {
    match &host.result {
        Ok(response) => {
            let refusals = plan.refusals(&response.violations).into_iter().map(|finding| {
                let place = finding.position.map(|at| format!("{}:{}:{}: ", at.file, at.line, at.column));
                Problem::new(format!("{}{}", place.unwrap_or_default(), finding.message), finding.mend)
            });
            refusals.chain(response.obstacles.iter().map(|obstacle| Problem::new(obstacle, ""))).collect()
        }
        Err(failure) => failure.problems.clone(),
    }
}
