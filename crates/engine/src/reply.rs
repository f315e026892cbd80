use std::time::Duration;

use bytes::Bytes;
use wheelhouse_websocket::{
    deflate,
    http::{self, Answer, Invalid, Refused, Request},
};

/// What [`Handler::on_request`](crate::Handler::on_request) answers: the WebSocket that was asked for, a refusal, a page, or
/// nothing yet. Owned, so that it may also come from another thread ([`Handle::answer`](crate::Handle::answer)).
///
/// ```
/// use wheelhouse::{Action, Conn, Handler, Message, Reply, Request};
///
/// struct Rooms;
///
/// impl Handler for Rooms {
///     type Session = ();
///
///     fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), request: &Request<'_>) -> Reply {
///         match request.path() {
///             "/health" => Reply::status(200).body("text/plain", "ok"),
///             "/room" => Reply::accept(),
///             _ => Reply::status(404),
///         }
///     }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a reply does nothing until it is returned"]
pub struct Reply {
    pub(crate) kind: ReplyKind,
    pub(crate) subprotocol: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<(String, Bytes)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    Accept,
    Status(u16),
    Later(Option<Duration>),
}

impl Reply {
    /// Yes: the connection opens. What asks for no WebSocket is answered with status 426, and a request for one that breaks
    /// the rules (RFC 6455, 4.2.1) with 400, with 405 where it is no GET, or with 426 and the version that is spoken here.
    ///
    /// ```
    /// use wheelhouse::{Engine, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Silent); // accepts
    /// let (socket, page) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(0)));
    /// bench.input(socket, HELLO);
    /// assert!(bench.output(socket).starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    /// bench.input(page, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"); // as a browser asks for a page
    /// assert!(bench.output(page).starts_with(b"HTTP/1.1 426 Upgrade Required\r\n"));
    /// ```
    pub fn accept() -> Reply {
        Reply::new(ReplyKind::Accept)
    }

    /// Not yet: nothing more is read from the connection until [`Handle::answer`](crate::Handle::answer) is called for it, at
    /// most for the [`handshake_timeout`](crate::Builder::handshake_timeout); then the peer is told 503. A
    /// [`subprotocol`](Reply::subprotocol) chosen here is kept for a late [`Reply::accept`] that names none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use wheelhouse::{Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// # struct Asks;
    /// # impl Handler for Asks {
    /// #     type Session = ();
    /// fn on_request(&mut self, conn: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     // Here `conn.id()` would go to whoever looks the user up.
    ///     Reply::later()
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Asks);
    /// let (known, forgotten) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(0)));
    /// bench.input(known, HELLO);
    /// bench.input(forgotten, HELLO);
    /// bench.handle().answer(known, Reply::accept());
    /// bench.turn(Duration::from_secs(10));
    /// assert!(bench.output(known).starts_with(b"HTTP/1.1 101 "));
    /// assert!(bench.output(forgotten).starts_with(b"HTTP/1.1 503 "));
    /// ```
    pub fn later() -> Reply {
        Reply::new(ReplyKind::Later(None))
    }

    /// An HTTP answer of that status (200 to 599; others count as 500), and the connection ends gracefully. It has a
    /// `Date`, as all answers but a 101 do: the handler's own where it gives one as a [`header`](Reply::header).
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # struct NotHere;
    /// # impl Handler for NotHere {
    /// #     type Session = ();
    /// fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     Reply::status(404)
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| NotHere);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n");
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 404 Not Found\r\n"));
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Local));
    /// ```
    pub fn status(status: u16) -> Reply {
        Reply::new(ReplyKind::Status(if (200..600).contains(&status) { status } else { 500 }))
    }

    fn new(kind: ReplyKind) -> Reply {
        Reply { kind, subprotocol: None, headers: Vec::new(), body: None }
    }

    /// How long [`Reply::later`] may take, from now on; up to 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// # struct Patient;
    /// # impl Handler for Patient {
    /// #     type Session = ();
    /// fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     Reply::later().within(Duration::from_secs(60))
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Patient);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// bench.turn(Duration::from_secs(59));
    /// assert_eq!(bench.output(client), b"");
    /// bench.turn(Duration::from_secs(1));
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 503 "));
    /// ```
    pub fn within(mut self, time: Duration) -> Reply {
        if let ReplyKind::Later(within) = &mut self.kind {
            *within = Some(time);
        }
        self
    }

    /// The subprotocol that is spoken, one of [`Request::protocols`]; one that was not offered is never answered.
    ///
    /// ```
    /// use wheelhouse::{Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Protocol: xml, json\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// # struct Json;
    /// # impl Handler for Json {
    /// #     type Session = ();
    /// fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), request: &Request<'_>) -> Reply {
    ///     match request.protocols().find(|name| *name == "json") {
    ///         Some(name) => Reply::accept().subprotocol(name),
    ///         None => Reply::status(400),
    ///     }
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Json);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO); // offers xml and json
    /// assert!(String::from_utf8_lossy(&bench.output(client)).contains("\r\nSec-WebSocket-Protocol: json\r\n"));
    /// ```
    pub fn subprotocol(mut self, name: impl Into<String>) -> Reply {
        self.subprotocol = Some(name.into());
        self
    }

    /// One more header. Logged and left out are a name that is no token, a value with a line end or another control
    /// character in it, and what the engine writes itself: Connection, Content-Length, Transfer-Encoding,
    /// Sec-WebSocket-Accept, Sec-WebSocket-Extensions and Sec-WebSocket-Protocol (that is
    /// [`subprotocol`](Reply::subprotocol)), and with [`Reply::accept`] also Upgrade and Sec-WebSocket-Version.
    ///
    /// ```
    /// use wheelhouse::{Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # struct Members;
    /// # impl Handler for Members {
    /// #     type Session = ();
    /// fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     Reply::status(401).header("WWW-Authenticate", "Bearer").header("X-Bad", "two\r\nlines")
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Members);
    /// # let client = bench.open_on(ListenerId(0));
    /// # bench.input(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # let answer = bench.output(client);
    /// assert!(answer.starts_with(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nDate: "));
    /// assert!(!answer.windows(5).any(|name| name == b"X-Bad"));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body of a [`Reply::status`], and its media type. It is sent whole, be it larger than the write queue's limit, from
    /// where it lies: a clone of one [`Bytes`] serves all who ask.
    ///
    /// It is buffer memory until it has left. Where the reactor's share of
    /// [`buffer_memory`](crate::Builder::buffer_memory) cannot hold it, though others give way as the
    /// [`memory_policy`](crate::Builder::memory_policy) says, the peer is told 500 in its place, which is logged, and the
    /// connection ends gracefully with [`CloseReason::MemoryPressure`](crate::CloseReason::MemoryPressure).
    ///
    /// ```
    /// use wheelhouse::{Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # struct Health;
    /// # impl Handler for Health {
    /// #     type Session = ();
    /// fn on_request(&mut self, conn: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     Reply::status(200).body("application/json", format!("{{\"here\":{}}}", conn.reactor().len()))
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Health);
    /// # let client = bench.open_on(ListenerId(0));
    /// bench.input(client, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    /// let answer = bench.output(client);
    /// assert!(String::from_utf8_lossy(&answer).contains("Content-Type: application/json\r\nContent-Length: 10\r\n"));
    /// assert!(answer.ends_with(b"\r\n\r\n{\"here\":1}"));
    /// ```
    pub fn body(mut self, mime: impl Into<String>, body: impl Into<Bytes>) -> Reply {
        self.body = Some((mime.into(), body.into()));
        self
    }

    /// The head of the answer of that status, on the wire; the body that follows it.
    fn write_status(self, status: u16, is_head: bool, date: Option<&str>, out: &mut Vec<u8>) -> Bytes {
        let mut answer = dated(Answer::new(status), date);
        for (name, value) in &self.headers {
            answer = match answer.clone().header(name, value) {
                Ok(answer) => answer,
                Err(error) => {
                    left_out(status, &error);
                    answer
                }
            };
        }
        let (mime, body) = self.body.unwrap_or_default();
        if !body.is_empty() {
            answer = answer.body(&mime, []);
        }
        answer.write_head(out, body.len());
        if is_head || !answer.may_have_body() { Bytes::new() } else { body }
    }
}

/// What becomes of a connection that has its answer.
pub(crate) enum Answered {
    /// It opens.
    Yes(Accepted),
    /// It ends, when this body has left behind the head.
    No(Bytes),
}

/// What both ends agreed on.
pub(crate) struct Accepted {
    pub(crate) subprotocol: Option<String>,
    pub(crate) agreed: Option<deflate::Agreement>,
}

/// What has to be known of a request to answer it later.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The key of a request that can be accepted; else what is wrong with it.
    key: Result<String, Refused>,
    is_head: bool,
    protocols: Vec<String>,
    /// The extensions that were offered.
    offers: Vec<Vec<u8>>,
    chosen: Option<String>,
}

/// What a request that asks for no WebSocket is told where nothing else is.
const UPGRADE_REQUIRED: Refused = Refused { status: 426, what: "this is a WebSocket server" };

impl Asked {
    pub(crate) fn new(request: &Request<'_>) -> Asked {
        let key = match request.key() {
            Some(key) if request.is_upgrade() => Ok(key.to_owned()),
            _ => Err(request.upgrade_fault().unwrap_or(UPGRADE_REQUIRED)),
        };
        Asked {
            key,
            is_head: request.method() == "HEAD",
            protocols: request.protocols().map(str::to_owned).collect(),
            offers: request.extensions().map(<[u8]>::to_vec).collect(),
            chosen: None,
        }
    }

    /// Whether no body may be in the answer.
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Keeps the subprotocol that was chosen when the answer was put off.
    pub(crate) fn choose(&mut self, subprotocol: Option<String>) {
        self.chosen = subprotocol.or(self.chosen.take());
    }

    /// Writes the answer, but for the body of a handler's own. `deflate` is how
    /// messages would be compressed here, `date` when this is.
    pub(crate) fn answer(
        &mut self,
        mut reply: Reply,
        deflate: Option<deflate::Config>,
        date: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Answered {
        self.choose(reply.subprotocol.take());
        match (reply.kind, &self.key) {
            (ReplyKind::Accept, Ok(key)) => {
                let offered = |chosen: &String| self.protocols.contains(chosen);
                let chosen = self.chosen.take().filter(|chosen| {
                    if !offered(chosen) {
                        tracing::warn!(chosen, "a subprotocol that was not offered is not answered");
                    }
                    offered(chosen)
                });
                let offers = self.offers.iter().map(Vec::as_slice);
                let (agreed, extensions) = deflate.and_then(|config| config.answer(offers)).unzip();
                reply.headers.retain(|(name, value)| {
                    let checked = http::check_accept_header(name, value);
                    checked.inspect_err(|error| left_out(101, error)).is_ok()
                });
                http::write_accept(out, key, chosen.as_deref(), extensions.as_deref(), &reply.headers);
                Answered::Yes(Accepted { subprotocol: chosen, agreed })
            }
            (ReplyKind::Accept, Err(refused)) => {
                dated(refused.answer(), date).write(out, self.is_head);
                Answered::No(Bytes::new())
            }
            (ReplyKind::Status(status), _) => {
                Answered::No(reply.write_status(status, self.is_head, date, out))
            }
            // Put off for good.
            (ReplyKind::Later(_), _) => Answered::No(reply.write_status(503, self.is_head, date, out)),
        }
    }
}

/// The answer with its Date, where the clock tells one.
pub(crate) fn dated(answer: Answer, date: Option<&str>) -> Answer {
    match date {
        Some(date) => answer.date(date),
        None => answer,
    }
}

fn left_out(status: u16, error: &Invalid) {
    tracing::warn!(status, %error, "a reply's header is left out");
}
