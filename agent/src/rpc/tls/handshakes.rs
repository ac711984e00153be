//! Handshakes that are on. Where there are too many the newest is begun all the same, and another one gives way: the oldest of the
//! address that has most. So whoever begins handshakes and never ends them keeps nobody out, from however many addresses: those
//! who belong are through in milliseconds.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Handshakes {
    table: Arc<Mutex<Table>>,
    most: usize,
    most_of_one: usize,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// From the oldest.
    on: BTreeMap<u64, On>,
}

#[derive(Debug)]
struct On {
    from: IpAddr,
    give_way: oneshot::Sender<()>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    all: Handshakes,
    number: u64,
    given_way: oneshot::Receiver<()>,
}

impl Handshakes {
    /// So many at once in all, and from one address.
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { table: Arc::default(), most, most_of_one }
    }

    /// Begins one.
    pub(super) fn begin(&self, from: IpAddr) -> Handshake {
        let from = one(from);
        let mut table = self.table();
        if let Some(victim) = table.too_many(from, self.most, self.most_of_one)
            && let Some(On { give_way, .. }) = table.on.remove(&victim)
        {
            // It is over already, otherwise.
            let _ = give_way.send(());
        }
        let number = table.next;
        table.next += 1;
        let (give_way, given_way) = oneshot::channel();
        table.on.insert(number, On { from, give_way });
        Handshake { all: self.clone(), number, given_way }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // What a thread that panicked left is whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The one that has to give way to another one from there, if one has to.
    fn too_many(&self, from: IpAddr, most: usize, most_of_one: usize) -> Option<u64> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for on in self.on.values() {
            *counts.entry(on.from).or_default() += 1;
        }
        let oldest = |is_of: &dyn Fn(&IpAddr) -> bool| {
            self.on.iter().find_map(|(number, on)| is_of(&on.from).then_some(*number))
        };
        if counts.get(&from).is_some_and(|count| *count >= most_of_one) {
            return oldest(&|address| *address == from);
        }
        if self.on.len() < most {
            return None;
        }
        let greatest = counts.values().copied().max()?;
        oldest(&|address| counts.get(address) == Some(&greatest))
    }
}

impl Handshake {
    /// Returns when it has to give way to another one.
    pub(super) async fn given_way(&mut self) {
        // The sender goes only together with this one, or to tell it.
        let _told = (&mut self.given_way).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.table().on.remove(&self.number);
    }
}

/// Who has one address of IPv6 has all of its network of 64 bits: RFC 4291, section 2.5.1.
fn one(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn goes_on(handshake: &mut Handshake) -> bool {
        handshake.given_way.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }

    #[test]
    fn one_address_that_begins_too_many_loses_its_own_oldest() {
        let handshakes = Handshakes::new(10, 2);
        let mut other = handshakes.begin(v4(9));
        let mut own: Vec<_> = (0..4).map(|_| handshakes.begin(v4(1))).collect();
        assert_eq!(own.iter_mut().map(goes_on).collect::<Vec<_>>(), [false, false, true, true]);
        assert!(goes_on(&mut other));
        assert_eq!(handshakes.table().on.len(), 3);
    }

    #[test]
    fn a_flood_from_many_addresses_does_not_keep_out_who_has_one() {
        let handshakes = Handshakes::new(8, 4);
        let mut first = handshakes.begin(v4(200));
        let mut flood: Vec<_> = (0..400_u16).map(|n| handshakes.begin(v4((n % 4) as u8))).collect();
        let mut last = handshakes.begin(v4(201));
        assert!(goes_on(&mut first) && goes_on(&mut last));
        assert_eq!(flood.iter_mut().map(goes_on).filter(|goes_on| *goes_on).count(), 6);
        assert_eq!(handshakes.table().on.len(), 8);
        drop(flood);
        assert_eq!(handshakes.table().on.len(), 2);
    }

    #[test]
    fn a_network_of_64_bits_is_one() {
        let handshakes = Handshakes::new(8, 2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut first = handshakes.begin(address("2001:db8::1"));
        let _second = handshakes.begin(address("2001:db8::ffff:1"));
        let mut else_where = handshakes.begin(address("2001:db8:0:1::1"));
        assert!(goes_on(&mut first));
        let _third = handshakes.begin(address("2001:db8::2"));
        assert!(!goes_on(&mut first) && goes_on(&mut else_where));
    }
}
