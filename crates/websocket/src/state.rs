/// Which end of the connection this is: a server takes masked frames and sends them plain, a client the other
/// way round (RFC 6455, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes masked frames only.
    Server,
    /// Takes unmasked frames only.
    Client,
}

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whose frames are taken.
    pub role: Role,
    /// The largest message, all fragments together and as it is on the wire, in bytes; at most 64 MiB (more
    /// counts as that). A larger one is a violation (1009) as soon as it is announced.
    pub max_message: usize,
    /// The most fragments of a message; at most 1,048,576. More are a violation (1008). A message of one frame
    /// is always taken.
    pub max_fragments: u32,
}

impl Rules {
    /// The most that any [`max_message`](Rules::max_message) allows: 64 MiB.
    pub const MAX_MESSAGE: usize = 64 << 20;
    /// The most that any [`max_fragments`](Rules::max_fragments) allows: 1,048,576.
    pub const MAX_FRAGMENTS: u32 = 1 << 20;

    /// How long a frame may be when `joined` bytes of its message are there already.
    pub(crate) fn room(&self, joined: usize) -> usize {
        self.max_message.min(Self::MAX_MESSAGE).saturating_sub(joined)
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

const _: () = assert!(Rules::MAX_MESSAGE < 1 << JOINED && Rules::MAX_FRAGMENTS < 1 << (COUNTS - JOINED));

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
    pub fn new(deflate: bool) -> State {
        State { flags: if deflate { State::DEFLATE } else { 0 }, ..State::default() }
    }

    /// Whether nothing of a message has come: the next frame begins one.
    #[inline]
    pub fn is_between_messages(&self) -> bool {
        self.fragments == 0
    }

    /// Two words, for who keeps it so.
    #[inline]
    pub fn to_words(self) -> [u64; 2] {
        let low = u64::from(u32::from_ne_bytes(self.mask)) | u64::from(self.remaining) << 32;
        let counts = u64::from(self.joined) | u64::from(self.fragments) << JOINED;
        let high = counts | u64::from(self.flags) << COUNTS;
        [low, high]
    }

    /// The state that [`to_words`](State::to_words) was made of.
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
    pub fn has_deflate(&self) -> bool {
        self.has(State::DEFLATE)
    }

    /// Whether a close frame came or a rule was broken: whatever comes then is dropped unseen.
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
