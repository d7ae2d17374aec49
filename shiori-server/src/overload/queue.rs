//! A queue of requests that is fair to addresses.

use std::collections::{BTreeMap, HashMap};

use crate::slots::Address;

/// The limits of a [`Queue`]. All are at least 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) running: usize,
    pub(super) running_per_address: usize,
    pub(super) waiting: usize,
    pub(super) waiting_per_address: usize,
}

/// The running and the waiting requests. Waiting requests of one address are admitted in their
/// order, and addresses take turns, so many requests of one address delay another address's by one
/// turn only.
#[derive(Debug)]
pub(super) struct Queue<W> {
    limits: Limits,
    running: usize,
    waiting: usize,
    /// Only addresses with requests.
    addresses: HashMap<Address, Requests<W>>,
    /// Addresses with waiting requests, in the order of their next turns.
    turns: BTreeMap<Number, Address>,
    next_number: u64,
}

#[derive(Debug)]
struct Requests<W> {
    running: usize,
    waiting: BTreeMap<Number, W>,
    turn: Option<Number>,
}

/// The position of a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

/// Too many requests are waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl<W> Queue<W> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            running: 0,
            waiting: 0,
            addresses: HashMap::new(),
            turns: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// Whether the request runs immediately. Then [`end`](Self::end) must follow.
    pub(super) fn begin(&mut self, address: Address) -> bool {
        let limits = self.limits;
        // A request that is waiting while another could run belongs to an address at its limit.
        if self.running >= limits.running {
            return false;
        }
        let requests = self.addresses.entry(address).or_default();
        let is_free = requests.running < limits.running_per_address;
        if is_free {
            requests.running += 1;
            self.running += 1;
        }
        is_free
    }

    /// Adds a waiting request.
    ///
    /// # Errors
    ///
    /// [`Full`] at a limit.
    pub(super) fn wait(&mut self, address: Address, waiter: W) -> Result<Number, Full> {
        let limits = self.limits;
        if self.waiting >= limits.waiting {
            return Err(Full);
        }
        let number = self.number();
        let requests = self.addresses.entry(address).or_default();
        if requests.waiting.len() >= limits.waiting_per_address {
            return Err(Full);
        }
        requests.waiting.insert(number, waiter);
        self.waiting += 1;
        if requests.turn.is_none() {
            requests.turn = Some(number);
            self.turns.insert(number, address);
        }
        Ok(number)
    }

    /// Removes a request that waits no longer. It may have been admitted meanwhile.
    pub(super) fn leave(&mut self, address: Address, number: Number) {
        let Some(requests) = self.addresses.get_mut(&address) else { return };
        if requests.waiting.remove(&number).is_some() {
            self.waiting -= 1;
            if requests.waiting.is_empty()
                && let Some(turn) = requests.turn.take()
            {
                self.turns.remove(&turn);
            }
            self.forget_if_unused(address);
        }
    }

    /// Ends a running request. Afterwards, [`next`](Self::next) may admit another one.
    pub(super) fn end(&mut self, address: Address) {
        if let Some(requests) = self.addresses.get_mut(&address) {
            requests.running -= 1;
            self.running -= 1;
            self.forget_if_unused(address);
        }
    }

    /// Admits the next waiting request, if there is a place for it. Then [`end`](Self::end) must
    /// follow.
    pub(super) fn next(&mut self) -> Option<(Address, W)> {
        if self.running >= self.limits.running {
            return None;
        }
        let can_run = |address| {
            let requests = self.addresses.get(address);
            requests.is_some_and(|requests| requests.running < self.limits.running_per_address)
        };
        let (&turn, &address) = self.turns.iter().find(|(_, address)| can_run(address))?;
        self.turns.remove(&turn);
        let number = self.number();
        let requests = self.addresses.get_mut(&address)?;
        let (_, waiter) = requests.waiting.pop_first()?;
        requests.turn = (!requests.waiting.is_empty()).then_some(number);
        requests.running += 1;
        if requests.turn.is_some() {
            self.turns.insert(number, address);
        }
        self.running += 1;
        self.waiting -= 1;
        Some((address, waiter))
    }

    fn number(&mut self) -> Number {
        let number = Number(self.next_number);
        self.next_number += 1;
        number
    }

    fn forget_if_unused(&mut self, address: Address) {
        let is_unused =
            |requests: &Requests<W>| requests.running == 0 && requests.waiting.is_empty();
        if self.addresses.get(&address).is_some_and(is_unused) {
            self.addresses.remove(&address);
        }
    }
}

impl<W> Default for Requests<W> {
    fn default() -> Self {
        Self { running: 0, waiting: BTreeMap::new(), turn: None }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, net::IpAddr};

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { running: 4, running_per_address: 2, waiting: 10, waiting_per_address: 5 };

    fn address(last: u8) -> Address {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn addresses_take_turns() {
        let mut queue = Queue::new(Limits { running: 1, ..LIMITS });
        assert!(queue.begin(address(1)));
        for name in ["first", "second", "third"] {
            queue.wait(address(1), name).expect("room");
        }
        queue.wait(address(2), "other").expect("room");
        let mut admitted = Vec::new();
        let mut running = address(1);
        loop {
            queue.end(running);
            let Some((address, name)) = queue.next() else { break };
            running = address;
            admitted.push(name);
        }
        assert_eq!(admitted, ["first", "other", "second", "third"]);
        assert!(queue.addresses.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn an_address_at_its_limit_does_not_stop_the_others() {
        let mut queue = Queue::new(LIMITS);
        assert!(queue.begin(address(1)) && queue.begin(address(1)));
        assert!(!queue.begin(address(1)), "at its limit");
        queue.wait(address(1), "waiting").expect("room");
        assert_eq!(queue.next(), None);
        assert!(queue.begin(address(2)));
        queue.end(address(1));
        assert_eq!(queue.next(), Some((address(1), "waiting")));
    }

    #[test]
    fn waiting_requests_are_limited_in_total_and_for_each_address() {
        let mut queue = Queue::new(Limits { running: 1, ..LIMITS });
        assert!(queue.begin(address(9)));
        let numbers = [(); 5].map(|()| queue.wait(address(1), ()).expect("room"));
        assert_eq!(queue.wait(address(1), ()), Err(Full));
        for _ in 0..5 {
            queue.wait(address(2), ()).expect("room");
        }
        assert_eq!(queue.wait(address(3), ()), Err(Full));
        queue.leave(address(1), numbers[2]);
        queue.leave(address(1), numbers[2]);
        queue.wait(address(3), ()).expect("room");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Arrive(u8),
        Leave(usize),
        End(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..4_u8).prop_map(Step::Arrive),
            1 => any::<usize>().prop_map(Step::Leave),
            2 => any::<usize>().prop_map(Step::End),
        ]
    }

    proptest! {
        /// No limit is exceeded, no place is free while a request waits for it, requests of an
        /// address keep their order, and nothing is left in the end.
        #[test]
        fn places_are_neither_lost_nor_given_twice(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = Queue::new(LIMITS);
            let mut running: Vec<Address> = Vec::new();
            let mut waiting: VecDeque<(Address, Number, usize)> = VecDeque::new();
            let drain = steps.len()..steps.len() + 1000;
            let rest = drain.clone().map(|_| Step::End(0));
            for (id, step) in steps.into_iter().chain(rest).enumerate() {
                match step {
                    Step::Arrive(last) => {
                        let address = address(last);
                        if queue.begin(address) {
                            running.push(address);
                        } else if let Ok(number) = queue.wait(address, id) {
                            waiting.push_back((address, number, id));
                        }
                    }
                    Step::Leave(index) if !waiting.is_empty() => {
                        let (address, number, _) =
                            waiting.remove(index % waiting.len()).expect("in range");
                        queue.leave(address, number);
                    }
                    Step::End(index) if !running.is_empty() => {
                        queue.end(running.swap_remove(index % running.len()));
                    }
                    Step::Leave(_) | Step::End(_) => {}
                }
                while let Some((address, id)) = queue.next() {
                    let first = waiting.iter().position(|waiter| waiter.0 == address);
                    let (_, _, expected) =
                        waiting.remove(first.expect("it waited")).expect("in range");
                    prop_assert_eq!(id, expected);
                    running.push(address);
                }
                let of = |address: Address| running.iter().filter(|&&a| a == address).count();
                prop_assert!(running.len() <= LIMITS.running);
                prop_assert!(running.iter().all(|&a| of(a) <= LIMITS.running_per_address));
                prop_assert!(waiting.len() <= LIMITS.waiting);
                prop_assert_eq!(waiting.len(), queue.waiting);
                let can_run = |waiter: &(Address, Number, usize)| {
                    running.len() < LIMITS.running && of(waiter.0) < LIMITS.running_per_address
                };
                prop_assert!(!waiting.iter().any(can_run));
            }
            prop_assert!(running.is_empty() && waiting.is_empty());
            prop_assert!(queue.addresses.is_empty() && queue.turns.is_empty());
        }
    }
}
