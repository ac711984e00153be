//! The flags that say in which waves a run comes over a fleet, and what must hold of the fleet as a whole.

use clap::Args;

use super::{fleet::HEADING, values::one_line};
use crate::{
    error::Problem,
    fleet::{FleetSpec, FleetThreshold, MaxPer, MaxWatts, Portion, WaveOptions},
};

/// What `run`, `burn` and `plan` take alike.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct WaveFlags {
    /// Go wave by wave, each only when the one before was good: 1,10%,50%,100%. Each says how many of all hosts have run after it.
    #[arg(long, visible_alias = "waves", value_name = "N|P%", value_delimiter = ',', value_parser = wave, help_heading = HEADING)]
    pub(crate) wave: Vec<Portion>,
    /// Never more hosts of one failure domain at once, such as rack=2 or power=25%; may be repeated.
    #[arg(long, value_name = "DOMAIN=N|P%", value_parser = max_per, help_heading = HEADING)]
    pub(crate) max_per: Vec<MaxPer>,
    /// Never more watts at once than so many, of the whole fleet or per domain, such as 12kW or rack=4000; may be repeated.
    #[arg(long, value_name = "[DOMAIN=]W", value_parser = max_watts, help_heading = HEADING)]
    pub(crate) max_watts: Vec<MaxWatts>,
    /// Bear so many failed hosts, of a wave and of all so far: one more stops those that run, and no other begins. Without it no later
    /// wave starts after one, and the hosts of its wave come to their end.
    #[arg(long, value_name = "N|P%", value_parser = failures, help_heading = HEADING)]
    pub(crate) max_failures: Option<Portion>,
    /// What must hold of the fleet as a whole, such as 'hosts failed <= 1%'; may be repeated.
    #[arg(long = "fleet-threshold", value_name = "CONDITION", value_parser = threshold, help_heading = HEADING)]
    pub(crate) fleet_thresholds: Vec<FleetThreshold>,
}

impl WaveFlags {
    /// What they ask for.
    pub(crate) fn spec(&self) -> FleetSpec {
        FleetSpec {
            waves: WaveOptions {
                waves: self.wave.clone(),
                max_per: self.max_per.clone(),
                max_watts: self.max_watts.clone(),
                max_failures: self.max_failures,
            },
            thresholds: self.fleet_thresholds.clone(),
        }
    }
}

fn wave(text: &str) -> Result<Portion, String> {
    Portion::parse_some(text).map_err(one_line)
}

fn failures(text: &str) -> Result<Portion, String> {
    Portion::parse(text).map_err(one_line)
}

fn max_per(text: &str) -> Result<MaxPer, String> {
    MaxPer::parse(text).map_err(one_line)
}

fn max_watts(text: &str) -> Result<MaxWatts, String> {
    MaxWatts::parse(text).map_err(one_line)
}

fn threshold(text: &str) -> Result<FleetThreshold, String> {
    FleetThreshold::parse(text).map_err(|wrong| one_line(Problem::new(wrong.message, wrong.mend)))
}
