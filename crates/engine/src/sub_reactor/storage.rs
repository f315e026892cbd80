//! Buffer memory: what is held outside the connections, its bound, and who gives way when that is met.

use super::{Core, bounds::SLICE, core::Doomed};
use crate::{
    CloseReason, MemoryPolicy,
    connection::{Flags, Phase},
    id::Key,
    outbound::Outbound,
};

/// Holders of buffer memory that one look at all connections finds.
const HOLDERS: usize = 256;
/// Queues kept for the next connection that falls behind.
const SPARE_QUEUES: usize = 64;

impl Core {
    /// Bytes of buffers held outside the connections.
    pub(super) fn buffered(&self) -> usize {
        self.pool.lent() + self.linear
    }

    /// All of it: what the connections hold, and the broadcasts that some of them still share.
    pub(super) fn in_use(&self) -> usize {
        self.buffered() + self.account.held()
    }

    /// The pool may lend what nothing else takes. True when that is more than before: a broadcast has reached its last queue.
    pub(super) fn limit_pool(&mut self) -> bool {
        let before = self.pool.limit();
        self.pool.set_limit(self.memory.saturating_sub(self.linear + self.account.held()));
        self.pool.limit() > before
    }

    /// Takes linear storage into account, within what pool and linear storage may have together.
    pub(super) fn add_linear(&mut self, bytes: usize) -> bool {
        let fits = self.in_use() + bytes <= self.memory;
        if fits {
            self.set_linear(self.linear + bytes);
        }
        fits
    }

    pub(super) fn remove_linear(&mut self, bytes: usize) {
        self.set_linear(self.linear - bytes);
    }

    fn set_linear(&mut self, bytes: usize) {
        self.linear = bytes;
        self.limit_pool();
    }

    /// The bound is met: a connection gives way, as the policy says. `key` asks, for `wanted` bytes in all; false when it was
    /// that one itself.
    #[cold]
    pub(super) fn relieve(&mut self, key: Key, wanted: usize) -> bool {
        let others_did = self.relieve_beside(key, wanted);
        if !others_did {
            self.give_way(key, self.asks_for(key, wanted));
        }
        others_did
    }

    /// Whether there is room for so much more, or is when others have given way; `key`, who asks, does not.
    pub(super) fn has_room_beside(&mut self, key: Key, bytes: usize) -> bool {
        while bytes <= self.memory && self.in_use() + bytes > self.memory {
            if !self.relieve_beside(key, bytes) {
                return false;
            }
        }
        bytes <= self.memory
    }

    /// Another than `key` gives way, where the policy has one do so; whether there is more room now.
    fn relieve_beside(&mut self, key: Key, wanted: usize) -> bool {
        if self.limit_pool() || self.free_the_doomed() {
            return true;
        }
        let victim = match self.options().memory_policy {
            MemoryPolicy::CloseAsking => None,
            MemoryPolicy::CloseGreatest => self.greatest_holder(key, self.asks_for(key, wanted)),
        };
        if let Some((held, victim)) = victim {
            self.give_way(victim, held);
        }
        victim.is_some()
    }

    fn asks_for(&self, key: Key, wanted: usize) -> usize {
        self.connections.get(key).map_or(0, |connection| connection.weight().max(wanted))
    }

    fn give_way(&mut self, victim: Key, held: usize) {
        let id = self.connections.id(victim).map(tracing::field::display);
        tracing::warn!(id, held, "out of buffer memory: a connection gives way");
        self.reset(victim, CloseReason::MemoryPressure);
        self.free_buffers(victim);
    }

    /// Who is to be closed at the end of the turn needs his buffers no more, unless they are handed over with his socket.
    fn free_the_doomed(&mut self) -> bool {
        let before = self.buffered();
        for index in 0..self.doomed.len().min(SLICE) {
            let Some(&mut Doomed { key, reason, .. }) = self.doomed.get_mut(index) else { break };
            if reason != CloseReason::Detached {
                self.free_buffers(key);
            }
        }
        self.buffered() < before
    }

    /// Another connection that holds at least so much, nobody much more. Who holds most is looked for among all who hold some,
    /// and remembered: those found give way one after the other before it is looked again.
    fn greatest_holder(&mut self, but: Key, at_least: usize) -> Option<(usize, Key)> {
        for round in 0..2 {
            while let Some((held, id)) = self.holders.pop() {
                let connection = self.connections.find(id).filter(|c| c.phase != Phase::Closed);
                let Some(holds) = connection.map(|connection| connection.weight()) else { continue };
                // What it has given back since then makes it one among many.
                if id.key() != but && holds >= held / 2 && holds >= at_least.max(1) {
                    return Some((holds, id.key()));
                }
            }
            if round == 0 {
                self.look_for_holders();
            }
        }
        None
    }

    fn look_for_holders(&mut self) {
        let (connections, mut holders) = (&mut self.connections, Vec::new());
        self.holding.retain(|&id| {
            let Some(connection) = connections.find(id) else { return false };
            let held = connection.weight();
            if connection.phase != Phase::Closed && held > 0 {
                holders.push((held, id));
            }
            connection.flags.set(Flags::HOLDS, held > 0);
            held > 0
        });
        if holders.len() > HOLDERS {
            holders.select_nth_unstable_by(HOLDERS, |one, two| two.cmp(one));
            holders.truncate(HOLDERS);
            holders.shrink_to_fit();
        }
        holders.sort_unstable();
        self.holders = holders;
    }

    /// The connection is about to hold storage: it may have to give way one day.
    pub(super) fn note_holder(&mut self, key: Key) {
        let Some(id) = self.connections.id(key) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.flags.contains(Flags::HOLDS) {
            return;
        }
        connection.flags |= Flags::HOLDS;
        // Before it comes onto the list: it holds nothing yet.
        self.sweep_holding(2);
        self.holding.push(id);
    }

    /// Looks at some on the list, whose turn it is: those that are gone, or hold nothing any more, leave it. Nobody may have to
    /// give way for long, while connections come and go: for each that comes onto the list two are looked at. So it is not
    /// much longer than there are holders, and never gone through at once.
    pub(super) fn sweep_holding(&mut self, looks: usize) {
        for _ in 0..looks {
            let Some(&id) = self.holding.get(self.swept) else {
                self.swept = 0;
                continue;
            };
            let connection = self.connections.find(id);
            if connection.as_ref().is_some_and(|connection| connection.weight() > 0) {
                self.swept += 1;
                continue;
            }
            if let Some(connection) = connection {
                connection.flags.remove(Flags::HOLDS);
            }
            self.holding.swap_remove(self.swept);
        }
    }

    /// Gives a closing connection's buffers back.
    pub(super) fn free_buffers(&mut self, key: Key) {
        self.free_inbound(key);
        self.free_unsealed(key);
        if let Some(queue) = self.connections.get_mut(key).and_then(|connection| connection.outbound.take()) {
            self.recycle(queue);
        }
    }

    pub(super) fn recycle(&mut self, mut queue: Box<Outbound>) {
        self.remove_linear(queue.owned());
        queue.clear(&mut self.pool);
        if self.spare_queues.len() < SPARE_QUEUES {
            self.spare_queues.push(queue);
        }
    }
}
