//! The odd ones out: of hosts that did the same, those that lag behind the others, and the core, module, disk or link that does.
//!
//! Each figure of a result is put beside the same figure of its peers: hosts, or parts of hosts, of the same model, in the same
//! phase, under the same burner. Only what is worse than they are counts, and only beyond a margin that matters. What the figures
//! of one host or part say together is corrected for their number, and again for how many hosts and parts were looked at: the
//! confidence is one less the share of false ones among those that are called odd ([`crate::stats::benjamini_hochberg`]).

mod aspect;
mod judge;
mod rank;
mod readings;
mod show;

#[cfg(test)]
mod parts_tests;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    judge::{Basis, Evidence},
    rank::{OddOnes, Ranked, Settings, odd_ones},
    readings::{Part, Question, Readings, Subject},
    show::{odd_csv, odd_document, odd_section},
};
use super::HostOutcome;
use crate::{
    error::{Exit, Failure},
    json::ResultOut,
};

/// Of the hosts of a fleet run.
pub(crate) fn odd_ones_of(outcomes: &[HostOutcome], settings: Settings) -> Result<OddOnes, Failure> {
    let mut readings = Readings::default();
    for outcome in outcomes {
        let Some(run) = outcome.ended() else {
            readings.left_out(&outcome.member.name);
            continue;
        };
        let result = serde_json::to_value(ResultOut::from(run))
            .map_err(|error| Failure::new(Exit::Internal, format!("can't read a result: {error}"), ""))?;
        readings.take_as(&outcome.member.name, result);
    }
    Ok(odd_ones(&readings, settings))
}
