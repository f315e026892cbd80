//! What holds between any two turns, while the reactor sleeps, and when all is over.

use std::{sync::atomic::Ordering, time::Duration};

use wheelhouse_wheel::Tick;

use super::{
    model::{Life, Record},
    socket::{Ready, Socket},
    wire,
    world::World,
};
use crate::{
    ConnId,
    connection::{Connection, Flags, Phase, PutOff},
    id::Key,
    sub_reactor::{Core, due::Due},
};

macro_rules! ensure {
    ($so:expr, $($what:tt)*) => {
        if !$so {
            return Err(format!($($what)*));
        }
    };
}

/// Turns in a row in which nothing happens, and yet the reactor has work: at one instant, and while time passes.
const IDLE_TURNS: usize = 8;
const IDLE_WAKES: usize = 60;

impl World {
    /// After each turn.
    pub(super) fn check_turn(&mut self) {
        self.report_failures();
        let outcome = self.check_whole().and_then(|()| self.check_all_connections());
        if let Err(what) = outcome {
            self.fail(what);
        }
        for socket in &mut self.kernel.borrow_mut().sockets {
            (socket.read_now, socket.greatest_read) = (0, 0);
        }
    }

    fn report_failures(&self) {
        let model = self.model.borrow().failure.clone();
        if let Some(what) = self.kernel.borrow().failure.clone().or(model) {
            self.fail(what);
        }
    }

    /// The reactor as a whole: its accounts, its lists, its counters.
    fn check_whole(&self) -> Result<(), String> {
        let core = self.core();
        let connections: Vec<&Connection> = all(core).map(|(_, connection)| connection).collect();
        let storage: usize = connections.iter().map(|connection| connection.storage()).sum();
        ensure!(core.buffered() == storage, "{} B in the account, {storage} B in use", core.buffered());
        let memory = self.plan.options.buffer_memory;
        ensure!(storage <= memory, "{storage} B of buffers, of {memory}");
        // The pool's own limit is set anew when it is next met: a broadcast that has gone has given back what it took.
        let may_lend = memory.saturating_sub(core.linear + core.account.held());
        // A payload on its way to many counts before the first of them has it in his queue.
        let lends = core.pool.lent();
        ensure!(lends <= may_lend || !core.masses.is_empty(), "the pool lends {lends} B, of {may_lend}");
        ensure!(self.idle_turns < IDLE_TURNS, "{IDLE_TURNS} turns with work in which nothing happened");
        // The timers of those that are being dialled, or come from a proxy, are looked at again and again.
        let is_waiting = |c: &&Connection| {
            c.phase < Phase::Open && c.extras.as_ref().is_some_and(|extras| !extras.timers.is_empty())
        };
        let may_wake = connections.iter().any(is_waiting);
        ensure!(self.idle_wakes < IDLE_WAKES || may_wake, "woken {IDLE_WAKES} times for nothing");
        self.check_lists()?;
        self.check_counters(&connections)?;
        let deadlines = connections.iter().filter(|connection| connection.deadline.is_some()).count();
        let timers: usize =
            connections.iter().filter_map(|c| c.extras.as_ref()).map(|extras| extras.timers.len()).sum();
        let entries = deadlines + timers + core.timers.len() + usize::from(core.housekeeping);
        let surplus = core.wheel.len().checked_sub(entries);
        // The end of a drain has an entry until it comes.
        let may_be = usize::from(core.draining.is_some());
        let is_right = surplus.is_some_and(|surplus| surplus <= may_be);
        ensure!(is_right, "{} entries in the wheel, for {entries}", core.wheel.len());
        self.check_drain()?;
        self.check_reactor_timers()
    }

    fn check_lists(&self) -> Result<(), String> {
        let core = self.core();
        let lists = [(&core.ready, Flags::IN_READY, "ready"), (&core.dirty, Flags::IN_DIRTY, "dirty")];
        for (list, flag, name) in lists {
            for (key, connection) in all(core) {
                let id = ConnId::new(core.id, key, connection.sequence);
                let times = list.iter().filter(|&&on| on == id).count();
                let should = usize::from(connection.flags.contains(flag));
                ensure!(times == should, "connection {id}: {times} times on the {name} list, not {should}");
            }
        }
        ensure!(core.local.is_empty() || core.has_work(), "commands of callbacks are forgotten");
        Ok(())
    }

    fn check_counters(&self, connections: &[&Connection]) -> Result<(), String> {
        let core = self.core();
        let (stats, model, kernel) = (&core.stats, self.model.borrow(), self.kernel.borrow());
        let (here, coming) =
            (connections.len() as u64, self.offered + model.shed_late - stats.accepted - stats.shed);
        let load = core.shared.reactors[0].load.load(Ordering::Relaxed) as u64;
        ensure!(stats.connections == here, "{} connections are told of, {here} there", stats.connections);
        ensure!(load == here + coming, "a load of {load}: {here} connections, {coming} coming");
        let (came, gone) = (stats.accepted + stats.dialled + stats.adopted, stats.closed);
        ensure!(came == here + gone, "{came} connections came, {here} are here, {gone} gone");
        let buffered = stats.buffered;
        ensure!(buffered == core.in_use() as u64, "{buffered} B of buffers are told of");
        let taken: u64 = kernel.sockets.iter().map(|socket| socket.taken_in_all).sum();
        ensure!(stats.bytes_out == taken, "{} B out, of which the kernel took {taken}", stats.bytes_out);
        let read: u64 = kernel.sockets.iter().map(|socket| socket.read as u64).sum();
        ensure!(stats.bytes_in <= read, "{} B in, {read} B read", stats.bytes_in);
        let messages: u64 = model.records.iter().map(|record| record.intake.count).sum();
        ensure!(stats.messages_in == messages, "{} messages in, {messages} told", stats.messages_in);
        // Of one whose session could not be made nobody is told.
        let untold = stats.bytes_unsent - model.unsent;
        ensure!(untold == 0 || model.sessions_failed > 0, "{untold} B unsent that nobody was told of");
        // What is thrown in the last callbacks of a turn is told in the next.
        let panics = wire::thrown() - self.thrown_before - core.panicked.len() as u64;
        ensure!(core.panicked.is_empty() || core.has_work(), "a panic is forgotten");
        ensure!(stats.panics == panics, "{} panics counted, of {panics}", stats.panics);
        ensure!(model.told_of_panics == panics, "{} panics told, of {panics}", model.told_of_panics);
        ensure!(stats.stale_events == self.stale, "{} stale events, of {}", stats.stale_events, self.stale);
        ensure!(model.rooms <= model.fulls, "told {} times of room, for {}", model.rooms, model.fulls);
        Ok(())
    }

    fn check_reactor_timers(&self) -> Result<(), String> {
        let model = self.model.borrow();
        for (kind, due) in &model.reactor_timers {
            let late = self.core().clock.now().saturating_duration_since(*due);
            let is_late = late > LATE && !self.reactor.has_more_timers;
            ensure!(!is_late, "the reactor's {kind:?} is {late:?} late");
        }
        Ok(())
    }

    fn check_all_connections(&mut self) -> Result<(), String> {
        let core = &self.reactor.stage.core;
        let mut model = self.model.borrow_mut();
        let kernel = self.kernel.borrow();
        for (key, connection) in all(core) {
            let id = ConnId::new(core.id, key, connection.sequence);
            ensure!(core.shared.reactors[0].roll.holds(id), "connection {id} is not on the roll");
            let Some(index) = model.index(id) else {
                return Err(format!("connection {id} came from nowhere"));
            };
            let (record, socket) = (&mut model.records[index], &kernel.sockets[index]);
            let checked = self
                .check_connection(core, key, connection, socket)
                .and_then(|()| check_deadline(core, key, connection))
                .and_then(|()| self.check_record(connection, record));
            checked.map_err(|what| format!("connection {id}: {what}; {}", shown(connection)))?;
        }
        for record in &model.records {
            let Some(id) = record.id.filter(|_| record.life == Life::Closed) else { continue };
            ensure!(!core.shared.reactors[0].roll.holds(id), "connection {id} is on the roll, though closed");
        }
        Ok(())
    }

    /// One connection, with what the kernel knows of it.
    fn check_connection(
        &self,
        core: &Core,
        key: Key,
        connection: &Connection,
        socket: &Socket,
    ) -> Result<(), String> {
        let (flags, phase, queued) = (connection.flags, connection.phase, connection.queued());
        let has = |flag| flags.contains(flag);
        let is_closed = phase == Phase::Closed;
        ensure!(is_closed == core.doomed.iter().any(|doomed| doomed.key == key), "closed is not doomed");
        ensure!(core.corked(key) == 0, "{} B were left in the cork", core.corked(key));
        let (is_open, is_connecting) = (phase == Phase::Open, phase == Phase::Connecting);
        if !is_closed && !is_connecting {
            let is_waited_for = has(Flags::WRITE_INTEREST) || has(Flags::IN_DIRTY);
            ensure!(queued == 0 || is_waited_for, "{queued} B wait for nothing");
            ensure!(queued > 0 || !has(Flags::WRITE_INTEREST), "nothing waits for room");
            let watches = socket.watches_room();
            ensure!(watches == has(Flags::WRITE_INTEREST), "the kernel is asked for room: {watches}");
            let must_shut = !has(Flags::SHUT) && (has(Flags::SHUT_WANTED) || phase == Phase::Finishing);
            ensure!(!must_shut || queued > 0 || has(Flags::IN_DIRTY), "a FIN is forgotten");
        }
        if is_open {
            let is_served = flags.intersects(Flags::PAUSES | Flags::IN_READY);
            let is_put_off = connection.secure().is_some_and(|secure| secure.put_off != PutOff::No);
            let is_served = is_served || is_put_off || connection.is_securing();
            ensure!(!has(Flags::UNSERVED) || is_served, "what was kept is forgotten");
            let is_unread = has(Flags::READABLE) && !has(Flags::EOF) && socket.level().contains(Ready::IN);
            let is_told = !socket.woken.is_empty() || self.is_to_be_told(socket);
            ensure!(!is_unread || is_served || is_told, "what may be read is forgotten");
            let low = core.profile_of(key).map_or(0, |profile| profile.rules.marks.low);
            ensure!(!has(Flags::OWES_WRITABLE) || queued > low, "on_writable is forgotten");
            ensure!(!has(Flags::AUTO_PAUSED) || queued > low, "paused at {queued} B, below the low mark");
        }
        ensure!(phase <= Phase::Finishing || connection.storage() == 0 || is_closed, "storage at the end");
        ensure!(has(Flags::SHUT) == socket.fin_said || socket.is_broken, "the FIN: {}", socket.fin_said);
        let budget = self.plan.options.read_budget;
        // Once for its event, once for the ready list, each with one read more for a large message that lacks little.
        let most = 2 * (budget - 1 + 2 * socket.greatest_read);
        let read = socket.read_now;
        ensure!(read <= most, "{read} B read in a turn, with a budget of {budget}");
        Ok(())
    }

    /// One connection, against what the handler knows of it.
    fn check_record(&self, connection: &Connection, record: &mut Record) -> Result<(), String> {
        let (flags, phase) = (connection.flags, connection.phase);
        ensure!(phase >= record.phase, "it was {:?} before", record.phase);
        record.phase = phase;
        record.is_over |= phase > Phase::Open;
        let life = match phase {
            Phase::Closed => record.life,
            _ if flags.contains(Flags::OPENED) => Life::Open,
            _ if record.listener.is_none() => Life::Dialling,
            _ => Life::Admitted,
        };
        ensure!(record.life == life, "the handler thinks it is {:?}", record.life);
        if phase == Phase::Open {
            let is_paused = flags.contains(Flags::PAUSED);
            let agree = is_paused == record.is_paused || record.is_in_doubt || !self.core().local.is_empty();
            ensure!(agree, "paused: {is_paused}, the handler thinks {}", record.is_paused);
            let (queued, waiting) = (connection.queued(), record.waiting());
            let is_right = waiting.is_none_or(|waiting| queued == waiting);
            ensure!(is_right, "{queued} B queued of {waiting:?} that were accepted");
            ensure!(
                !record.is_owed || flags.contains(Flags::OWES_WRITABLE) || self.tells(connection),
                "full"
            );
        }
        let waited =
            if record.listener.is_none() || record.is_proxied() || record.is_web() || record.is_secure() {
                Duration::from_millis(11)
            } else {
                Duration::ZERO
            };
        for (kind, due) in record.timers.iter().filter(|_| phase == Phase::Open) {
            // Before it was open none came.
            let late = self.core().clock.now().saturating_duration_since(record.opened.max(*due));
            ensure!(late <= LATE + waited || self.reactor.has_more_timers, "{kind:?} is {late:?} late");
        }
        Ok(())
    }

    /// Whether its `on_writable` comes in the next turn.
    fn tells(&self, connection: &Connection) -> bool {
        self.core().writable.iter().any(|id| id.sequence() == connection.sequence)
    }

    /// Nothing wakes the reactor: then there is nothing that it could do.
    pub(super) fn check_asleep(&self) {
        let core = self.core();
        let kernel = self.kernel.borrow();
        let model = self.model.borrow();
        for (key, connection) in all(core) {
            let id = ConnId::new(core.id, key, connection.sequence);
            let Some(index) = model.index(id) else { continue };
            if let Err(what) = sleeps_well(connection, &kernel.sockets[index]) {
                self.fail(format!("connection {id}: {what}; {}", shown(connection)));
            }
        }
        let has_room = core.mailbox().has_room();
        if model.awaits_room && has_room {
            self.fail("the mailbox has room, and nobody was told");
        }
    }

    /// All is over.
    pub(super) fn check_the_end(&mut self) {
        let checked = self.check_remains();
        if let Err(what) = checked {
            self.fail(what);
        }
    }

    fn check_remains(&self) -> Result<(), String> {
        let (core, model, kernel) = (self.core(), self.model.borrow(), self.kernel.borrow());
        ensure!(core.connections.len() == 0, "{} connections are left", core.connections.len());
        let counted = core.shared.per_address.as_ref().map_or(0, |counts| counts.total());
        let is_on_its_way = model.is_stopping && !core.mailbox().is_empty();
        ensure!(counted == 0 || is_on_its_way, "{counted} connections are counted that nobody has");
        ensure!(core.in_use() == 0, "{} B of buffers are left", core.in_use());
        let entries = core.timers.len() + usize::from(core.housekeeping);
        let entries = entries + usize::from(core.draining.is_some());
        ensure!(core.wheel.len() <= entries, "{} entries of the wheel are left", core.wheel.len());
        let is_open = |socket: &&Socket| socket.id.is_some() && socket.closed.is_none();
        ensure!(!kernel.sockets.iter().any(|socket| is_open(&socket)), "a socket is left open");
        let unclosed = model.records.iter().filter(|record| record.end.is_none() && !record.never_was);
        // What comes too late for an engine that stops is never heard of.
        let unclosed = unclosed.filter(|record| record.id.is_some() || !model.is_stopping).count();
        let may_lack = model.sessions_failed;
        ensure!(unclosed <= may_lack, "{unclosed} connections were never closed, of at most {may_lack}");
        let hidden = core.stats.sends_refused - model.refusals;
        ensure!(
            model.missed as u64 <= hidden,
            "{} messages are missing, {hidden} were refused",
            model.missed
        );
        ensure!(core.mailbox().is_unused() || model.is_stopping, "places in the mailbox are left taken");
        Ok(())
    }
}

/// Later than this no timer fires; the turn's length is none here.
const LATE: Duration = Duration::from_millis(2);

pub(super) fn all(core: &Core) -> impl Iterator<Item = (Key, &Connection)> + '_ {
    core.connections.keys_from(Key(0)).filter_map(|key| Some((key, core.connections.get(key)?)))
}

/// No event is to come for this connection: it has no use for one.
fn sleeps_well(connection: &Connection, socket: &Socket) -> Result<(), String> {
    if !socket.woken.is_empty() {
        return Ok(());
    }
    let level = socket.level();
    let is_asked = match connection.phase {
        Phase::Proxied => true,
        Phase::Handshaking => !connection.awaits_answer(),
        _ => connection.takes_input(),
    };
    let reads = is_asked && !connection.flags.contains(Flags::EOF);
    let is_readable = level.contains(Ready::IN);
    ensure!(!reads || !is_readable, "{} B wait in the kernel, {level:?}", socket.unread());
    ensure!(connection.phase != Phase::Lingering || !is_readable, "the peer's FIN waits, {level:?}");
    let has_room = level.contains(Ready::OUT) && connection.phase != Phase::Connecting;
    let queued = connection.queued();
    ensure!(queued == 0 || !has_room, "{queued} B wait though there is room");
    ensure!(connection.phase != Phase::Closed, "it waits to be buried");
    Ok(())
}

/// One entry of the wheel, no later than the nearest of its deadlines.
fn check_deadline(core: &Core, key: Key, connection: &Connection) -> Result<(), String> {
    let nearest = nearest(core, connection);
    let entry = connection.deadline;
    ensure!(nearest.is_none() || entry.is_some(), "nothing watches its deadline, {nearest:?}");
    if let Some(entry) = entry {
        let (value, at) = (core.wheel.value(entry), core.wheel.deadline(entry));
        ensure!(value == Some(Due::Deadline(key)), "its entry is {value:?}");
        ensure!(nearest.is_none_or(|nearest| at.is_some_and(|at| at <= nearest)), "{at:?} for {nearest:?}");
    }
    Ok(())
}

/// The nearest deadline, worked out from the options.
fn nearest(core: &Core, connection: &Connection) -> Option<Tick> {
    let (options, clock) = (core.options(), &core.clock);
    // What the kernel was not offered yet does not stall.
    let is_blocked = connection.flags.contains(Flags::WRITE_INTEREST);
    let stall = |limit: Option<Duration>| {
        let queue = connection.outbound.as_ref().filter(|queue| is_blocked && !queue.is_empty())?;
        Some(clock.tick_after(queue.progress, limit?))
    };
    match connection.phase {
        Phase::Closed | Phase::Detaching => None,
        Phase::Handshaking if connection.awaits_answer() => None,
        Phase::Proxied | Phase::Handshaking => {
            Some(clock.tick_after(connection.since, options.handshake_timeout))
        }
        Phase::Connecting => Some(connection.under_way()?.dialling.as_ref()?.deadline),
        Phase::Finishing => stall(options.write_stall_timeout.or(Some(options.close_timeout))),
        Phase::Lingering => Some(clock.tick_after(connection.since, options.close_timeout)),
        Phase::Open => {
            let own = connection.extras.as_ref().and_then(|extras| extras.idle);
            let idle = own.or(options.idle_timeout).filter(|_| !connection.flags.contains(Flags::NO_IDLE));
            let auth = core.profiles.get(connection.profile).and_then(|profile| profile.rules.authentication);
            let auth = auth.filter(|_| !connection.flags.contains(Flags::AUTHENTICATED));
            let idle = idle.map(|limit| clock.tick_after(connection.last_activity, limit));
            let since = [auth, options.lifetime].into_iter().flatten();
            let since = since.map(|limit| clock.tick_after(connection.since, limit)).min();
            let is_heard = connection.takes_input() && !connection.flags.contains(Flags::EOF);
            let is_quiet = !is_heard && connection.flags.contains(Flags::INPUT_COUNTS);
            let idle = idle.filter(|_| !is_quiet);
            // The first ping; those that follow come before the end.
            let beat = core.profiles.get(connection.profile).and_then(|profile| profile.rules.heartbeat);
            let beat = beat.filter(|_| is_heard && !connection.flags.contains(Flags::SHUT_WANTED));
            let beat = beat.map(|beat| match connection.flags.contains(Flags::PINGED) {
                true => clock.tick_after(connection.last_activity, beat.timeout),
                false => clock.tick_after(connection.last_activity, beat.every),
            });
            let securing = connection.secure().and_then(|secure| secure.since);
            let securing = securing.map(|since| clock.tick_after(since, options.handshake_timeout));
            [idle, since, beat, securing, stall(options.write_stall_timeout)].into_iter().flatten().min()
        }
    }
}

fn shown(connection: &Connection) -> String {
    let (queued, kept) = (connection.queued(), connection.inbound.len());
    format!("{:?}, {:?}, {queued} B queued, {kept} B kept", connection.phase, connection.flags)
}
