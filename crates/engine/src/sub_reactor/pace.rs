//! The minimum rate: who owes the rest of a message, or is owed bytes, has to move some in each window.

use wheelhouse_wheel::Tick;

use super::{Core, deadlines::Deadline};
use crate::{
    CloseReason,
    clock::Stamp,
    connection::{Connection, Flags, Phase},
    id::Key,
    outbound::Pace,
};

impl Core {
    /// Input is left that is no whole message; `begins` when it is another one than before.
    pub(super) fn pace_input(&mut self, key: Key, begins: bool) {
        if self.options().minimum_rate.is_none() {
            return;
        }
        let since = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let bytes = connection.inbound.len();
        let pace = &mut connection.extras().under_way().pace;
        if begins || pace.is_none() {
            *pace = Some(Pace { since, bytes });
            self.arm(key);
        }
    }

    /// The kernel is full.
    pub(super) fn pace_output(&mut self, key: Key) {
        if self.options().minimum_rate.is_none() {
            return;
        }
        let since = self.clock.stamp();
        let Some(connection) = self.connections.get(key) else { return };
        if connection.outbound.as_ref().is_none_or(|queue| queue.pace.is_some()) {
            return;
        }
        let bytes = self.taken_by_peer(connection);
        if let Some(queue) = self.connections.get_mut(key).and_then(|c| c.outbound.as_mut()) {
            queue.pace = Some(Pace { since, bytes });
        }
    }

    /// What has reached the peer. What the kernel took says little of it: it takes a third of its buffer at a time, however
    /// long the peer reads at that.
    fn taken_by_peer(&self, connection: &Connection) -> usize {
        let acknowledged = self.io.acknowledged(connection).map(|bytes| bytes as usize);
        acknowledged.or(connection.outbound.as_ref().map(|queue| queue.taken())).unwrap_or_default()
    }

    /// Reading goes on: while it was paused, it was not the peer who was slow, or silent.
    pub(super) fn begin_window(&mut self, key: Key) {
        let since = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let bytes = connection.inbound.len();
        let counts_input = connection.flags.contains(Flags::INPUT_COUNTS);
        let pace = connection.under_way_mut().and_then(|way| way.pace.as_mut());
        if pace.is_none() && !counts_input {
            return;
        }
        if let Some(pace) = pace {
            *pace = Pace { since, bytes };
        }
        if counts_input {
            connection.last_activity = since;
        }
        self.arm(key);
    }

    /// When the nearest window ends.
    pub(super) fn next_measure(&self, connection: &Connection) -> Option<(Tick, Deadline)> {
        let window = self.options().minimum_rate?.window;
        let input = input_pace(connection).map(|(pace, _)| pace);
        let ends = [input, output_pace(connection)].into_iter().flatten();
        let ends = ends.map(|pace| self.clock.tick_after(pace.since, window));
        ends.min().map(|at| (at, Deadline::Measure))
    }

    /// A window has ended.
    pub(super) fn measure(&mut self, key: Key) {
        let Some(rate) = self.options().minimum_rate else { return };
        let (now, clock) = (self.clock.stamp(), self.clock);
        let has_ended = |since: Stamp| clock.tick_after(since, rate.window) <= clock.tick();
        let output = self.connections.get(key).and_then(|connection| {
            let pace = output_pace(connection).filter(|pace| has_ended(pace.since))?;
            Some((pace, self.taken_by_peer(connection)))
        });
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut is_slow = false;
        if let Some((pace, bytes)) = input_pace(connection).filter(|(pace, _)| has_ended(pace.since)) {
            is_slow |= bytes.saturating_sub(pace.bytes) < rate.bytes;
            connection.extras().under_way().pace = Some(Pace { since: now, bytes });
        }
        if let Some((pace, bytes)) = output {
            is_slow |= bytes.saturating_sub(pace.bytes) < rate.bytes;
            if let Some(queue) = &mut connection.outbound {
                queue.pace = Some(Pace { since: now, bytes });
            }
        }
        match is_slow {
            true => self.reset(key, CloseReason::SlowPeer),
            false => self.arm(key),
        }
    }
}

impl Connection {
    /// The message is whole: nobody looks at how fast it came any more.
    pub(super) fn forget_pace(&mut self) {
        if let Some(way) = self.under_way_mut()
            && way.pace.take().is_some()
        {
            self.drop_idle_extras();
        }
    }
}

/// Where the message that is coming stood when its window began, and where it stands.
fn input_pace(connection: &Connection) -> Option<(Pace, usize)> {
    let pace = connection.under_way()?.pace?;
    let is_owed =
        connection.phase == Phase::Open && connection.takes_input() && !connection.inbound.is_empty();
    is_owed.then_some((pace, connection.inbound.len()))
}

/// Where what the peer has read of its queue stood when its window began.
fn output_pace(connection: &Connection) -> Option<Pace> {
    connection.outbound.as_ref().filter(|queue| !queue.is_empty())?.pace
}
