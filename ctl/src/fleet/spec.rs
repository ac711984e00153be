//! What a fleet run is asked beside its scenario: waves, bounds, and what must hold of the fleet as a whole. From the
//! scenario's `[fleet]`, and from the command line, which says the last word.

use ssts_proto::guards;

use super::{FleetThreshold, MaxPer, MaxWatts, Portion, Wave, WaveOptions};
use crate::error::Problem;

/// What bounds call all hosts together, where others name a domain.
const WHOLE: &str = "fleet";

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FleetSpec {
    pub(crate) waves: WaveOptions,
    pub(crate) thresholds: Vec<FleetThreshold>,
}

impl FleetSpec {
    /// Whether anything is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.waves.is_asked() || !self.thresholds.is_empty()
    }

    /// What `over` says, and below it this: bounds domain by domain, thresholds of both.
    pub(crate) fn under(mut self, over: Self) -> Self {
        let Self { waves: WaveOptions { waves, max_per, max_watts, max_failures }, thresholds } = over;
        if !waves.is_empty() {
            self.waves.waves = waves;
        }
        self.waves.max_per.retain(|own| max_per.iter().all(|other| other.domain != own.domain));
        self.waves.max_per.extend(max_per);
        self.waves.max_watts.retain(|own| max_watts.iter().all(|other| other.domain != own.domain));
        self.waves.max_watts.extend(max_watts);
        self.waves.max_failures = max_failures.or(self.waves.max_failures);
        self.thresholds.extend(thresholds);
        self
    }
}

impl WaveOptions {
    /// The bounds in words, each by itself: `at most 2 hosts of one rack`.
    pub(crate) fn bound_words(&self) -> Vec<String> {
        let hosts = |most: Portion| match most {
            Portion::Hosts(1) => "1 host".to_owned(),
            most => format!("{most} hosts"),
        };
        let per = self.max_per.iter().map(|MaxPer { domain, most }| match most {
            Portion::Hosts(_) => format!("at most {} of one {domain}", hosts(*most)),
            Portion::Percent(percent) => format!("at most {percent} % of the hosts of one {domain}"),
        });
        let watts = self.max_watts.iter().map(|MaxWatts { domain, watts }| match domain {
            Some(domain) => format!("at most {watts} W of one {domain}"),
            None => format!("at most {watts} W"),
        });
        per.chain(watts).collect()
    }

    /// What the gates between waves bear, in words.
    pub(crate) fn failure_words(&self) -> String {
        match self.max_failures {
            None | Some(Portion::Hosts(0)) => "none may fail".to_owned(),
            Some(Portion::Hosts(hosts)) => format!("at most {hosts} may fail, of all waves so far"),
            Some(Portion::Percent(percent)) => {
                format!("at most {percent} % may fail, of each wave and of all so far")
            }
        }
    }
}

impl Wave {
    /// The wish that it comes of, and which part: `50%, 2 of 3`.
    pub(crate) fn asked_words(&self) -> String {
        match self.part {
            Some((part, of)) => format!("{}, {part} of {of}", self.asked),
            None => self.asked.clone(),
        }
    }
}

impl MaxPer {
    /// `rack=1`, `power=25%`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let (domain, most) = text.split_once('=').ok_or_else(|| {
            let message = format!("'{text}' names no domain and number");
            Problem::new(message, "write the label's name and how many, such as rack=2 or rack=25%")
        })?;
        Self::of(domain, Portion::parse_some(most)?)
    }

    /// Of a domain by its name.
    pub(crate) fn of(domain: &str, most: Portion) -> Result<Self, Problem> {
        Ok(Self { domain: label(domain)?, most })
    }
}

impl MaxWatts {
    /// `12kW`, `rack=4000`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        match text.split_once('=') {
            Some((domain, watts)) => Self::of(domain, watts_of(watts)?),
            None => Self::of(WHOLE, watts_of(text)?),
        }
    }

    /// Of a domain by its name, or of the whole fleet.
    pub(crate) fn of(domain: &str, watts: f64) -> Result<Self, Problem> {
        if !(watts.is_finite() && watts > 0.0) {
            return Err(Problem::new(
                format!("{watts} W are no bound"),
                "write watts above 0, such as 4000 or 4kW",
            ));
        }
        let domain = label(domain)?;
        Ok(Self { domain: (domain != WHOLE).then_some(domain), watts })
    }
}

/// `4000`, `4 kW`.
pub(crate) fn watts_of(text: &str) -> Result<f64, Problem> {
    guards::value(text, "W").map_err(|(message, mend)| Problem::new(message, mend))
}

/// A label that each host has one value of.
fn label(name: &str) -> Result<String, Problem> {
    match name.trim() {
        "" => Err(Problem::new("a bound of no domain", "name a label of the hosts, such as rack=2")),
        "group" => Err(Problem::new(
            "'group' is no failure domain: a host may be in several groups",
            "name a label, such as rack",
        )),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        let per = MaxPer::parse("rack=25%").unwrap();
        assert_eq!((per.domain.as_str(), per.most), ("rack", Portion::Percent(25.0)));
        let watts = |text: &str| MaxWatts::parse(text).map(|bound| (bound.domain, bound.watts));
        assert_eq!(watts("12kW"), Ok((None, 12_000.0)));
        assert_eq!(watts("fleet=900"), Ok((None, 900.0)));
        assert_eq!(watts("rack = 4000 W"), Ok((Some("rack".into()), 4_000.0)));
        for (text, told) in [
            ("rack", "no domain and number"),
            ("=2", "no domain"),
            ("rack=0", "no host at all"),
            ("group=2", "several groups"),
        ] {
            assert!(MaxPer::parse(text).expect_err(text).message.contains(told), "{text}");
        }
        for (text, told) in
            [("much", "no number"), ("0", "no bound"), ("-5", "no bound"), ("rack=5 V", "no unit")]
        {
            assert!(MaxWatts::parse(text).expect_err(text).message.contains(told), "{text}");
        }
    }

    #[test]
    fn the_command_line_says_the_last_word() {
        let per = |domain: &str, most: usize| MaxPer { domain: domain.into(), most: Portion::Hosts(most) };
        let threshold = |text: &str| FleetThreshold::parse(text).unwrap();
        let file = FleetSpec {
            waves: WaveOptions {
                waves: vec![Portion::Hosts(1)],
                max_per: vec![per("rack", 1), per("power", 2)],
                max_watts: vec![MaxWatts { domain: None, watts: 100.0 }],
                max_failures: Some(Portion::Hosts(3)),
            },
            thresholds: vec![threshold("hosts failed <= 1%")],
        };
        let line = FleetSpec {
            waves: WaveOptions { max_per: vec![per("rack", 4)], ..WaveOptions::default() },
            thresholds: vec![threshold("hosts lost == 0")],
        };
        assert!(file.is_asked() && line.is_asked() && !FleetSpec::default().is_asked());
        let both = file.clone().under(line);
        assert_eq!(both.waves.max_per, [per("power", 2), per("rack", 4)]);
        assert_eq!(both.waves.waves, file.waves.waves);
        assert_eq!(both.waves.max_watts, file.waves.max_watts);
        assert_eq!(both.waves.max_failures, Some(Portion::Hosts(3)));
        assert_eq!(both.thresholds.len(), 2);
        assert_eq!(file.clone().under(FleetSpec::default()), file);
    }
}
