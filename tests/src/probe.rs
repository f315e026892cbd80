use std::{
    any::Any,
    net::SocketAddr,
    panic::resume_unwind,
    sync::atomic::{AtomicU64, Ordering},
};

use crossbeam_channel::Sender;
use wheelhouse::{
    Action, CloseReason, Closed, Conn, ConnId, Handler, ListenerId, Message, Reactor, ReactorId, Tag,
    TimerKind,
};

/// What a [`Probe`] was told.
#[derive(Debug)]
pub enum Event {
    /// `on_start`.
    Start(ReactorId),
    /// `on_open`.
    Open(ConnId),
    /// `on_message`; of raw connections whatever one read brought.
    Message(ConnId, Vec<u8>),
    /// `on_eof`.
    Eof(ConnId),
    /// `on_writable`.
    Writable(ConnId),
    /// `on_timer`.
    Timer(ConnId, TimerKind),
    /// `on_close`.
    Close(Gone),
    /// `on_panic`, with the panic's text.
    Panic(String),
    /// `on_reactor_timer`.
    ReactorTimer(TimerKind),
    /// `on_room`.
    Room(ReactorId),
    /// `on_stop`.
    Stop(ReactorId),
    /// Whatever a test's own callbacks have to say.
    Note(ConnId, String),
}

impl Event {
    /// The connection it is about.
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Event::Open(id)
            | Event::Message(id, _)
            | Event::Eof(id)
            | Event::Writable(id)
            | Event::Timer(id, _)
            | Event::Note(id, _) => Some(*id),
            Event::Close(gone) => Some(gone.id),
            _ => None,
        }
    }

    /// Its name, for orders of events: `open`, `message`, `eof`, ..
    pub fn name(&self) -> &'static str {
        match self {
            Event::Start(_) => "start",
            Event::Open(_) => "open",
            Event::Message(..) => "message",
            Event::Eof(_) => "eof",
            Event::Writable(_) => "writable",
            Event::Timer(..) => "timer",
            Event::Close(_) => "close",
            Event::Panic(_) => "panic",
            Event::ReactorTimer(_) => "reactor timer",
            Event::Room(_) => "room",
            Event::Stop(_) => "stop",
            Event::Note(..) => "note",
        }
    }
}

/// What `on_close` knew.
#[derive(Debug)]
pub struct Gone {
    /// [`Closed::id`].
    pub id: ConnId,
    /// [`Closed::tag`].
    pub tag: Tag,
    /// [`Closed::listener`].
    pub listener: Option<ListenerId>,
    /// [`Closed::peer_addr`].
    pub peer: Option<SocketAddr>,
    /// [`Closed::opened`].
    pub opened: bool,
    /// [`Closed::reason`].
    pub reason: CloseReason,
    /// The error's number, where the system gave it.
    pub errno: Option<i32>,
    /// The error's text.
    pub error: Option<String>,
    /// [`Closed::unsent`].
    pub unsent: u64,
    /// The session, by value.
    pub notes: Notes,
}

/// A probe's session.
#[derive(Debug)]
pub struct Notes {
    /// One number for each session ever made, from 1.
    pub serial: u64,
    /// For a test's own callbacks to count in.
    pub count: u64,
    /// For a test's own callbacks to gather in.
    pub bytes: Vec<u8>,
}

static SESSIONS: AtomicU64 = AtomicU64::new(1);

impl Default for Notes {
    fn default() -> Self {
        Notes { serial: SESSIONS.fetch_add(1, Ordering::Relaxed), count: 0, bytes: Vec::new() }
    }
}

type Callback = Box<dyn FnMut(&mut Conn<'_>, &mut Notes) -> Action>;
type OnMessage = Box<dyn FnMut(&mut Conn<'_>, &mut Notes, Message<'_>) -> Action>;
type OnTimer = Box<dyn FnMut(&mut Conn<'_>, &mut Notes, TimerKind) -> Action>;
type OnClose = Box<dyn FnMut(&mut Closed<'_>, &mut Notes)>;
type OnReactor = Box<dyn FnMut(&mut Reactor<'_>)>;
type OnReactorTimer = Box<dyn FnMut(&mut Reactor<'_>, TimerKind)>;

/// What a [`Probe`] does beside telling; made for each reactor, on its thread.
///
/// By default nothing: messages are swallowed, `on_eof` finishes.
#[derive(Default)]
pub struct Script {
    open: Option<Callback>,
    message: Option<OnMessage>,
    eof: Option<Callback>,
    writable: Option<Callback>,
    timer: Option<OnTimer>,
    close: Option<OnClose>,
    start: Option<OnReactor>,
    reactor_timer: Option<OnReactorTimer>,
    is_quiet: bool,
}

impl Script {
    /// One that does nothing.
    pub fn new() -> Self {
        Script::default()
    }

    /// One that sends every message back.
    pub fn echo() -> Self {
        Script::new().on_message(|conn, _, message| {
            conn.send(message);
            Action::Continue
        })
    }

    /// Messages are not told: for floods.
    pub fn quiet(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// Runs in `on_start`.
    pub fn on_start(mut self, run: impl FnMut(&mut Reactor<'_>) + 'static) -> Self {
        self.start = Some(Box::new(run));
        self
    }

    /// Runs in `on_open`.
    pub fn on_open(mut self, run: impl FnMut(&mut Conn<'_>, &mut Notes) -> Action + 'static) -> Self {
        self.open = Some(Box::new(run));
        self
    }

    /// Runs in `on_message`.
    pub fn on_message(
        mut self,
        run: impl FnMut(&mut Conn<'_>, &mut Notes, Message<'_>) -> Action + 'static,
    ) -> Self {
        self.message = Some(Box::new(run));
        self
    }

    /// Runs in `on_eof`.
    pub fn on_eof(mut self, run: impl FnMut(&mut Conn<'_>, &mut Notes) -> Action + 'static) -> Self {
        self.eof = Some(Box::new(run));
        self
    }

    /// Runs in `on_writable`.
    pub fn on_writable(mut self, run: impl FnMut(&mut Conn<'_>, &mut Notes) -> Action + 'static) -> Self {
        self.writable = Some(Box::new(run));
        self
    }

    /// Runs in `on_timer`.
    pub fn on_timer(
        mut self,
        run: impl FnMut(&mut Conn<'_>, &mut Notes, TimerKind) -> Action + 'static,
    ) -> Self {
        self.timer = Some(Box::new(run));
        self
    }

    /// Runs in `on_close`, before it is told.
    pub fn on_close(mut self, run: impl FnMut(&mut Closed<'_>, &mut Notes) + 'static) -> Self {
        self.close = Some(Box::new(run));
        self
    }

    /// Runs in `on_reactor_timer`.
    pub fn on_reactor_timer(mut self, run: impl FnMut(&mut Reactor<'_>, TimerKind) + 'static) -> Self {
        self.reactor_timer = Some(Box::new(run));
        self
    }
}

/// A handler that tells everything it is told, and then does what its [`Script`] says.
pub struct Probe {
    events: Sender<Event>,
    script: Script,
}

impl Probe {
    pub(crate) fn new(events: Sender<Event>, script: Script) -> Self {
        Probe { events, script }
    }

    /// Tells something of a test's own.
    pub fn note(&self, id: ConnId, text: impl Into<String>) {
        self.tell(Event::Note(id, text.into()));
    }

    fn tell(&self, event: Event) {
        // The test may have seen enough.
        let _ = self.events.send(event);
    }
}

impl Handler for Probe {
    type Session = Notes;

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        self.tell(Event::Start(reactor.id()));
        if let Some(run) = &mut self.script.start {
            run(reactor);
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_>, notes: &mut Notes) -> Action {
        self.tell(Event::Open(conn.id()));
        self.script.open.as_mut().map_or(Action::Continue, |run| run(conn, notes))
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, notes: &mut Notes, message: Message<'_>) -> Action {
        if !self.script.is_quiet {
            self.tell(Event::Message(conn.id(), message.bytes().to_vec()));
        }
        self.script.message.as_mut().map_or(Action::Continue, |run| run(conn, notes, message))
    }

    fn on_eof(&mut self, conn: &mut Conn<'_>, notes: &mut Notes) -> Action {
        self.tell(Event::Eof(conn.id()));
        self.script.eof.as_mut().map_or(Action::Finish, |run| run(conn, notes))
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>, notes: &mut Notes) -> Action {
        self.tell(Event::Writable(conn.id()));
        self.script.writable.as_mut().map_or(Action::Continue, |run| run(conn, notes))
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, notes: &mut Notes, timer: TimerKind) -> Action {
        self.tell(Event::Timer(conn.id(), timer));
        self.script.timer.as_mut().map_or(Action::Continue, |run| run(conn, notes, timer))
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, mut notes: Notes) {
        if let Some(run) = &mut self.script.close {
            run(closed, &mut notes);
        }
        self.tell(Event::Close(Gone {
            id: closed.id(),
            tag: closed.tag(),
            listener: closed.listener(),
            peer: closed.peer_addr(),
            opened: closed.opened(),
            reason: *closed.reason(),
            errno: closed.error().and_then(std::io::Error::raw_os_error),
            error: closed.error().map(ToString::to_string),
            unsent: closed.unsent(),
            notes,
        }));
    }

    fn on_panic(&mut self, _: &mut Reactor<'_>, panic: &(dyn Any + Send)) {
        let text = match panic.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => panic.downcast_ref::<&str>().copied().unwrap_or("?").to_owned(),
        };
        self.tell(Event::Panic(text));
    }

    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        self.tell(Event::ReactorTimer(timer));
        if let Some(run) = &mut self.script.reactor_timer {
            run(reactor, timer);
        }
    }

    fn on_room(&mut self, _: &mut Reactor<'_>, of: ReactorId) {
        self.tell(Event::Room(of));
    }

    fn on_stop(&mut self, reactor: &mut Reactor<'_>) {
        self.tell(Event::Stop(reactor.id()));
    }
}

/// Panics without a report on standard error.
pub fn blow_up(text: &str) -> ! {
    resume_unwind(Box::new(text.to_owned()))
}
