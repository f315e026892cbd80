use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

/// How the main reactor chooses the sub-reactor of a new connection.
///
/// ```
/// use wheelhouse::{Balance, Engine};
///
/// let builder = Engine::builder().listen("tcp://127.0.0.1:0").balance(Balance::LeastConnections);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one that holds the fewest; among equals one after the other.
    LeastConnections,
    /// By the peer's address without its port: a peer's connections meet on one reactor. Unix peers, having no address,
    /// are taken one after the other.
    SourceHash,
}

/// Chooses, and remembers whose turn it is.
#[derive(Debug)]
pub(crate) struct Balancer {
    balance: Balance,
    reactors: usize,
    next: usize,
}

impl Balancer {
    pub(crate) fn new(balance: Balance, reactors: usize) -> Self {
        debug_assert!(reactors > 0);
        Balancer { balance, reactors, next: 0 }
    }

    /// The reactor for a connection from `peer`, `load` telling how many connections one holds.
    pub(crate) fn choose(&mut self, peer: Option<IpAddr>, load: impl Fn(usize) -> usize) -> usize {
        match (self.balance, peer) {
            (Balance::SourceHash, Some(peer)) => self.by_hash(peer),
            (Balance::LeastConnections, _) => {
                let first = self.in_turn();
                let candidates = (0..self.reactors).map(|i| (first + i) % self.reactors);
                candidates.min_by_key(|&reactor| load(reactor)).unwrap_or(first)
            }
            _ => self.in_turn(),
        }
    }

    fn by_hash(&self, peer: IpAddr) -> usize {
        let mut hasher = DefaultHasher::new();
        peer.to_canonical().hash(&mut hasher);
        // The high bits of the product: an even spread without a division.
        ((u128::from(hasher.finish()) * self.reactors as u128) >> 64) as usize
    }

    fn in_turn(&mut self) -> usize {
        let chosen = self.next;
        self.next = (chosen + 1) % self.reactors;
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(balance: Balance, peers: impl Iterator<Item = IpAddr>) -> Vec<usize> {
        let mut held = vec![0; 4];
        let mut balancer = Balancer::new(balance, held.len());
        for peer in peers {
            let chosen = balancer.choose(Some(peer), |reactor| held[reactor]);
            held[chosen] += 1;
        }
        held
    }

    fn peers(n: u32) -> impl Iterator<Item = IpAddr> {
        (0..n).map(|i| IpAddr::from((0x7f00_0000 + i).to_be_bytes()))
    }

    #[test]
    fn ten_thousand_connections_are_spread_evenly() {
        assert_eq!(spread(Balance::RoundRobin, peers(10_000)), [2500; 4]);
        assert_eq!(spread(Balance::LeastConnections, peers(10_000)), [2500; 4]);
        let hashed = spread(Balance::SourceHash, peers(10_000));
        assert!(hashed.iter().all(|&n| (2300..2700).contains(&n)), "{hashed:?}");
    }

    #[test]
    fn least_connections_fills_up_what_is_behind() {
        let mut held = [10, 0, 5, 10];
        let mut balancer = Balancer::new(Balance::LeastConnections, 4);
        for _ in 0..15 {
            held[balancer.choose(None, |reactor| held[reactor])] += 1;
        }
        assert_eq!(held, [10, 10, 10, 10]);
    }

    #[test]
    fn a_source_meets_the_same_reactor_whether_mapped_or_not() {
        let mut balancer = Balancer::new(Balance::SourceHash, 7);
        let v4 = balancer.choose(Some("10.1.2.3".parse().unwrap()), |_| 0);
        assert_eq!(balancer.choose(Some("::ffff:10.1.2.3".parse().unwrap()), |_| 0), v4);
    }
}
