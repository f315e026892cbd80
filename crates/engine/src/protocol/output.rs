use bytes::Bytes;

use crate::{Payload, payload::Body};

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
    /// An output that gathers everything in `bytes`; for testing a [`Protocol`](crate::Protocol).
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        Output { bytes, shared: None, keeps_shared: false }
    }

    /// One that leaves a large shared body out of `bytes`, to be taken with [`Output::into_shared`].
    pub(crate) fn sharing(bytes: &'a mut Vec<u8>) -> Self {
        Output { bytes, shared: None, keeps_shared: true }
    }

    /// Appends bytes of the framing.
    ///
    /// ```
    /// use wheelhouse::{Output, Payload};
    ///
    /// let (mut bytes, payload) = (Vec::new(), Payload::from("hi"));
    /// let mut out = Output::new(&mut bytes);
    /// out.put(&(payload.bytes().len() as u16).to_le_bytes()); // in front of the body
    /// out.body(&payload);
    /// out.put(b"\n"); // and behind it
    /// assert_eq!(bytes, b"\x02\0hi\n");
    /// ```
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
