//! How often a client may call.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Clients that are remembered; those with nothing on their account are forgotten first.
const REMEMBERED: usize = 1_024;

/// A bucket for each client: as many calls as go in a second at once, then at that rate.
#[derive(Debug)]
pub(super) struct Rates {
    per_s: f64,
    clients: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    room: f64,
    at: Instant,
}

impl Rates {
    /// Calls a second of each.
    pub(super) fn new(per_s: u32) -> Self {
        Self { per_s: per_s.into(), clients: Mutex::default() }
    }

    /// Whether one more call is not too many.
    pub(super) fn allow(&self, client: &str) -> bool {
        self.allow_at(client, Instant::now())
    }

    fn allow_at(&self, client: &str, now: Instant) -> bool {
        // What a thread that panicked left is whole.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let per_s = self.per_s;
        let filled = move |bucket: &Bucket| {
            let since = now.saturating_duration_since(bucket.at);
            (bucket.room + since.as_secs_f64() * per_s).min(per_s)
        };
        if clients.len() >= REMEMBERED {
            clients.retain(|_, bucket| filled(bucket) < per_s);
        }
        let bucket = clients.entry(client.to_owned()).or_insert(Bucket { room: per_s, at: now });
        bucket.room = filled(bucket);
        bucket.at = now;
        let allowed = bucket.room >= 1.0;
        if allowed {
            bucket.room -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_is_held_to_its_rate_and_others_are_not() {
        let rates = Rates::new(10);
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!((0..100).filter(|_| rates.allow_at("a", begin)).count(), 10);
        assert!(rates.allow_at("b", begin));
        assert!(rates.allow_at("a", at(101)) && !rates.allow_at("a", at(101)));
        assert_eq!((0..100).filter(|_| rates.allow_at("a", at(60_000))).count(), 10);
    }
}
