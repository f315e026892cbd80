//! Very many connections on one reactor. Their sockets are two numbers each, so a million of them costs seconds and no
//! descriptor; what is looked at is how much one turn does.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, IoSlice},
    rc::Rc,
    sync::atomic::Ordering,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

use super::socket::Ready;
use crate::{
    Action, Closed, Conn, ConnId, Handle, Handler, Listener, ListenerId, Message, Reactor,
    accept::Accepted,
    id::Sequence,
    io::{Io, Simulator},
    mailbox::Command,
    options::Options,
    parts::Parts,
    shared::Stay,
    sub_reactor::{
        Core, SubReactor,
        bounds::{COMMANDS, TIDY_AFTER},
    },
};

/// Sockets by their sequence numbers.
#[derive(Default)]
pub(super) struct Sockets {
    /// Bytes that each has for the reactor.
    waiting: Vec<u32>,
    /// Bytes that each takes; without end unless somebody says otherwise.
    pub(super) room: Option<u32>,
    taken: Vec<u32>,
    /// What was done in this turn.
    pub(super) sends: usize,
    pub(super) fins: usize,
    pub(super) closes: usize,
}

impl Sockets {
    fn waiting(&mut self, of: Sequence) -> &mut u32 {
        place(&mut self.waiting, of)
    }

    pub(super) fn taken(&mut self, of: Sequence) -> &mut u32 {
        place(&mut self.taken, of)
    }
}

fn place(of: &mut Vec<u32>, socket: Sequence) -> &mut u32 {
    let index = socket.0 as usize;
    if of.len() <= index {
        of.resize(index + 1, 0);
    }
    &mut of[index]
}

struct Calls(Rc<RefCell<Sockets>>);

impl Simulator for Calls {
    fn receive(&mut self, socket: Sequence, buffer: &mut [u8]) -> io::Result<usize> {
        let mut sockets = self.0.borrow_mut();
        let waiting = sockets.waiting(socket);
        let n = buffer.len().min(*waiting as usize);
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffer[..n].fill(0);
        *waiting -= n as u32;
        Ok(n)
    }

    fn send(&mut self, socket: Sequence, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sockets = self.0.borrow_mut();
        sockets.sends += 1;
        let len = pieces.iter().map(|piece| piece.len()).sum::<usize>() as u32;
        let room = sockets.room.unwrap_or(u32::MAX);
        let taken = sockets.taken(socket);
        let n = len.min(room.saturating_sub(*taken));
        *taken += n;
        if n == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(n as usize) }
    }

    fn shutdown_write(&mut self, _: Sequence) -> io::Result<()> {
        self.0.borrow_mut().fins += 1;
        Ok(())
    }

    fn take_error(&mut self, _: Sequence) -> Option<io::Error> {
        None
    }

    fn watch_writable(&mut self, _: Sequence, _: bool) {}

    fn close(&mut self, _: Sequence, _: bool) {
        self.0.borrow_mut().closes += 1;
    }
}

/// Counts, and does nothing by itself but answer the one who talks.
#[derive(Default)]
pub(super) struct Member {
    pub(super) ids: Vec<ConnId>,
    pub(super) callbacks: usize,
    pub(super) closed: usize,
    /// Who is answered, and how often that was.
    talker: Option<ConnId>,
    answers: usize,
}

impl Handler for Member {
    type Session = u8;

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut u8) -> Action {
        self.callbacks += 1;
        self.ids.push(conn.id());
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut u8, message: Message<'_>) -> Action {
        if self.talker == Some(conn.id()) {
            self.answers += 1;
            conn.send(message);
        } else {
            self.callbacks += 1;
        }
        Action::Continue
    }

    fn on_close(&mut self, _: &mut Closed<'_>, _: u8) {
        self.callbacks += 1;
        self.closed += 1;
    }
}

/// What one turn did, but for the one who talks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) callbacks: usize,
    pub(super) sends: usize,
    pub(super) fins: usize,
    pub(super) closes: usize,
    /// What it took of a processor.
    pub(super) cpu: Duration,
}

impl Done {
    pub(super) fn most(self, other: Done) -> Done {
        Done {
            callbacks: self.callbacks.max(other.callbacks),
            sends: self.sends.max(other.sends),
            fins: self.fins.max(other.fins),
            closes: self.closes.max(other.closes),
            cpu: self.cpu.max(other.cpu),
        }
    }
}

pub(super) struct Crowd {
    pub(super) reactor: SubReactor<Member>,
    pub(super) sockets: Rc<RefCell<Sockets>>,
    pub(super) goes_on: bool,
    /// This thread is the reactor's for as long as they are there.
    _stay: Stay,
}

impl Crowd {
    pub(super) fn new(listener: Listener, options: Options) -> Crowd {
        let options = Options { reactors: 1, ..options };
        let (mut core, stay) = Parts::new(vec![listener], options, Vec::new()).expect("parts").into_core();
        let sockets = Rc::new(RefCell::new(Sockets::default()));
        core.io = Io::Simulated(Box::new(Calls(Rc::clone(&sockets))));
        Crowd { reactor: SubReactor::new(Member::default(), core, None), sockets, goes_on: true, _stay: stay }
    }

    pub(super) fn core(&self) -> &Core {
        &self.reactor.stage.core
    }

    pub(super) fn handle(&self) -> Handle {
        Handle::new(std::sync::Arc::clone(&self.core().shared))
    }

    /// What the reactor's own handler would do in a callback.
    pub(super) fn call(&mut self, callback: impl FnOnce(&mut Member, &mut Reactor<'_>)) {
        self.reactor.stage.call_reactor(callback);
    }

    /// So many more are accepted; the greatest turn of it.
    pub(super) fn accept(&mut self, count: usize) -> Done {
        let mut most = Done::default();
        let wanted = self.core().connections.len() + count;
        let mut left = count;
        while self.core().connections.len() < wanted {
            for _ in 0..left.min(4 * COMMANDS) {
                let here = &self.core().shared.reactors[0];
                here.load.fetch_add(1, Ordering::Relaxed);
                let (peer, listener) = (None, ListenerId(0));
                let (is_unix, is_counted, is_proxied) = (false, false, false);
                let accepted = Accepted { fd: None, peer, listener, is_unix, is_counted, is_proxied };
                here.put(Command::Accepted(accepted));
                left -= 1;
            }
            most = most.most(self.turn(&[]));
        }
        most
    }

    /// Somebody asks something in every turn from now on, and must be answered in the same. He is never idle.
    pub(super) fn accept_talker(&mut self) {
        self.accept(1);
        let talker = self.reactor.stage.handler.ids.pop().expect("it is there");
        self.reactor.stage.core.set_idle_timeout(talker.key(), None);
        self.reactor.stage.handler.talker = Some(talker);
    }

    /// One turn with these events.
    pub(super) fn turn(&mut self, events: &[(ConnId, Ready)]) -> Done {
        let before = self.reactor.stage.handler.callbacks;
        let begun = cpu_time();
        for &(id, ready) in events {
            self.reactor.stage.serve(id, ready.told(), &mut self.reactor.buffer);
        }
        let talked = self.talk();
        self.goes_on = self.reactor.work();
        let cpu = cpu_time() - begun;
        let mut sockets = self.sockets.borrow_mut();
        if let Some((talker, taken)) = talked {
            assert!(*sockets.taken(talker) >= taken + QUESTION, "who talks waited for the others");
            sockets.sends -= 1;
        }
        Done {
            callbacks: self.reactor.stage.handler.callbacks - before,
            sends: std::mem::take(&mut sockets.sends),
            fins: std::mem::take(&mut sockets.fins),
            closes: std::mem::take(&mut sockets.closes),
            cpu,
        }
    }

    /// The talker's question is there: who he is, and how much he has been sent before.
    fn talk(&mut self) -> Option<(Sequence, u32)> {
        let SubReactor { stage, buffer, .. } = &mut self.reactor;
        let talker = stage.handler.talker.filter(|&talker| stage.core.is_here(talker))?;
        let taken = {
            let mut sockets = self.sockets.borrow_mut();
            *sockets.waiting(talker.sequence()) += QUESTION;
            *sockets.taken(talker.sequence())
        };
        stage.serve(talker, Ready::IN.told(), buffer);
        Some((talker.sequence(), taken))
    }

    /// Turns until the reactor would sleep; the greatest of them.
    pub(super) fn settle(&mut self) -> Done {
        let mut most = Done::default();
        while self.goes_on && self.is_busy() {
            most = most.most(self.turn(&[]));
        }
        most
    }

    fn is_busy(&self) -> bool {
        let (reactor, core) = (&self.reactor, self.core());
        reactor.has_more_commands
            || reactor.has_more_timers
            || core.has_work()
            || !core.mailbox().is_empty()
            || core.until_next_deadline() == Some(Duration::ZERO)
    }

    /// Each gets an event with so many bytes, in batches.
    pub(super) fn deliver(&mut self, bytes: u32, batch: usize) -> Done {
        self.deliver_from(0, bytes, batch)
    }

    /// The same for those who came later than the first so many.
    pub(super) fn deliver_from(&mut self, first: usize, bytes: u32, batch: usize) -> Done {
        let ids = self.reactor.stage.handler.ids[first..].to_vec();
        let mut most = Done::default();
        for ids in ids.chunks(batch) {
            for id in ids {
                *self.sockets.borrow_mut().waiting(id.sequence()) += bytes;
            }
            let events: Vec<(ConnId, Ready)> = ids.iter().map(|&id| (id, Ready::IN)).collect();
            most = most.most(self.turn(&events));
        }
        most
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let core = &mut self.reactor.stage.core;
        core.clock.advance(core.clock.now() + time);
    }

    /// What a storm has left behind goes back, over as many ticks as that takes; the greatest turn of it.
    pub(super) fn tidy(&mut self) -> Done {
        let mut most = Done::default();
        self.pass(TIDY_AFTER);
        while self.core().housekeeping {
            self.pass(Duration::from_millis(1));
            most = most.most(self.turn(&[]));
        }
        most
    }
}

/// Bytes that the talker asks with.
const QUESTION: u32 = 4;

/// What this thread has used of a processor.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has that clock").into()
}
