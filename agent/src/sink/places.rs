//! How many sessions there are at once: in all, and of one address, so that none keeps the others out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Sessions of all addresses beyond those that have streams: handshakes, and those that will be refused.
const SPARE: usize = 64;
/// The same of one address.
const SPARE_OF_ONE: usize = 16;

/// Sessions that are under way.
#[derive(Debug)]
pub(super) struct Places {
    max_streams: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl Places {
    /// Of a sink with so many streams: each session that is let in has at least one.
    pub(super) fn new(max_streams: u16) -> Self {
        Self { max_streams: max_streams.into(), taken: Mutex::default() }
    }

    /// A place for a session from there, or why there is none.
    pub(super) fn take(self: &Arc<Self>, from: IpAddr) -> Result<Place, String> {
        let from = from.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let of_one = taken.get(&from).copied().unwrap_or_default();
        let (most, most_of_one) = (self.max_streams + SPARE, self.max_streams + SPARE_OF_ONE);
        if of_one >= most_of_one {
            return Err(format!(
                "{of_one} sessions of {from} are under way, as many as its network.sink.max_streams of {} allows; wait \
                 until some end",
                self.max_streams
            ));
        }
        if all >= most {
            return Err(format!(
                "{all} sessions are under way, as many as its network.sink.max_streams of {} allows; wait until some end",
                self.max_streams
            ));
        }
        taken.insert(from, of_one + 1);
        Ok(Place { places: self.clone(), from })
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_keep_the_others_out() {
        let places = Arc::new(Places::new(4));
        let [one, other]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let greedy: Vec<_> = (0..20).map(|_| places.take(one).unwrap()).collect();
        let refused = places.take(mapped).unwrap_err();
        assert!(
            refused.contains("20 sessions of 10.0.0.1") && refused.contains("max_streams of 4"),
            "{refused}"
        );
        assert!(refused.len() <= 256, "{refused}");
        drop(places.take(other).unwrap());
        drop(greedy);
        drop(places.take(one).unwrap());
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn all_together_are_bounded() {
        let places = Arc::new(Places::new(4));
        let from = |n: u8| IpAddr::from([10, 0, 0, n]);
        let all: Vec<_> = (0..68).map(|n| places.take(from(n)).unwrap()).collect();
        assert!(places.take(from(99)).unwrap_err().contains("68 sessions"));
        drop(all);
        drop(places.take(from(99)).unwrap());
    }
}
