use std::{ops::Range, slice};

use rustls::{
    Connection, SideData, SliceInput, Tcp,
    crypto::cipher::{OutboundPlain, Payload},
    error::Error as RustlsError,
};

use super::{Phase, Received, Session, TlsError, opening::ALERT};

/// A record's header: its type, a version, and the length of the rest (RFC 8446, 5.1).
pub(super) const HEADER: usize = 5;

/// A connection of one side, and what rustls does not keep for us.
#[derive(Debug)]
pub(super) struct Link<S: SideData> {
    pub(super) conn: Connection<S, Tcp>,
    /// Bytes of the handshake that were used.
    handshake: u32,
    /// Certificates are to be expected in it.
    pub(super) is_long: bool,
    was_handshaking: bool,
    is_closed: bool,
    is_notified: bool,
    failure: Option<Box<TlsError>>,
}

/// What one step of [`Link::open`] found.
enum Opened {
    /// A record's plaintext, where it lies in the bytes.
    Plain(Range<usize>),
    /// Plaintext that rustls had to copy.
    Copied(Vec<u8>),
    /// No more whole records.
    Nothing,
    /// `close_notify`.
    Closed,
    Failed(RustlsError),
}

impl<S: SideData> Link<S> {
    pub(super) fn new(conn: Connection<S, Tcp>, is_long: bool) -> Self {
        Link {
            conn,
            handshake: 0,
            is_long,
            was_handshaking: true,
            is_closed: false,
            is_notified: false,
            failure: None,
        }
    }

    /// ```text
    ///     | header, plain 1, tag | header, plain 2, tag | header, pla...
    ///              '-- stays --'   .------'                '-- left --'
    ///              | plain 1, plain 2 |
    /// ```
    pub(super) fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> Received {
        let (mut used, mut plain) = (0, 0..0);
        if self.failure.is_some() || self.is_closed {
            return self.ended(plain, bytes.len());
        }
        loop {
            let mut end =
                if self.was_handshaking { bytes.len().min(used + self.allowance()) } else { bytes.len() };
            let goodbye = if self.was_handshaking { goodbye(&bytes[used..end]) } else { None };
            if let Some(at) = goodbye {
                end = used + at;
            }
            let (taken, opened) = self.open(&mut bytes[used..end], out);
            let from = used;
            used += taken;
            self.note_progress(taken);
            match opened {
                // Nothing follows the only record of a message: nobody need look for it.
                Opened::Plain(at) if used == bytes.len() && !self.was_handshaking => {
                    join(bytes, &mut plain, from + at.start..from + at.end);
                    return Received { plain, left: used..used, missing: 0, phase: Phase::Open };
                }
                Opened::Plain(at) => join(bytes, &mut plain, from + at.start..from + at.end),
                Opened::Copied(copy) => {
                    // A plaintext is shorter than its record, so there is room where the record was.
                    let at = used - copy.len()..used;
                    bytes[at.clone()].copy_from_slice(&copy);
                    join(bytes, &mut plain, at);
                }
                Opened::Failed(error) => return self.fail(plain, bytes.len(), error.into()),
                Opened::Closed => {
                    self.is_closed = true;
                    return self.ended(plain, bytes.len());
                }
                Opened::Nothing if goodbye.is_some() && taken == 0 => {
                    self.is_closed = true;
                    return self.ended(plain, bytes.len());
                }
                Opened::Nothing => {
                    let was_cut = end < bytes.len();
                    if was_cut && self.was_handshaking && goodbye.is_none() {
                        self.close_notify(out);
                        let limit = self.limit();
                        return self.fail(
                            plain,
                            bytes.len(),
                            TlsError::TooLarge { what: "a handshake", limit },
                        );
                    }
                    if !was_cut {
                        break;
                    }
                }
            }
        }
        let left = &bytes[used..];
        if !self.was_handshaking && left.len() > Session::MAX_LEFT {
            self.close_notify(out);
            let error = TlsError::TooLarge { what: "a message between the data", limit: Session::MAX_LEFT };
            return self.fail(plain, bytes.len(), error);
        }
        let phase = if self.was_handshaking { Phase::Handshaking } else { Phase::Open };
        Received { plain, left: used..bytes.len(), missing: missing(left), phase }
    }

    /// Opens records until one has plaintext in it or none is whole; says how many bytes are done with.
    fn open(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> (usize, Opened) {
        let start = bytes.as_ptr().addr();
        let mut input = SliceInput::new(bytes);
        let mut records = self.conn.read_tls(&mut input, out);
        let opened = match records.next_payload() {
            Some(Ok(Payload::Borrowed(plain))) => {
                let at = plain.as_ptr().addr() - start;
                Opened::Plain(at..at + plain.len())
            }
            Some(Ok(other)) => Opened::Copied(other.bytes().to_vec()),
            Some(Err(error)) => Opened::Failed(error),
            None => {
                let is_closed = records.state().peer_has_closed();
                return (input.into_used(), if is_closed { Opened::Closed } else { Opened::Nothing });
            }
        };
        drop(records);
        (input.into_used(), opened)
    }

    pub(super) fn send(&mut self, plain: &[&[u8]], out: &mut Vec<u8>) -> Result<(), TlsError> {
        if let Some(error) = &self.failure {
            return Err(TlsError::clone(error));
        }
        if self.is_notified {
            return Err(TlsError::Closed);
        }
        if self.is_handshaking() {
            return Err(TlsError::NotReady);
        }
        // What lies in one piece is sealed from where it lies, and not gathered first.
        let plain = match plain.split_last() {
            Some((last, before)) if before.iter().all(|piece| piece.is_empty()) => slice::from_ref(last),
            _ => plain,
        };
        Ok(self.conn.write(OutboundPlain::new(plain), out)?)
    }

    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) {
        self.is_notified = true;
        // It can only fail where the keys are used up, and then it has been sent.
        let _ = self.conn.send_close_notify(out);
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// Counts the handshake's bytes, and drops what only the handshake needed.
    fn note_progress(&mut self, used: usize) {
        if !self.was_handshaking {
            return;
        }
        self.handshake = self.handshake.saturating_add(u32::try_from(used).unwrap_or(u32::MAX));
        if !self.conn.is_handshaking() {
            self.was_handshaking = false;
            // Nobody exports keys: 100 to 300 bytes less for as long as the connection lives.
            drop(self.conn.exporter());
        }
    }

    /// The most that the handshake may come to.
    pub(super) fn limit(&self) -> usize {
        if self.is_long { Session::MAX_LONG_HANDSHAKE } else { Session::MAX_HANDSHAKE }
    }

    /// How many bytes more the handshake may use.
    fn allowance(&self) -> usize {
        self.limit().saturating_sub(self.handshake as usize)
    }

    pub(super) fn fail(&mut self, plain: Range<usize>, len: usize, error: TlsError) -> Received {
        self.failure = Some(Box::new(error));
        self.ended(plain, len)
    }

    /// The answer once nothing more can come.
    fn ended(&self, plain: Range<usize>, len: usize) -> Received {
        let phase = match &self.failure {
            Some(error) => Phase::Failed(TlsError::clone(error)),
            None => Phase::Closed,
        };
        Received { plain, left: len..len, missing: 0, phase }
    }
}

/// Appends the plaintext at `at` to that at `plain`, which lies before it; the first stays where it is.
fn join(bytes: &mut [u8], plain: &mut Range<usize>, at: Range<usize>) {
    if plain.start == plain.end {
        *plain = at;
        return;
    }
    let len = at.len();
    bytes.copy_within(at, plain.end);
    plain.end += len;
}

/// How many bytes more make the first record whole.
fn missing(left: &[u8]) -> usize {
    match (left.len(), record_len(left)) {
        (0, _) => 0,
        (len, None) => HEADER - len,
        // A handshake message of several records keeps those that came, and what lies behind them has no place here.
        (len, Some(whole)) => whole.saturating_sub(len).max(1),
    }
}

/// Where a `close_notify` lies that is not sealed, in records that are whole: rustls passes it by until the handshake is done,
/// and a peer that has given up would be waited for.
fn goodbye(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(len) = record_len(&bytes[at..]).filter(|len| at + len <= bytes.len()) {
        if matches!(bytes[at..at + len], [ALERT, 3, _, 0, 2, _, 0]) {
            return Some(at);
        }
        at += len;
    }
    None
}

/// The length of the record that begins here, its header included.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low] = *bytes.first_chunk::<HEADER>()?;
    Some(HEADER + usize::from(u16::from_be_bytes([high, low])))
}
