//! Who carries out a plan.

use std::sync::Arc;

use super::{
    BurnError, cpu, disk, http, memory, network,
    plan::{Load, Plan},
    worker::Worker,
};

/// A worker for each of the plan's cores, in their order.
///
/// # Errors
/// What makes it impossible to begin.
pub(super) fn crew(plan: &Arc<Plan>) -> Result<Vec<Box<dyn Worker>>, BurnError> {
    Ok(match &plan.load {
        Load::Cpu(load) => cpu::crew(plan, load)?,
        Load::Disk(load) => disk::crew(plan, load)?,
        Load::Memory(load) => memory::crew(plan, load),
        Load::Network(load) => network::crew(plan, load),
        Load::Http(load) => http::crew(plan, load),
    })
}
