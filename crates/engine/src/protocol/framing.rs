use std::{fmt, sync::Arc};

use super::{
    Control, Frame, Frames, LengthDelimited, Output, Protocol, WebSocket,
    control::{Worded, Words},
    lines::Lines,
};
use crate::{Error, Payload, Result, options::Options};

/// How a connection's bytes are cut into messages. The listener has one, or the [`Connect`](crate::Connect); the handler
/// means the same by `on_message` and `send` over all of them.
///
/// ```
/// use wheelhouse::{Framing, Listener};
///
/// let telnet = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(4096));
/// ```
#[derive(Clone)]
pub struct Framing {
    frame: Frame,
    parameters: Parameters,
    words: Option<Words>,
}

/// What a framing of the engine's own was made of: connections dialled alike share more than that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parameters {
    /// Raw, or a protocol of the user's own.
    None,
    Lines(usize),
    LengthDelimited(LengthDelimited),
    WebSocket(Box<WebSocket>),
}

/// The longest line that can be asked for, in bytes.
const LONGEST_LINE: usize = 64 << 20;

impl Framing {
    /// No framing: bytes go to [`Handler::on_data`](crate::Handler::on_data) as they come.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
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
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::raw());
    /// bench.input(client, b"in pie");
    /// bench.input(client, b"ces");
    /// assert_eq!(bench.handle().stats().total().messages_in, 2); // as they were read
    /// assert_eq!(bench.output(client), b"in pieces");
    /// ```
    pub fn raw() -> Self {
        Framing { frame: Frame::Raw, parameters: Parameters::None, words: None }
    }

    /// Lines that end with LF or CR LF, each a message of kind text without its end; a sent payload gets an LF. A line of
    /// more than `max` bytes (its end not counted; 1 B to 64 MiB) closes the connection with
    /// [`CloseReason::Protocol`](crate::CloseReason::Protocol). What follows the last line end when the peer closes is
    /// no line, and is dropped. A line beyond
    /// [`Builder::inbound_limit`](crate::Builder::inbound_limit) ends with
    /// [`CloseReason::InboundOverflow`](crate::CloseReason::InboundOverflow), whatever `max` is.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
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
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::lines(5));
    /// bench.input(client, b"one\r\ntwo\nthr");
    /// assert_eq!(bench.output(client), b"one\ntwo\n");
    /// bench.input(client, b"eeee\n");
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Protocol));
    /// ```
    ///
    /// A payload with an LF or CR in it is refused ([`Refusal::NotEncodable`](crate::Refusal::NotEncodable)): it would be more lines than one.
    pub fn lines(max: usize) -> Self {
        Framing::new(Lines::new(max), Parameters::Lines(max))
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
            Ok(codec) => Framing::new(codec, Parameters::LengthDelimited(parameters)),
            // Told by `validate`, before any connection follows it.
            Err(_) => Framing { parameters: Parameters::LengthDelimited(parameters), ..Framing::raw() },
        }
    }

    /// WebSocket messages, after a handshake: a listener's connections are asked for one by their peers
    /// ([`Handler::on_request`](crate::Handler::on_request)), one who dials asks for it. Its messages are text or binary; a
    /// payload of another kind is refused ([`Refusal::NotEncodable`](crate::Refusal::NotEncodable)), as is text that is not UTF-8.
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
    /// let socket = Framing::websocket(WebSocket::new());
    /// let listener = Listener::new("unix:@app").framing(socket); // behind a proxy, say; `ws://` has it anyway
    /// let mut bench = Bench::with_options(Engine::builder().listen(listener), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 101 "));
    /// bench.message(client, "hello");
    /// assert_eq!(bench.output(client), b"\x81\x05hello"); // one unmasked frame of text
    /// ```
    ///
    /// By default a peer that has sent nothing for 25 s is pinged, and one that sends nothing for 20 s more is closed:
    /// see [`Listener::heartbeat`](crate::Listener::heartbeat).
    pub fn websocket(parameters: WebSocket) -> Self {
        let frame = Frame::Frames(Arc::new(Frames::new(parameters.clone())));
        Framing { frame, parameters: Parameters::WebSocket(Box::new(parameters)), words: None }
    }

    /// A protocol of the user's own.
    ///
    /// ```
    /// # use wheelhouse::{Decoded, Framing, Input, Message, Output, Payload, Protocol, ProtocolError, Refusal};
    /// # use wheelhouse::{Action, Conn, Handler, testing::Bench};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    /// struct Pairs; // every message has two bytes
    ///
    /// impl Protocol for Pairs {
    ///     fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
    ///         if input.len() < 2 {
    ///             return Ok(Decoded::Need(2));
    ///         }
    ///         Ok(Decoded::Message(Message::binary(input.take_mut(2))))
    ///     }
    /// #     fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
    /// #         out.body(payload);
    /// #         Ok(())
    /// #     }
    /// }
    ///
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::custom(Pairs));
    /// bench.input(client, b"abc");
    /// assert_eq!(bench.output(client), b"ab");
    /// ```
    pub fn custom(protocol: impl Protocol) -> Self {
        Framing::new(protocol, Parameters::None)
    }

    /// Two words for a framing without pings of its own: a message that is exactly `ping` is answered with `pong`, and both
    /// reach [`Handler::on_control`](crate::Handler::on_control) and never `on_message`. A word that the framing cannot
    /// carry, and two that are the same, are told before any socket is opened.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Framing, Listener};
    ///
    /// let chat = Listener::new("tcp://127.0.0.1:0")
    ///     .framing(Framing::lines(4096).with_heartbeat("PING", "PONG"))
    ///     .heartbeat(Duration::from_secs(30), Duration::from_secs(90));
    /// ```
    pub fn with_heartbeat(
        mut self,
        ping: impl Into<Payload<'static>>,
        pong: impl Into<Payload<'static>>,
    ) -> Self {
        let words = Words::new(&ping.into(), &pong.into());
        if let Frame::Protocol(inner) = &self.frame {
            self.frame = Frame::Protocol(Arc::new(Worded::new(Arc::clone(inner), words.clone())));
        }
        self.words = Some(words);
        self
    }

    /// A WebSocket begins with a request.
    pub(crate) fn needs_no_handshake(&self, whose: &str) -> Result<()> {
        if self.as_websocket().is_none() {
            return Ok(());
        }
        Err(Error::BadOption {
            option: "framing",
            value: format!("WebSocket on {whose}"),
            allowed: "WebSockets on listeners and dialled connections alone: they begin with a handshake"
                .into(),
        })
    }

    /// The framing of one who listens on, or dials, an URL that names a WebSocket or does not: what was asked for, or what goes
    /// with the URL.
    pub(crate) fn over(asked: Option<Framing>, is_websocket: bool, url: &str) -> Result<Framing> {
        match asked {
            None if is_websocket => Ok(Framing::websocket(WebSocket::new())),
            None => Ok(Framing::raw()),
            Some(framing) if is_websocket && framing.as_websocket().is_none() => Err(Error::BadOption {
                option: "framing",
                value: format!("another framing than WebSocket's on `{url}`"),
                allowed: "Framing::websocket, or tcp:// and tls:// for others".into(),
            }),
            Some(framing) => Ok(framing),
        }
    }

    fn new(protocol: impl Protocol, parameters: Parameters) -> Self {
        Framing { frame: Frame::Protocol(Arc::new(protocol)), parameters, words: None }
    }

    #[inline]
    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Whether it can carry a ping.
    pub(crate) fn has_pings(&self) -> bool {
        match &self.frame {
            Frame::Raw => false,
            Frame::Frames(_) => true,
            Frame::Protocol(protocol) => {
                protocol.encode_control(&Control::Ping(&[]), &mut Output::new(&mut Vec::new())).is_ok()
            }
        }
    }

    /// The WebSocket's parameters, where it is one.
    pub(crate) fn as_websocket(&self) -> Option<&WebSocket> {
        if let Parameters::WebSocket(parameters) = &self.parameters { Some(parameters) } else { None }
    }

    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.frame, Frame::Raw) && self.parameters == Parameters::None
    }

    /// Tells of parameters that make no protocol.
    pub(crate) fn validate(&self) -> Result<()> {
        match &self.parameters {
            Parameters::None => Ok(()),
            Parameters::Lines(max) if (1..=LONGEST_LINE).contains(max) => Ok(()),
            Parameters::Lines(max) => Err(Error::BadOption {
                option: "lines",
                value: max.to_string(),
                allowed: format!("1 to {LONGEST_LINE} bytes"),
            }),
            Parameters::LengthDelimited(parameters) => parameters.codec().map(drop),
            Parameters::WebSocket(parameters) => parameters.validate(),
        }?;
        let longest = if let Parameters::Lines(max) = self.parameters { max } else { usize::MAX };
        self.words.as_ref().map_or(Ok(()), |words| words.validate(&self.frame, longest))
    }

    /// Tells of parameters that an engine with these options cannot serve.
    pub(crate) fn fits(&self, options: &Options) -> Result<()> {
        self.as_websocket().map_or(Ok(()), |socket| socket.fits(options))
    }

    /// Whether connections of both follow the same rules.
    pub(crate) fn is_like(&self, other: &Framing) -> bool {
        match (&self.frame, &other.frame) {
            _ if self.parameters != other.parameters || self.words != other.words => false,
            (Frame::Raw, Frame::Raw) | (Frame::Frames(_), Frame::Frames(_)) => true,
            (Frame::Protocol(one), Frame::Protocol(two)) => {
                self.parameters != Parameters::None || Arc::ptr_eq(one, two)
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.frame {
            Frame::Frames(_) => "Framing::websocket",
            _ if self.is_raw() => "Framing::raw",
            _ => "Framing::protocol",
        })
    }
}
