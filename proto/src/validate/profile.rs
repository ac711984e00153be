//! Bounds of a load over time.

use super::Violations;
use crate::v1::{Profile, profile};

pub(super) fn check(field: &str, load: &Profile, found: &mut Violations) {
    let mut percent = |field: String, value: f64| {
        if !(1.0..=100.0).contains(&value) {
            found.add(field, format!("a load of {value} %"), "use 1 to 100 %");
        }
    };
    match &load.shape {
        None => found.add(field, "a profile without a shape", "set one, such as constant"),
        Some(profile::Shape::Constant(constant)) => {
            percent(format!("{field}.constant.load_percent"), constant.load_percent);
        }
        Some(profile::Shape::Ramp(ramp)) => {
            percent(format!("{field}.ramp.from_percent"), ramp.from_percent);
            percent(format!("{field}.ramp.to_percent"), ramp.to_percent);
        }
    }
}
