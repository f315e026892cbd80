use std::ops::Range;

use crate::head::{Head, Look};
use crate::mask::turned;
use crate::plain::Rule;
use crate::shift::shift;
use crate::{CloseCode, Header, Opcode, Role, Rules, State, Violation, close_payload, mask, utf8};

/// What a peer sent.
///
/// ```
/// use wheelhouse_websocket::{CloseCode, Event, Pass, Role, Rules, State};
///
/// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
/// let mut bytes = *b"\x81\x02hi\x88\x05\x03\xe9bye";
/// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
/// let Some(Event::Message { is_text: true, payload, .. }) = pass.next()? else { panic!("a text came") };
/// assert_eq!(payload, b"hi");
/// assert_eq!(pass.next()?, Some(Event::Close(Some(CloseCode::GOING_AWAY), "bye")));
/// # Ok::<(), wheelhouse_websocket::Violation>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message, unmasked; text is UTF-8 unless it is compressed.
    Message {
        /// Text, and not binary.
        is_text: bool,
        /// To be inflated (and looked at for UTF-8) first.
        is_compressed: bool,
        /// Its bytes.
        payload: &'a mut [u8],
    },
    /// A message turned around, where [`Pass::turning`] asks for it: a frame as a server sends it, with its payload.
    Turned {
        /// Text, and not binary.
        is_text: bool,
        /// Bytes of the new header, in front of the payload.
        header: usize,
        /// The header, and the payload: unmasked, and UTF-8 if it is text.
        frame: &'a mut [u8],
    },
    /// To be answered with a pong of the same bytes, 125 at most.
    Ping(&'a [u8]),
    /// An answer to a ping, or unasked for.
    Pong(&'a [u8]),
    /// The closing handshake: code and reason, where there are any. Nothing that follows it counts.
    Close(Option<CloseCode>, &'a str),
}

/// One way through the bytes that came: what was kept from the last pass, and what was read since, in one
/// slice.
///
/// ```text
/// | joined payload | gap (headers gone by) | frames not looked at yet |
/// ```
///
/// A message that is whole in one frame is unmasked and lent where it lies. Fragments are unmasked, looked at
/// and joined as they come, and so is the frame that is not whole yet: each byte is worked on once, and moved
/// once at most.
///
/// ```
/// use wheelhouse_websocket::{Event, Pass, Role, Rules, State};
///
/// let rules = Rules { role: Role::Client, max_message: 1 << 20, max_frame: 1 << 20, max_fragments: 1024 };
///
/// // A fragment, a ping in between, and the beginning of the last fragment.
/// let mut bytes = b"\x01\x06Hello,\x89\x00\x80\x06 wor".to_vec();
/// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
/// assert_eq!(pass.next()?, Some(Event::Ping(b"")));
/// assert_eq!(pass.next()?, None);
///
/// let left = pass.finish();
/// assert_eq!((&bytes[left.from..left.to], left.missing), (&b"Hello, wor"[..], 2));
///
/// // What is kept, and what is read behind it.
/// let mut bytes = [&bytes[left.from..left.to], b"ld"].concat();
/// let mut pass = Pass::new(&rules, left.state, &mut bytes);
/// let payload = &mut b"Hello, world"[..].to_vec();
/// assert_eq!(pass.next()?, Some(Event::Message { is_text: true, is_compressed: false, payload }));
/// # Ok::<(), wheelhouse_websocket::Violation>(())
/// ```
pub struct Pass<'r, 'b> {
    rules: &'r Rules,
    state: State,
    bytes: &'b mut [u8],
    /// Messages of so many bytes are turned around.
    turned_from: usize,
    /// Where the joined payload begins.
    base: usize,
    /// Where the frames not looked at begin.
    at: usize,
}

/// What a pass leaves.
///
/// ```
/// use wheelhouse_websocket::{Pass, Role, Rules, State};
///
/// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
/// let mut bytes = *b"\x8a\x00\x82\x0512"; // a pong, and the beginning of a frame of five bytes
/// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
/// while pass.next()?.is_some() {}
/// let left = pass.finish();
/// assert_eq!((&bytes[left.from..left.to], left.missing), (&b"12"[..], 3)); // the header is in the state
/// # Ok::<(), wheelhouse_websocket::Violation>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where what is to be kept begins in the slice.
    pub from: usize,
    /// And where it ends. Of frames that [`Pass::next`] went through, no more is kept than the payload of the
    /// message at hand and 130 bytes.
    pub to: usize,
    /// How many bytes the frame at hand still lacks, as far as is known, its header included: at least 1.
    /// Where frames are kept that nobody asked for, it is of the first of them, and 1 if that one is whole.
    pub missing: usize,
    /// For the next pass.
    pub state: State,
}

/// What was found, by its place in the slice.
enum Found {
    Nothing,
    Message { is_text: bool, is_compressed: bool, payload: Range<usize> },
    Turned { is_text: bool, header: usize, frame: Range<usize> },
    Control(Opcode, Range<usize>),
}

impl<'r, 'b> Pass<'r, 'b> {
    /// A pass over these bytes: what the last pass left from [`from`](Left::from) to [`to`](Left::to), if
    /// anything, and what was read since. `state` is what it left too, or a fresh one.
    ///
    /// ```
    /// use wheelhouse_websocket::{Event, Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let (mut state, mut kept) = (State::new(false), Vec::new());
    /// for read in [&b"\x89"[..], b"\x02h", b"i"] { // a ping, byte by byte
    ///     kept.extend_from_slice(read);
    ///     let mut pass = Pass::new(&rules, state, &mut kept);
    ///     assert_eq!(pass.next(), Ok((read == b"i").then_some(Event::Ping(b"hi"))));
    ///     let left = pass.finish();
    ///     (state, kept) = (left.state, kept[left.from..left.to].to_vec());
    /// }
    /// assert!(kept.is_empty());
    /// ```
    ///
    /// # Panics
    /// When fewer bytes are given than there are of the message at hand.
    #[inline]
    pub fn new(rules: &'r Rules, state: State, bytes: &'b mut [u8]) -> Self {
        let at = if state.is_over() { bytes.len() } else { state.joined() };
        assert!(at <= bytes.len(), "what was kept begins the slice");
        Pass { rules, state, bytes, turned_from: usize::MAX, base: 0, at }
    }

    /// Has the server's end turn messages of `from` bytes and more around, those that are whole in one frame and these bytes,
    /// and not compressed: they come as [`Event::Turned`], and can be sent to a client in one piece.
    ///
    /// A server's header is shorter than a client's by the key: there is room for it where that was. Messages of fewer than
    /// 126 bytes are never turned.
    ///
    /// ```
    /// use wheelhouse_websocket::{Event, Header, Opcode, Pass, Role, Rules, State, mask};
    ///
    /// let rules = Rules { role: Role::Server, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut payload = vec![b'x'; 300];
    /// mask(&mut payload, *b"key!");
    /// let mut bytes = [Header::new(Opcode::Text, 300, Some(*b"key!")).bytes(), &payload].concat();
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes).turning(200);
    /// let Some(Event::Turned { is_text: true, header: 4, frame }) = pass.next()? else { panic!("it is large") };
    /// assert_eq!(frame, [Header::new(Opcode::Text, 300, None).bytes(), &[b'x'; 300]].concat());
    /// # Ok::<(), wheelhouse_websocket::Violation>(())
    /// ```
    #[inline]
    pub fn turning(mut self, from: usize) -> Self {
        self.turned_from = from;
        self
    }

    /// The next event; none when more bytes are needed.
    ///
    /// ```
    /// use wheelhouse_websocket::{Event, Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut bytes = *b"\x89\x01a\x89\x01b\x83\x00\x89\x01c"; // two pings, a reserved opcode, a ping
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
    /// assert_eq!(pass.next(), Ok(Some(Event::Ping(b"a"))));
    /// assert_eq!(pass.next(), Ok(Some(Event::Ping(b"b"))));
    /// assert_eq!(pass.next().unwrap_err().to_string(), "a reserved opcode (1002)");
    /// assert_eq!(pass.next(), Ok(None));
    /// ```
    ///
    /// After a close frame, and after an error, there is none any more: what follows is dropped.
    ///
    /// # Errors
    /// The rule that the peer broke; the pass is over then.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an event lends from the pass")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Violation> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        if let Some((is_text, payload)) = self.plain_message() {
            let payload = &mut self.bytes[payload];
            return Ok(Some(Event::Message { is_text, is_compressed: false, payload }));
        }
        match self.advance()? {
            Found::Message { is_text, is_compressed, payload } => {
                Ok(Some(Event::Message { is_text, is_compressed, payload: &mut self.bytes[payload] }))
            }
            Found::Turned { is_text, header, frame } => {
                Ok(Some(Event::Turned { is_text, header, frame: &mut self.bytes[frame] }))
            }
            Found::Nothing => Ok(None),
            Found::Control(Opcode::Ping, payload) => Ok(Some(Event::Ping(&self.bytes[payload]))),
            Found::Control(Opcode::Pong, payload) => Ok(Some(Event::Pong(&self.bytes[payload]))),
            Found::Control(_, payload) => {
                self.end();
                let (code, reason) = close_payload::read(&self.bytes[payload])?;
                Ok(Some(Event::Close(code, reason)))
            }
        }
    }

    /// Whether every byte has been used, and nothing of a message is there: [`finish`](Pass::finish) would leave nothing but
    /// the state of a connection between messages.
    ///
    /// ```
    /// use wheelhouse_websocket::{Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut bytes = *b"\x81\x02hi\x81"; // a message, and the first byte of the next one
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes[..4]);
    /// assert!(pass.next().is_ok_and(|event| event.is_some()) && pass.is_drained());
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
    /// assert!(pass.next().is_ok_and(|event| event.is_some()) && !pass.is_drained());
    /// ```
    #[inline]
    pub fn is_drained(&self) -> bool {
        self.at == self.bytes.len() && self.state.is_between_messages()
    }

    /// Ends the pass, at any time: what is to be kept is moved together.
    ///
    /// ```
    /// use wheelhouse_websocket::{Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut bytes = *b"\x01\x03Hel\x00\x01l\x80\x04"; // two fragments, and the header of the last one
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
    /// assert_eq!(pass.next(), Ok(None));
    /// let left = pass.finish();
    /// assert_eq!(&bytes[left.from..left.to], b"Hell"); // joined, without the headers between them
    /// assert_eq!(left.missing, 4);
    /// ```
    #[inline]
    pub fn finish(self) -> Left {
        let Pass { rules, state, bytes, base, at, .. } = self;
        let to = bytes.len();
        let missing = missing(rules, &state, &bytes[at..]);
        if state.joined == 0 {
            return Left { from: at, to, missing, state };
        }
        let end = base + state.joined();
        if end < at {
            shift(bytes, at..to, end);
        }
        Left { from: base, to: to - (at - end), missing, state }
    }

    /// The short way; none is for the [long way](Self::advance) to judge.
    #[inline]
    fn plain_message(&mut self) -> Option<(bool, Range<usize>)> {
        let rule = Rule::new(self.rules, self.state);
        let (is_text, head, len) = rule.unmask(self.bytes.get_mut(self.at..)?)?;
        let start = self.at + head;
        self.at = start + len;
        Some((is_text, start..self.at))
    }

    /// The long way, for all the rest: goes on to the next event, or to the end of the bytes.
    #[inline(never)]
    fn advance(&mut self) -> Result<Found, Violation> {
        loop {
            if self.state.remaining > 0 {
                if self.at == self.bytes.len() {
                    return Ok(Found::Nothing);
                }
                self.join()?;
            } else {
                let head = match Head::read(self.rules, &self.state, &self.bytes[self.at..]) {
                    Ok(Look::Whole(head)) => head,
                    Ok(Look::Lacks(_)) => return Ok(Found::Nothing),
                    Err(violation) => return Err(self.fail(violation)),
                };
                if head.opcode.is_control() {
                    return Ok(self.control(head));
                }
                self.begin(head);
                self.join()?;
                if self.is_to_be_turned(head) {
                    return Ok(self.turn());
                }
            }
            if self.state.remaining == 0 && self.state.has(State::FINAL) {
                return Ok(self.message());
            }
        }
    }

    /// A control frame, if it is whole.
    fn control(&mut self, head: Head) -> Found {
        let start = self.at + head.size;
        let Some(payload) = self.bytes.get_mut(start..start + head.len) else {
            return Found::Nothing;
        };
        if self.rules.role == Role::Server {
            mask(payload, head.mask);
        }
        self.at = start + head.len;
        Found::Control(head.opcode, start..self.at)
    }

    /// Goes past the header of a data frame: its payload is the message's from now on, whole or not.
    fn begin(&mut self, head: Head) {
        let state = &mut self.state;
        if head.opcode != Opcode::Continuation {
            let text = if head.opcode == Opcode::Text { State::TEXT } else { 0 };
            let compressed = if head.is_compressed { State::COMPRESSED } else { 0 };
            state.flags |= text | compressed;
        }
        if head.is_final {
            state.flags |= State::FINAL;
        }
        state.fragments += 1;
        state.mask = head.mask;
        state.remaining = head.len as u32;
        self.at += head.size;
    }

    /// Takes what is there of the frame at hand: unmasks it, moves it behind what is joined, looks whether it
    /// is text.
    fn join(&mut self) -> Result<(), Violation> {
        let state = &mut self.state;
        let count = (self.bytes.len() - self.at).min(state.remaining as usize);
        let payload = self.at..self.at + count;
        if self.rules.role == Role::Server {
            mask(&mut self.bytes[payload.clone()], state.mask);
            state.mask = turned(state.mask, count);
        }
        if state.joined == 0 {
            self.base = self.at;
        }
        let end = self.base + state.joined();
        if end < self.at {
            shift(self.bytes, payload, end);
        }
        self.at += count;
        state.joined += count as u32;
        state.remaining -= count as u32;

        if state.has(State::TEXT) && !state.has(State::COMPRESSED) {
            let is_end = state.remaining == 0 && state.has(State::FINAL);
            let (joined, from) = (&self.bytes[self.base..end + count], end - self.base);
            if !utf8::is_text(joined, from, is_end) {
                return Err(self.fail(NOT_UTF8));
            }
        }
        Ok(())
    }

    /// Whether the frame that has just been joined is a whole message, and room for a server's header is in front of it.
    fn is_to_be_turned(&self, head: Head) -> bool {
        let state = &self.state;
        let is_whole = state.remaining == 0 && state.has(State::FINAL) && state.fragments == 1;
        is_whole
            && head.len >= self.turned_from.max(126)
            && self.rules.role == Role::Server
            && !state.has(State::COMPRESSED)
    }

    /// The message is whole: a new header goes where the old one was.
    fn turn(&mut self) -> Found {
        let (len, is_text) = (self.state.joined(), self.state.has(State::TEXT));
        let header = Header::new(if is_text { Opcode::Text } else { Opcode::Binary }, len, None);
        let (header, begin) = (header.bytes(), self.base - header.bytes().len());
        self.bytes[begin..self.base].copy_from_slice(header);
        self.state.end_message();
        Found::Turned { is_text, header: header.len(), frame: begin..self.base + len }
    }

    /// The message is whole.
    fn message(&mut self) -> Found {
        let payload = self.base..self.base + self.state.joined();
        let (is_text, is_compressed) = (self.state.has(State::TEXT), self.state.has(State::COMPRESSED));
        self.state.end_message();
        Found::Message { is_text, is_compressed, payload }
    }

    #[cold]
    fn fail(&mut self, violation: Violation) -> Violation {
        self.end();
        violation
    }

    /// Drops what is left: nothing that follows counts.
    fn end(&mut self) {
        self.state.end();
        self.at = self.bytes.len();
    }
}

const NOT_UTF8: Violation = Violation::invalid("text is not UTF-8");

/// How many bytes the frame at hand lacks, when these come next; 1 where it lacks none, or is wrong.
fn missing(rules: &Rules, state: &State, ahead: &[u8]) -> usize {
    if state.remaining > 0 {
        return (state.remaining as usize).saturating_sub(ahead.len()).max(1);
    }
    match Head::read(rules, state, ahead) {
        Ok(Look::Lacks(missing)) => missing,
        Ok(Look::Whole(head)) => (head.size + head.len).saturating_sub(ahead.len()).max(1),
        Err(_) => 1,
    }
}
