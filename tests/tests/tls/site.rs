//! An engine with TLS that echoes, and tells what happens.

use std::sync::mpsc::{Receiver, Sender, channel};

use wheelhouse::{Action, Builder, CloseReason, Closed, ConnId, Engine, Listener};

use crate::{
    fixture::{Script, Server, next, serve},
    pki::tls,
};

#[derive(Debug)]
pub(crate) enum Event {
    Open(ConnId),
    Eof,
    Writable,
    Close(Ended),
}

/// What `on_close` is told.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) reason: CloseReason,
    pub(crate) error: Option<String>,
    pub(crate) opened: bool,
}

impl Ended {
    pub(crate) fn of(closed: &Closed<'_>) -> Self {
        let error = closed.error().map(ToString::to_string);
        Ended { reason: *closed.reason(), error, opened: closed.opened() }
    }

    /// The error must say this.
    #[track_caller]
    pub(crate) fn says(&self, what: &str) {
        assert!(self.error.as_ref().is_some_and(|error| error.contains(what)), "no `{what}` in {self:?}");
    }
}

pub(crate) fn listener() -> Listener {
    Listener::new("tls://127.0.0.1:0").tls(tls())
}

/// One listener and one reactor.
pub(crate) fn engine() -> Builder {
    Engine::builder().listen(listener()).reactors(1)
}

/// A script that tells of opens, ends of input and closes, and echoes.
pub(crate) fn telling(told: &Sender<Event>) -> Script {
    let [open, eof, writable, close] = [told.clone(), told.clone(), told.clone(), told.clone()];
    Script::new()
        .open(move |conn, _| {
            let _ = open.send(Event::Open(conn.id()));
            Action::Continue
        })
        .eof(move |_, _| {
            let _ = eof.send(Event::Eof);
            Action::Finish
        })
        .writable(move |_, _| {
            let _ = writable.send(Event::Writable);
            Action::Continue
        })
        .close(move |closed, _| {
            let _ = close.send(Event::Close(Ended::of(closed)));
        })
}

/// Starts it, with whatever else the script is to do.
pub(crate) fn start_with(
    builder: Builder,
    dress: impl Fn(Script) -> Script + Send + Sync + 'static,
) -> (Server<Script>, Receiver<Event>) {
    let (told, events) = channel();
    (serve(builder, move |_| dress(telling(&told))), events)
}

pub(crate) fn start(builder: Builder) -> (Server<Script>, Receiver<Event>) {
    start_with(builder, |script| script)
}

#[track_caller]
pub(crate) fn opened(events: &Receiver<Event>) -> ConnId {
    match next(events) {
        Event::Open(id) => id,
        other => panic!("{other:?} instead of an open"),
    }
}

#[track_caller]
pub(crate) fn ended(events: &Receiver<Event>) -> Ended {
    match next(events) {
        Event::Close(ended) => ended,
        other => panic!("{other:?} instead of a close"),
    }
}

#[track_caller]
pub(crate) fn at_eof(events: &Receiver<Event>) {
    match next(events) {
        Event::Eof => {}
        other => panic!("{other:?} instead of the end of input"),
    }
}
