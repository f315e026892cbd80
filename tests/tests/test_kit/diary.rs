//! The handler that is run both ways: it does what its clients' messages say, and writes down all it is told.

#![allow(unreachable_pub)]

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use wheelhouse::{
    Action, Audience, Closed, Conn, ConnId, Connect, Control, Framing, Handler, Input, LengthDelimited,
    Message, Poster, Reactor, Sent, Spot, Tag, TimerKind,
};

/// What was written, and who has been opened; to be read on any thread.
#[derive(Clone, Default)]
pub struct Pages(Arc<Mutex<(Vec<String>, Vec<ConnId>)>>);

impl Pages {
    fn write(&self, entry: impl Into<String>) {
        self.lock().0.push(entry.into());
    }

    fn open(&self, id: ConnId) {
        self.lock().1.push(id);
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<String>, Vec<ConnId>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections, in the order of their `on_open`.
    pub fn opened(&self) -> Vec<ConnId> {
        self.lock().1.clone()
    }

    pub fn has(&self, entry: &str) -> bool {
        self.all().iter().any(|written| written == entry)
    }

    pub fn all(&self) -> Vec<String> {
        self.lock().0.clone()
    }
}

pub struct Diary {
    pages: Pages,
    poster: Poster<Diary>,
}

/// What is kept beside a connection.
#[derive(Default)]
pub struct Habits {
    /// The message that is on hold has been offered once.
    has_held: bool,
    /// FIN from the client changes nothing.
    stays: bool,
}

impl Diary {
    pub fn new(pages: Pages, spot: &Spot<Diary>) -> Self {
        Diary { pages, poster: spot.poster() }
    }

    fn note(&self, conn: &Conn<'_>, entry: impl AsRef<str>) {
        self.pages.write(format!("{} {}", conn.id(), entry.as_ref()));
    }

    /// Lines of 1,000 bytes, until the answer is not simply that it was accepted.
    fn flood(&self, conn: &mut Conn<'_>, until_refused: bool) {
        for n in 0..100_000 {
            match conn.send(format!("{n:0>999}")) {
                Sent::Accepted => {}
                Sent::Full if until_refused => {}
                sent => return self.note(conn, format!("{sent:?}")),
            }
        }
        panic!("100 MB were accepted for a client that does not read");
    }

    fn obey(&mut self, conn: &mut Conn<'_>, habits: &mut Habits, order: &str) -> Action {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        let mut numbers = rest.split(' ').filter_map(|word| word.parse::<u32>().ok());
        let mut number = || numbers.next().unwrap_or_default();
        match verb {
            "say" => _ = conn.send(rest),
            "flood" => self.flood(conn, false),
            "drown" => self.flood(conn, true),
            "hold" if std::mem::replace(&mut habits.has_held, true) => self.note(conn, "is ready for it"),
            "hold" => return Action::Hold,
            "pause" => conn.pause(),
            "stay" => habits.stays = true,
            "finish" => return Action::Finish,
            "close" => return Action::Close,
            "reset" => return Action::Reset,
            "shut" => conn.shutdown_write(),
            "panic" => panic!("as ordered"),
            "timer" => conn.set_timer(TimerKind(number()), Duration::from_millis(number().into())),
            "cancel" => {
                let was_set = conn.cancel_timer(TimerKind(number()));
                self.note(conn, format!("cancelled: {was_set}"));
            }
            "idle" => conn.set_idle_timeout(Some(Duration::from_millis(number().into()))),
            "frame" => {
                let framing = Framing::length_delimited(LengthDelimited::u32_be());
                conn.set_framing(&framing).expect("its listener has no policy");
            }
            "detach" => {
                let pages = self.pages.clone();
                let is_taken_out = conn.detach(move |left| {
                    let unread = String::from_utf8_lossy(&left.unread);
                    pages.write(format!("detached, {unread:?} unread, {} unsent", left.unsent.len()));
                });
                assert!(is_taken_out);
            }
            "later" => {
                let text = rest.to_owned();
                let posted = self.poster.post_to(conn.id(), move |_, conn, _| _ = conn.send(text));
                assert!(posted.is_ok(), "the mailbox is full");
                conn.send("first");
            }
            "tell" => {
                let mut others = conn.reactor().connections();
                others.retain(|&id| id != conn.id());
                for id in others {
                    conn.other(id).expect("a connection of this reactor").send(rest);
                }
            }
            "all" => {
                let told = self.poster.broadcast(Audience::Open, rest.to_owned());
                assert!(told.is_ok(), "the mailbox is full");
            }
            "dial" => {
                let to = Connect::to(rest).framing(Framing::lines(80)).tag(Tag(7));
                let id = conn.reactor().connect(to).expect("an address that can be dialled");
                conn.other(id).expect("it is being dialled").send("sent early");
            }
            _ => _ = conn.send("what?"),
        }
        Action::Continue
    }
}

impl Handler for Diary {
    type Session = Habits;

    fn on_start(&mut self, _: &mut Reactor<'_>) {
        self.pages.write("start");
    }

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut Habits) -> Action {
        self.pages.open(conn.id());
        let listener = conn.listener().map(|listener| listener.0);
        self.note(conn, format!("open, listener {listener:?}, tag {}", conn.tag().0));
        if let Some(peer) = conn.peer_addr().filter(|peer| !peer.ip().is_loopback()) {
            self.note(conn, format!("for {peer}"));
        }
        Action::Continue
    }

    /// Of raw bytes it takes whole groups of four.
    fn on_data(&mut self, conn: &mut Conn<'_>, _: &mut Habits, input: &mut Input<'_>) -> Action {
        let groups = input.len() / 4 * 4;
        let taken = input.take_mut(groups);
        self.note(conn, format!("data {:?}, {} left", String::from_utf8_lossy(taken), input.len()));
        conn.send(&*taken);
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, habits: &mut Habits, message: Message<'_>) -> Action {
        let order = message.text().expect("orders are text");
        // Whom it dials is not the same both ways.
        let noted = if order.starts_with("dial") { "dial" } else { order };
        self.note(conn, format!("message {noted:?}"));
        self.obey(conn, habits, order)
    }

    fn on_control(&mut self, conn: &mut Conn<'_>, _: &mut Habits, control: Control<'_>) -> Action {
        self.note(conn, format!("{control:?}"));
        Action::Continue
    }

    fn on_eof(&mut self, conn: &mut Conn<'_>, habits: &mut Habits) -> Action {
        self.note(conn, "eof");
        if habits.stays { Action::Continue } else { Action::Finish }
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>, _: &mut Habits) -> Action {
        self.note(conn, format!("writable, low: {}", conn.buffered().1 <= super::LOW));
        conn.send("enough");
        Action::Continue
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut Habits, timer: TimerKind) -> Action {
        self.note(conn, format!("timer {}", timer.0));
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, _: Habits) {
        let Some(error) = closed.error().map(|error| error.kind()) else {
            return self.pages.write(format!("{} closed: {}", closed.id(), closed.reason()));
        };
        self.pages.write(format!("{} closed: {}, {error:?}", closed.id(), closed.reason()));
    }

    fn on_panic(&mut self, _: &mut Reactor<'_>, panic: &(dyn Any + Send)) {
        self.pages.write(format!("panic {:?}", panic.downcast_ref::<&str>()));
    }

    fn on_stopping(&mut self, _: &mut Reactor<'_>, _: Instant) {
        self.pages.write("stopping");
    }

    fn on_stop(&mut self, _: &mut Reactor<'_>) {
        self.pages.write("stop");
    }
}
