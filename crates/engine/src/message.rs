use bytes::Bytes;

use crate::{Kind, Payload, payload::Body};

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
    /// The same as a server's frame, where it lies ready to be sent.
    frame: Option<&'a [u8]>,
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
        Message { kind, body, is_utf8: false, frame: None }
    }

    /// One that a protocol has looked at: text is UTF-8.
    pub(crate) fn decoded(kind: Kind, body: &'a [u8], is_utf8: bool) -> Self {
        Message { kind, body, is_utf8, frame: None }
    }

    /// The same of one that lies behind its header, ready to be sent.
    pub(crate) fn turned(kind: Kind, frame: &'a [u8], header: usize, is_utf8: bool) -> Self {
        Message { kind, body: &frame[header..], is_utf8, frame: Some(frame) }
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
        Payload::new(self.kind, self.is_utf8, Body::Shared(Bytes::copy_from_slice(self.body)))
    }
}

impl<'a> From<Message<'a>> for Payload<'a> {
    fn from(message: Message<'a>) -> Self {
        Payload::new(message.kind, message.is_utf8, Body::Borrowed(message.body)).with_frame(message.frame)
    }
}
