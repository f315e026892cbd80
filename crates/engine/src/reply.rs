use std::time::Duration;

use bytes::Bytes;
use wheelhouse_websocket::{
    deflate,
    http::{self, Answer, Refused, Request},
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
    /// the rules (RFC 6455, 4.2.1) with 400, or with 426 and the version that is spoken here.
    pub fn accept() -> Reply {
        Reply::new(ReplyKind::Accept)
    }

    /// Not yet: nothing more is read from the connection until [`Handle::answer`](crate::Handle::answer) is called for it, at
    /// most for the [`handshake_timeout`](crate::Builder::handshake_timeout); then the peer is told 503. A
    /// [`subprotocol`](Reply::subprotocol) chosen here is kept for a late [`Reply::accept`] that names none.
    pub fn later() -> Reply {
        Reply::new(ReplyKind::Later(None))
    }

    /// An HTTP answer of that status (200 to 599; others count as 500), and the connection ends gracefully.
    pub fn status(status: u16) -> Reply {
        Reply::new(ReplyKind::Status(if (200..600).contains(&status) { status } else { 500 }))
    }

    fn new(kind: ReplyKind) -> Reply {
        Reply { kind, subprotocol: None, headers: Vec::new(), body: None }
    }

    /// How long [`Reply::later`] may take, from now on; up to 24 days.
    pub fn within(mut self, time: Duration) -> Reply {
        if let ReplyKind::Later(within) = &mut self.kind {
            *within = Some(time);
        }
        self
    }

    /// The subprotocol that is spoken, one of [`Request::protocols`]; one that was not offered is never answered.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Reply {
        self.subprotocol = Some(name.into());
        self
    }

    /// One more header. A name that is no token, or a value with a line end in it, is logged and left out.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body of a [`Reply::status`], and its media type. It is sent whole, be it larger than the write queue's limit, and is
    /// buffer memory until it has left.
    pub fn body(mut self, mime: impl Into<String>, body: impl Into<Bytes>) -> Reply {
        self.body = Some((mime.into(), body.into()));
        self
    }

    /// The answer of that status, on the wire.
    pub(crate) fn write_status(&self, status: u16, is_head: bool, out: &mut Vec<u8>) {
        let mut answer = Answer::new(status);
        for (name, value) in &self.headers {
            answer = match answer.clone().header(name, value) {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(status, %error, "a reply's header is left out");
                    answer
                }
            };
        }
        if let Some((mime, body)) = &self.body {
            answer = answer.body(mime, &body[..]);
        }
        answer.write(out, is_head);
    }
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

    /// Writes the answer; what was agreed on when the WebSocket is accepted, and none when nothing more comes. `deflate` is how
    /// messages would be compressed here.
    pub(crate) fn answer(
        &mut self,
        mut reply: Reply,
        deflate: Option<deflate::Config>,
        out: &mut Vec<u8>,
    ) -> Option<Accepted> {
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
                http::write_accept(out, key, chosen.as_deref(), extensions.as_deref(), &reply.headers);
                Some(Accepted { subprotocol: chosen, agreed })
            }
            (ReplyKind::Accept, Err(refused)) => {
                refused.answer().write(out, self.is_head);
                None
            }
            (ReplyKind::Status(status), _) => {
                reply.write_status(status, self.is_head, out);
                None
            }
            // Put off for good.
            (ReplyKind::Later(_), _) => {
                reply.write_status(503, self.is_head, out);
                None
            }
        }
    }
}
