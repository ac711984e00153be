//! The HTTP burner: requests to a service under test, over connections of its own. `hyper` speaks HTTP and `rustls` TLS; who
//! is due when, and how late an answer came, is counted here.

mod error;
mod lane;
mod lanes;
mod link;
mod load;
mod pacer;
mod service;
mod timer;
mod tls;
mod trouble;
mod worker;

pub use error::HttpError;
pub(crate) use load::Count;
pub use load::{HttpLoad, Version};

use self::worker::HttpWorker;
use super::{plan::Plan, worker::Worker};

/// A worker for each of the plan's cores.
pub(super) fn crew(plan: &Plan, load: &HttpLoad) -> Vec<Box<dyn Worker>> {
    (0..plan.cores.len()).map(|_| -> Box<dyn Worker> { Box::new(HttpWorker::new(load.clone())) }).collect()
}
