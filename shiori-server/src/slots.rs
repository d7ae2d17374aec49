//! Limits of connections and requests, in total and for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts the occupied slots.
#[derive(Debug)]
pub(crate) struct Slots(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    max: usize,
    max_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// Only addresses with slots.
    by_address: HashMap<Address, usize>,
}

/// An address; in IPv6 a /64 network, which usually belongs to one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4(Ipv4Addr),
    V6(u64),
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

impl Slots {
    /// Both limits are at least 1.
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        let (max, max_per_address) = (max.max(1), max_per_address.max(1));
        Self(Arc::new(Counts { max, max_per_address, open: Mutex::default() }))
    }

    /// Occupies a slot for this address until the result is dropped.
    ///
    /// # Errors
    ///
    /// [`Full`] at a limit.
    pub(crate) fn take(&self, address: Address) -> Result<Slot, Full> {
        let mut open = self.0.open();
        if open.total >= self.0.max {
            return Err(Full::Total);
        }
        let of_address = open.by_address.entry(address).or_default();
        if *of_address >= self.0.max_per_address {
            return Err(Full::Address);
        }
        *of_address += 1;
        open.total += 1;
        Ok(Slot { counts: Arc::clone(&self.0), address })
    }

    /// The percentage of occupied slots.
    pub(crate) fn percent(&self) -> usize {
        self.0.open().total * 100 / self.0.max
    }
}

impl Counts {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping this frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    counts: Arc<Counts>,
    address: Address,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.counts.open();
        open.total -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit of all addresses together.
    Total,
    /// The limit of this address.
    Address,
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
        assert_eq!(slots.take(ip("192.0.2.1")).expect_err("full"), Full::Address);
        let other = slots.take(ip("192.0.2.2")).expect("a slot");
        assert_eq!(slots.percent(), 100);
        assert_eq!(slots.take(ip("192.0.2.3")).expect_err("full"), Full::Total);
        drop(first);
        let again = slots.take(ip("192.0.2.1")).expect("a slot");
        drop((second, other, again));
        assert_eq!(slots.percent(), 0);
        assert!(slots.0.open().by_address.is_empty(), "no address is kept without slots");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let slots = Slots::new(10, 1);
        let _slot = slots.take(ip("2001:db8:0:1::1")).expect("a slot");
        assert_eq!(slots.take(ip("2001:db8:0:1:ffff::2")).expect_err("full"), Full::Address);
        let _slot = slots.take(ip("2001:db8:0:2::1")).expect("another network");
        let _slot = slots.take(ip("192.0.2.1")).expect("a slot");
        assert_eq!(slots.take(ip("::ffff:192.0.2.1")).expect_err("the same"), Full::Address);
    }
}
