//! What the wheel reminds a reactor of.

use crate::{TimerKind, id::Key};

/// What an entry of the wheel stands for, in 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The nearest of a connection's own deadlines.
    Deadline(Key),
    /// A timer of the handler's: the connection's key in 24 bits, the kind in 32.
    Timer(ConnTimer),
    /// A timer of the handler's without a connection.
    ReactorTimer(TimerKind),
    /// Accepting, put off after an error.
    Accept,
    /// Giving memory back after a storm.
    Housekeeping,
    /// The end of a drain.
    Stop,
}

/// A connection's key and a timer's kind, packed so that [`Due`] has 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnTimer {
    key: [u8; 3],
    kind: [u8; 4],
}

const _: () = assert!(size_of::<Due>() == 8);

impl ConnTimer {
    pub(super) fn new(key: Key, kind: TimerKind) -> Self {
        let [a, b, c, _] = key.0.to_le_bytes();
        ConnTimer { key: [a, b, c], kind: kind.0.to_le_bytes() }
    }

    pub(super) fn key(self) -> Key {
        let [a, b, c] = self.key;
        Key(u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) fn kind(self) -> TimerKind {
        TimerKind(u32::from_le_bytes(self.kind))
    }
}
