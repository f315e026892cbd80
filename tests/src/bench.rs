use std::{cell::RefCell, fmt, net::TcpStream, ops::Deref, time::Instant};

use crossbeam_channel::{Receiver, unbounded};
use wheelhouse::{Builder, Conn, ConnId, Poster, ReactorId, Spot};

use crate::{Event, Gone, LIMIT, Notes, Probe, Script, Server, net, server};

/// An engine of [`Probe`]s, and what they tell.
pub struct Bench {
    server: Server<Probe>,
    events: Receiver<Event>,
    /// Told, and not waited for yet.
    seen: RefCell<Vec<Event>>,
}

impl Bench {
    /// Starts an engine whose reactors' probes follow these scripts.
    #[track_caller]
    pub fn start(
        builder: Builder,
        script: impl Fn(&Poster<Probe>) -> Script + Send + Sync + 'static,
    ) -> Bench {
        let (events, told) = unbounded();
        let make = move |spot: &Spot<Probe>| Probe::new(events.clone(), script(&spot.poster()));
        Bench { server: Server::start(builder, make), events: told, seen: RefCell::default() }
    }

    /// One reactor, one raw listener.
    #[track_caller]
    pub fn raw(script: impl Fn(&Poster<Probe>) -> Script + Send + Sync + 'static) -> Bench {
        Bench::start(server::one_reactor(), script)
    }

    /// Waits for the first event that `pick` makes something of, and takes it; the others stay.
    #[track_caller]
    pub fn expect<T>(&self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        let event = self.take(what, |event| pick(event).is_some());
        pick(&event).expect("the same answer twice")
    }

    #[track_caller]
    fn take(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let mut seen = self.seen.borrow_mut();
        if let Some(at) = seen.iter().position(&is_it) {
            return seen.remove(at);
        }
        let limit = Instant::now() + LIMIT;
        loop {
            match self.events.recv_deadline(limit) {
                Ok(event) if is_it(&event) => return event,
                Ok(event) => seen.push(event),
                Err(_) => panic!("waited in vain for {what}; seen: {:#?}", Tail(&seen)),
            }
        }
    }

    /// The next `on_open`.
    #[track_caller]
    pub fn opened(&self) -> ConnId {
        self.expect("an open", |event| match event {
            Event::Open(id) => Some(*id),
            _ => None,
        })
    }

    /// A plain connection, and its id.
    #[track_caller]
    pub fn connect(&self) -> (TcpStream, ConnId) {
        let stream = net::connect(self.addr());
        (stream, self.opened())
    }

    /// The `on_close` of that connection.
    #[track_caller]
    pub fn closed(&self, id: ConnId) -> Gone {
        let what = format!("the close of {id}");
        let is_it = |event: &Event| matches!(event, Event::Close(gone) if gone.id == id);
        match self.take(&what, is_it) {
            Event::Close(gone) => gone,
            other => unreachable!("{other:?} was not asked for"),
        }
    }

    /// The next message of that connection.
    #[track_caller]
    pub fn message(&self, from: ConnId) -> Vec<u8> {
        self.expect("a message", |event| match event {
            Event::Message(id, bytes) if *id == from => Some(bytes.clone()),
            _ => None,
        })
    }

    /// The next note.
    #[track_caller]
    pub fn noted(&self) -> String {
        self.expect("a note", |event| match event {
            Event::Note(_, text) => Some(text.clone()),
            _ => None,
        })
    }

    /// The next panic's text.
    #[track_caller]
    pub fn panicked(&self) -> String {
        self.expect("a panic", |event| match event {
            Event::Panic(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// Runs a closure on the connection's reactor and hands back what it returns.
    #[track_caller]
    pub fn ask<T: Send + 'static>(
        &self,
        id: ConnId,
        question: impl FnOnce(&mut Conn<'_>, &mut Notes) -> T + Send + 'static,
    ) -> T {
        let (answer, answered) = unbounded();
        let posted = self.poster().post_to(id, move |_, conn, notes| {
            let _ = answer.send(question(conn, notes));
        });
        assert!(posted.is_ok(), "a mailbox with room");
        answered.recv_timeout(LIMIT).expect("the connection is open and its reactor answers")
    }

    /// Waits until the reactors have dealt with whatever was asked of them before.
    #[track_caller]
    pub fn settle(&self) {
        for reactor in 0..self.poster().reactors() {
            let (answer, answered) = unbounded();
            let posted = self.poster().post(ReactorId(reactor as u16), move |_, _| {
                let _ = answer.send(());
            });
            assert!(posted.is_ok(), "a mailbox with room");
            answered.recv_timeout(LIMIT).expect("the reactor answers");
        }
    }

    /// Stops the engine; what was told and not waited for, in order.
    #[track_caller]
    pub fn stop(mut self) -> Vec<Event> {
        self.server.stop();
        let mut all = self.seen.take();
        all.extend(self.events.try_iter());
        all
    }
}

impl Deref for Bench {
    type Target = Server<Probe>;

    fn deref(&self) -> &Server<Probe> {
        &self.server
    }
}

/// The last few events.
struct Tail<'a>(&'a [Event]);

impl fmt::Debug for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.0.len().saturating_sub(20);
        f.debug_list().entries(self.0[skipped..].iter().map(|e| (e.name(), e.conn()))).finish()
    }
}
