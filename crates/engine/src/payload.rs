use bytes::Bytes;

use crate::Kind;

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
    /// The same as a server's frame that is not compressed, where that lies ready.
    frame: Option<&'a [u8]>,
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
    pub(crate) fn new(kind: Kind, is_utf8: bool, body: Body<'a>) -> Self {
        Payload { kind, is_utf8, is_incompressible: false, body, frame: None }
    }

    #[inline]
    pub(crate) fn with_frame(mut self, frame: Option<&'a [u8]>) -> Self {
        self.frame = frame;
        self
    }

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
        self.frame = None;
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

    #[inline]
    pub(crate) fn frame(&self) -> Option<&'a [u8]> {
        self.frame
    }

    pub(crate) fn body(&self) -> &Body<'a> {
        &self.body
    }
}

macro_rules! payload_from {
    ($($from:ty, $kind:ident, $value:ident => $body:expr;)*) => { $(
        impl<'a> From<$from> for Payload<'a> {
            fn from($value: $from) -> Self {
                Payload::new(Kind::$kind, Kind::$kind == Kind::TEXT, $body)
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
