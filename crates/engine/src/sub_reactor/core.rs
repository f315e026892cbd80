use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    io,
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Poll, Token};
use wheelhouse_ring::Pool;
use wheelhouse_wheel::{TimerKey, Wheel};

use super::{
    account::Account,
    cork::{CORK, Cork},
    due::Due,
    mass::Mass,
    workshop::Workshop,
};
use crate::{
    Activity, CloseReason, ConnId, Error, NotTaken, ReactorId, Result, Tag, TimerKind,
    clock::Clock,
    connection::{Connection, Flags, Phase},
    connections::Connections,
    date::Date,
    id::Key,
    io::Io,
    linear::Storage,
    mailbox::Command,
    options::Options,
    outbound::Outbound,
    profile::{Profile, Profiles},
    protocol::Frame,
    queue::Queue,
    sent::GONE,
    shared::{Local, Shared},
    stats::Counters,
    watched::Watched,
};

/// A sub-reactor without its handler: what `Conn` and `Reactor` act upon, and why neither is generic.
pub(crate) struct Core {
    pub(crate) id: ReactorId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) poll: Poll,
    pub(crate) io: Io,
    pub(crate) clock: Clock,
    pub(crate) connections: Connections,
    pub(crate) profiles: Profiles,
    pub(crate) stats: Counters,
    pub(super) wheel: Wheel<Due>,
    pub(super) timers: HashMap<TimerKind, TimerKey>,
    pub(super) pool: Pool,
    /// Bytes in storage of other kinds (large messages, payloads handed over): what the pool may not lend meanwhile.
    pub(super) linear: usize,
    /// And in broadcasts that several queues share.
    pub(super) account: Account,
    /// The most that was in use since memory was last given back.
    pub(super) most: usize,
    /// The bound of all three.
    pub(super) memory: usize,
    pub(super) cork: Cork,
    /// Where a protocol writes what does not go straight into the cork.
    pub(super) encoded: Vec<u8>,
    /// Where a message of several parts is joined.
    pub(super) joined: Vec<u8>,
    /// Storage of large messages gone by, outside the account, at most [`MUCH`](super::bounds::MUCH) of it.
    pub(super) spare_linear: Vec<Storage>,
    /// Where what is sent over TLS is sealed.
    pub(super) sealed: Vec<u8>,
    /// The last turn with TLS handshakes, and the time that they took in it.
    pub(super) handshaking: (u64, Duration),
    /// What WebSockets share.
    pub(super) workshop: Workshop,
    /// What their answers say of the time.
    pub(super) date: Date,
    /// Queues without a connection, kept for the next one that needs one.
    #[expect(clippy::vec_box, reason = "the box is what is reused: a connection holds a pointer")]
    pub(super) spare_queues: Vec<Box<Outbound>>,
    pub(super) local: Rc<Local>,
    pub(super) masses: VecDeque<Mass>,
    /// How many of them finish connections.
    pub(super) finishing: usize,
    /// To be served before the next sleep: their budget was spent, or they were resumed.
    pub(super) ready: VecDeque<ConnId>,
    /// Whose TLS handshakes go on when the turn's handshakes have time again, the one that waits longest first.
    pub(super) put_off: VecDeque<ConnId>,
    /// To be flushed at the end of the turn.
    pub(super) dirty: VecDeque<ConnId>,
    /// Whose `on_writable` is due.
    pub(super) writable: VecDeque<ConnId>,
    pub(super) doomed: Queue<Doomed>,
    /// Panics of protocols, which `on_panic` is to be told of.
    pub(super) panicked: Vec<Box<dyn Any + Send>>,
    pub(super) stopping: bool,
    pub(super) draining: Option<Draining>,
    pub(super) housekeeping: bool,
    /// Chunks of connections that it has given back so far.
    pub(super) chunks_freed: usize,
    /// Bytes, about, that went to the allocator with connections that had more than most: TLS, a compression of their own.
    pub(super) heap_freed: usize,
    /// The most connections since it was asked to part with them.
    pub(super) most_connections: usize,
    /// Bytes that may still be inflated for who is being read.
    pub(super) inflatable: usize,
    /// Commands of this round that are left.
    round: Share,
    /// To be taken out at the end of the turn.
    pub(super) detaching: Vec<ConnId>,
    /// Adopted, and to be opened, each with its first input.
    pub(super) adopted: Vec<(ConnId, Vec<u8>)>,
    pub(super) watched: Watched,
    /// Who holds buffer memory, and some who have given it back.
    pub(super) holding: Vec<ConnId>,
    /// Up to where that list was last looked through for those who are gone.
    pub(super) swept: usize,
    /// Who held most when last looked, the greatest last.
    pub(super) holders: Vec<(usize, ConnId)>,
}

/// How many commands of this thread's own, and of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    own: usize,
    theirs: usize,
}

/// A connection to be closed at the end of the turn.
pub(super) struct Doomed {
    pub(super) key: Key,
    pub(super) reason: CloseReason,
    pub(super) error: Option<io::Error>,
    pub(super) unsent: u64,
}

/// A drain that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    pub(super) until: Instant,
    /// What waited to be accepted has been: when the reactor's count of looks is beyond this one, so has what it had sent.
    pub(super) looked: Option<u64>,
    /// The handler was told.
    pub(super) is_told: bool,
}

impl Core {
    pub(crate) fn new(id: ReactorId, shared: Arc<Shared>, poll: Poll, local: Rc<Local>) -> Core {
        let clock = Clock::new(shared.origin);
        let memory = shared.options.buffer_memory / shared.reactors.len();
        Core {
            id,
            poll,
            io: Io::Kernel,
            connections: Connections::new(id),
            profiles: Profiles::new(&shared.listeners),
            stats: Counters::default(),
            wheel: Wheel::new(clock.tick()),
            timers: HashMap::new(),
            pool: Pool::new(memory),
            linear: 0,
            account: Account::default(),
            most: 0,
            memory,
            cork: Cork::default(),
            encoded: Vec::new(),
            joined: Vec::new(),
            spare_linear: Vec::new(),
            sealed: Vec::new(),
            handshaking: (0, Duration::ZERO),
            workshop: Workshop::default(),
            date: Date::default(),
            spare_queues: Vec::new(),
            local,
            masses: VecDeque::new(),
            finishing: 0,
            ready: VecDeque::new(),
            put_off: VecDeque::new(),
            dirty: VecDeque::new(),
            writable: VecDeque::new(),
            doomed: Queue::new(),
            panicked: Vec::new(),
            stopping: false,
            draining: None,
            housekeeping: false,
            chunks_freed: 0,
            heap_freed: 0,
            most_connections: 0,
            inflatable: 0,
            round: Share::default(),
            detaching: Vec::new(),
            adopted: Vec::new(),
            watched: Watched::default(),
            holding: Vec::new(),
            swept: 0,
            holders: Vec::new(),
            clock,
            shared,
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Whether the connection of that name is here and not about to be closed.
    pub(crate) fn is_here(&mut self, id: ConnId) -> bool {
        id.reactor() == self.id && self.connections.find(id).is_some_and(|c| c.phase != Phase::Closed)
    }

    pub(crate) fn profile_of(&self, key: Key) -> Option<&Profile> {
        self.profiles.get(self.connections.get(key)?.profile)
    }

    /// What a connection need not look up in its profile.
    pub(super) fn profile_flags(&self, profile: u16) -> Flags {
        let Some(profile) = self.profiles.get(profile) else { return Flags::empty() };
        let mut flags = Flags::empty();
        flags.set(Flags::RAW, matches!(profile.frame(), Frame::Raw));
        flags.set(Flags::FRAMES, matches!(profile.frame(), Frame::Frames(_)));
        flags.set(Flags::TLS, profile.tls.is_some());
        flags.set(Flags::LOW_MARKS, profile.rules.marks.high < CORK);
        let only_input =
            self.options().idle_counts == Activity::Received || profile.rules.heartbeat.is_some();
        flags.set(Flags::INPUT_COUNTS, only_input);
        flags
    }

    /// Carries out what this thread's callbacks have asked of connections through a `Handle`, before what they ask for
    /// directly: one order. What needs the handler, a posted closure, waits until the callback has returned.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if !self.local.is_empty() {
            self.settle_all();
        }
    }

    /// The same, and what mass work has in store for a connection: nothing of it may come behind a close frame.
    pub(super) fn settle_all_of(&mut self, key: Key) {
        self.settle();
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
    }

    #[cold]
    fn settle_all(&mut self) {
        let local = Rc::clone(&self.local);
        while let Some(command) = local.pop_prompt() {
            self.went_past_the_queue(&command);
            self.carry_out(command);
        }
    }

    /// What this thread's callbacks have asked of connections, as soon as they have returned. Then in rounds: what they have
    /// posted first, as much as there is at the time, then the mailbox's that was there by then. So nobody is overtaken by
    /// what he has brought about, and closures that post others do not keep out the rest.
    pub(super) fn next_command(&mut self, local: &Local) -> Option<Command> {
        if self.round == Share::default() {
            self.round = Share { own: local.posted(), theirs: self.mailbox().len() };
        }
        let own = local.pop_prompt().or_else(|| {
            self.round.own = self.round.own.checked_sub(1)?;
            local.pop_posted()
        });
        if let Some(command) = own {
            self.went_past_the_queue(&command);
            return Some(command);
        }
        self.round.theirs = self.round.theirs.checked_sub(1)?;
        self.mailbox().take()
    }

    /// A local command had a place in the mailbox that it did not use.
    fn went_past_the_queue(&self, command: &Command) {
        if command.is_refusable() && !command.keeps_its_place() {
            self.mailbox().release();
        }
    }

    /// What a command asks of connections; one that needs the handler is the stage's to carry out.
    pub(super) fn carry_out(&mut self, command: Command) {
        match command {
            Command::Send { to, payload } => {
                let is_late = !self.is_here(to) || self.send(to.key(), payload) == GONE;
                self.stats.late_commands += u64::from(is_late);
            }
            Command::SendMany { to, payload } => self.send_many(to, payload),
            Command::Broadcast { to, payload } => self.broadcast(to, payload),
            Command::Close(id) => self.on_time(id, |core, key| core.close(key, CloseReason::Local)),
            Command::Reset(id) => self.on_time(id, |core, key| core.reset(key, CloseReason::Local)),
            Command::Finish(id) => self.on_time(id, Core::finish),
            Command::FinishWith(id, code, reason) => {
                self.on_time(id, |core, key| core.finish_with(key, code, &reason));
            }
            Command::Resume(id) => self.on_time(id, Core::resume),
            Command::Adopt(adopt) => {
                if let Err(NotTaken { error, .. }) = self.adopt_prepared(*adopt) {
                    tracing::warn!(%error, "a socket cannot be adopted, and is closed");
                }
            }
            Command::Watch(fd, tag) => {
                if let Err(NotTaken { error, .. }) = self.watch(fd, tag) {
                    tracing::warn!(%error, "a descriptor cannot be watched, and is closed");
                }
            }
            Command::Drain(within) => self.drain(within),
            Command::Stop => self.stop(),
            other => debug_assert!(!other.needs_no_handler(), "a command that was forgotten here"),
        }
    }

    /// Does it to the connection, or counts that it came too late.
    fn on_time(&mut self, id: ConnId, deed: impl FnOnce(&mut Core, Key)) {
        if self.is_here(id) {
            deed(self, id.key());
        } else {
            self.stats.late_commands += 1;
        }
    }

    pub(crate) fn mailbox(&self) -> &crate::mailbox::Mailbox {
        &self.shared.reactors[self.id.index()].mailbox
    }

    // ---- reading: pauses

    pub(crate) fn pause(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.flags |= Flags::PAUSED;
        }
    }

    pub(crate) fn resume(&mut self, key: Key) {
        self.unpause(key, Flags::PAUSED);
    }

    pub(crate) fn set_auto_pause(&mut self, key: Key, on: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.flags.set(Flags::NO_AUTO_PAUSE, !on);
        if !on {
            self.unpause(key, Flags::AUTO_PAUSED);
        }
    }

    /// No edge will come for the bytes that waited meanwhile: the ready list is the edge.
    pub(super) fn unpause(&mut self, key: Key, pause: Flags) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.flags.intersects(pause) {
            return;
        }
        connection.flags.remove(pause);
        connection.flags |= Flags::READABLE;
        self.begin_window(key);
        self.put_ready(key);
    }

    pub(super) fn put_ready(&mut self, key: Key) {
        let Some(id) = self.connections.id(key) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.flags.contains(Flags::IN_READY) {
            connection.flags |= Flags::IN_READY;
            self.ready.push_back(id);
        }
    }

    // ---- what is no connection

    pub(crate) fn watch(&mut self, fd: OwnedFd, tag: Tag) -> Result<(), NotTaken<OwnedFd>> {
        self.watched.insert(self.poll.registry(), fd, tag).map_err(|(fd, source)| {
            let error = Error::CannotWatch { fd: fd.as_raw_fd(), source };
            NotTaken { what: fd, error }
        })
    }

    pub(crate) fn unwatch(&mut self, tag: Tag) -> usize {
        self.watched.remove(self.poll.registry(), tag)
    }

    // ---- the kernel's lists

    pub(super) fn register(&mut self, key: Key) -> io::Result<()> {
        self.with_socket(key, Io::register)
    }

    pub(super) fn reregister(&mut self, key: Key) -> io::Result<()> {
        self.with_socket(key, Io::reregister)
    }

    fn with_socket(
        &mut self,
        key: Key,
        how: impl FnOnce(&mut Io, &Poll, &Connection, Token) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(connection) = self.connections.get(key) else { return Ok(()) };
        let token = Token(ConnId::new(self.id, key, connection.sequence).as_u64() as usize);
        how(&mut self.io, &self.poll, connection, token)
    }
}
