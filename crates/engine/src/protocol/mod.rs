//! Bytes to messages and back.

use std::borrow::Cow;

use crate::{Input, Message, Payload, Refusal};

mod control;
mod deflate;
mod frame;
mod framing;
mod length_delimited;
mod lines;
mod output;
mod websocket;

pub use self::{
    control::Control, deflate::Deflate, framing::Framing, length_delimited::LengthDelimited, output::Output,
    websocket::WebSocket,
};
pub(crate) use self::{
    frame::Frame,
    output::{SHARE_FROM, SharedBody},
    websocket::Frames,
};

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
    /// ```
    /// use wheelhouse::{Decoded, Input, LengthDelimited, Protocol};
    ///
    /// let (mut bytes, mut state) = (*b"\x02hi\x05part", 0);
    /// let mut input = Input::new(&mut bytes);
    /// let protocol = LengthDelimited::u8().protocol()?;
    /// assert!(matches!(protocol.decode(&mut state, &mut input), Ok(Decoded::Message(m)) if m.bytes() == b"hi"));
    /// assert!(matches!(protocol.decode(&mut state, &mut input), Ok(Decoded::Need(6)))); // of which 5 are there
    /// assert_eq!(input.peek(), b"\x05part");
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// `state` is the connection's, 0 at first. Called again with the same bytes and more behind them after
    /// [`Decoded::Need`], so nothing may be changed in place before a message is whole. A message or control takes at least one
    /// byte of the input; one that takes none closes the connection as an error does.
    ///
    /// # Errors
    /// What the peer did wrong; the connection closes with [`CloseReason::Protocol`](crate::CloseReason::Protocol).
    fn decode<'a>(&self, state: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError>;

    /// Writes one message.
    ///
    /// ```
    /// use wheelhouse::{LengthDelimited, Output, Payload, Protocol, Refusal};
    ///
    /// let protocol = LengthDelimited::u8().protocol()?;
    /// let mut wire = Vec::new();
    /// assert_eq!(protocol.encode(&Payload::from("hi"), &mut Output::new(&mut wire)), Ok(()));
    /// assert_eq!(wire, b"\x02hi");
    /// let too_long = Payload::from(vec![0; 256]);
    /// assert_eq!(protocol.encode(&too_long, &mut Output::new(&mut wire)), Err(Refusal::NotEncodable));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Refusal::NotEncodable`] when the payload does not fit the protocol; whatever was put before is dropped.
    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal>;

    /// Writes a ping or a pong. The engine answers each [`Control::Ping`] that [`decode`](Protocol::decode) makes with a pong
    /// of the same bytes, and sends the pings of a [`Listener::heartbeat`](crate::Listener::heartbeat), which carry none.
    ///
    /// ```
    /// use wheelhouse::{Control, Framing, Output, Protocol, Refusal};
    /// # use wheelhouse::{Decoded, Input, Message, Payload, ProtocolError};
    /// # use wheelhouse::{Action, Conn, Handler, testing::Bench};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    /// # struct Bytes;
    /// # impl Protocol for Bytes {
    /// #     fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
    /// #         Ok(match input.peek().first() {
    /// #             None => return Ok(Decoded::Need(1)),
    /// #             Some(0) => Decoded::Control(Control::Ping(&input.take_mut(1)[1..])),
    /// #             Some(1) => Decoded::Control(Control::Pong(&input.take_mut(1)[1..])),
    /// #             Some(_) => Decoded::Message(Message::binary(input.take_mut(1))),
    /// #         })
    /// #     }
    /// #     fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
    /// #         out.body(payload);
    /// #         Ok(())
    /// #     }
    /// // Every message is a byte; 0 asks, and 1 answers.
    /// fn encode_control(&self, control: &Control<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
    ///     out.put(&[u8::from(matches!(control, Control::Pong(_)))]);
    ///     Ok(())
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::custom(Bytes));
    /// bench.input(client, b"\0");
    /// assert_eq!(bench.output(client), b"\x01"); // by the engine
    /// ```
    ///
    /// # Errors
    /// [`Refusal::NotEncodable`], as by default: the protocol has no pings.
    fn encode_control(&self, control: &Control<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        let _ = (control, out);
        Err(Refusal::NotEncodable)
    }
}

/// What a protocol made of the input.
///
/// ```
/// use wheelhouse::{Decoded, Input, LengthDelimited, Protocol};
///
/// let protocol = LengthDelimited::u16_be().protocol()?;
/// for (mut bytes, need) in [(vec![], 2), (vec![0], 2), (vec![0, 3], 5), (vec![0, 3, 1, 2], 5)] {
///     let decoded = protocol.decode(&mut 0, &mut Input::new(&mut bytes));
///     assert!(matches!(decoded, Ok(Decoded::Need(bytes)) if bytes == need));
/// }
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoded<'a> {
    /// A message, whose bytes have been taken.
    Message(Message<'a>),
    /// A ping or a pong, whose bytes have been taken.
    Control(Control<'a>),
    /// Not enough bytes: so many are needed in all, those already there included. One more than there are, where the
    /// protocol cannot know.
    Need(usize),
}

/// The rule that a peer broke.
///
/// ```
/// use wheelhouse::{Input, LengthDelimited, Protocol};
///
/// let protocol = LengthDelimited::u8().max_body(100).protocol()?;
/// let error = protocol.decode(&mut 0, &mut Input::new(&mut [200])).unwrap_err();
/// assert!(error.to_string().contains("200"), "{error}"); // the length that is too much
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolError(pub Cow<'static, str>);
