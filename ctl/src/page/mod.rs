//! The report as one HTML page that needs nothing else: what the run came to, and [plots](plot) of what was
//! [observed](observed) meanwhile.

mod bins;
mod html;
mod observed;
mod plot;

pub(crate) use self::{
    bins::{Bins, Join, Values},
    html::to_html,
    observed::Observed,
};
