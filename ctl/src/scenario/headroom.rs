//! The flags of `headroom`, as a scenario of one phase that searches.

use ssts_proto::{
    thresholds::{self, STATISTICS},
    v1::{Burner, CpuBurner, HttpBurner, LabelMatch, Phase, Scenario, Search, Threshold, burner},
};

use super::{
    Plan,
    origin::{Origin, Place},
};
use crate::{
    cli::HeadroomFlags,
    error::{Failure, Problem},
    fleet::FleetSpec,
};

/// Requests a second to a URL: ten for each reading.
const DEFAULT_RATE_PER_S: u64 = 100;

/// `headroom`.
///
/// # Errors
/// The objective can't be read.
pub(crate) fn headroom(flags: &HeadroomFlags) -> Result<Plan, Failure> {
    const NAME: &str = "headroom";
    let is_url = flags.protect.contains("://");
    if flags.rate.is_some() && !is_url {
        return Err(Failure::usage(
            "--rate without a URL",
            "leave it out: a unit is asked by its own clients",
        ));
    }
    let mut objective = objective(&flags.objective, is_url)
        .map_err(|Problem { message, mend }| Failure::usage(format!("--objective: {message}"), mend))?;
    NAME.clone_into(&mut objective.phase);
    if objective.metric.starts_with("protected.") && !is_url {
        objective.labels.push(LabelMatch { name: "unit".into(), value: flags.protect.clone() });
    }
    let cores = flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default();
    let mut kinds = vec![burner::Kind::Cpu(CpuBurner { cores, ..CpuBurner::default() })];
    if is_url {
        kinds.push(burner::Kind::Http(HttpBurner {
            url: flags.protect.clone(),
            rate_per_s: Some(flags.rate.unwrap_or(DEFAULT_RATE_PER_S)),
            // Beyond its knee the service falls behind: the objective judges that.
            rate_tolerance_percent: Some(100.0),
            ..HttpBurner::default()
        }));
    }
    let search = Search {
        from_percent: flags.from,
        to_percent: flags.to,
        precision_points: flags.precision,
        hold_ms: flags.hold,
        rest_ms: flags.rest,
        objective: Some(objective),
    };
    let phase = Phase {
        name: NAME.into(),
        duration_ms: flags.duration,
        burners: kinds.into_iter().map(|kind| Burner { kind: Some(kind) }).collect(),
        search: Some(search),
        ..Phase::default()
    };
    let scenario = Scenario { name: NAME.into(), phases: vec![phase], ..Scenario::default() };
    Ok(Plan {
        scenario,
        origin: origin(is_url),
        seed_is_given: false,
        against: Vec::new(),
        fleet: FleetSpec::default(),
        toml: String::new(),
        variables: Vec::new(),
        left_out: Vec::new(),
    })
}

fn origin(is_url: bool) -> Origin {
    let mut origin = Origin::default();
    origin.set("phases", Place::Flag("--duration"));
    origin.set("phases[0].search", Place::Everywhere);
    origin.set("phases[0].burners[0]", Place::Everywhere);
    origin.set("phases[0].burners[0].cores", Place::Flag("--cores"));
    let parts = [
        ("from_percent", "--from"),
        ("to_percent", "--to"),
        ("precision_points", "--precision"),
        ("hold_ms", "--hold"),
        ("rest_ms", "--rest"),
        ("objective", "--objective"),
    ];
    for (field, flag) in parts {
        origin.set(format!("phases[0].search.{field}"), Place::Flag(flag));
    }
    if is_url {
        origin.set("phases[0].burners[1]", Place::Flag("--protect"));
        origin.set("phases[0].burners[1].rate_per_s", Place::Flag("--rate"));
    } else {
        origin.set("phases[0].search.objective.labels", Place::Flag("--protect"));
    }
    origin
}

/// A threshold, or a statistic alone of what is protected most often looked at.
fn objective(text: &str, is_url: bool) -> Result<Threshold, Problem> {
    let text = text.trim();
    let statistic = text.split(['<', '>', '=', ' ']).next().unwrap_or_default();
    let whole = if STATISTICS.iter().any(|(known, _)| *known == statistic) {
        let metric = if is_url { "http.request.latency" } else { "protected.runqueue.latency" };
        format!("{metric}.{text}")
    } else {
        text.to_owned()
    };
    thresholds::parse(&whole).map_err(|wrong| Problem::new(wrong.message, wrong.mend))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn flags(arguments: &[&str]) -> Result<Plan, Failure> {
        let line = ["sstsctl", "headroom"].iter().chain(arguments);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Headroom(flags) => headroom(&flags),
            other => panic!("{other:?}"),
        }
    }

    fn search(plan: &Plan) -> (&Search, &Threshold) {
        let search = plan.scenario.phases[0].search.as_ref().unwrap();
        (search, search.objective.as_ref().unwrap())
    }

    #[test]
    fn a_url_is_asked_at_a_rate() {
        let plan = flags(&[
            "--protect",
            "http://127.0.0.1/",
            "--objective",
            "p99 < 10ms",
            "--to",
            "80",
            "--precision",
            "0.5",
        ])
        .unwrap();
        plan.validate().unwrap();
        let (search, objective) = search(&plan);
        assert_eq!((search.to_percent, search.precision_points), (Some(80.0), Some(0.5)));
        assert_eq!((objective.metric.as_str(), objective.value), ("burner.latency", 1e7));
        let Some(burner::Kind::Http(http)) = &plan.scenario.phases[0].burners[1].kind else { panic!() };
        assert_eq!((http.url.as_str(), http.rate_per_s), ("http://127.0.0.1/", Some(100)));
    }

    #[test]
    fn a_unit_is_looked_at_by_its_name() {
        let plan = flags(&["--protect", "nginx.service", "--objective", "p99<3ms"]).unwrap();
        plan.validate().unwrap();
        let (_, objective) = search(&plan);
        assert_eq!(objective.metric, "protected.runqueue.latency");
        assert_eq!(objective.labels, [LabelMatch { name: "unit".into(), value: "nginx.service".into() }]);
        assert_eq!(plan.scenario.phases[0].burners.len(), 1);
        let host = flags(&["--protect", "nginx.service", "--objective", "host.pressure.stalled.max < 20 %"]);
        assert!(search(&host.unwrap()).1.labels.is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_flag() {
        let url = ["--protect", "http://h/", "--objective"];
        let told = |arguments: &[&str]| {
            let plan = flags(arguments);
            plan.and_then(|plan| plan.validate()).unwrap_err().problems[0].message.clone()
        };
        assert!(told(&[&url[..], &["p98 < 10ms"]].concat()).starts_with("--objective: "));
        assert!(
            told(&[&url[..], &["p99 < 10ms", "--from", "90", "--to", "10"]].concat()).starts_with("--from: ")
        );
        assert!(told(&[&url[..], &["p99 < 10ms", "--hold", "10ms"]].concat()).starts_with("--hold: "));
        assert!(told(&["--protect", "ftp://h/", "--objective", "p99 < 1ms"]).starts_with("--protect: "));
        assert!(
            told(&["--protect", "x.service", "--rate", "5", "--objective", "p99 < 1ms"]).contains("--rate")
        );
    }
}
