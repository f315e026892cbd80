use crate::CloseCode;

/// The rule that a peer broke, and the code that the connection is closed with (RFC 6455, 7.4.1).
///
/// ```
/// use wheelhouse_websocket::{CloseCode, Pass, Role, Rules, State};
///
/// let rules = Rules { role: Role::Server, max_message: 1024, max_frame: 1024, max_fragments: 16 };
/// let mut unmasked = *b"\x81\x02hi";
/// let violation = Pass::new(&rules, State::new(false), &mut unmasked).next().unwrap_err();
/// assert_eq!(violation.code, CloseCode::PROTOCOL);
/// assert_eq!(violation.to_string(), "a client's frame is not masked (1002)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({})", .code.number())]
pub struct Violation {
    /// What to say in the close frame: 1002, 1003, 1007, 1008 or 1009.
    pub code: CloseCode,
    /// Which rule.
    pub what: &'static str,
}

impl Violation {
    /// The framing is wrong (1002).
    pub(crate) const fn protocol(what: &'static str) -> Violation {
        Violation { code: CloseCode::PROTOCOL, what }
    }

    /// Text, or the reason of a close frame, that is none (1007).
    pub(crate) const fn invalid(what: &'static str) -> Violation {
        Violation { code: CloseCode::INVALID, what }
    }

    /// More of something than is taken (1008).
    pub(crate) const fn policy(what: &'static str) -> Violation {
        Violation { code: CloseCode::POLICY, what }
    }

    /// A message beyond the limit (1009).
    pub(crate) const fn too_big(what: &'static str) -> Violation {
        Violation { code: CloseCode::TOO_BIG, what }
    }
}
