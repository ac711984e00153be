//! Which guards of a host have something to look at, found out by looking, as `sstsd check` does.

use std::{sync::Arc, thread, time::Duration};

use ssts_proto::v1::{Capability, CapabilityState, GuardState};

use super::{GuardSet, GuardSpec, Owned};
use crate::{
    clock,
    observe::{frame::Frame, schema::Schema, source::Source},
};

/// Looks that are taken, and what lies between them: sources beside the tick have read by then.
const LOOKS: u32 = 4;
const BETWEEN: Duration = Duration::from_millis(150);

/// One capability for all guards, from what `sources` show.
pub fn check(mut sources: Vec<Box<dyn Source>>, specs: Vec<GuardSpec>, stale_after: Duration) -> Capability {
    let mut set = GuardSet::new(specs, stale_after, clock::monotonic());
    let mut frame = Frame::default();
    for look in 1..=LOOKS {
        let mut schema = Schema::new(look);
        sources.iter_mut().for_each(|source| source.describe(&mut schema));
        frame.reset(&schema, look.into());
        frame.begin = clock::monotonic();
        sources.iter_mut().for_each(|source| source.sample(&mut frame));
        frame.end = clock::monotonic();
        set.look(&schema, &frame, &Owned::default());
        thread::sleep(BETWEEN);
    }
    let all = set.guards();
    let is_blind = |guard: &&super::Watching| !guard.has_source() && guard.state() != GuardState::Clear;
    let blind: Vec<Arc<GuardSpec>> = all.iter().filter(is_blind).map(|guard| guard.spec().clone()).collect();
    let names: Vec<String> =
        blind.iter().map(|spec| format!("{} ({})", spec.name(), spec.unguarded())).collect();
    let (state, mend) = if blind.iter().any(|spec| spec.is_asked_for()) {
        (
            CapabilityState::Missing,
            "take what this host can't guard out of [[guards]]: it trips, and no run starts",
        )
    } else if blind.is_empty() {
        (CapabilityState::Works, "")
    } else {
        (
            CapabilityState::Degraded,
            "load the drivers of what this host has; docs/guards.md says what each guard is for",
        )
    };
    let detail = match blind.len() {
        0 => format!("all {} have something to look at", all.len()),
        n => format!("{n} of {} guard nothing here: {}", all.len(), names.join("; ")),
    };
    Capability { name: "guards".into(), state: state.into(), detail, mend: mend.into() }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::GuardOrigin;

    use super::*;
    use crate::{guard::shipped, observe::procfs};

    #[test]
    fn what_nothing_is_read_for_is_named() {
        let spec = |guard, origin| GuardSpec::new("guards", &guard, origin).unwrap();
        let memory = || spec(shipped::min_available_memory(1 << 20), GuardOrigin::Configured);
        let hot = |origin| spec(shipped::max_temperature(90.0), origin);
        let look = |specs| {
            check(procfs::sources(&crate::host::HostRoots::default(), &[]), specs, Duration::from_secs(1))
        };
        assert_eq!(look(vec![memory()]).state(), CapabilityState::Works);
        let degraded = look(vec![memory(), hot(GuardOrigin::Shipped)]);
        assert_eq!(degraded.state(), CapabilityState::Degraded);
        assert!(
            degraded.detail.contains("1 of 2 guard nothing here: max_temperature"),
            "{}",
            degraded.detail
        );
        assert_eq!(look(vec![hot(GuardOrigin::Configured)]).state(), CapabilityState::Missing);
    }
}
