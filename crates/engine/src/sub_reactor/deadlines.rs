//! Deadlines: one entry of the wheel for all the engine's own of a connection, and the handler's timers beside it.

use std::time::Duration;

use wheelhouse_wheel::Tick;

use super::{
    Core,
    due::{ConnTimer, Due},
};
use crate::{
    CloseReason, Control, TimerKind,
    connection::{Connection, Flags, Phase, Upgrade},
    id::Key,
    options,
    rules::Heartbeat,
};

/// What is to be done when a connection's nearest deadline has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    Close(CloseReason),
    Ping,
    Measure,
}

/// Who has said FIN sends no pongs, and who was told FIN gets no pings.
const SAID_FIN: Flags = Flags::EOF.union(Flags::SHUT_WANTED).union(Flags::SHUT);

/// The longest that a timer waits.
pub(super) fn clamp(after: Duration) -> Duration {
    after.min(Duration::from_millis(options::IDLE_TIMEOUT.max))
}

impl Core {
    // ---- the engine's own

    /// Sees to it that the wheel calls no later than the connection's nearest deadline. An earlier entry stays where it is:
    /// it finds out when it fires.
    pub(super) fn arm(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        let Some((at, _)) = self.nearest(connection) else { return };
        match connection.deadline {
            Some(entry) if self.wheel.deadline(entry).is_some_and(|armed| armed <= at) => {}
            Some(entry) => {
                self.wheel.reschedule(entry, at);
            }
            None => {
                let entry = self.wheel.schedule(at, Due::Deadline(key));
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.deadline = Some(entry);
                }
            }
        }
    }

    /// A connection's entry has fired: does what is due, or puts the entry back where it belongs.
    pub(super) fn meet_deadline(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.deadline = None;
        if connection.inbound.is_empty() {
            connection.forget_pace();
        }
        let nearest = self.connections.get(key).and_then(|connection| self.nearest(connection));
        match nearest {
            Some((at, deadline)) if at <= self.clock.tick() => match deadline {
                // Who does not read would not see a FIN either.
                Deadline::Close(reason @ CloseReason::WriteStall) => self.reset(key, reason),
                Deadline::Close(CloseReason::Handshake) => self.give_up_handshake(key),
                Deadline::Close(reason @ (CloseReason::Auth | CloseReason::Lifetime))
                    if self.finish_telling(key, reason) => {}
                Deadline::Close(reason) => self.close(key, reason),
                Deadline::Ping => self.ask_whether_it_lives(key),
                Deadline::Measure => self.measure(key),
            },
            _ => self.arm(key),
        }
    }

    /// The nearest of all that the connection must not outlive, or be left alone for.
    fn nearest(&self, connection: &Connection) -> Option<(Tick, Deadline)> {
        let options = self.options();
        let due = |since, limit: Duration, reason| Some((self.clock.tick_after(since, limit), reason));
        let after = |since, limit: Option<Duration>, reason| {
            limit.and_then(|limit| due(since, limit, Deadline::Close(reason)))
        };
        let queue = connection.outbound.as_ref().filter(|queue| !queue.is_empty());
        let stall = |limit| queue.and_then(|queue| after(queue.progress, limit, CloseReason::WriteStall));
        let earliest =
            |all: &[Option<(Tick, Deadline)>]| all.iter().flatten().min_by_key(|(at, _)| *at).copied();
        match connection.phase {
            Phase::Closed | Phase::Detaching => None,
            Phase::Connecting => {
                let dialling = connection.under_way()?.dialling.as_ref()?;
                Some((dialling.deadline, Deadline::Close(CloseReason::ConnectTimeout)))
            }
            Phase::Handshaking | Phase::Proxied => {
                let upgrade = connection.under_way().and_then(|way| way.upgrade.as_deref());
                if let Some(Upgrade::Asked(_, until)) = upgrade {
                    return Some((*until, Deadline::Close(CloseReason::Handshake)));
                }
                after(connection.since, Some(options.handshake_timeout), CloseReason::Handshake)
            }
            Phase::Finishing => earliest(&[
                stall(options.write_stall_timeout.or(Some(options.close_timeout))),
                self.next_measure(connection),
            ]),
            Phase::Lingering => {
                after(connection.since, Some(options.close_timeout), CloseReason::CloseTimeout)
            }
            Phase::Open => {
                let rules = self.profiles.get(connection.profile).map(|profile| &profile.rules);
                let authentication = rules
                    .and_then(|rules| rules.authentication)
                    .filter(|_| !connection.flags.contains(Flags::AUTHENTICATED));
                // A peer whom nobody reads cannot show that it is there.
                let can_be_heard = connection.takes_input() && !connection.flags.contains(Flags::EOF);
                let is_heard = can_be_heard || !connection.flags.contains(Flags::INPUT_COUNTS);
                let idle = self.idle_timeout(connection).filter(|_| is_heard);
                earliest(&[
                    after(connection.last_activity, idle, CloseReason::Idle),
                    after(connection.since, options.lifetime, CloseReason::Lifetime),
                    after(connection.since, authentication, CloseReason::Auth),
                    stall(options.write_stall_timeout),
                    connection.secure().and_then(|secure| secure.since).and_then(|since| {
                        after(since, Some(options.handshake_timeout), CloseReason::Handshake)
                    }),
                    self.next_measure(connection),
                    rules
                        .filter(|_| is_heard && !connection.flags.intersects(SAID_FIN))
                        .and_then(|rules| self.next_heartbeat(connection, rules.heartbeat?)),
                ])
            }
        }
    }

    /// The next ping, or the end of a silence that pings have not broken. What the peer sends makes both later, never earlier:
    /// the entry in the wheel finds out when it fires.
    fn next_heartbeat(&self, connection: &Connection, heartbeat: Heartbeat) -> Option<(Tick, Deadline)> {
        let (silent_since, asked) = (connection.last_activity, connection.pinged);
        let has_asked = connection.flags.contains(Flags::PINGED)
            && self.clock.since(asked) < self.clock.since(silent_since);
        let every = heartbeat.every - spread(connection, heartbeat.every);
        let ask = self.clock.tick_after(if has_asked { asked } else { silent_since }, every);
        let end = self.clock.tick_after(silent_since, heartbeat.timeout);
        Some(if ask < end { (ask, Deadline::Ping) } else { (end, Deadline::Close(CloseReason::Idle)) })
    }

    fn ask_whether_it_lives(&mut self, key: Key) {
        let stamp = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.pinged = stamp;
        connection.flags |= Flags::PINGED;
        self.send_control(key, &Control::Ping(&[]));
        self.arm(key);
    }

    fn idle_timeout(&self, connection: &Connection) -> Option<Duration> {
        if connection.flags.contains(Flags::NO_IDLE) {
            return None;
        }
        let own = connection.extras.as_ref().and_then(|extras| extras.idle);
        own.or(self.options().idle_timeout)
    }

    pub(crate) fn set_idle_timeout(&mut self, key: Key, after: Option<Duration>) {
        let stamp = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.last_activity = stamp;
        connection.flags.set(Flags::NO_IDLE, after.is_none());
        if let Some(after) = after {
            connection.extras().idle = Some(clamp(after));
        }
        self.arm(key);
    }

    pub(crate) fn authenticated(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.flags |= Flags::AUTHENTICATED;
        }
    }

    // ---- the handler's

    pub(crate) fn set_timer(&mut self, key: Key, kind: TimerKind, after: Duration) {
        let at = self.clock.tick_from_now(clamp(after));
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.phase <= Phase::Open) else {
            return;
        };
        let timers = &mut connection.extras().timers;
        match timers.iter().find(|(set, _)| *set == kind) {
            Some(&(_, entry)) => {
                self.wheel.reschedule(entry, at);
            }
            None => timers.push((kind, self.wheel.schedule(at, Due::Timer(ConnTimer::new(key, kind))))),
        }
    }

    pub(crate) fn cancel_timer(&mut self, key: Key, kind: TimerKind) -> bool {
        self.forget_timer(key, kind).is_some_and(|entry| self.wheel.cancel(entry).is_some())
    }

    /// Takes the timer off the connection's list: it was cancelled, or has fired.
    pub(super) fn forget_timer(&mut self, key: Key, kind: TimerKind) -> Option<wheelhouse_wheel::TimerKey> {
        let timers = &mut self.connections.get_mut(key)?.extras.as_mut()?.timers;
        let position = timers.iter().position(|(set, _)| *set == kind)?;
        Some(timers.swap_remove(position).1)
    }

    pub(crate) fn set_reactor_timer(&mut self, kind: TimerKind, after: Duration) {
        let at = self.clock.tick_from_now(clamp(after));
        match self.timers.get(&kind) {
            Some(&entry) => {
                self.wheel.reschedule(entry, at);
            }
            None => {
                let entry = self.wheel.schedule(at, Due::ReactorTimer(kind));
                self.timers.insert(kind, entry);
            }
        }
    }

    pub(crate) fn cancel_reactor_timer(&mut self, kind: TimerKind) -> bool {
        self.forget_reactor_timer(kind).is_some_and(|entry| self.wheel.cancel(entry).is_some())
    }

    pub(super) fn forget_reactor_timer(&mut self, kind: TimerKind) -> Option<wheelhouse_wheel::TimerKey> {
        self.timers.remove(&kind)
    }

    /// Takes every entry of a connection off the wheel: it is going.
    pub(super) fn disarm(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(entry) = connection.deadline.take() {
            self.wheel.cancel(entry);
        }
        if let Some(extras) = &mut connection.extras {
            for (_, entry) in extras.timers.drain(..) {
                self.wheel.cancel(entry);
            }
        }
    }

    /// A connect is made: what follows has deadlines of its own.
    pub(super) fn disarm_deadline(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(entry) = connection.deadline.take() {
            self.wheel.cancel(entry);
        }
        self.arm(key);
    }

    /// Schedules one of the reactor's own chores.
    pub(super) fn schedule_chore(&mut self, chore: Due, after: Duration) {
        let at = self.clock.tick_after(self.clock.stamp(), after);
        self.wheel.schedule(at, chore);
    }
}

/// How much earlier than the others of its kind a WebSocket is pinged, up to a quarter of the interval: who came in a storm
/// does not pong in one.
fn spread(connection: &Connection, every: Duration) -> Duration {
    if !connection.flags.contains(Flags::FRAMES) {
        return Duration::ZERO;
    }
    // Fibonacci hashing: neighbours are far apart.
    every / 1024 * (connection.sequence.0.wrapping_mul(0x9e37_79b9) >> 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timers_key_and_kind_come_back_whole() {
        for (key, kind) in [(0, 0), (0xff_ffff, u32::MAX), (0x12_3456, 0x789a_bcde)] {
            let timer = ConnTimer::new(Key(key), TimerKind(kind));
            assert_eq!((timer.key(), timer.kind()), (Key(key), TimerKind(kind)));
        }
    }
}
