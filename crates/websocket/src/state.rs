use crate::{CloseCode, deflate::most_deflated};

/// Which end of the connection this is: a server takes masked frames and sends them plain, a client the other
/// way round (RFC 6455, 5.1).
///
/// ```
/// use wheelhouse_websocket::{Event, Pass, Role, Rules, State};
///
/// let mut plain = *b"\x89\x00"; // a ping as servers send it: without a mask
/// let rules = |role| Rules { role, max_message: 1024, max_frame: 1024, max_fragments: 16 };
/// let (client, server) = (rules(Role::Client), rules(Role::Server));
/// assert_eq!(Pass::new(&client, State::new(false), &mut plain).next(), Ok(Some(Event::Ping(b""))));
/// assert!(Pass::new(&server, State::new(false), &mut plain).next().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes masked frames only.
    Server,
    /// Takes unmasked frames only.
    Client,
}

/// What a peer may send.
///
/// ```
/// use wheelhouse_websocket::{CloseCode, Pass, Role, Rules, State};
///
/// let rules = Rules { role: Role::Client, max_message: 1000, max_frame: 1000, max_fragments: 16 };
/// let mut announced = *b"\x82\x7e\x03\xe9"; // binary, of 1001 bytes: none of which has come
/// let violation = Pass::new(&rules, State::new(false), &mut announced).next().unwrap_err();
/// assert_eq!(violation.code, CloseCode::TOO_BIG);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whose frames are taken.
    pub role: Role,
    /// The largest message, all fragments together, in bytes; at most 64 MiB (more counts as that). A larger one is a
    /// violation (1009) as soon as it is announced. A compressed one may have as many bytes on the wire as one of this
    /// size comes to [at worst](crate::deflate::most_deflated); that it inflates to no more is for the
    /// [`Inflator`](crate::deflate::Inflator) to see.
    pub max_message: usize,
    /// The largest payload of one frame, whole message or fragment, in bytes as they are on the wire; at least 125
    /// (less counts as that), for control frames may have as many. A larger one is a violation (1009) at its header. No
    /// frame is larger than its message: from there on it changes nothing.
    pub max_frame: usize,
    /// The most fragments of a message; at most 1,048,576. More are a violation (1008). A message of one frame
    /// is always taken.
    pub max_fragments: u32,
}

impl Rules {
    /// The most that any [`max_message`](Rules::max_message) allows: 64 MiB.
    ///
    /// ```
    /// use wheelhouse_websocket::{CloseCode, Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: usize::MAX, max_frame: usize::MAX, max_fragments: 1 };
    /// let mut announced = *b"\x82\x7f\0\0\0\0\x04\0\0\x01"; // binary, of 64 MiB and a byte
    /// let violation = Pass::new(&rules, State::new(false), &mut announced).next().unwrap_err();
    /// assert_eq!(violation.code, CloseCode::TOO_BIG);
    /// ```
    pub const MAX_MESSAGE: usize = 64 << 20;
    /// The most that any [`max_fragments`](Rules::max_fragments) allows: 1,048,576.
    pub const MAX_FRAGMENTS: u32 = 1 << 20;

    /// How long the next frame of a message may be, when so much of it is there as the state says.
    pub(crate) fn room(&self, state: &State, is_compressed: bool) -> usize {
        let most = self.max_message.min(Self::MAX_MESSAGE);
        let most = if is_compressed { most_deflated(most, state.fragments as usize + 1) } else { most };
        most.saturating_sub(state.joined())
    }

    /// How long a frame may be, whatever there is room for. Never less than a length of one byte tells: the
    /// short way need not look.
    pub(crate) fn longest(&self) -> usize {
        self.max_frame.max(CloseCode::MAX_PAYLOAD)
    }
}

/// Where a connection stands in the peer's frames: all that is kept of an idle one, 16 bytes.
///
/// It goes with the bytes that [`Pass::finish`](crate::Pass::finish) kept: the payload of a message that is
/// not whole yet is among them, unmasked.
///
/// ```
/// use wheelhouse_websocket::State;
///
/// let state = State::new(true);
/// assert!(state.has_deflate() && !state.is_over());
/// assert_eq!(State::from_words(state.to_words()), state);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The mask's key of the frame at hand, turned to its next byte.
    pub(crate) mask: [u8; 4],
    /// How many bytes the frame at hand still lacks; 0 between frames.
    pub(crate) remaining: u32,
    /// How many bytes of the message at hand are there.
    pub(crate) joined: u32,
    /// How many frames of the message at hand began; 0 between messages.
    pub(crate) fragments: u32,
    pub(crate) flags: u8,
}

/// Where the counts of fragments and the flags stand in the second word: below them is what they may come to.
const JOINED: u32 = 27;
const COUNTS: u32 = 48;

const MOST: usize = most_deflated(Rules::MAX_MESSAGE, Rules::MAX_FRAGMENTS as usize);
const _: () = assert!(MOST < 1 << JOINED && Rules::MAX_FRAGMENTS < 1 << (COUNTS - JOINED));

impl State {
    /// Messages may be compressed.
    pub(crate) const DEFLATE: u8 = 1;
    /// The message at hand is text.
    pub(crate) const TEXT: u8 = 2;
    /// The message at hand is compressed.
    pub(crate) const COMPRESSED: u8 = 4;
    /// The frame at hand is the last of its message.
    pub(crate) const FINAL: u8 = 8;
    /// A close frame came, or a rule was broken.
    pub(crate) const OVER: u8 = 16;

    /// The state of a fresh connection; with `deflate`, messages may be compressed (RSV1; RFC 7692, 6).
    ///
    /// ```
    /// use wheelhouse_websocket::{Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut compressed = *b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"; // with RSV1
    /// assert!(Pass::new(&rules, State::new(true), &mut compressed).next().is_ok());
    /// assert!(Pass::new(&rules, State::new(false), &mut compressed).next().is_err());
    /// ```
    pub fn new(deflate: bool) -> State {
        State { flags: if deflate { State::DEFLATE } else { 0 }, ..State::default() }
    }

    /// Whether nothing of a message has come: the next frame begins one.
    ///
    /// ```
    /// use wheelhouse_websocket::{Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut bytes = *b"\x01\x03Hel"; // a first fragment, all of it
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
    /// assert_eq!(pass.next(), Ok(None));
    /// assert!(!pass.finish().state.is_between_messages());
    /// ```
    #[inline]
    pub fn is_between_messages(&self) -> bool {
        self.fragments == 0
    }

    /// The state as two words, for those who keep it beside other numbers: [`from_words`](State::from_words)
    /// reads them.
    ///
    /// ```
    /// use wheelhouse_websocket::{Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut bytes = *b"\x82\x05Hel"; // a frame that lacks two bytes
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
    /// assert_eq!(pass.next(), Ok(None));
    /// let state = pass.finish().state;
    /// let kept: [u64; 2] = state.to_words();
    /// assert_eq!(State::from_words(kept), state);
    /// ```
    #[inline]
    pub fn to_words(self) -> [u64; 2] {
        let low = u64::from(u32::from_ne_bytes(self.mask)) | u64::from(self.remaining) << 32;
        let counts = u64::from(self.joined) | u64::from(self.fragments) << JOINED;
        let high = counts | u64::from(self.flags) << COUNTS;
        [low, high]
    }

    /// The state that these words were made of: see [`to_words`](State::to_words).
    #[inline]
    pub fn from_words([low, high]: [u64; 2]) -> State {
        State {
            mask: (low as u32).to_ne_bytes(),
            remaining: (low >> 32) as u32,
            joined: (high & ((1 << JOINED) - 1)) as u32,
            fragments: (high >> JOINED & ((1 << (COUNTS - JOINED)) - 1)) as u32,
            flags: (high >> COUNTS) as u8,
        }
    }

    /// Whether permessage-deflate was agreed on.
    ///
    /// ```
    /// use wheelhouse_websocket::State;
    /// use wheelhouse_websocket::deflate::Config;
    ///
    /// let offers = [&b"permessage-deflate"[..]]; // a client's Sec-WebSocket-Extensions
    /// let agreed = Config::default().answer(offers.into_iter());
    /// assert!(State::new(agreed.is_some()).has_deflate());
    /// ```
    pub fn has_deflate(&self) -> bool {
        self.has(State::DEFLATE)
    }

    /// Whether a close frame came or a rule was broken: whatever comes then is dropped unseen.
    ///
    /// ```
    /// use wheelhouse_websocket::{Event, Pass, Role, Rules, State};
    ///
    /// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
    /// let mut bytes = *b"\x88\x00\x81\x02hi"; // a close frame, and a message that comes too late
    /// let mut pass = Pass::new(&rules, State::new(false), &mut bytes);
    /// assert_eq!(pass.next(), Ok(Some(Event::Close(None, ""))));
    /// assert_eq!(pass.next(), Ok(None));
    /// assert!(pass.finish().state.is_over());
    /// ```
    pub fn is_over(&self) -> bool {
        self.has(State::OVER)
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How many bytes of the message at hand are there.
    pub(crate) fn joined(&self) -> usize {
        self.joined as usize
    }

    /// Stands between two messages again.
    pub(crate) fn end_message(&mut self) {
        let flags = self.flags & (State::DEFLATE | State::OVER);
        *self = State { flags, ..State::default() };
    }

    /// Drops what was begun, and all that comes.
    pub(crate) fn end(&mut self) {
        self.end_message();
        self.flags |= State::OVER;
    }
}
