use std::time::Duration;

use wheelhouse::{
    Action, Conn, ConnId, Deflate, Engine, Framing, Handler, Listener, ListenerId, Message, Reply, Request,
    WebSocket, testing::Bench,
};
use wheelhouse_websocket::{Role, Rules, mask};

use crate::{
    echo::{Echo, LAST_WORD, compare},
    frames::Seen,
    input::Input,
    pieces::Pieces,
    wire,
};

/// Whatever a client sends, and however it is cut, what it gets is well-formed HTTP and frames; is what the protocol alone
/// makes of the same bytes; and is nothing any more after a close. The connection ends when its time is up, and leaves no
/// buffer behind.
///
/// The first two bytes choose the circumstances, the next two the cuts.
///
/// # Panics
/// Where that does not hold.
pub fn server(data: &[u8]) {
    let mut input = Input::new(data);
    let plan = Plan { choices: input.short(), seed: input.short() };
    let sent = plan.bytes(input);
    let mut bench = Bench::with_options(Engine::builder().listen(plan.listener()), |_| Site);
    let client = bench.open_on(ListenerId(0));
    bench.answer_fin(client, false);
    if plan.is_slow() {
        bench.take_window(client, 0);
    }

    let mut got = Vec::new();
    for (nth, piece) in Pieces::new(&sent, plan.seed).enumerate() {
        bench.input(client, piece);
        let answer = if nth % 4 == 3 { Reply::accept() } else { Reply::later() };
        if nth % 2 == 1 {
            bench.handle().answer(client, answer);
        }
        if plan.is_slow() {
            bench.take_window(client, nth * 7 % 50);
        }
        got.extend(bench.output(client));
        let buffered = bench.handle().stats().total().buffered;
        assert!(buffered <= MOST_BUFFERED, "{buffered} bytes are kept for one connection");
    }
    bench.handle().answer(client, Reply::accept());
    bench.take_window(client, usize::MAX);
    got.extend(bench.output(client));

    let is_head = sent.starts_with(b"HEAD ") || sent.starts_with(b"\r\nHEAD ");
    let read = |got: &[u8]| match wire::read(got, is_head) {
        Ok(sent) => sent,
        Err(error) => panic!("{error}: {:?}", got.escape_ascii().to_string()),
    };
    let before = read(&got);
    if let Some(frames) = &before.frames {
        plan.compare(&sent, &got, frames);
    }
    let was_over = before.is_over || bench.output_ended(client) || bench.closed(client).is_some();
    if before.is_over {
        assert!(bench.output_ended(client) || bench.output_reset(client), "no FIN behind the last word");
    }
    end(&mut bench, client, plan.has_fin());
    let after = bench.output(client);
    assert!(after.is_empty() || !was_over, "after the end: {:?}", after.escape_ascii().to_string());
    got.extend(after);
    read(&got);
}

/// More than the largest message (with its head, in storage of twice the size), its echo, and the blocks that rings come in.
const MOST_BUFFERED: u64 = 64 << 10;

/// The client falls silent, with or without FIN, and later is gone.
fn end(bench: &mut Bench<Site>, client: ConnId, has_fin: bool) {
    if has_fin {
        bench.eof(client);
    } else {
        bench.input(client, b"\x81\x80\0\0\0\0\x89\x80\0\0\0\0");
    }
    bench.turn(Duration::from_secs(120));
    assert!(bench.closed(client).is_some(), "it is still there after two minutes");
    let total = bench.handle().stats().total();
    assert_eq!((total.connections, total.buffered, total.panics), (0, 0, 0));
}

/// Echoes; a word of its own ends the connection.
struct Site;

impl Handler for Site {
    type Session = ();

    fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), request: &Request<'_>) -> Reply {
        let _ = (request.query("a"), request.cookie("a"), request.is_same_origin(false));
        match request.path() {
            "/page" => Reply::status(200)
                .header("X-Query", request.query("a").unwrap_or_default())
                .body("a/b", "page"),
            "/later" => Reply::later().within(Duration::from_secs(5)),
            _ => Reply::accept().subprotocol(request.protocols().last().unwrap_or("none")),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        let is_last = message.bytes() == LAST_WORD;
        conn.send(message);
        if is_last { Action::Finish } else { Action::Continue }
    }
}

struct Plan {
    choices: u16,
    seed: u16,
}

impl Plan {
    fn has(&self, bit: u16) -> bool {
        self.choices & 1 << bit != 0
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

    fn max_frame(&self) -> Option<usize> {
        self.has(11).then_some(200)
    }

    fn max_fragments(&self) -> usize {
        if self.has(7) { 2 } else { 1024 }
    }

    fn max_controls(&self) -> usize {
        if self.has(8) { 3 } else { 65_535 }
    }

    fn listener(&self) -> Listener {
        let mut socket = WebSocket::new()
            .max_message(self.max_message())
            .max_fragments(self.max_fragments())
            .max_controls(self.max_controls())
            .max_head(1024)
            .max_headers(12);
        if let Some(bytes) = self.max_frame() {
            socket = socket.max_frame(bytes);
        }
        if self.has(0) {
            let deflate = Deflate::new().threshold(if self.has(9) { 0 } else { 64 });
            socket = socket.deflate(deflate.own_contexts(usize::from(self.has(1))));
        }
        let listener = Listener::new("ws://127.0.0.1:0").framing(Framing::websocket(socket));
        if self.is_slow() { listener.water_marks(20, 200, 1 << 20) } else { listener }
    }

    /// A request, unless the input is to bring its own; and frames: masked here, unless it brings its own too.
    fn bytes(&self, mut input: Input<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.has(2) {
            bytes.extend_from_slice(b"GET ");
            bytes.extend_from_slice(if self.has(10) { b"/later" } else { b"/" });
            bytes.extend_from_slice(REQUEST);
            bytes.extend_from_slice(if self.has(0) { OFFER } else { b"\r\n" });
        }
        if self.has(3) {
            bytes.extend_from_slice(input.rest());
        }
        while !input.is_empty() {
            let (first, len) = (input.byte(), usize::from(input.byte()));
            let mut payload = input.take(len).to_vec();
            let len = payload.len() as u8;
            bytes.push(first);
            match len {
                0..126 => bytes.push(0x80 | len),
                _ => bytes.extend_from_slice(&[0xFE, 0, len]),
            }
            let key = [first, 0xA5, len, 0x3C];
            bytes.extend_from_slice(&key);
            mask(&mut payload, key);
            bytes.extend_from_slice(&payload);
        }
        bytes
    }

    /// What came is what the protocol alone makes of these bytes.
    fn compare(&self, sent: &[u8], got: &[u8], frames: &[Seen]) {
        let head_of = |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let (Some(request), Some(answer)) = (head_of(sent), head_of(got)) else {
            panic!("a WebSocket without heads")
        };
        let answer = String::from_utf8_lossy(&got[..answer]).to_ascii_lowercase();
        let has_deflate = answer.contains("permessage-deflate");
        let keeps_context = has_deflate && !answer.contains("client_no_context_takeover");

        let rules = Rules {
            role: Role::Server,
            max_message: self.max_message(),
            max_frame: self.max_frame().unwrap_or(usize::MAX),
            max_fragments: self.max_fragments() as u32,
        };
        let echo =
            Echo { rules, max_controls: self.max_controls(), deflate: has_deflate.then_some(keeps_context) };
        compare(frames, &echo.answers(&sent[request..]));
    }
}

const REQUEST: &[u8] = b" HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const OFFER: &[u8] = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
