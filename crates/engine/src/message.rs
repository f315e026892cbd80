use bytes::Bytes;

/// Bytes that came from a peer and that nobody has taken yet.
///
/// `'a` is the reactor's read buffer, never the connection: what is taken can be sent on, to this connection or another,
/// without a copy. What a callback leaves stays with the engine and is offered again, in front of what comes next.
///
/// ```
/// use wheelhouse::Input;
///
/// let mut bytes = *b"\x03abcrest";
/// let mut input = Input::new(&mut bytes);
/// input.skip(1);
/// assert_eq!(input.take_mut(3), b"abc");
/// assert_eq!(input.peek(), b"rest");
/// assert_eq!(input.take(), b"rest");
/// assert!(input.is_empty());
/// ```
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a mut [u8],
    scratch: Option<&'a mut Vec<u8>>,
}

impl<'a> Input<'a> {
    /// An input over these bytes, without scratch; for testing a [`Protocol`](crate::Protocol).
    ///
    /// ```
    /// use wheelhouse::{Decoded, Input, LengthDelimited, Protocol};
    ///
    /// let mut bytes = *b"\x05hel";
    /// let decoded = LengthDelimited::u8().protocol()?.decode(&mut 0, &mut Input::new(&mut bytes));
    /// assert!(matches!(decoded, Ok(Decoded::Need(6))));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Input { bytes, scratch: None }
    }

    /// An input with room for what a protocol inflates or joins.
    ///
    /// ```
    /// use wheelhouse::Input;
    ///
    /// let (mut bytes, mut scratch) = (*b"cba", Vec::new());
    /// let mut input = Input::with_scratch(&mut bytes, &mut scratch);
    /// let unfolded = input.scratch().expect("once");
    /// unfolded.extend(input.take().iter().rev());
    /// assert_eq!(unfolded, b"abc");
    /// assert!(input.scratch().is_none());
    /// ```
    pub fn with_scratch(bytes: &'a mut [u8], scratch: &'a mut Vec<u8>) -> Self {
        Input { bytes, scratch: Some(scratch) }
    }

    /// The bytes, in one piece.
    ///
    /// ```
    /// use wheelhouse::Input;
    ///
    /// let mut bytes = *b"GET /";
    /// let mut input = Input::new(&mut bytes);
    /// assert!(input.peek().starts_with(b"GET ")); // nothing is taken by looking
    /// input.skip(4);
    /// assert_eq!(input.peek(), b"/");
    /// ```
    pub fn peek(&self) -> &[u8] {
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none (left).
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all of them.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Input, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Pairs;
    /// # impl Handler for Pairs {
    /// #     type Session = ();
    /// fn on_data(&mut self, conn: &mut Conn<'_>, _: &mut (), input: &mut Input<'_>) -> Action {
    ///     if input.len() % 2 == 0 {
    ///         conn.send(input.take()); // else all of it is kept, and offered again
    ///     }
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Pairs);
    /// let client = bench.open(Framing::raw());
    /// bench.input(client, b"abc");
    /// assert_eq!(bench.output(client), b"");
    /// bench.input(client, b"d");
    /// assert_eq!(bench.output(client), b"abcd");
    /// ```
    pub fn take(&mut self) -> &'a [u8] {
        self.take_mut(self.bytes.len())
    }

    /// Takes the first `n`, which may be changed in place.
    ///
    /// ```
    /// use wheelhouse::Input;
    ///
    /// let mut bytes = *b"KEYsecret";
    /// let mut input = Input::new(&mut bytes);
    /// let key = input.take_mut(3).to_vec();
    /// let rest = input.take_mut(input.len());
    /// rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key); // without a copy
    /// assert_eq!(rest[..2], [b's' ^ b'K', b'e' ^ b'E']);
    /// ```
    ///
    /// # Panics
    /// When there are fewer.
    #[track_caller]
    pub fn take_mut(&mut self, n: usize) -> &'a mut [u8] {
        assert!(n <= self.bytes.len(), "{n} bytes asked for, {} there", self.bytes.len());
        let (head, tail) = std::mem::take(&mut self.bytes).split_at_mut(n);
        self.bytes = tail;
        head
    }

    /// Drops the first `n`.
    ///
    /// ```
    /// use wheelhouse::Input;
    ///
    /// let mut bytes = *b"\r\n\r\nhello";
    /// let mut input = Input::new(&mut bytes);
    /// let blank = input.peek().iter().take_while(|byte| b"\r\n".contains(byte)).count();
    /// input.skip(blank);
    /// assert_eq!(input.take(), b"hello");
    /// ```
    ///
    /// # Panics
    /// When there are fewer.
    #[track_caller]
    pub fn skip(&mut self, n: usize) {
        self.take_mut(n);
    }

    /// An empty buffer of the reactor's, for what a protocol inflates or joins; once per decode.
    ///
    /// ```
    /// use wheelhouse::Input;
    ///
    /// let mut bytes = *b"hello";
    /// assert!(Input::new(&mut bytes).scratch().is_none()); // without room there is none: fall back on a `Vec`
    /// ```
    pub fn scratch(&mut self) -> Option<&'a mut Vec<u8>> {
        self.scratch.take()
    }
}

/// What a message is, beside its bytes: text, binary, or a number of a protocol's own.
///
/// ```
/// use wheelhouse::Kind;
///
/// assert_eq!(Kind::custom(7).number(), Some(7));
/// assert_eq!(Kind::TEXT.number(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(u32);

impl Kind {
    /// Bytes without further meaning.
    pub const BINARY: Kind = Kind(0);
    /// Text.
    pub const TEXT: Kind = Kind(1);

    const CUSTOM: u32 = 0x1_0000;

    /// A kind of a protocol's own.
    ///
    /// ```
    /// use wheelhouse::{Decoded, Input, Kind, LengthDelimited, Protocol};
    ///
    /// const LOGIN: Kind = Kind::custom(0x0700);
    /// let mut bytes = *b"\x07\x00\0\0\0\x03Ann"; // a type, flags, a length
    /// let decoded = LengthDelimited::type_flags().protocol()?.decode(&mut 0, &mut Input::new(&mut bytes));
    /// assert!(matches!(decoded, Ok(Decoded::Message(message)) if message.kind() == LOGIN));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub const fn custom(number: u16) -> Kind {
        Kind(Self::CUSTOM | number as u32)
    }

    /// The number given to [`Kind::custom`].
    ///
    /// ```
    /// use wheelhouse::Kind;
    ///
    /// assert_eq!(Kind::custom(0).number(), Some(0));
    /// assert_eq!(Kind::BINARY.number(), None);
    /// ```
    pub const fn number(self) -> Option<u16> {
        if self.0 & Self::CUSTOM != 0 { Some(self.0 as u16) } else { None }
    }
}

/// One message from a peer, borrowed from the reactor's read buffer.
///
/// It can be sent as it is: a message is a [`Payload`].
///
/// ```
/// use wheelhouse::{Kind, Message};
///
/// let message = Message::new(Kind::TEXT, b"hello");
/// assert_eq!(message.text(), Some("hello"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    kind: Kind,
    body: &'a [u8],
    is_utf8: bool,
}

impl<'a> Message<'a> {
    /// A message of this kind.
    ///
    /// ```
    /// use wheelhouse::{Kind, Message};
    ///
    /// let login = Message::new(Kind::custom(7), b"Ann");
    /// assert_eq!((login.kind().number(), login.bytes()), (Some(7), &b"Ann"[..]));
    /// ```
    pub fn new(kind: Kind, body: &'a [u8]) -> Self {
        Message { kind, body, is_utf8: false }
    }

    /// One that a protocol has looked at: text is UTF-8.
    pub(crate) fn decoded(kind: Kind, body: &'a [u8], is_utf8: bool) -> Self {
        Message { kind, body, is_utf8 }
    }

    /// A message of bytes.
    pub fn binary(body: &'a [u8]) -> Self {
        Message::new(Kind::BINARY, body)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its bytes, without the protocol's framing.
    pub fn bytes(&self) -> &'a [u8] {
        self.body
    }

    /// Its bytes as text, if they are UTF-8; each call looks at all of them.
    ///
    /// ```
    /// use wheelhouse::Message;
    ///
    /// assert_eq!(Message::binary("héllo".as_bytes()).text(), Some("héllo")); // whatever its kind is
    /// assert_eq!(Message::binary(b"h\xe9llo").text(), None);
    /// ```
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.body).ok()
    }

    /// A copy of it that can go to another thread.
    ///
    /// ```
    /// use std::thread;
    /// use wheelhouse::{Kind, Message, Payload};
    ///
    /// let read_buffer = *b"hello";
    /// let payload: Payload<'static> = Message::new(Kind::TEXT, &read_buffer).to_payload();
    /// let elsewhere = thread::spawn(move || (payload.kind(), payload.bytes().len()));
    /// assert_eq!(elsewhere.join().expect("no panic"), (Kind::TEXT, 5));
    /// ```
    pub fn to_payload(&self) -> Payload<'static> {
        let body = Body::Shared(Bytes::copy_from_slice(self.body));
        Payload { kind: self.kind, is_utf8: self.is_utf8, is_incompressible: false, body }
    }
}

/// What is to be sent: borrowed bytes, or shared ones ([`Bytes`]), of which 1 KiB and more are queued without a copy, and their
/// [`Kind`].
///
/// ```
/// use wheelhouse::{Kind, Payload};
///
/// assert_eq!(Payload::from("text").kind(), Kind::TEXT);
/// assert_eq!(Payload::from(b"bytes").kind(), Kind::BINARY);
/// let numbered = Payload::from(vec![1, 2, 3]).with_kind(Kind::custom(9));
/// assert_eq!((numbered.kind(), numbered.bytes()), (Kind::custom(9), &[1, 2, 3][..]));
/// ```
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    kind: Kind,
    /// Known to be; others are looked at where it matters.
    is_utf8: bool,
    is_incompressible: bool,
    body: Body<'a>,
}

#[derive(Clone, Debug)]
pub(crate) enum Body<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
    /// A broadcast's, which its reactor's account of buffer memory holds once for all queues.
    Counted(Bytes),
}

impl Body<'_> {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Body::Borrowed(bytes) => bytes,
            Body::Shared(bytes) | Body::Counted(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }
}

impl<'a> Payload<'a> {
    /// The same bytes as another kind.
    ///
    /// ```
    /// use wheelhouse::{Kind, LengthDelimited, Output, Payload, Protocol};
    ///
    /// let login = Payload::from("Ann").with_kind(Kind::custom(0x0700));
    /// let mut wire = Vec::new();
    /// LengthDelimited::type_flags().protocol()?.encode(&login, &mut Output::new(&mut wire)).expect("it fits");
    /// assert_eq!(wire, b"\x07\x00\0\0\0\x03Ann");
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same, never to be compressed ([`Deflate`](crate::Deflate)): it is already, or it holds a secret beside what a
    /// stranger chose, whose length must not tell of it.
    ///
    /// ```
    /// use wheelhouse::Payload;
    ///
    /// let picture = Payload::from(vec![0x89, b'P', b'N', b'G']).incompressible();
    /// ```
    pub fn incompressible(mut self) -> Self {
        self.is_incompressible = true;
        self
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its bytes, without the protocol's framing.
    pub fn bytes(&self) -> &[u8] {
        self.body.bytes()
    }

    /// Whether it may be sent as text.
    #[inline]
    pub(crate) fn is_utf8(&self) -> bool {
        self.is_utf8 || simdutf8::basic::from_utf8(self.bytes()).is_ok()
    }

    pub(crate) fn is_incompressible(&self) -> bool {
        self.is_incompressible
    }

    pub(crate) fn into_body(self) -> Body<'a> {
        self.body
    }

    pub(crate) fn body(&self) -> &Body<'a> {
        &self.body
    }
}

macro_rules! payload_from {
    ($($from:ty, $kind:ident, $value:ident => $body:expr;)*) => { $(
        impl<'a> From<$from> for Payload<'a> {
            fn from($value: $from) -> Self {
                let kind = Kind::$kind;
                Payload { kind, is_utf8: kind == Kind::TEXT, is_incompressible: false, body: $body }
            }
        }
    )* }
}

payload_from! {
    &'a [u8], BINARY, bytes => Body::Borrowed(bytes);
    &'a Vec<u8>, BINARY, bytes => Body::Borrowed(bytes);
    &'a str, TEXT, text => Body::Borrowed(text.as_bytes());
    &'a String, TEXT, text => Body::Borrowed(text.as_bytes());
    Vec<u8>, BINARY, bytes => Body::Shared(bytes.into());
    String, TEXT, text => Body::Shared(text.into());
    Bytes, BINARY, bytes => Body::Shared(bytes);
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Payload::from(&bytes[..])
    }
}

impl<'a> From<Message<'a>> for Payload<'a> {
    fn from(message: Message<'a>) -> Self {
        let Message { kind, body, is_utf8 } = message;
        Payload { kind, is_utf8, is_incompressible: false, body: Body::Borrowed(body) }
    }
}

/// What became of a send, as far as it can be known at once: a corked payload has neither gone nor been refused by the
/// kernel.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, Sent, testing::Bench};
///
/// /// Counts to 100,000, as fast as its client reads.
/// struct Counting;
///
/// impl Handler for Counting {
///     type Session = u32;
///
///     fn on_writable(&mut self, conn: &mut Conn<'_>, next: &mut u32) -> Action {
///         while *next < 100_000 {
///             *next += 1;
///             match conn.send(next.to_string()) {
///                 Sent::Accepted => {}
///                 Sent::Full => return Action::Continue, // `on_writable` will come
///                 Sent::Refused(_) => return Action::Close,
///             }
///         }
///         Action::Finish
///     }
/// #     fn on_message(&mut self, conn: &mut Conn<'_>, next: &mut u32, _: Message<'_>) -> Action {
/// #         self.on_writable(conn, next)
/// #     }
/// }
///
/// let mut bench = Bench::new(|_| Counting);
/// let client = bench.open(Framing::lines(80));
/// bench.take_window(client, 0);
/// bench.message(client, "go"); // `on_message` begins as `on_writable` goes on
/// assert!(bench.session(client).is_some_and(|next| *next < 100_000));
/// bench.take_window(client, usize::MAX);
/// assert!(bench.output(client).ends_with(b"\n100000\n"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Taken; it leaves in order.
    Accepted,
    /// Taken, and the queue is over the high-water mark: `on_writable` will come once it is down to the low one.
    Full,
    /// Nothing of it was taken.
    Refused(Refusal),
}

/// Why nothing of a payload was taken.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, Refusal, Sent, testing::Bench};
/// # struct Outcomes(Vec<Sent>);
/// # impl Handler for Outcomes {
/// #     type Session = ();
/// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///     self.0.push(conn.send("two\nlines"));
///     self.0.push(conn.send(vec![b'x'; 64 << 20]));
///     conn.finish();
///     self.0.push(conn.send("too late"));
///     Action::Continue
/// }
/// # }
///
/// # let mut bench = Bench::new(|_| Outcomes(Vec::new()));
/// # let client = bench.open(Framing::lines(80));
/// # bench.message(client, "go");
/// let refused = [Refusal::NotEncodable, Refusal::OverLimit, Refusal::Closing];
/// assert_eq!(bench.handler().0, refused.map(Sent::Refused));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The connection is closing, its writing half is already closed, or nothing can be sent yet: its PROXY header or its
    /// WebSocket's request has not come or not been answered, or its TLS handshake is under way.
    Closing,
    /// With it the queue would exceed the listener's limit; larger than the limit itself, it can never be sent.
    OverLimit,
    /// The protocol cannot carry it: a newline in a line, a length that does not fit.
    NotEncodable,
}

impl Sent {
    /// Whether the queue is over the high-water mark.
    ///
    /// ```
    /// use wheelhouse::{Refusal, Sent};
    ///
    /// assert!(Sent::Full.is_full() && !Sent::Full.is_refused()); // taken all the same
    /// assert!(!Sent::Refused(Refusal::OverLimit).is_full());
    /// ```
    pub fn is_full(self) -> bool {
        matches!(self, Sent::Full)
    }

    /// Whether nothing of it was taken.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     if conn.send(message).is_refused() { Action::Close } else { Action::Continue }
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"a bare\rCR\n"); // is taken, and cannot be sent
    /// assert!(bench.closed(client).is_some());
    /// ```
    pub fn is_refused(self) -> bool {
        matches!(self, Sent::Refused(_))
    }
}

/// What a connection refuses when it is gone: a shorthand for the core.
pub(crate) const GONE: Sent = Sent::Refused(Refusal::Closing);
