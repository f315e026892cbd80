//! One room for browsers and telnet alike: open the page that it serves, or `telnet 127.0.0.1 9002`.
//!
//! Shows one handler behind two protocols: a message is a message, whether it came as a line or as a WebSocket's. The page
//! is served on the WebSocket's own port ([`Handler::on_request`]), and only pages from there may open one. What a full
//! mailbox refuses waits with the engine ([`Action::Hold`], [`Handler::on_room`]).
//!
//! The room is on one reactor: all hear everything in the same order, and the history is a field without a lock. See
//! `broadcast` for many.

use std::{
    collections::{HashSet, VecDeque},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use wheelhouse::{
    Action, Audience, Closed, Conn, ConnId, Engine, Framing, Handle, Handler, Kind, ListenerId, Message,
    Policy, Reactor, ReactorId, Reply, Request,
};
use wheelhouse_examples::{AnyError, Certificate, end, listener, serve_at, websocket_url};

/// One room, for browsers and telnet.
#[derive(Parser)]
struct Options {
    /// Where browsers come, for the page and its WebSockets: ws://HOST:PORT, or wss://HOST:PORT for https
    #[arg(long, value_name = "URL", value_parser = websocket_url, default_value = "ws://127.0.0.1:9001")]
    ws: String,
    /// Where telnet comes
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9002")]
    tcp: String,
    #[command(flatten)]
    certificate: Certificate,
}

const PAGE: &str = include_str!("chat.html");

/// The page has its own style and script, and talks to nobody but us.
const MAY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    img-src data:; connect-src 'self' ws: wss:";

/// The listeners, in the order in which they are given to the engine.
const BROWSERS: ListenerId = ListenerId(0);

/// Lines that a newcomer is told.
const HISTORY: usize = 20;
/// In bytes, as it comes.
const LONGEST_LINE: usize = 4096;
/// In characters.
const LONGEST_NAME: usize = 24;

struct Chat {
    everyone: Handle,
    names: HashSet<String>,
    history: VecDeque<String>,
    /// Who has a message on hold.
    held: Vec<ConnId>,
    /// Notices that found no room; nobody else can hold them.
    untold: VecDeque<String>,
    is_stopping: bool,
}

/// Without a name one reads along.
#[derive(Default)]
struct Member {
    name: Option<String>,
    /// Asked for with the WebSocket, to be tried when it opens.
    wish: Option<String>,
    /// The bytes on hold have been announced already.
    is_announced: bool,
}

impl Handler for Chat {
    type Session = Member;

    fn on_request(&mut self, conn: &mut Conn<'_>, member: &mut Member, request: &Request<'_>) -> Reply {
        if !request.is_upgrade() {
            return serve_page(request);
        }
        // Any page could open a WebSocket to us, in the name of whoever looks at it.
        if !request.is_same_origin(conn.tls().is_some()) {
            return Reply::status(403).body("text/plain", "only from the page that is served here\n");
        }
        member.wish = request.query("name").map(|name| name.into_owned());
        Reply::accept()
    }

    fn on_open(&mut self, conn: &mut Conn<'_>, member: &mut Member) -> Action {
        for line in &self.history {
            conn.send(line);
        }
        match member.wish.take() {
            Some(wish) => self.admit(conn, member, &wish),
            None => _ = conn.send("* who are you? say your name"),
        }
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, member: &mut Member, message: Message<'_>) -> Action {
        let told = match (&member.name, message.kind()) {
            (None, Kind::BINARY) => {
                conn.send("* say your name first");
                Ok(())
            }
            (None, _) => {
                self.admit(conn, member, &String::from_utf8_lossy(message.bytes()));
                Ok(())
            }
            (Some(name), Kind::BINARY) => {
                let announcement = format!("* {name} sends {} bytes", message.bytes().len());
                self.pass_on(member, announcement, message)
            }
            (Some(_), _) if message.bytes().len() > LONGEST_LINE => {
                conn.send(format!("* not passed on: more than {LONGEST_LINE} bytes"));
                Ok(())
            }
            (Some(name), _) => {
                let text = String::from_utf8_lossy(message.bytes());
                self.say(format!("{name}: {}", on_one_line(&text)))
            }
        };
        match told {
            Ok(()) => Action::Continue,
            Err(NoRoom) => {
                self.held.push(conn.id());
                Action::Hold
            }
        }
    }

    /// Notices first, for they are older than what is on hold.
    fn on_room(&mut self, reactor: &mut Reactor<'_>, _: ReactorId) {
        while let Some(line) = self.untold.pop_front() {
            if self.say(line.clone()).is_err() {
                self.untold.push_front(line);
                return;
            }
        }
        for id in self.held.drain(..) {
            if let Some(mut conn) = reactor.conn(id) {
                conn.resume();
            }
        }
    }

    fn on_close(&mut self, _: &mut Closed<'_>, member: Member) {
        if let Some(name) = member.name {
            self.names.remove(&name);
            self.notice(format!("* {name} left"));
        }
    }

    fn on_stopping(&mut self, reactor: &mut Reactor<'_>, _: Instant) {
        self.is_stopping = true;
        reactor.finish_all();
    }
}

/// The mailbox is full; `on_room` will tell.
struct NoRoom;

impl Chat {
    fn new(everyone: Handle) -> Chat {
        Chat {
            everyone,
            names: HashSet::new(),
            history: VecDeque::new(),
            held: Vec::new(),
            untold: VecDeque::new(),
            is_stopping: false,
        }
    }

    /// Gives the name that is wished for, unless it is none or another's.
    fn admit(&mut self, conn: &mut Conn<'_>, member: &mut Member, wish: &str) {
        let Some(name) = name_in(wish) else {
            conn.send(format!("* a name has 1 to {LONGEST_NAME} letters, digits, - or _; who are you?"));
            return;
        };
        if !self.names.insert(name.to_owned()) {
            conn.send(format!("* {name} is here already; who are you?"));
            return;
        }
        member.name = Some(name.to_owned());
        self.notice(format!("* {name} joined"));
    }

    /// Bytes go to browsers; telnet, which would take them for lines, is told of them.
    fn pass_on(&self, member: &mut Member, announcement: String, message: Message<'_>) -> Result<(), NoRoom> {
        if !member.is_announced {
            self.everyone.broadcast(Audience::Open, announcement).map_err(|_| NoRoom)?;
            member.is_announced = true;
        }
        self.everyone.broadcast(Audience::Listener(BROWSERS), message.to_payload()).map_err(|_| NoRoom)?;
        member.is_announced = false;
        Ok(())
    }

    /// A line to everyone, now and in the history.
    fn say(&mut self, line: String) -> Result<(), NoRoom> {
        self.everyone.broadcast(Audience::Open, line.clone()).map_err(|_| NoRoom)?;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(line);
        Ok(())
    }

    fn notice(&mut self, line: String) {
        if self.is_stopping {
            return;
        }
        if !self.untold.is_empty() || self.say(line.clone()).is_err() {
            self.untold.push_back(line);
        }
    }
}

fn serve_page(request: &Request<'_>) -> Reply {
    match (request.method(), request.path()) {
        ("GET" | "HEAD", "/") => Reply::status(200)
            .header("content-security-policy", MAY)
            .header("cache-control", "no-cache")
            .body("text/html; charset=utf-8", PAGE),
        (_, "/") => Reply::status(405).header("allow", "GET, HEAD"),
        _ => Reply::status(404).body("text/plain", "there is only /\n"),
    }
}

/// The name in what somebody said. It holds no space and no colon, so that none can look like a notice or like what
/// another one says.
fn name_in(wish: &str) -> Option<&str> {
    let name = wish.trim();
    let is_good = (1..=LONGEST_NAME).contains(&name.chars().count())
        && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    is_good.then_some(name)
}

/// With a space for each character that ends a line or moves a terminal's cursor: a browser may send a newline, and
/// telnet would show what follows it as another one's line.
fn on_one_line(text: &str) -> String {
    let ends_a_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().map(|c| if ends_a_line(c) { ' ' } else { c }).collect()
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let Options { ws, tcp, certificate } = options;
    let urls = [ws, tcp];
    let tls = certificate.tls(&urls)?;
    let [ws, tcp] = urls.each_ref().map(|url| listener(url, tls.as_ref()));
    // One who reads too slowly loses its connection rather than lines in the middle.
    let browsers = ws.policy(Policy::Close);
    let telnet = tcp.framing(Framing::lines(LONGEST_LINE)).policy(Policy::Close);
    let builder = Engine::builder().reactors(1).listen(browsers).listen(telnet);
    let engine = builder.build(|spot| Chat::new(spot.handle()))?;
    serve_at(engine, &urls)?;
    Ok(())
}
