use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many accepted connections each client address has, where that is bounded.
///
/// An address is in it while it has connections, and no longer: the memory is bounded by the connections there are. It is
/// asked at an accept and at a close, from all reactors, and never on a message's way; the lock is one of 16.
pub(crate) struct PerAddress {
    limit: usize,
    shards: [Mutex<HashMap<Source, usize>>; SHARDS],
}

const SHARDS: usize = 16;

/// Who counts as one client: an IPv4 address, or the /64 network that an IPv6 host can choose its addresses from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6(u64),
}

impl Source {
    fn new(ip: IpAddr) -> Source {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Source::V4(ip.to_bits()),
            IpAddr::V6(ip) => Source::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

impl PerAddress {
    pub(crate) fn new(limit: usize) -> Self {
        PerAddress { limit, shards: Default::default() }
    }

    /// Counts one more connection of that address; false, and not counted, when it has as many as it may.
    pub(crate) fn enter(&self, ip: IpAddr) -> bool {
        let source = Source::new(ip);
        match self.shard(source).entry(source) {
            Entry::Occupied(mut entry) if *entry.get() < self.limit => {
                *entry.get_mut() += 1;
                true
            }
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(1);
                true
            }
        }
    }

    /// A connection that was counted is gone.
    pub(crate) fn leave(&self, ip: IpAddr) {
        let source = Source::new(ip);
        let mut shard = self.shard(source);
        if let Entry::Occupied(mut entry) = shard.entry(source) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 8 {
            shard.shrink_to(64);
        }
    }

    /// Connections that are counted, of whichever address.
    #[cfg(test)]
    pub(crate) fn total(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards.map(|shard| shard.values().sum::<usize>()).sum()
    }

    fn shard(&self, source: Source) -> MutexGuard<'_, HashMap<Source, usize>> {
        let number = match source {
            Source::V4(bits) => u64::from(bits),
            Source::V6(bits) => bits,
        };
        // The neighbours of a network are spread; who floods one lock has few addresses, and is soon at his limit.
        let shard = &self.shards[(number % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_as_many_as_it_may_and_room_again_when_one_leaves() {
        let counts = PerAddress::new(2);
        assert!(counts.enter(ip("192.0.2.1")) && counts.enter(ip("192.0.2.1")));
        assert!(!counts.enter(ip("192.0.2.1")) && counts.enter(ip("192.0.2.2")));
        counts.leave(ip("192.0.2.1"));
        assert!(counts.enter(ip("192.0.2.1")));
    }

    #[test]
    fn a_network_of_64_bits_is_one_client_and_a_mapped_address_is_ipv4() {
        let counts = PerAddress::new(1);
        assert!(counts.enter(ip("2001:db8::1")) && !counts.enter(ip("2001:db8::ffff:2")));
        assert!(counts.enter(ip("2001:db8:0:1::1")));
        assert!(counts.enter(ip("::ffff:192.0.2.1")) && !counts.enter(ip("192.0.2.1")));
    }

    #[test]
    fn what_a_storm_of_addresses_took_is_given_back() {
        let counts = PerAddress::new(1);
        let held = || counts.shards.iter().map(|s| s.lock().unwrap().capacity()).sum::<usize>();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        assert!((0..100_000).all(|n| counts.enter(address(n))));
        assert!(held() >= 100_000);
        (0..100_000).for_each(|n| counts.leave(address(n)));
        assert!(held() <= 16 * 128, "{}", held());
        assert!(counts.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
