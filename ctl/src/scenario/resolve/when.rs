//! `when`: a burner that stands only where a text is not empty, such as the name of a peer that few hosts have.

use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::{
    error::Problem,
    scenario::keys::{Findings, Value, shortened, wrong_type},
};

/// The key, which is gone once a scenario is whole.
const KEY: &str = "when";

/// The phases without the burners that are left out, each of which is told.
pub(super) fn kept<'t>(phases: Value<'t>, found: &mut Findings) -> Value<'t> {
    let span = phases.span();
    let phases = match phases.into_inner() {
        DeValue::Array(phases) => phases,
        // That it is none is told where phases are read.
        other => return Spanned::new(span, other),
    };
    let phases = phases.into_iter().map(|phase| phase_of(phase, found)).collect::<DeArray<'_>>();
    Spanned::new(span, DeValue::Array(phases))
}

fn phase_of<'t>(phase: Value<'t>, found: &mut Findings) -> Value<'t> {
    let span = phase.span();
    let value = match phase.into_inner() {
        DeValue::Table(mut phase) => {
            let name = phase.get("name").and_then(|name| name.get_ref().as_str());
            let name = shortened(name.unwrap_or_default());
            if let Some(burners) = phase.get_mut("burner")
                && let DeValue::Array(all) = burners.get_mut()
            {
                let mut stay = DeArray::new();
                for mut burner in std::mem::replace(all, DeArray::new()) {
                    let stays = match burner.get_mut() {
                        DeValue::Table(table) => stays(table, &name, found),
                        _ => true,
                    };
                    if stays {
                        stay.push(burner);
                    }
                }
                *all = stay;
            }
            DeValue::Table(phase)
        }
        other => other,
    };
    Spanned::new(span, value)
}

/// Whether a burner stays, without the key.
fn stays(burner: &mut DeTable<'_>, phase: &str, found: &mut Findings) -> bool {
    let Some(when) = burner.remove(KEY) else { return true };
    let stays = match when.get_ref() {
        DeValue::String(text) => !text.trim().is_empty(),
        DeValue::Boolean(stays) => *stays,
        other => {
            let Problem { message, mend } = wrong_type(
                other,
                "a text, such as \"${peer}\", which is empty where the burner is left out; true or false",
            );
            found.at(when.span(), &message, &mend);
            true
        }
    };
    if !stays {
        let kind = burner.get("kind").and_then(|kind| kind.get_ref().as_str());
        let kind = shortened(kind.unwrap_or_default());
        let message = format!("phase '{phase}' leaves its {kind} burner out: its key 'when' is empty");
        let told = found.origin.finding_at(&when.span(), &message, "").message;
        found.left_out.push(told);
    }
    stays
}
