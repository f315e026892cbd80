mod asking;
mod frames;

pub(crate) use self::frames::Frames;
use super::Deflate;
use crate::{
    Error, Result,
    options::{self, Options},
};

/// WebSocket (RFC 6455): what a listener takes and answers, or what one who dials asks for.
///
/// A listener on `ws://` has it at its defaults. Requests that ask for no WebSocket are answered by
/// [`Handler::on_request`](crate::Handler::on_request) too.
///
/// ```
/// use wheelhouse::{Deflate, Framing, Listener, WebSocket};
///
/// let socket = WebSocket::new().max_message(64 << 10).deflate(Deflate::new());
/// let listener = Listener::new("ws://127.0.0.1:0").framing(Framing::websocket(socket));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    max_message: usize,
    max_frame: Option<usize>,
    max_fragments: usize,
    max_head: usize,
    max_headers: usize,
    controls: usize,
    deflate: Option<Deflate>,
    origin: Option<String>,
    subprotocols: Vec<String>,
    headers: Vec<(String, String)>,
}

impl Default for WebSocket {
    fn default() -> Self {
        WebSocket {
            max_message: options::MAX_MESSAGE.default_size(),
            max_frame: None,
            max_fragments: options::MAX_FRAGMENTS.default_size(),
            max_head: options::MAX_HEAD.default_size(),
            max_headers: options::MAX_HEADERS.default_size(),
            controls: options::MAX_CONTROLS.default_size(),
            deflate: None,
            origin: None,
            subprotocols: Vec::new(),
            headers: Vec::new(),
        }
    }
}

/// # What is taken
impl WebSocket {
    /// Everything at its default.
    pub fn new() -> Self {
        WebSocket::default()
    }

    /// The largest message, in bytes: all its fragments together, inflated where it is compressed. A larger one is answered
    /// with close code 1009, before what is too much of it is kept. 1 MiB by default, 125 B to 64 MiB.
    ///
    /// Compressed, it may take more on the wire than that, for not every message gets smaller: an eighth and a 64th more,
    /// 64 B, and 10 B for each of its fragments, which is as much as compressors add at worst.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, Listener, ListenerId, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let small = Framing::websocket(WebSocket::new().max_message(1000));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(small);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// bench.message(client, vec![0; 1000]);
    /// assert!(bench.closed(client).is_none());
    /// bench.message(client, vec![0; 1001]);
    /// assert!(bench.output(client).windows(2).any(|code| code == 1009u16.to_be_bytes()));
    /// ```
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The largest frame, in bytes of payload as they are on the wire: a whole message, or one fragment. A larger one is
    /// answered with close code 1009 at its header, before any of it is kept. Off by default: a frame may be as large as its
    /// [message](WebSocket::max_message). 125 B to 64 MiB; what is more than `max_message` changes nothing but for messages
    /// that compression makes larger. What is sent is not cut to it.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, Listener, ListenerId, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// // Messages of 1 MiB, but in pieces of 1,000 bytes.
    /// let pieces = Framing::websocket(WebSocket::new().max_frame(1000));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(pieces);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// for first in [b"\x02", b"\x80"] {
    ///     bench.input(client, &[&first[..], b"\xfe\x03\xe8\0\0\0\0", &[7; 1000]].concat());
    /// }
    /// assert!(bench.output(client).ends_with(&[7; 2000])); // in one frame: what is sent has no such limit
    /// bench.input(client, b"\x82\xfe\x03\xe9"); // of a larger one no more than the length
    /// assert!(bench.output(client).windows(2).any(|code| code == 1009u16.to_be_bytes()));
    /// ```
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = Some(bytes);
        self
    }

    /// The most fragments of one message; more are answered with close code 1008. 1,024 by default, 1 to 1,048,576.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, Listener, ListenerId, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let coarse = Framing::websocket(WebSocket::new().max_fragments(2));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(coarse);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// bench.input(client, b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b"); // in two
    /// assert!(bench.output(client).ends_with(b"\x81\x02ab"));
    /// bench.input(client, b"\x01\x81\0\0\0\0a\x00\x81\0\0\0\0b\x80"); // and the first byte of a third
    /// assert!(bench.output(client).windows(2).any(|code| code == 1008u16.to_be_bytes()));
    /// ```
    pub fn max_fragments(mut self, fragments: usize) -> Self {
        self.max_fragments = fragments;
        self
    }

    /// The most pings, pongs and closes that a peer may send in a second; more are answered with close code 1008. 100 by
    /// default, 1 to 65,535.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, Listener, ListenerId, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let calm = Framing::websocket(WebSocket::new().max_controls(3));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(calm);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// bench.output(client);
    /// bench.input(client, &b"\x89\x80\0\0\0\0".repeat(3));
    /// assert_eq!(bench.output(client), b"\x8a\0".repeat(3)); // three pongs
    /// bench.input(client, b"\x89\x80\0\0\0\0");
    /// assert!(bench.output(client).windows(2).any(|code| code == 1008u16.to_be_bytes()));
    /// ```
    pub fn max_controls(mut self, in_a_second: usize) -> Self {
        self.controls = in_a_second;
        self
    }

    /// The largest request, or answer to one: its first line and all headers, in bytes, those of interim answers before it
    /// included. A larger request is answered with status 431. 16 KiB by default, 256 B to 16 MiB.
    ///
    /// A head is read as a whole, so it may not be larger than the [`read_buffer`](crate::Builder::read_buffer): who makes
    /// that one smaller than 16 KiB, or wants longer heads than it has, sets both.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, Listener, ListenerId, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// let brief = Framing::websocket(WebSocket::new().max_head(256));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(brief);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, format!("GET /{} HTTP/1.1\r\n", "x".repeat(300)).as_bytes());
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 431 "));
    ///
    /// let error = Engine::builder().listen("ws://127.0.0.1:0").read_buffer(4096).build(|_| Echo).err();
    /// assert_eq!(
    ///     error.map(|error| error.to_string()).as_deref(),
    ///     Some("option `max_head`: 16384 with a `read_buffer` of 4096 is not allowed; allowed: 256 to 4096 bytes per request")
    /// );
    /// ```
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes;
        self
    }

    /// The most headers in it; more are answered with status 431. 100 by default, 8 to 1,000.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, Listener, ListenerId, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// let brief = Framing::websocket(WebSocket::new().max_headers(8));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(brief);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, format!("GET / HTTP/1.1\r\n{}\r\n", "X-Again: and again\r\n".repeat(9)).as_bytes());
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 431 "));
    /// ```
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.max_headers = headers;
        self
    }

    /// Compresses messages where the peer can do so too (RFC 7692); off by default.
    ///
    /// ```
    /// use wheelhouse::{Deflate, Engine, Framing, Listener, ListenerId, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Extensions: permessage-deflate\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let socket = Framing::websocket(WebSocket::new().deflate(Deflate::new()));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(socket);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO); // offers permessage-deflate
    /// bench.output(client);
    /// bench.message(client, "hello ".repeat(1000));
    /// let frame = bench.output(client); // 6,000 bytes are echoed
    /// assert!(frame[0] == 0xc1 && frame.len() < 100); // text, compressed
    /// ```
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }
}

impl WebSocket {
    pub(super) fn validate(&self) -> Result<()> {
        options::MAX_MESSAGE.check(self.max_message as u64)?;
        self.max_frame.map_or(Ok(()), |bytes| options::MAX_FRAME.check(bytes as u64))?;
        options::MAX_FRAGMENTS.check(self.max_fragments as u64)?;
        options::MAX_CONTROLS.check(self.controls as u64)?;
        options::MAX_HEAD.check(self.max_head as u64)?;
        options::MAX_HEADERS.check(self.max_headers as u64)?;
        if let Some(deflate) = &self.deflate {
            deflate.validate()?;
        }
        self.hello("localhost", "/").map(drop)
    }

    /// A head is looked at where it was read.
    pub(super) fn fits(&self, options: &Options) -> Result<()> {
        let (most, known) = (options.read_buffer, options::MAX_HEAD);
        if self.max_head <= most {
            return Ok(());
        }
        Err(Error::BadOption {
            option: known.name,
            value: format!("{} with a `read_buffer` of {most}", self.max_head),
            allowed: format!("{} to {most} {}", known.min, known.unit),
        })
    }
}
