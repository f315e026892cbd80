//! What was read, and waits.

use wheelhouse_ring::Ring;

use crate::linear::Linear;

/// Input that was read and that nobody could use yet.
pub(crate) enum Inbound {
    Inline { len: u8, bytes: [u8; Inbound::INLINE] },
    Ring(Ring),
    Linear(Box<Linear>),
}

const _: () = assert!(size_of::<Inbound>() == 16);

impl Inbound {
    /// A message's first few bytes need no storage beside the connection.
    pub(crate) const INLINE: usize = 14;
    pub(crate) const EMPTY: Inbound = Inbound::Inline { len: 0, bytes: [0; Inbound::INLINE] };

    /// At most [`INLINE`](Inbound::INLINE) bytes.
    pub(crate) fn inline(few: &[u8]) -> Inbound {
        let mut bytes = [0; Inbound::INLINE];
        bytes[..few.len()].copy_from_slice(few);
        Inbound::Inline { len: few.len() as u8, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Inbound::Inline { len, .. } => usize::from(*len),
            Inbound::Ring(ring) => ring.len(),
            Inbound::Linear(linear) => linear.filled,
        }
    }

    /// Copies as much of the beginning as there is and fits.
    pub(crate) fn peek(&self, out: &mut [u8]) {
        match self {
            Inbound::Inline { len, bytes } => {
                let len = out.len().min(usize::from(*len));
                out[..len].copy_from_slice(&bytes[..len]);
            }
            Inbound::Ring(ring) => _ = ring.copy_to(out),
            Inbound::Linear(linear) => {
                let len = out.len().min(linear.filled);
                out[..len].copy_from_slice(&linear.bytes[..len]);
            }
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // A ring or linear storage that holds nothing is replaced at once.
        matches!(self, Inbound::Inline { len: 0, .. })
    }

    /// Storage held outside the connection.
    pub(crate) fn capacity(&self) -> usize {
        match self {
            Inbound::Inline { .. } => 0,
            Inbound::Ring(ring) => ring.capacity(),
            Inbound::Linear(linear) => linear.bytes.size(),
        }
    }
}
