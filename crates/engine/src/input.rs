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
