//! The keys of every burner that holds a load.

use ssts_proto::v1::{Constant, LoadMode, Profile, Ramp, profile::Shape};
use toml::de::DeValue;

use super::{
    keys::{Findings, Keys, Value, number, wrong_type},
    values::one_of,
};
use crate::{error::Problem, load};

/// `load`, `mode`, `tolerance` and `in_step`; nothing where none is there.
pub(super) fn profile(keys: &mut Keys<'_, '_>, found: &mut Findings) -> Option<Profile> {
    let shape = keys.value("load", "load", found).map(|value| shape(&keys.part("load"), value, found));
    let mode = keys.read("mode", "load.mode", found, mode);
    let tolerance_points = keys.read("tolerance", "load.tolerance_points", found, number);
    let in_step = keys.read("in_step", "load.in_step", found, |value| {
        value.as_bool().ok_or_else(|| wrong_type(value, "true or false"))
    });
    if shape.is_none() && mode.is_none() && tolerance_points.is_none() && in_step.is_none() {
        return None;
    }
    let full = Shape::Constant(Constant { load_percent: 100.0 });
    Some(Profile {
        // One that is broken was noted.
        shape: Some(shape.flatten().unwrap_or(full)),
        mode: mode.unwrap_or_default().into(),
        tolerance_points,
        in_step: in_step.unwrap_or_default(),
    })
}

/// A share over time of what no core holds, such as a rate; nothing where it is not there.
pub(super) fn shape_of(key: &'static str, keys: &mut Keys<'_, '_>, found: &mut Findings) -> Option<Profile> {
    let value = keys.value(key, key, found)?;
    let full = Shape::Constant(Constant { load_percent: 100.0 });
    // One that is broken was noted.
    Some(of_shape(shape(&keys.part(key), value, found).unwrap_or(full)))
}

/// A profile of a shape, and nothing more.
pub(super) fn of_shape(shape: Shape) -> Profile {
    Profile { shape: Some(shape), ..Profile::default() }
}

/// A number of percent, `{ from = 10, to = 90 }`, or a load as the command line has it.
fn shape(field: &str, value: &Value<'_>, found: &mut Findings) -> Option<Shape> {
    let read = match value.get_ref() {
        DeValue::Table(ramp) => {
            let mut keys = Keys::new("a ramp", &format!("{field}.ramp"), value.span(), ramp);
            let from = keys.need("from", "from_percent", found, number, "10");
            let to = keys.need("to", "to_percent", found, number, "90");
            keys.finish(found);
            // A bound that is missing was noted; the other one is still checked.
            let (from_percent, to_percent) = (from.unwrap_or_default(), to.unwrap_or_default());
            return Some(Shape::Ramp(Ramp { from_percent, to_percent }));
        }
        DeValue::String(text) => load::shape(text, &found.origin.folder(&value.span())),
        other => number(other)
            .map(|load_percent| Shape::Constant(Constant { load_percent }))
            .map_err(|Problem { message, .. }| Problem::new(message, load::FORMS)),
    };
    read.inspect_err(|Problem { message, mend }| found.add(field, value.span(), message, mend)).ok()
}

fn mode(value: &DeValue<'_>) -> Result<LoadMode, Problem> {
    one_of(value, "mode", &[("own", LoadMode::Own), ("core", LoadMode::Core)])
}
