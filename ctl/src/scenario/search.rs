//! `[phase.search]`: which load is searched for, and the objective that it is searched by.

use ssts_proto::{
    thresholds::{self, Wrong},
    v1::{Search, Threshold},
};

use super::{
    guard::labels,
    keys::{Findings, Keys, string},
    values::{duration, percent},
};

/// One search, of the phase of that name.
pub(super) fn from_keys(mut keys: Keys<'_, '_>, phase: &str, found: &mut Findings) -> Search {
    let search = Search {
        from_percent: keys.read("from", "from_percent", found, percent),
        to_percent: keys.read("to", "to_percent", found, percent),
        precision_points: keys.read("precision", "precision_points", found, percent),
        hold_ms: keys.read("hold", "hold_ms", found, duration),
        rest_ms: keys.read("rest", "rest_ms", found, duration),
        objective: Some(objective(&mut keys, phase, found)),
    };
    keys.finish(found);
    search
}

fn objective(keys: &mut Keys<'_, '_>, phase: &str, found: &mut Findings) -> Threshold {
    const FIELD: &str = "objective.that";
    let example = "\"http.request.latency.p99 < 10ms\"";
    let that = keys.need("objective", FIELD, found, string, example);
    let place = keys.value("objective", FIELD, found).map(serde_spanned::Spanned::span);
    let read = that.as_deref().map(thresholds::parse);
    let mut objective = match (read, place) {
        (Some(Ok(objective)), _) => objective,
        (Some(Err(Wrong { part, message, mend })), Some(span)) => {
            let text = that.as_deref().unwrap_or_default();
            let precise = found.origin.within(&span, text, &part);
            found.last_word_at(&span, precise, &message, &mend);
            found.mark_broken(&keys.part("objective"));
            Threshold::default()
        }
        _ => {
            found.mark_broken(&keys.part("objective"));
            Threshold::default()
        }
    };
    phase.clone_into(&mut objective.phase);
    objective.labels.extend(keys.read("labels", "objective.labels", found, labels).unwrap_or_default());
    objective
}

#[cfg(test)]
mod tests {
    use crate::scenario::Plan;

    const CPU: &str =
        "name = 'one'\n[[phase]]\nname = 'a'\nduration = '5m'\n[[phase.burner]]\nkind = 'cpu'\n";

    #[test]
    fn a_search_is_read_and_written_as_it_was() {
        let text = format!(
            "{CPU}[phase.search]\nfrom = 5\nto = '90%'\nprecision = 0.5\nhold = '8s'\nrest = '1s'\n\
             objective = 'protected.runqueue.latency.p99 < 3ms'\nlabels = {{ unit = 'nginx.service' }}\n"
        );
        let plan = Plan::from_toml("x.toml", &text).unwrap();
        let search = plan.scenario.phases[0].search.as_ref().unwrap();
        assert_eq!((search.from_percent, search.to_percent), (Some(5.0), Some(90.0)));
        assert_eq!(
            (search.precision_points, search.hold_ms, search.rest_ms),
            (Some(0.5), Some(8_000), Some(1_000))
        );
        let objective = search.objective.as_ref().unwrap();
        assert_eq!((objective.phase.as_str(), objective.value), ("a", 3e6));
        assert_eq!(objective.labels[0].value, "nginx.service");
        let again = Plan::from_toml("y.toml", &plan.toml).unwrap();
        assert_eq!(again.scenario, plan.scenario, "{}", plan.toml);
    }
}
