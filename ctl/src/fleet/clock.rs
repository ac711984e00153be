//! How far a host's clock is from ours, and how sure that is: as NTP has it, RFC 5905 section 8. Of several exchanges the one that
//! took the least time says most: whatever came in between, the offset is off by at most half of that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ssts_proto::v1::{ClockRequest, ClockResponse};
use tokio::time::timeout;
use tonic::Status;

use crate::connect::Client;

/// Exchanges of which the best is kept.
const EXCHANGES: usize = 6;
/// So short a way tells enough: no more is asked.
const SHORT_NS: u64 = 300_000;
/// For the answer to one.
const PATIENCE: Duration = Duration::from_secs(3);

/// A question and its answer, ns of Unix time: ours when it was sent and when the answer came, the host's in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exchange {
    sent: i64,
    received: i64,
    answered: i64,
    back: i64,
}

/// A host's clock beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockOffset {
    /// The host's time less ours.
    pub(crate) offset_ns: i64,
    /// The offset is off by at most this, either way.
    pub(crate) error_ns: u64,
}

impl Exchange {
    /// Time on the way there and back. Nothing where a clock was set meanwhile, so that it would be negative.
    fn way_ns(&self) -> Option<u64> {
        let ours = i128::from(self.back) - i128::from(self.sent);
        let theirs = i128::from(self.answered) - i128::from(self.received);
        u64::try_from(ours - theirs).ok().filter(|_| theirs >= 0)
    }

    fn offset(&self) -> Option<ClockOffset> {
        let way_ns = self.way_ns()?;
        let there = i128::from(self.received) - i128::from(self.sent);
        let back = i128::from(self.answered) - i128::from(self.back);
        let offset_ns = i64::try_from((there + back) / 2).ok()?;
        // The half is rounded, and so is the mean.
        Some(ClockOffset { offset_ns, error_ns: way_ns / 2 + 1 })
    }
}

impl ClockOffset {
    /// What the host's clock shows when ours shows `ours_ns`.
    pub(crate) fn theirs(&self, ours_ns: i64) -> i64 {
        ours_ns.saturating_add(self.offset_ns)
    }

    /// What ours shows when the host's shows `theirs_ns`.
    pub(crate) fn ours(&self, theirs_ns: i64) -> i64 {
        theirs_ns.saturating_sub(self.offset_ns)
    }
}

/// Measures a host's clock by a few exchanges.
///
/// # Errors
/// The agent's, where none came back; or words of ours where its clock goes backwards.
pub(crate) async fn measure(client: &mut Client) -> Result<ClockOffset, Status> {
    let mut exchanges = Vec::with_capacity(EXCHANGES);
    let mut failed = None;
    for _ in 0..EXCHANGES {
        match exchange(client).await {
            Ok(exchange) => exchanges.push(exchange),
            Err(status) => {
                failed = Some(status);
                break;
            }
        }
        if exchanges.last().and_then(Exchange::way_ns).is_some_and(|way| way <= SHORT_NS) {
            break;
        }
    }
    best(&exchanges).ok_or_else(|| {
        failed.unwrap_or_else(|| Status::internal("its clock goes backwards, or ours was set meanwhile"))
    })
}

async fn exchange(client: &mut Client) -> Result<Exchange, Status> {
    let sent = now_ns();
    let answer = timeout(PATIENCE, client.clock(ClockRequest {})).await;
    let back = now_ns();
    let late = |_| Status::deadline_exceeded("it did not say what time it is");
    let ClockResponse { received_unix_ns, answered_unix_ns } = answer.map_err(late)??.into_inner();
    Ok(Exchange { sent, received: received_unix_ns, answered: answered_unix_ns, back })
}

fn best(exchanges: &[Exchange]) -> Option<ClockOffset> {
    let measured = exchanges.iter().filter(|exchange| exchange.way_ns().is_some());
    measured.min_by_key(|exchange| exchange.way_ns()).and_then(Exchange::offset)
}

/// Our own clock, ns of Unix time.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To a host whose clock is ahead by `offset`, with so long a way there and back.
    fn exchange(offset: i64, there: i64, work: i64, back: i64) -> Exchange {
        let sent = 1_000_000_000;
        let received = sent + there + offset;
        Exchange { sent, received, answered: received + work, back: sent + there + work + back }
    }

    #[test]
    fn an_even_way_tells_the_offset_and_an_uneven_one_stays_within_its_bound() {
        let even = exchange(5_000_000, 100_000, 7_000, 100_000).offset().unwrap();
        assert_eq!((even.offset_ns, even.error_ns), (5_000_000, 100_001));
        for (there, back) in [(0, 400_000), (400_000, 0), (1, 2), (90_000, 310_001)] {
            for offset in [-3_600_000_000_000, -7, 0, 123_456_789] {
                let found = exchange(offset, there, 50_000, back).offset().unwrap();
                assert!(found.offset_ns.abs_diff(offset) <= found.error_ns, "{found:?}");
                assert_eq!(found.error_ns, (there + back) as u64 / 2 + 1);
            }
        }
    }

    #[test]
    fn the_exchange_with_the_shortest_way_is_kept() {
        let exchanges = [
            exchange(9, 0, 0, 2_000_000),
            exchange(9, 40_000, 9_999_999, 60_000),
            exchange(9, 500_000, 0, 0),
        ];
        let kept = best(&exchanges).unwrap();
        assert_eq!(kept.error_ns, 50_001);
        assert!(kept.offset_ns.abs_diff(9) <= kept.error_ns);
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_tells_nothing() {
        assert_eq!(best(&[exchange(0, 10, 0, -20)]), None);
        assert_eq!(best(&[exchange(0, 10, -5, 10)]), None);
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn an_instant_is_the_same_there_and_back() {
        let clock = ClockOffset { offset_ns: -77, error_ns: 1 };
        assert_eq!(clock.theirs(1_000), 923);
        assert_eq!(clock.ours(clock.theirs(1_000)), 1_000);
    }
}
