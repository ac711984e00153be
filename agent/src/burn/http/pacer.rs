//! When requests are due: open loop at fixed instants, whatever the service does; or closed loop, each when the one before
//! it is answered. Both are sent through a token bucket: closed loops no faster than the agent allows, open ones no faster than
//! twice their rate, so that what waited through a stall does not come down on the service all at once.

use std::time::Duration;

use crate::clock;

const NS_PER_S: u128 = 1_000_000_000;
/// What may be made good at once of what was not used: as deep as the bucket is. A worker's look at the clock may be as late.
const BUCKET: Duration = Duration::from_millis(2);
/// Times the rate at which an open loop catches up, as wrk2 does.
const CATCH_UP: u64 = 2;

/// Hands out one worker's requests. Times are CLOCK_BOOTTIME.
#[derive(Debug)]
pub(super) struct Pacer {
    origin: Duration,
    /// Of all workers together.
    rate_per_s: u128,
    kind: Kind,
    bucket: Bucket,
}

#[derive(Debug)]
enum Kind {
    /// Request number `next` of all workers', of which every `step`th is this one's.
    Open {
        next: u64,
        step: u64,
    },
    Closed,
}

/// How closely requests of a worker may follow each other.
#[derive(Debug)]
struct Bucket {
    /// None before this instant.
    not_before: Duration,
    interval: Duration,
}

impl Bucket {
    /// A worker's part of a rate.
    fn of(rate_per_s: u64, workers: usize) -> Self {
        let interval = from_ns(NS_PER_S * workers.max(1) as u128 / u128::from(rate_per_s.max(1)));
        Self { not_before: Duration::ZERO, interval }
    }

    fn take(&mut self, now: Duration) {
        self.not_before = self.not_before.max(now.saturating_sub(BUCKET)) + self.interval;
    }
}

impl Pacer {
    /// Requests at fixed instants: number n of all is due n / rate after the origin, and goes to worker n mod workers. Those
    /// that could not be sent when they were due follow at twice the rate, if that is not more than `most_per_s`.
    pub(super) fn open(rate_per_s: u64, most_per_s: u64, (worker, workers): (usize, usize)) -> Self {
        let rate_per_s = rate_per_s.max(1);
        let catching_up = rate_per_s.saturating_mul(CATCH_UP).min(most_per_s).max(rate_per_s);
        Self {
            origin: Duration::ZERO,
            rate_per_s: rate_per_s.into(),
            kind: Kind::Open { next: worker as u64, step: workers.max(1) as u64 },
            bucket: Bucket::of(catching_up, workers),
        }
    }

    /// Requests as fast as they are answered, at most so many a second of all workers.
    pub(super) fn closed(most_per_s: u64, workers: usize) -> Self {
        Self {
            origin: Duration::ZERO,
            rate_per_s: most_per_s.max(1).into(),
            kind: Kind::Closed,
            bucket: Bucket::of(most_per_s, workers),
        }
    }

    /// The clock starts.
    pub(super) fn start(&mut self, origin: Duration) {
        self.origin = origin;
    }

    /// Time stood still for so long.
    pub(super) fn resumed(&mut self, paused: Duration) {
        self.origin += paused;
    }

    /// When the next one can be sent.
    pub(super) fn next_at(&self) -> Duration {
        match self.kind {
            Kind::Open { next, .. } => self.due_at(next).max(self.bucket.not_before),
            Kind::Closed => self.bucket.not_before,
        }
    }

    /// The instant at which a request was due, if one is and may be sent.
    pub(super) fn take(&mut self, now: Duration) -> Option<Duration> {
        if self.next_at() > now {
            return None;
        }
        self.bucket.take(now);
        match self.kind {
            Kind::Open { next, step } => {
                self.kind = Kind::Open { next: next + step, step };
                Some(self.due_at(next))
            }
            Kind::Closed => Some(now),
        }
    }

    /// Instants before `until` at which requests were due that nobody took: the first of each group, and how many it
    /// holds. At most some ten thousand groups, however many requests.
    pub(super) fn left(&self, until: Duration) -> impl Iterator<Item = (Duration, u64)> + '_ {
        const GROUPS: u64 = 10_000;
        let (next, step) = match self.kind {
            Kind::Open { next, step } => (next, step),
            Kind::Closed => (0, 1),
        };
        // Number n is due before `until` if n < elapsed * rate.
        let due = u128::from(clock::ns(until.saturating_sub(self.origin))) * self.rate_per_s;
        let due = u64::try_from(due.div_ceil(NS_PER_S)).unwrap_or(u64::MAX);
        let is_open = matches!(self.kind, Kind::Open { .. });
        let left = if is_open { due.saturating_sub(next).div_ceil(step) } else { 0 };
        let group = left.div_ceil(GROUPS).max(1);
        (0..left).step_by(usize::try_from(group).unwrap_or(usize::MAX)).map(move |first| {
            let count = group.min(left - first);
            (self.due_at(next + (first + count / 2) * step), count)
        })
    }

    fn due_at(&self, n: u64) -> Duration {
        self.origin + from_ns(u128::from(n) * NS_PER_S / self.rate_per_s)
    }
}

fn from_ns(ns: u128) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Duration = Duration::from_secs(100);

    fn open(rate: u64, place: (usize, usize)) -> Pacer {
        let mut pacer = Pacer::open(rate, u64::MAX, place);
        pacer.start(ORIGIN);
        pacer
    }

    /// When each of those was due that are taken up to an instant, on time.
    fn taken(pacer: &mut Pacer, until: Duration) -> Vec<Duration> {
        let next = || Some(pacer.next_at()).filter(|next| *next <= until).and_then(|next| pacer.take(next));
        std::iter::from_fn(next).map(|due| due - ORIGIN).collect()
    }

    #[test]
    fn as_many_are_due_as_were_asked_and_none_drifts() {
        for rate in [1, 3, 7, 1_000, 99_991] {
            let mut pacer = open(rate, (0, 1));
            let dues = taken(&mut pacer, ORIGIN + Duration::from_secs(10) - Duration::from_nanos(1));
            assert_eq!(dues.len() as u64, rate * 10, "{rate}");
            let last = dues.last().copied().unwrap().as_secs_f64();
            assert!((last - (rate * 10 - 1) as f64 / rate as f64).abs() < 1e-8, "{rate}: {last}");
        }
    }

    #[test]
    fn workers_take_turns() {
        let until = ORIGIN + Duration::from_millis(9);
        let (mut first, mut second) = (open(1_000, (0, 2)), open(1_000, (1, 2)));
        let ms = |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(taken(&mut first, until), ms(&[0, 2, 4, 6, 8]));
        assert_eq!(taken(&mut second, until), ms(&[1, 3, 5, 7, 9]));
    }

    #[test]
    fn a_pause_moves_what_is_due() {
        let mut pacer = open(10, (0, 1));
        assert_eq!(taken(&mut pacer, ORIGIN + Duration::from_millis(150)).len(), 2);
        pacer.resumed(Duration::from_secs(5));
        assert_eq!(pacer.take(ORIGIN + Duration::from_secs(5)), None);
        assert_eq!(pacer.next_at(), ORIGIN + Duration::from_millis(5_200));
    }

    #[test]
    fn what_waited_follows_at_twice_the_rate_and_each_tells_when_it_was_due() {
        let mut pacer = open(1_000, (0, 1));
        // Nothing could be sent for half a second.
        let (stall, ms) = (Duration::from_millis(500), Duration::from_millis(1));
        let mut now = ORIGIN + stall;
        let (mut sent, mut late) = (Vec::new(), Duration::MAX);
        while late > ms {
            now = now.max(pacer.next_at());
            let due = pacer.take(now).unwrap();
            late = now - due;
            sent.push(now);
        }
        // As many again became due meanwhile, and the bucket was full.
        assert!((990..=1_000).contains(&sent.len()), "{}", sent.len());
        let most = |window: Duration| {
            let after =
                |from: &Duration| sent.iter().filter(|at| (*from..*from + window).contains(*at)).count();
            sent.iter().map(after).max().unwrap()
        };
        assert!(most(ms * 10) <= 25, "{}", most(ms * 10));
        assert!(most(ms * 100) <= 205, "{}", most(ms * 100));
        // No faster than the agent allows: then it never catches up.
        let mut held = Pacer::open(1_000, 1_000, (0, 1));
        held.start(ORIGIN);
        let begin = ORIGIN + stall;
        let count = (0..10_000).filter(|at| held.take(begin + ms * *at / 10).is_some()).count();
        assert!((1_000..=1_003).contains(&count), "{count}");
        assert!(held.next_at() >= begin + ms * 990);
    }

    #[test]
    fn what_nobody_took_is_left_with_its_instants() {
        let mut pacer = open(1_000, (1, 2));
        taken(&mut pacer, ORIGIN + Duration::from_millis(499));
        let until = ORIGIN + Duration::from_secs(1);
        let left: Vec<_> = pacer.left(until).collect();
        assert_eq!(left.iter().map(|(_, count)| count).sum::<u64>(), 250);
        assert_eq!(left[0], (ORIGIN + Duration::from_millis(501), 1));
        // Together with those that were taken, all that were asked.
        let flood = open(100_000_000, (0, 1));
        let left: Vec<_> = flood.left(until).collect();
        assert_eq!(left.iter().map(|(_, count)| count).sum::<u64>(), 100_000_000);
        assert!(left.len() <= 10_000);
        assert_eq!(Pacer::closed(5, 1).left(until).count(), 0);
    }

    #[test]
    fn a_closed_loop_keeps_below_what_is_allowed() {
        let mut pacer = Pacer::closed(1_000, 1);
        pacer.start(ORIGIN);
        let mut count = 0;
        for microsecond in 0..1_000_000 {
            let now = ORIGIN + Duration::from_micros(microsecond);
            if let Some(due) = pacer.take(now) {
                assert_eq!(due, now, "nothing was due before it could be sent");
                count += 1;
            }
        }
        assert!((1_000..=1_003).contains(&count), "{count}");
    }
}
