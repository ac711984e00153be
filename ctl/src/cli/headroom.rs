//! Flags of `headroom`.

use clap::Args;

use super::{
    RunOptions,
    values::{Cores, core_list, duration, network_rate, percent_or_none},
};

pub(super) const EXAMPLES: &str = "\
Loads the cores more and more, by bisection, until what is protected no longer meets its objective: where that is, is the knee.
The load is taken away as soon as the objective is broken, within a second. What is protected is a URL, which is then asked at
a fixed rate (the agent's [http] has to allow it), or a unit that the agent's configuration names under [[protect]], by whatever
its clients do to it.

The objective is a threshold on single readings, one for each tick: http.request.latency.p99 < 10ms. With a statistic alone,
such as 'p99 < 10ms', it is on the latency of the URL's requests, or on how long the unit's tasks wait for a core.

Exit status: 0 a knee was found, or the objective held throughout; 3 it was broken from the beginning, or no knee could be found.

Examples:
  sstsctl headroom --protect http://127.0.0.1:8080/ --objective 'p99<10ms'
  sstsctl headroom --protect nginx.service --objective 'p99<3ms' --precision 0.5
  sstsctl headroom --protect nginx.service --objective 'protected.health.latency.max<200ms' --to 80
  sstsctl headroom --protect http://127.0.0.1/ --rate 500 --objective 'p95<5ms' --cores 0-3 --report ./headroom";

#[derive(Debug, Args)]
pub(crate) struct HeadroomFlags {
    /// A URL, or a unit that the agent protects.
    #[arg(long, value_name = "URL|UNIT")]
    pub(crate) protect: String,
    /// What has to be met, such as 'p99 < 10ms'.
    #[arg(long, value_name = "TEXT")]
    pub(crate) objective: String,
    /// The least load, at which the objective has to hold. [default: 0]
    #[arg(long, value_name = "PCT", value_parser = percent_or_none, allow_hyphen_values = true)]
    pub(crate) from: Option<f64>,
    /// The greatest load that is tried. [default: 100]
    #[arg(long, value_name = "PCT", value_parser = percent_or_none, allow_hyphen_values = true)]
    pub(crate) to: Option<f64>,
    /// How close the bounds of the knee are to come. [default: 1]
    #[arg(long, value_name = "POINTS", value_parser = percent_or_none, allow_hyphen_values = true)]
    pub(crate) precision: Option<f64>,
    /// How long a load is watched at most. [default: 10s]
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) hold: Option<u64>,
    /// How long nothing is asked after the objective broke, at least. [default: 2s]
    #[arg(long, value_name = "D", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) rest: Option<u64>,
    /// Requests a second to the URL. [default: 100]
    #[arg(long, value_name = "RATE", value_parser = network_rate, allow_hyphen_values = true)]
    pub(crate) rate: Option<u64>,
    /// The cores that are loaded; without it all that the agent may use.
    #[arg(long, value_name = "LIST", value_parser = core_list)]
    pub(crate) cores: Option<Cores>,
    /// When the search is given up.
    #[arg(long, value_name = "D", value_parser = duration, default_value = "5m", allow_hyphen_values = true)]
    pub(crate) duration: u64,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}
