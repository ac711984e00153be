//! How much of the agent anybody gets: connections, in all and of one client.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// What is counted under one key, up to a bound for each key and one for all.
#[derive(Debug)]
pub(super) struct Counted<K> {
    counts: Arc<Mutex<HashMap<K, u32>>>,
    most: u32,
    most_of_one: u32,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash> {
    counts: Arc<Mutex<HashMap<K, u32>>>,
    key: K,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// For anybody.
    All,
    /// For this one.
    One,
}

/// An address; those of IPv4 look alike however they came.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl<K: Clone + Eq + Hash> Counted<K> {
    pub(super) fn new(most: u32, most_of_one: u32) -> Self {
        Self { counts: Arc::default(), most, most_of_one }
    }

    /// A place, if there is one.
    pub(super) fn take(&self, key: K) -> Result<Place<K>, Full> {
        // What a thread that panicked left is whole.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<u32>() >= self.most {
            return Err(Full::All);
        }
        let count = counts.entry(key.clone()).or_default();
        if *count >= self.most_of_one {
            return Err(Full::One);
        }
        *count += 1;
        Ok(Place { counts: self.counts.clone(), key })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_one_and_for_all_and_come_back() {
        let counted = Counted::new(3, 2);
        let first = counted.take("a").unwrap();
        let _second = counted.take("a").unwrap();
        assert_eq!(counted.take("a").unwrap_err(), Full::One);
        let _third = counted.take("b").unwrap();
        assert_eq!(counted.take("c").unwrap_err(), Full::All);
        drop(first);
        assert!(counted.take("a").is_ok());
        assert!(counted.counts.lock().unwrap().values().sum::<u32>() == 2);
    }
}
