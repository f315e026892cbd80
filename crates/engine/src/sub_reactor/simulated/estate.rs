//! Connections that are taken out, and sockets that are put in: the heirs, what they inherit, and how it goes on.
//!
//! ```text
//! record 3: detach ─> on_close ─> heir ─> estate ─> adopt ─> record 7, with the socket and the peer of 3
//!           intake ......................................... goes on where it was
//!           ledger: all that was accepted has left, or is   a new one
//!           in the heir's hands
//! ```

use std::{
    cell::{Cell, RefCell},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    time::Instant,
};

use super::{
    actor::Actor,
    deed::Deed,
    kernel::Kernel,
    model::{Life, Model, Record},
    plan::{Kind, Plan},
    random::Random,
    sending::{Form, View},
    wire::{self, Joined, Wire},
};
use crate::{Adopt, CloseReason, Conn, Detached, Error, Framing, NotTaken, On, Policy, Poster, Reactor, Tag};

/// Records that a world has at most, before nobody begins anew.
const MOST: usize = 60;

/// A connection that was taken out, in its heir's hands.
pub(super) struct Estate {
    index: usize,
    socket: OwnedFd,
}

/// What became of an heir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waits,
    Inherited,
    /// Dropped without being called.
    Passed,
}

/// Who is to get what is left of a connection.
struct Heir {
    index: usize,
    fate: Rc<Cell<Fate>>,
    model: Rc<RefCell<Model>>,
    kernel: Rc<RefCell<Kernel>>,
    plan: Rc<Plan>,
    poster: Poster<Actor>,
    random: Random,
    now: Instant,
}

impl Drop for Heir {
    fn drop(&mut self) {
        if self.fate.get() == Fate::Waits {
            self.fate.set(Fate::Passed);
        }
    }
}

impl Heir {
    fn inherit(mut self, detached: Detached) {
        let before = self.fate.replace(Fate::Inherited);
        let (model, kernel) = (&mut *self.model.borrow_mut(), &mut *self.kernel.borrow_mut());
        let mut outcome = match before {
            Fate::Waits => Ok(()),
            other => Err(format!("its heir has {other:?} already")),
        };
        outcome = outcome.and(settle(&mut model.records[self.index], kernel, self.index, &detached));
        model.missed += model.records[self.index].ledger.missed;
        if let (Err(what), Some(id)) = (outcome, model.records[self.index].id) {
            model.fail(id, format!("taken out: {what}"));
        }
        kernel.take_out(self.index);
        let socket = &mut kernel.sockets[self.index];
        if detached.fin {
            // Behind what was unsent: the heir has written that.
            let _ = socket.shutdown_write();
        }
        match socket.fin_said {
            true => socket.close(false),
            false => model.estates.push(Estate { index: self.index, socket: detached.socket }),
        }
        if self.plan.panics && self.random.one_in(10) {
            wire::throw();
        }
        if !self.random.one_in(3) {
            return;
        }
        let begun = begin_anew(model, kernel, &mut self.random, &self.plan, self.now);
        if let Some(anew) = begun {
            let asked = self.poster.adopt(On::Any, anew.adopt);
            meet_answer(model, kernel, anew.expected, asked);
        }
    }
}

/// Whether all is there that was accepted and has not left, and all that was read and not used.
fn settle(record: &mut Record, kernel: &mut Kernel, index: usize, detached: &Detached) -> Result<(), String> {
    let socket = &mut kernel.sockets[index];
    let unsent = &detached.unsent;
    record.is_settled = true;
    match record.end {
        Some(end) if end.reason == CloseReason::Detached && end.unsent == unsent.len() as u64 => {}
        other => return Err(format!("with {} B unsent, when on_close was told {other:?}", unsent.len())),
    }
    let bytes = std::mem::take(&mut socket.taken);
    record.ledger.take(&bytes)?;
    record.ledger.take(unsent)?;
    record.ledger.close(0, 0)?;
    let (sure, due) = record.ledger.left();
    record.ledger.missed += due;
    if sure > 0 {
        return Err(format!("{sure} messages are neither sent nor handed over"));
    }
    let lacks_fin = record.fin_asked && !socket.fin_said;
    if detached.fin != lacks_fin {
        return Err(format!("FIN to be said: {}, but {lacks_fin} it is", detached.fin));
    }
    record.intake.hand_over(detached.held.as_ref(), &detached.unread, socket.read)
}

/// A socket that is to be put in, and what comes of that.
pub(super) struct Anew {
    pub(super) adopt: Adopt,
    pub(super) expected: Expected,
}

/// What is known of it already.
pub(super) struct Expected {
    pub(super) index: usize,
    unread: Vec<u8>,
    /// No engine takes it like this.
    is_bad: bool,
}

/// Somebody goes on with a connection that was taken out; none where there is none.
pub(super) fn begin_anew(
    model: &mut Model,
    kernel: &mut Kernel,
    random: &mut Random,
    plan: &Plan,
    now: Instant,
) -> Option<Anew> {
    if model.estates.is_empty() || model.records.len() >= MOST {
        return None;
    }
    let Estate { index: from, socket: fd } = model.estates.swap_remove(random.below(model.estates.len()));
    let index = kernel.pass_on(from);
    let socket = &mut kernel.sockets[index];
    if random.one_in(4) && socket.unread() > 0 {
        // Of which the engine's counters know nothing.
        let (read_now, greatest) = (socket.read_now, socket.greatest_read);
        let mut some = vec![0; 1 + random.below(3_000)];
        let _ = socket.receive(&mut some, usize::MAX);
        (socket.read_now, socket.greatest_read) = (read_now, greatest);
    }
    let old = &mut model.records[from];
    // What is on hold since the framing changed would be cut by another one than its own.
    let is_cut_otherwise = old.kind.turns.is_none() && old.script.turn == Some(old.intake.taken());
    let intake = old.intake.pass_on(random.one_in(2) || is_cut_otherwise);
    let unread = intake.unread(socket.read).to_vec();
    let mut kind = drawn_from(&old.kind, plan, random);
    if kind.wire == Wire::Joined {
        let turned = socket.script.turn.filter(|&turn| kind.turns.is_none() && turn < intake.taken());
        let before = intake.taken() - turned.map_or(0, |turn| turn + 1);
        kind.framing = Framing::custom(Joined { before: before as u64 });
    }
    let is_bad = random.one_in(10);
    let (low, high, limit) = if is_bad { (9, 3, 1) } else { kind.marks };
    let fd = if kernel_knows(&fd, old) { fd } else { carrier(socket.is_unix) };
    kernel.carriers.insert(fd.as_raw_fd(), index);
    let adopt = Adopt::new(fd).framing(kind.framing.clone()).policy(kind.policy);
    let adopt = adopt.water_marks(low, high, limit).tag(Tag(index as u64)).unread(unread.clone());
    let mut record = Record::new(kind, None, Rc::clone(&socket.script), now);
    record.intake = intake;
    record.carrier = Some(adopt.socket.as_raw_fd());
    model.records.push(record);
    debug_assert_eq!(index + 1, model.records.len(), "a socket for each record");
    Some(Anew { adopt, expected: Expected { index, unread, is_bad } })
}

/// What was refused is in its heir's hands again, as it was.
pub(super) fn meet_answer<T>(
    model: &mut Model,
    kernel: &mut Kernel,
    expected: Expected,
    answer: Result<T, NotTaken<Adopt>>,
) -> Option<T> {
    let Expected { index, unread, is_bad } = expected;
    let back = match answer {
        Ok(_) if is_bad => {
            model.fail_at_large("a socket was taken with marks upside down");
            return None;
        }
        Ok(taken) => return Some(taken),
        Err(back) => back,
    };
    let is_fit = match back.error {
        Error::BadOption { .. } => is_bad,
        Error::Stopping => true,
        Error::MailboxFull { .. } => {
            model.note_full();
            true
        }
        _ => false,
    };
    let is_whole = back.what.manner.unread == unread && back.what.manner.tag == Tag(index as u64);
    if !is_fit || !is_whole {
        model.fail_at_large(format!("not taken: {}; it came back whole: {is_whole}", back.error));
    }
    kernel.carriers.remove(&back.what.socket.as_raw_fd());
    let record = &mut model.records[index];
    (record.life, record.never_was) = (Life::Closed, true);
    model.estates.push(Estate { index, socket: back.what.socket });
    None
}

/// The heirs close what they have.
pub(super) fn drop_estates(model: &mut Model, kernel: &mut Kernel) {
    for Estate { index, .. } in model.estates.drain(..) {
        kernel.sockets[index].close(false);
    }
}

impl Actor {
    pub(super) fn detach(&mut self, conn: &mut Conn<'_>) {
        let id = conn.id();
        if self.random.one_in(3) {
            // Often with more on its way than the kernel takes.
            let (kind, letters) = (self.kind(), self.random.letters(50_000));
            self.send(conn, kind, &letters, Form::Borrowed);
        }
        let is_open = View::of(conn.reactor(), id).is_open;
        let Some(index) = self.model.borrow().index(id) else { return };
        let fate = Rc::new(Cell::new(Fate::Waits));
        let heir = Heir {
            index,
            fate: Rc::clone(&fate),
            model: Rc::clone(&self.model),
            kernel: Rc::clone(&self.kernel),
            plan: Rc::clone(&self.plan),
            poster: self.poster.clone(),
            random: Random::new(self.random.next()),
            now: conn.now(),
        };
        let is_asked = conn.detach(move |detached| heir.inherit(detached));
        let still_open = View::of(conn.reactor(), id).is_open;
        let mut model = self.model.borrow_mut();
        // What was asked for through a handle may end it first.
        let is_bound = model.records[index].is_bound();
        if is_asked && (!is_open || is_bound) || !is_asked && still_open && !is_bound {
            model.fail(id, format!("is to be taken out: {is_asked}, and was open: {is_open}"));
        }
        if is_asked {
            let record = &mut model.records[index];
            (record.heir, record.is_over) = (Some(fate), true);
        } else if fate.get() != Fate::Passed {
            model.fail(id, "an heir in vain was not dropped");
        }
    }

    pub(super) fn adopt(&mut self, reactor: &mut Reactor<'_>, deed: Deed) {
        let (model, kernel) = (Rc::clone(&self.model), Rc::clone(&self.kernel));
        let now = reactor.now();
        let begun =
            begin_anew(&mut model.borrow_mut(), &mut kernel.borrow_mut(), &mut self.random, &self.plan, now);
        let Some(Anew { adopt, expected }) = begun else { return };
        let index = expected.index;
        let answer = match deed {
            Deed::Adopt => reactor.adopt(adopt).map(Some),
            _ => self.poster.adopt(On::Any, adopt).map(|()| None),
        };
        let (model, kernel) = (&mut *model.borrow_mut(), &mut *kernel.borrow_mut());
        if let Some(Some(id)) = meet_answer(model, kernel, expected, answer) {
            model.name(index, id);
            kernel.name(index, id);
        }
    }
}

/// The same on the wire, with the marks and the policy of one kind or another.
fn drawn_from(old: &Kind, plan: &Plan, random: &mut Random) -> Kind {
    let other = &plan.kinds[random.below(plan.kinds.len())];
    let fits = old.wire != Wire::Raw || other.policy != Policy::DropMessage;
    let policy = if fits { other.policy } else { old.policy };
    Kind { marks: other.marks, policy, authentication: None, ..old.clone() }
}

/// Whether it came in with that descriptor: the test's own sockets have none.
fn kernel_knows(fd: &OwnedFd, record: &Record) -> bool {
    record.carrier == Some(fd.as_raw_fd())
}

thread_local! {
    static UNIX: (UnixStream, UnixStream) = UnixStream::pair().expect("a pair of sockets");
    static TCP: (TcpStream, TcpStream) = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let ours = TcpStream::connect(listener.local_addr().expect("its address")).expect("connects");
        (ours, listener.accept().expect("accepts").0)
    };
}

/// A real socket's descriptor, which stands for one in memory: nothing is read from it or written to it.
pub(super) fn carrier(is_unix: bool) -> OwnedFd {
    match is_unix {
        true => UNIX.with(|(ours, _)| ours.try_clone().expect("a descriptor").into()),
        false => TCP.with(|(ours, _)| ours.try_clone().expect("a descriptor").into()),
    }
}
