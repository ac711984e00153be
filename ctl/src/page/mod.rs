//! The report as one HTML page that needs nothing else: what the run came to, and [plots](plot) of what was
//! [observed](observed) meanwhile; of a comparison, [where each change lies](interval); of a trend, [its values](level).

mod bins;
mod html;
mod interval;
mod level;
mod observed;
mod plot;

pub(crate) use self::{
    bins::{Bins, Join, Values},
    html::{to_html, to_plotted_html},
    interval::{Bar, Look, intervals_svg},
    level::{LevelPoint, levels_svg},
    observed::Observed,
    plot::escaped,
};
