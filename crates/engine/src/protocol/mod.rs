//! Bytes to messages and back.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{Error, Input, Message, Payload, Refusal, Result, message::Body};

mod length_delimited;
mod lines;

use bytes::Bytes;
use lines::Lines;

pub use length_delimited::LengthDelimited;

/// How a connection's bytes are cut into messages. The listener has one, or the [`Connect`](crate::Connect); the handler
/// means the same by `on_message` and `send` over all of them.
///
/// ```
/// use wheelhouse::{Framing, Listener};
///
/// let telnet = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(4096));
/// ```
#[derive(Clone)]
pub struct Framing(pub(crate) Frame, Parameters);

/// What a framing of the engine's own was made of: connections dialled alike share more than that.
#[derive(Clone, PartialEq, Eq)]
enum Parameters {
    /// Raw, or a protocol of the user's own.
    None,
    Lines(usize),
    LengthDelimited(LengthDelimited),
}

/// The longest line that can be asked for, in bytes.
const LONGEST_LINE: usize = 64 << 20;

/// The framings that the engine knows apart: raw bytes need no call through a table.
#[derive(Clone)]
pub(crate) enum Frame {
    Raw,
    Protocol(Arc<dyn Protocol>),
}

impl Framing {
    /// No framing: bytes go to [`Handler::on_data`](crate::Handler::on_data) as they come.
    pub fn raw() -> Self {
        Framing(Frame::Raw, Parameters::None)
    }

    /// Lines that end with LF or CR LF, each a message of kind text without its end; a sent payload gets an LF. A line of
    /// more than `max` bytes (its end not counted; 1 B to 64 MiB) closes the connection with
    /// [`CloseReason::Protocol`](crate::CloseReason::Protocol). What follows the last line end when the peer closes is
    /// no line, and is dropped. A line beyond
    /// [`Builder::inbound_limit`](crate::Builder::inbound_limit) ends with
    /// [`CloseReason::InboundOverflow`](crate::CloseReason::InboundOverflow), whatever `max` is.
    ///
    /// A payload with an LF or CR in it is refused ([`Refusal::NotEncodable`]): it would be more lines than one.
    pub fn lines(max: usize) -> Self {
        Framing(Frame::Protocol(Arc::new(Lines::new(max))), Parameters::Lines(max))
    }

    /// Messages with their length in front of them. Parameters out of their bounds are told by
    /// [`Builder::build`](crate::Builder::build), or when dialling, before any socket is opened.
    ///
    /// ```
    /// use wheelhouse::{Framing, LengthDelimited, Listener};
    ///
    /// let framing = Framing::length_delimited(LengthDelimited::u32_be().max_body(64 << 10));
    /// let listener = Listener::new("tcp://127.0.0.1:0").framing(framing);
    /// ```
    pub fn length_delimited(parameters: LengthDelimited) -> Self {
        match parameters.codec() {
            Ok(codec) => Framing(Frame::Protocol(Arc::new(codec)), Parameters::LengthDelimited(parameters)),
            // Told by `validate`, before any connection follows it.
            Err(_) => Framing(Frame::Raw, Parameters::LengthDelimited(parameters)),
        }
    }

    /// A protocol of the user's own.
    pub fn custom(protocol: impl Protocol) -> Self {
        Framing(Frame::Protocol(Arc::new(protocol)), Parameters::None)
    }

    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.0, Frame::Raw) && self.1 == Parameters::None
    }

    /// Tells of parameters that make no protocol.
    pub(crate) fn validate(&self) -> Result<()> {
        match &self.1 {
            Parameters::None => Ok(()),
            Parameters::Lines(max) if (1..=LONGEST_LINE).contains(max) => Ok(()),
            Parameters::Lines(max) => Err(Error::BadOption {
                option: "lines",
                value: max.to_string(),
                allowed: format!("1 to {LONGEST_LINE} bytes"),
            }),
            Parameters::LengthDelimited(parameters) => parameters.codec().map(drop),
        }
    }

    /// Whether connections of both follow the same rules.
    pub(crate) fn is_like(&self, other: &Framing) -> bool {
        match (&self.0, &other.0) {
            _ if self.1 != other.1 => false,
            (Frame::Raw, Frame::Raw) => true,
            (Frame::Protocol(one), Frame::Protocol(two)) => {
                self.1 != Parameters::None || Arc::ptr_eq(one, two)
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_raw() { "Framing::raw" } else { "Framing::protocol" })
    }
}

/// Cuts bytes into messages and wraps messages into bytes.
///
/// One value serves all connections of a listener, on all reactors: `&self`, with a number of state for each connection.
/// So one encoding serves a whole broadcast, and nothing a message borrows is what an answer must borrow again.
///
/// ```
/// use wheelhouse::{Decoded, Input, Message, Output, Payload, Protocol, ProtocolError, Refusal};
///
/// /// One byte of length, then the body.
/// struct Short;
///
/// impl Protocol for Short {
///     fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
///         let Some(&length) = input.peek().first() else { return Ok(Decoded::Need(1)) };
///         if input.len() < 1 + usize::from(length) {
///             return Ok(Decoded::Need(1 + usize::from(length)));
///         }
///         input.skip(1);
///         Ok(Decoded::Message(Message::binary(input.take_mut(length.into()))))
///     }
///
///     fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
///         let length = u8::try_from(payload.bytes().len()).map_err(|_| Refusal::NotEncodable)?;
///         out.put(&[length]);
///         out.body(payload);
///         Ok(())
///     }
/// }
///
/// let mut bytes = *b"\x02hi\x05part";
/// let mut input = Input::new(&mut bytes);
/// let Ok(Decoded::Message(message)) = Short.decode(&mut 0, &mut input) else { panic!() };
/// assert_eq!(message.bytes(), b"hi");
/// assert!(matches!(Short.decode(&mut 0, &mut input), Ok(Decoded::Need(6))));
/// ```
pub trait Protocol: Send + Sync + 'static {
    /// Takes one message from the input, or nothing and says how many bytes it needs in all.
    ///
    /// `state` is the connection's, 0 at first. Called again with the same bytes and more behind them after
    /// [`Decoded::Need`], so nothing may be changed in place before a message is whole. A message takes at least one byte of
    /// the input; one that takes none closes the connection as an error does.
    ///
    /// # Errors
    /// What the peer did wrong; the connection closes with [`CloseReason::Protocol`](crate::CloseReason::Protocol).
    fn decode<'a>(&self, state: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError>;

    /// Writes one message.
    ///
    /// # Errors
    /// [`Refusal::NotEncodable`] when the payload does not fit the protocol; whatever was put before is dropped.
    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal>;
}

/// What a protocol made of the input.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoded<'a> {
    /// A message, whose bytes have been taken.
    Message(Message<'a>),
    /// Not enough bytes: so many are needed in all, those already there included. One more than there are, where the
    /// protocol cannot know.
    Need(usize),
}

/// The rule that a peer broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolError(pub Cow<'static, str>);

/// Where a protocol writes a message: framing around a body.
///
/// ```
/// use wheelhouse::{Output, Payload};
///
/// let mut bytes = Vec::new();
/// let mut out = Output::new(&mut bytes);
/// out.put(b"<");
/// out.body(&Payload::from("hi"));
/// out.put(b">");
/// assert_eq!(bytes, b"<hi>");
/// ```
#[derive(Debug)]
pub struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    shared: Option<SharedBody>,
    keeps_shared: bool,
}

/// A body that is not copied between what was put before and behind it.
#[derive(Debug)]
pub(crate) struct SharedBody {
    pub(crate) at: usize,
    pub(crate) body: Bytes,
}

/// From here on a shared body is queued by reference; below it a copy is cheaper.
pub(crate) const SHARE_FROM: usize = 1024;

impl<'a> Output<'a> {
    /// An output that gathers everything in `bytes`; for testing a [`Protocol`].
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        Output { bytes, shared: None, keeps_shared: false }
    }

    /// One that leaves a large shared body out of `bytes`, to be taken with [`Output::into_shared`].
    pub(crate) fn sharing(bytes: &'a mut Vec<u8>) -> Self {
        Output { bytes, shared: None, keeps_shared: true }
    }

    /// Appends bytes of the framing.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the payload's bytes; a large shared one (1 KiB and more) is not copied.
    #[inline]
    pub fn body(&mut self, payload: &Payload<'_>) {
        match payload.body() {
            Body::Shared(body) if self.keeps_shared && self.shared.is_none() && body.len() >= SHARE_FROM => {
                self.shared = Some(SharedBody { at: self.bytes.len(), body: body.clone() });
            }
            _ => self.bytes.extend_from_slice(payload.bytes()),
        }
    }

    pub(crate) fn into_shared(self) -> Option<SharedBody> {
        self.shared
    }
}
