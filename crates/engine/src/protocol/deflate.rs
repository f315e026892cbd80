use wheelhouse_websocket::deflate;

use crate::{Result, options};

/// permessage-deflate (RFC 7692): one compressor and one inflater for all connections of a reactor, nothing kept between
/// messages, nothing per connection; or some with [contexts of their own](Deflate::own_contexts).
///
/// ```
/// use wheelhouse::Deflate;
///
/// let small_but_slow = Deflate::new().level(6).threshold(128);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    level: u32,
    threshold: usize,
    contexts: usize,
    window_bits: u32,
}

impl Default for Deflate {
    fn default() -> Self {
        Deflate {
            level: options::DEFLATE_LEVEL.default_size() as u32,
            threshold: options::DEFLATE_THRESHOLD.default_size(),
            contexts: options::DEFLATE_CONTEXTS.default_size(),
            window_bits: options::DEFLATE_WINDOW.default_size() as u32,
        }
    }
}

impl Deflate {
    /// Everything at its default.
    pub fn new() -> Self {
        Deflate::default()
    }

    /// How hard to try: 1 by default, 0 (not at all) to 9.
    ///
    /// ```
    /// use wheelhouse::{Deflate, Engine, Error, Framing, Listener, WebSocket};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let listener = |level| {
    ///     let socket = WebSocket::new().deflate(Deflate::new().level(level));
    ///     Listener::new("ws://127.0.0.1:0").framing(Framing::websocket(socket))
    /// };
    /// assert!(Engine::builder().listen(listener(9)).build(|_| Silent).is_ok());
    /// let error = Engine::builder().listen(listener(10)).build(|_| Silent).err();
    /// assert!(matches!(error, Some(Error::BadOption { option: "deflate level", .. })));
    /// ```
    pub fn level(mut self, level: u32) -> Self {
        self.level = level;
        self
    }

    /// Smaller messages go as they are; 512 B by default, up to 64 MiB.
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
    /// let socket = Framing::websocket(WebSocket::new().deflate(Deflate::new().threshold(100)));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(socket);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO); // offers permessage-deflate
    /// bench.output(client);
    /// bench.message(client, "x".repeat(99));
    /// assert_eq!(bench.output(client).len(), 2 + 99);
    /// bench.message(client, "x".repeat(100));
    /// let frame = bench.output(client);
    /// assert!(frame[0] == 0xc1 && frame.len() < 20); // text, compressed
    /// ```
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// So many connections of each reactor remember earlier messages, and compress better for it, at some 430 KB each; those
    /// that come when all places are taken do not. One who dials takes a place when it offers that, and gives it back when the
    /// server declines. None by default, up to 65,536. What is compressed so has to be sent: a message that might be over the
    /// queue's limit when it is (an eighth and a 64th larger at worst, and 74 B) is refused before.
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
    /// let deflate = Deflate::new().threshold(0).own_contexts(1);
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(Framing::websocket(WebSocket::new().deflate(deflate)));
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let (remembers, forgets) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(0)));
    /// let sizes = [remembers, forgets].map(|client| {
    ///     bench.input(client, HELLO); // offers permessage-deflate
    ///     bench.handle().send(client, "have you heard the news?").expect("room");
    ///     bench.output(client);
    ///     bench.handle().send(client, "have you heard the news?").expect("room"); // once more
    ///     bench.output(client).len()
    /// });
    /// assert!(0 < sizes[0] && sizes[0] < sizes[1], "{sizes:?}");
    /// ```
    pub fn own_contexts(mut self, most: usize) -> Self {
        self.contexts = most;
        self
    }

    /// How far back either end looks for what it has sent before, as a power of two: 15 by default, for 32 KiB, and 9 to 15.
    /// A listener compresses with that window or the smaller one that was asked for, and tells those that can be told
    /// (`client_max_window_bits`) to keep to it; the others have 15. One who dials offers it for both directions, and a server
    /// that takes the offer without it has failed the handshake. An offer of `server_max_window_bits=8` is declined whatever
    /// this is: zlib has no such window.
    ///
    /// It is there for peers with little memory: they need this window for what they inflate. Here a reactor's compressor takes
    /// 245 KiB with 9 bits instead of 371, and there is one for each window in use; the inflater takes 46 whatever was
    /// agreed on, shared by all that have no [contexts of their own](Deflate::own_contexts). What repeats itself farther apart
    /// than the window is compressed worse.
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
    /// #     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let socket = Framing::websocket(WebSocket::new().deflate(Deflate::new().window_bits(10)));
    /// let listener = Listener::new("ws://127.0.0.1:0").framing(socket);
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO); // offers `permessage-deflate; client_max_window_bits`
    /// let answer = String::from_utf8(bench.output(client)).expect("headers");
    /// assert!(answer.contains("; server_max_window_bits=10; client_max_window_bits=10\r\n"), "{answer}");
    /// ```
    pub fn window_bits(mut self, bits: u32) -> Self {
        self.window_bits = bits;
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        options::DEFLATE_LEVEL.check(self.level.into())?;
        options::DEFLATE_THRESHOLD.check(self.threshold as u64)?;
        options::DEFLATE_CONTEXTS.check(self.contexts as u64)?;
        options::DEFLATE_WINDOW.check(self.window_bits.into())
    }

    pub(crate) fn config(&self, own_contexts: bool) -> deflate::Config {
        deflate::Config { level: self.level, own_contexts, window_bits: self.window_bits as u8 }
    }

    pub(crate) fn most_contexts(&self) -> usize {
        self.contexts
    }

    pub(crate) fn level_of(&self) -> u32 {
        self.level
    }

    /// Whether a message of that size is worth it.
    pub(crate) fn is_worth(&self, bytes: usize) -> bool {
        bytes >= self.threshold
    }
}
