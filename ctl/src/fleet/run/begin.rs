//! The second half of a start: clocks are compared, one instant is chosen, and each host is told when that is by its own clock.

use std::{sync::Arc, time::Duration};

use ssts_proto::v1::BeginRequest;
use tonic::Code;

use super::{
    Commission, bounded,
    leases::Kept,
    link::Link,
    prepare::{Prepared, is_broken, release},
    update::News,
};
use crate::{
    error::Failure,
    fleet::clock::{self, ClockOffset},
    status,
};

/// From the choice of the instant to the instant, beside what the way takes: an agent puts two notes on its disk before it answers.
const MARGIN: Duration = Duration::from_millis(500);
/// For each host more, as they are told one after the other.
const MARGIN_PER_HOST: Duration = Duration::from_micros(800);
/// Clocks that are compared at once: one that waits its turn with us would look farther away than it is.
const CLOCKS_AT_ONCE: usize = 16;
/// Calls that broke are repeated so often.
const TRIES: u32 = 3;

/// A host that begins.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) link: Arc<Link>,
    pub(super) lease: Kept,
    pub(super) clock: ClockOffset,
    /// The instant that all were to begin at, ns of Unix time by our own clock.
    pub(super) named_ns: i64,
}

/// A host that does not, and why. It may still hold something.
pub(super) type NotBegun = (Arc<Link>, Failure);

/// Prepared, with its clock.
type Timed = (Prepared, ClockOffset);

/// Compares the clocks of all that are ready.
pub(super) async fn compare_clocks(ready: Vec<Prepared>) -> (Vec<Timed>, Vec<NotBegun>) {
    let measured = bounded(CLOCKS_AT_ONCE, ready, |prepared| async move {
        let measured = match prepared.link.client().await {
            Ok(mut client) => clock::measure(&mut client).await.map_err(|status| status::failure(&status)),
            Err(failure) => Err(failure),
        };
        match measured {
            Ok(clock) => Ok((prepared, clock)),
            Err(failure) => Err((prepared.link, failure)),
        }
    })
    .await;
    split(measured)
}

/// Tells all of them one instant: as soon as all can know it, or `start_at_ns` where that is later.
pub(super) async fn begin(
    timed: Vec<Timed>,
    start_at_ns: Option<i64>,
    commission: &Arc<Commission>,
) -> (Vec<Begun>, Vec<NotBegun>) {
    let margin_ns = margin_ns(timed.iter().map(|(_, clock)| clock));
    let named_ns = clock::now_ns().saturating_add(margin_ns).max(start_at_ns.unwrap_or(i64::MIN));
    let told = bounded(usize::MAX, timed, |(prepared, clock)| {
        let commission = commission.clone();
        async move {
            let Prepared { link, lease } = prepared;
            match tell(&link, &clock, named_ns, margin_ns, &commission).await {
                Ok(at_unix_ns) => {
                    commission.updates.tell(link.index, News::Begins { at_unix_ns });
                    Ok(Begun { link, lease, clock, named_ns })
                }
                Err(failure) => Err((link, failure)),
            }
        }
    })
    .await;
    split(told)
}

/// Tells a host when to begin, and gives the instant by our own clock. One that heard of it too late begins later: that shows in
/// its skew.
async fn tell(
    link: &Link,
    clock: &ClockOffset,
    named_ns: i64,
    margin_ns: i64,
    commission: &Commission,
) -> Result<i64, Failure> {
    let mut at_ns = named_ns;
    let mut failure = None;
    for _ in 0..TRIES {
        let mut client = match link.client().await {
            Ok(client) => client,
            Err(unreached) => {
                failure = Some(unreached);
                continue;
            }
        };
        let begin_at_unix_ns = clock.theirs(at_ns);
        let request = BeginRequest { run_id: commission.run_id.to_string(), begin_at_unix_ns };
        match client.begin(request).await {
            Ok(_) => {
                link.note_heard();
                return Ok(at_ns);
            }
            Err(refusal) => {
                let was_late = refusal.code() == Code::InvalidArgument
                    && clock::now_ns().saturating_add(margin_ns / 2) > at_ns;
                if was_late {
                    at_ns = clock::now_ns().saturating_add(margin_ns);
                } else if is_broken(&refusal) {
                    // It may have heard of it: the same instant once more is no second start.
                    link.hang_up();
                } else {
                    return Err(commission.refused(&refusal));
                }
                failure = Some(commission.refused(&refusal));
            }
        }
    }
    // Whether it begins or not is unknown, so it must not be held.
    release(link, commission, "it could not be told when to begin").await;
    Err(failure.unwrap_or_else(|| Failure::agent("it could not be told when to begin", "")))
}

/// What all of them need to hear of it.
fn margin_ns<'a>(clocks: impl ExactSizeIterator<Item = &'a ClockOffset>) -> i64 {
    let hosts = u32::try_from(clocks.len()).unwrap_or(u32::MAX);
    // An error bound is half of the way there and back.
    let way = clocks.map(|clock| clock.error_ns.saturating_mul(2)).max().unwrap_or_default();
    let margin = MARGIN + MARGIN_PER_HOST * hosts + 4 * Duration::from_nanos(way);
    i64::try_from(margin.as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn split<T, E>(results: Vec<Result<T, E>>) -> (Vec<T>, Vec<E>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(item) => good.push(item),
            Err(item) => bad.push(item),
        }
    }
    (good, bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_host_and_their_number_decide_how_far_ahead_the_instant_is() {
        let clock = |error_ns| ClockOffset { offset_ns: 0, error_ns };
        let near = [clock(100_000), clock(50_000)];
        assert_eq!(margin_ns(near.iter()), 500_000_000 + 1_600_000 + 800_000);
        let far = [clock(100_000), clock(100_000_000)];
        assert_eq!(margin_ns(far.iter()), 500_000_000 + 1_600_000 + 800_000_000);
    }
}
