//! Limits of connections and requests, in total and for each address or user.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts the occupied slots, in total and for each key.
#[derive(Debug)]
pub(crate) struct Slots<K = Address>(Arc<Counts<K>>);

#[derive(Debug)]
struct Counts<K> {
    max: usize,
    max_per_key: usize,
    open: Mutex<Open<K>>,
}

#[derive(Debug)]
struct Open<K> {
    total: usize,
    /// Only keys with slots.
    by_key: HashMap<K, usize>,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Peer {
    /// Its address, for limits.
    pub(crate) fn address(self) -> Address {
        self.0.into()
    }
}

/// An address; in IPv6 a /64 network, which usually belongs to one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4(Ipv4Addr),
    V6(u64),
}

impl Address {
    /// Its bytes, which differ between addresses.
    pub(crate) fn to_bytes(self) -> [u8; 9] {
        let (version, bits) = match self {
            Self::V4(ip) => (4, u64::from(ip.to_bits())),
            Self::V6(network) => (6, network),
        };
        let mut bytes = [version; 9];
        bytes[1..].copy_from_slice(&bits.to_be_bytes());
        bytes
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                Self::V6(u64::try_from(ip.to_bits() >> 64).expect("64 bits are left"))
            }
        }
    }
}

impl<K: Copy + Eq + Hash> Slots<K> {
    /// Both limits are at least 1.
    pub(crate) fn new(max: usize, max_per_key: usize) -> Self {
        let (max, max_per_key) = (max.max(1), max_per_key.max(1));
        let open = Mutex::new(Open { total: 0, by_key: HashMap::new() });
        Self(Arc::new(Counts { max, max_per_key, open }))
    }

    /// Occupies a slot for this key until the result is dropped.
    ///
    /// # Errors
    ///
    /// [`Full`] at a limit.
    pub(crate) fn take(&self, key: K) -> Result<Slot<K>, Full> {
        let mut open = self.0.open();
        if open.total >= self.0.max {
            return Err(Full::Total);
        }
        let of_key = open.by_key.entry(key).or_default();
        if *of_key >= self.0.max_per_key {
            return Err(Full::Key);
        }
        *of_key += 1;
        open.total += 1;
        Ok(Slot { counts: Arc::clone(&self.0), key })
    }

    /// The percentage of occupied slots.
    pub(crate) fn percent(&self) -> usize {
        self.0.open().total * 100 / self.0.max
    }
}

impl<K> Counts<K> {
    fn open(&self) -> MutexGuard<'_, Open<K>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping this frees the slot.
#[derive(Debug)]
pub(crate) struct Slot<K: Copy + Eq + Hash = Address> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Copy + Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut open = self.counts.open();
        open.total -= 1;
        if let Some(of_key) = open.by_key.get_mut(&self.key) {
            *of_key -= 1;
            if *of_key == 0 {
                open.by_key.remove(&self.key);
            }
        }
    }
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit of all keys together.
    Total,
    /// The limit of this key.
    Key,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn slots_are_limited_in_total_and_for_each_address() {
        let slots = Slots::new(3, 2);
        let first = slots.take(ip("192.0.2.1")).expect("a slot");
        let second = slots.take(ip("192.0.2.1")).expect("a slot");
        assert_eq!(slots.take(ip("192.0.2.1")).expect_err("full"), Full::Key);
        let other = slots.take(ip("192.0.2.2")).expect("a slot");
        assert_eq!(slots.percent(), 100);
        assert_eq!(slots.take(ip("192.0.2.3")).expect_err("full"), Full::Total);
        drop(first);
        let again = slots.take(ip("192.0.2.1")).expect("a slot");
        drop((second, other, again));
        assert_eq!(slots.percent(), 0);
        assert!(slots.0.open().by_key.is_empty(), "no address is kept without slots");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let slots = Slots::new(10, 1);
        let _slot = slots.take(ip("2001:db8:0:1::1")).expect("a slot");
        assert_eq!(slots.take(ip("2001:db8:0:1:ffff::2")).expect_err("full"), Full::Key);
        let _slot = slots.take(ip("2001:db8:0:2::1")).expect("another network");
        let _slot = slots.take(ip("192.0.2.1")).expect("a slot");
        assert_eq!(slots.take(ip("::ffff:192.0.2.1")).expect_err("the same"), Full::Key);
    }
}
