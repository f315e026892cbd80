use std::time::Duration;

use wheelhouse::{
    Action, CloseReason, Closed, Conn, ConnId, Connect, Deflate, Framing, Handler, Message, On, WebSocket,
    testing::Bench,
};
use wheelhouse_websocket::{Role, Rules, http::accept_key};

use crate::{
    echo::{Echo, LAST_WORD, compare},
    frames::Seen,
    input::Input,
    pieces::Pieces,
    wire,
};

/// Whatever a server answers to one of ours who dials, and however it is cut: what it gets is a request, then frames, all
/// well-formed; is what the protocol alone makes of the same bytes; and is nothing any more after a close. The handler is
/// told no message beyond the limits, and one close with its reason. The connection ends when its time is up, and leaves no
/// buffer behind.
///
/// The first two bytes choose the circumstances, the next two the cuts.
///
/// # Panics
/// Where that does not hold.
pub fn client(data: &[u8]) {
    let mut input = Input::new(data);
    let plan = Plan { choices: input.short(), seed: input.short() };
    let mut bench = Bench::new(|_| Caller { greets: plan.greets(), ..Caller::default() });
    bench.handle().connect(On::Any, plan.connect()).expect("a good address");
    let server = bench.dialled()[0].id;
    bench.connected(server);
    bench.answer_fin(server, false);
    let accept = plan.accept_of(&bench.output(server));
    let sent = plan.bytes(input, &accept);
    if plan.is_slow() {
        bench.take_window(server, 0);
    }

    let mut got = Vec::new();
    for (nth, piece) in Pieces::new(&sent, plan.seed).enumerate() {
        bench.input(server, piece);
        if plan.is_slow() {
            bench.take_window(server, nth * 7 % 50);
        }
        got.extend(bench.output(server));
        let buffered = bench.handle().stats().total().buffered;
        assert!(buffered <= MOST_BUFFERED, "{buffered} bytes are kept for one connection");
    }
    bench.take_window(server, usize::MAX);
    got.extend(bench.output(server));

    let Caller { has_opened, longest, ref subprotocol, .. } = *bench.handler();
    assert!(longest <= plan.max_message(), "a message of {longest} bytes");
    assert!(has_opened || plan.brings_answer(), "it must open: {:?}", sent.escape_ascii().to_string());
    let is_offered = |name: &str| plan.offers_protocol() && matches!(name, "chat" | "other");
    assert!(subprotocol.as_deref().is_none_or(is_offered), "{subprotocol:?}");
    assert!(has_opened || got.is_empty(), "no word before it is open: {:?}", got.escape_ascii().to_string());
    let answer = has_opened.then(|| Answer::find(&sent, &accept));
    let expected = answer.as_ref().map(|answer| plan.expected(answer));
    let read = |got: &[u8]| {
        let deflate = answer.as_ref().and_then(|answer| answer.deflate(plan.has_contexts()));
        wire::read_client(got, deflate.map(|deflate| deflate.ours))
            .unwrap_or_else(|error| panic!("{error}: {:?}", got.escape_ascii().to_string()))
    };
    if let Some(expected) = &expected {
        compare(&read(&got), expected);
    }

    let says_last = matches!(read(&got).last(), Some(Seen::Close(..)));
    let was_over = says_last || bench.output_ended(server) || bench.closed(server).is_some();
    if says_last {
        assert!(bench.output_ended(server) || bench.output_reset(server), "no FIN behind the last word");
    }
    end(&mut bench, server, plan.has_fin());
    let after = bench.output(server);
    assert!(after.is_empty() || !was_over, "after the end: {:?}", after.escape_ascii().to_string());
    got.extend(after);
    read(&got);
    plan.look(bench.handler(), expected.as_deref());
}

/// More than the largest message (with its head, in storage of twice the size), its echo, and the blocks that rings come in.
const MOST_BUFFERED: u64 = 64 << 10;

/// The server falls silent, with or without FIN, and later is gone.
fn end(bench: &mut Bench<Caller>, server: ConnId, has_fin: bool) {
    if has_fin {
        bench.eof(server);
    } else {
        bench.input(server, b"\x81\0\x89\0");
    }
    bench.turn(Duration::from_secs(120));
    assert!(bench.closed(server).is_some(), "it is still there after two minutes");
    let total = bench.handle().stats().total();
    assert_eq!((total.connections, total.buffered), (0, 0));
}

/// Echoes; a word of its own ends the connection.
#[derive(Default)]
struct Caller {
    greets: bool,
    has_opened: bool,
    subprotocol: Option<String>,
    longest: usize,
    /// Why it closed, and whether it had opened.
    closed: Option<(CloseReason, bool)>,
}

impl Handler for Caller {
    type Session = ();

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
        self.has_opened = true;
        self.subprotocol = conn.subprotocol().map(str::to_owned);
        if self.greets {
            conn.send(GREETING);
        }
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        assert!(self.has_opened && self.closed.is_none());
        self.longest = self.longest.max(message.bytes().len());
        let is_last = message.bytes() == LAST_WORD;
        conn.send(message);
        if is_last { Action::Finish } else { Action::Continue }
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        assert_eq!(self.closed, None, "closed twice");
        self.closed = Some((*closed.reason(), closed.opened()));
    }
}

const GREETING: &str = "hello, hello, hello";

struct Plan {
    choices: u16,
    seed: u16,
}

impl Plan {
    fn has(&self, bit: u16) -> bool {
        self.choices & 1 << bit != 0
    }

    fn has_deflate(&self) -> bool {
        self.has(0)
    }

    fn has_contexts(&self) -> bool {
        self.has(1)
    }

    fn brings_answer(&self) -> bool {
        self.has(2)
    }

    fn is_slow(&self) -> bool {
        self.has(4)
    }

    fn has_fin(&self) -> bool {
        self.has(5)
    }

    fn max_message(&self) -> usize {
        if self.has(6) { 125 } else { 4096 }
    }

    fn max_fragments(&self) -> usize {
        if self.has(7) { 2 } else { 1024 }
    }

    fn max_controls(&self) -> usize {
        if self.has(8) { 3 } else { 65_535 }
    }

    fn max_frame(&self) -> Option<usize> {
        self.has(9).then_some(200)
    }

    fn offers_protocol(&self) -> bool {
        self.has(10)
    }

    fn greets(&self) -> bool {
        self.has(12)
    }

    fn connect(&self) -> Connect {
        let mut socket = WebSocket::new()
            .max_message(self.max_message())
            .max_fragments(self.max_fragments())
            .max_controls(self.max_controls())
            .max_head(1024)
            .max_headers(12);
        if let Some(bytes) = self.max_frame() {
            socket = socket.max_frame(bytes);
        }
        if self.has_deflate() {
            let deflate = Deflate::new().threshold(if self.has(13) { 0 } else { 64 });
            socket = socket.deflate(deflate.own_contexts(usize::from(self.has_contexts())));
        }
        if self.offers_protocol() {
            socket = socket.subprotocol("chat").subprotocol("other");
        }
        let connect = Connect::to("ws://192.0.2.1:8080/path?query").framing(Framing::websocket(socket));
        if self.is_slow() { connect.water_marks(20, 200, 1 << 20) } else { connect }
    }

    /// The key of the right answer to this request, which is all that has come, and well-formed.
    fn accept_of(&self, request: &[u8]) -> String {
        let text = str::from_utf8(request).expect("a request is ASCII");
        let head = text.strip_suffix("\r\n\r\n").expect("one head, and nothing behind it");
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some("GET /path?query HTTP/1.1"));
        let fields: Vec<_> = lines.map(|line| line.split_once(": ").expect("a field")).collect();
        let one = |name: &str| {
            let mut values = fields.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value);
            let first = values.next();
            assert!(values.next().is_none(), "{name} more than once");
            first
        };
        assert_eq!(one("Host"), Some("192.0.2.1:8080"));
        assert_eq!((one("Upgrade"), one("Connection")), (Some("websocket"), Some("Upgrade")));
        assert_eq!(one("Sec-WebSocket-Version"), Some("13"));
        assert_eq!(one("Sec-WebSocket-Protocol"), self.offers_protocol().then_some("chat, other"));
        assert_eq!(one("Sec-WebSocket-Extensions").is_some(), self.has_deflate());
        let accept = accept_key(one("Sec-WebSocket-Key").expect("a key"));
        String::from_utf8(accept.to_vec()).expect("base64")
    }

    /// An answer that opens it, unless the input is to bring its own; and frames: with their lengths from here, unless it
    /// brings its own too. In what it brings, the answer to the standard's own key is put right.
    fn bytes(&self, mut input: Input<'_>, accept: &str) -> Vec<u8> {
        if self.brings_answer() {
            return replaced(input.rest(), SAMPLE, accept.as_bytes());
        }
        let mut head = String::new();
        if self.has(11) {
            head.push_str("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
        head.push_str("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        head.push_str(&format!("Sec-WebSocket-Accept: {accept}\r\n"));
        if self.offers_protocol() {
            head.push_str("Sec-WebSocket-Protocol: chat\r\n");
        }
        head.push_str(self.extensions());
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if self.has(3) {
            bytes.extend_from_slice(input.rest());
        }
        while !input.is_empty() {
            let (first, len) = (input.byte(), usize::from(input.byte()));
            let payload = input.take(len);
            bytes.push(first);
            match payload.len() as u8 {
                len @ 0..126 => bytes.push(len),
                len => bytes.extend_from_slice(&[126, 0, len]),
            }
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    /// What a server may choose of what is offered.
    fn extensions(&self) -> &'static str {
        match (self.has_deflate(), self.has_contexts(), self.choices >> 14) {
            (false, ..) | (.., 0) => "",
            (_, true, 1) => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            (_, true, 2) => "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n",
            (_, false, 2) => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=9\r\n"
            }
            _ => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover\r\n"
            }
        }
    }

    /// What the server is to be told, by the protocol alone.
    fn expected(&self, answer: &Answer<'_>) -> Vec<Seen> {
        let rules = Rules {
            role: Role::Client,
            max_message: self.max_message(),
            max_frame: self.max_frame().unwrap_or(usize::MAX),
            max_fragments: self.max_fragments() as u32,
        };
        let deflate = answer.deflate(self.has_contexts()).map(|deflate| deflate.theirs);
        let greeting =
            Seen::Message { is_text: true, is_compressed: false, payload: GREETING.as_bytes().to_vec() };
        let echo = Echo { rules, max_controls: self.max_controls(), deflate };
        self.greets().then_some(greeting).into_iter().chain(echo.answers(answer.frames)).collect()
    }

    /// It closed once, for the reason that the documentation gives.
    fn look(&self, caller: &Caller, expected: Option<&[Seen]>) {
        let Some((reason, has_opened)) = caller.closed else { panic!("no close was told") };
        assert_eq!(has_opened, caller.has_opened);
        let silence = if self.has_fin() { CloseReason::Peer { code: None } } else { CloseReason::Idle };
        let is_of_its_end =
            |reason: &_| matches!(reason, CloseReason::Protocol | CloseReason::Peer { code: Some(_) });
        let because = match expected.map(<[Seen]>::last) {
            None if self.has_fin() && reason == silence => silence,
            None => CloseReason::Handshake,
            Some(Some(Seen::Failed(_))) => CloseReason::Protocol,
            // The codes that the engine sends of itself are for the peer's, and for the last word.
            Some(Some(Seen::Close(..))) if caller.ended_itself(expected) => CloseReason::Local,
            Some(Some(Seen::Close(code, _))) => CloseReason::Peer { code: Some(code.unwrap_or(1005)) },
            // What comes last may be out of place behind half a message, or the rest of half a close.
            Some(_) if !self.has_fin() && is_of_its_end(&reason) => reason,
            Some(_) => silence,
        };
        // Who waits in vain for a FIN says so.
        let waits = !self.has_fin() && reason == CloseReason::CloseTimeout;
        assert!(reason == because || waits, "closed by {reason:?}, not {because:?}");
    }
}

impl Caller {
    /// Whether it was the handler's own last word that the close frame follows.
    fn ended_itself(&self, expected: Option<&[Seen]>) -> bool {
        let before = expected.and_then(|all| all.iter().rev().nth(1));
        matches!(before, Some(Seen::Message { payload, .. }) if payload == LAST_WORD)
    }
}

/// The answer to the standard's own key (RFC 6455, 1.3).
const SAMPLE: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn replaced(bytes: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut replaced = bytes.to_vec();
    let places: Vec<_> =
        (0..bytes.len().saturating_sub(what.len() - 1)).filter(|&at| bytes[at..].starts_with(what)).collect();
    for at in places {
        replaced[at..at + what.len()].copy_from_slice(by);
    }
    replaced
}

/// The head that opened it, and what is behind.
struct Answer<'a> {
    extensions: Vec<String>,
    frames: &'a [u8],
}

/// Whether a compressor remembers earlier messages.
struct Contexts {
    theirs: bool,
    ours: bool,
}

impl<'a> Answer<'a> {
    /// # Panics
    /// When there is none among these bytes that may open a WebSocket.
    fn find(sent: &'a [u8], accept: &str) -> Answer<'a> {
        let mut rest = sent;
        loop {
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head that ends");
            let head = String::from_utf8_lossy(&rest[..end]).trim_start().to_owned();
            rest = &rest[end + 4..];
            let (status, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
            let status = status.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1");
            if !status.starts_with("101") {
                assert!(status.starts_with('1'), "opened by {status:?}");
                continue;
            }
            let values = |name: &str| -> Vec<String> {
                let fields = fields.split("\r\n").filter_map(|line| line.split_once(':'));
                let named = fields.filter(|(other, _)| other.eq_ignore_ascii_case(name));
                named.map(|(_, value)| value.trim().to_owned()).collect()
            };
            assert_eq!(values("Sec-WebSocket-Accept"), [accept]);
            assert!(values("Upgrade").iter().all(|to| to.to_ascii_lowercase().contains("websocket")));
            assert!(values("Connection").iter().any(|to| to.to_ascii_lowercase().contains("upgrade")));
            return Answer { extensions: values("Sec-WebSocket-Extensions"), frames: rest };
        }
    }

    /// What was agreed on about compression, where one that has contexts was offered, or none.
    fn deflate(&self, contexts: bool) -> Option<Contexts> {
        let all = self.extensions.join(", ").to_ascii_lowercase();
        all.contains("permessage-deflate").then(|| Contexts {
            theirs: !all.contains("server_no_context_takeover"),
            ours: contexts && !all.contains("client_no_context_takeover"),
        })
    }
}
