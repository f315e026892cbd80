use std::fmt;

/// Why a connection is closed (RFC 6455, 7.4): a number from 1000 to 4999 that may stand in a close frame.
///
/// ```
/// use wheelhouse_websocket::{CloseCode, Header, Opcode};
///
/// let mut buffer = [0; CloseCode::MAX_PAYLOAD];
/// let payload = CloseCode::GOING_AWAY.payload("back in a minute", &mut buffer);
/// let header = Header::new(Opcode::Close, payload.len(), None);
///
/// let frame = [header.bytes(), payload].concat();
/// assert_eq!(frame, b"\x88\x12\x03\xe9back in a minute");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose has been fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server goes down, or the page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// A protocol error.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// A kind of data that is not taken.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// Data that does not fit its kind: text that is not UTF-8.
    pub const INVALID: CloseCode = CloseCode(1007);
    /// A policy forbids it.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message that is too big.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// Something unforeseen at the server.
    pub const INTERNAL: CloseCode = CloseCode(1011);

    /// The largest payload of a close frame, as of any control frame: 125 bytes (RFC 6455, 5.5). Two are the
    /// code, 123 the reason.
    ///
    /// ```
    /// use wheelhouse_websocket::CloseCode;
    ///
    /// let mut buffer = [0; CloseCode::MAX_PAYLOAD];
    /// let payload = CloseCode::NORMAL.payload(&"a".repeat(200), &mut buffer);
    /// assert_eq!(payload.len(), CloseCode::MAX_PAYLOAD); // 123 bytes of the reason are left
    /// ```
    pub const MAX_PAYLOAD: usize = 125;

    /// The number.
    ///
    /// ```
    /// use wheelhouse_websocket::CloseCode;
    ///
    /// assert_eq!(CloseCode::GOING_AWAY.number(), 1001);
    /// assert_eq!(CloseCode::new(CloseCode::TOO_BIG.number()), Some(CloseCode::TOO_BIG));
    /// ```
    pub const fn number(self) -> u16 {
        self.0
    }

    /// A code that may stand in a close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999; never 1004, 1005,
    /// 1006, 1015 or an unassigned one.
    ///
    /// ```
    /// use wheelhouse_websocket::CloseCode;
    ///
    /// assert_eq!(CloseCode::new(1000), Some(CloseCode::NORMAL));
    /// assert_eq!(CloseCode::new(4321).map(CloseCode::number), Some(4321)); // the application's own
    /// assert_eq!(CloseCode::new(1006), None); // "no close frame came": never in one
    /// ```
    ///
    /// A server has no use for 1010 (an extension that the client missed), but no one is asked to fail for
    /// it: it is taken from either end.
    pub const fn new(number: u16) -> Option<CloseCode> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(number)),
            _ => None,
        }
    }

    /// Writes the payload of a close frame, code and reason, and lends it: a client masks it yet.
    ///
    /// A reason of more than 123 bytes is cut at the last character that fits whole.
    ///
    /// ```
    /// use wheelhouse_websocket::CloseCode;
    ///
    /// let mut buffer = [0; CloseCode::MAX_PAYLOAD];
    /// assert_eq!(CloseCode::NORMAL.payload("", &mut buffer), b"\x03\xe8");
    /// assert_eq!(CloseCode::POLICY.payload(&"é".repeat(100), &mut buffer).len(), 2 + 122);
    /// ```
    pub fn payload<'b>(self, reason: &str, buffer: &'b mut [u8; Self::MAX_PAYLOAD]) -> &'b mut [u8] {
        let reason = &reason.as_bytes()[..reason.floor_char_boundary(Self::MAX_PAYLOAD - 2)];
        let payload = &mut buffer[..2 + reason.len()];
        payload[..2].copy_from_slice(&self.0.to_be_bytes());
        payload[2..].copy_from_slice(reason);
        payload
    }
}

impl fmt::Display for CloseCode {
    /// The number: `1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_code_or_none_as_the_registry_says() {
        for number in 0..=u16::MAX {
            let may_be_sent = match number {
                1004..=1006 | 1015 => false,
                1000..=1014 | 3000..=4999 => true,
                _ => false,
            };
            assert_eq!(CloseCode::new(number).map(CloseCode::number), may_be_sent.then_some(number));
        }
    }
}
