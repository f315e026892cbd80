//! What is sent, and what must come back.

/// Bytes until the pattern repeats: a prime, so that no message size fits into it.
const PERIOD: usize = 65_521;

/// The longest piece that [`Pattern::piece`] gives.
const PIECE: usize = 64 << 10;

/// A table of bytes that look random. A connection's stream is this table, over and over, from an offset of its own: byte
/// `n` of connection `c` is known at once, costs nothing to make, and is another one at any other place or connection
/// nearby.
pub(crate) struct Pattern {
    table: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new() -> Pattern {
        let mut state = 0x5EED;
        let mut table: Vec<u8> =
            (0..PERIOD.div_ceil(8)).flat_map(|_| split_mix(&mut state).to_le_bytes()).collect();
        table.truncate(PERIOD);
        table.extend_from_within(..);
        Pattern { table }
    }

    /// What connection `connection` sends from byte `at` on: up to `most` bytes, and 64 KiB.
    pub(crate) fn piece(&self, connection: u32, at: u64, most: u64) -> &[u8] {
        // No two connections of the first 65,521 have the same offset.
        let offset = u64::from(connection) * 40_503;
        let start = ((offset + at) % PERIOD as u64) as usize;
        let length = most.min(PIECE.min(PERIOD) as u64) as usize;
        &self.table[start..start + length]
    }

    /// The first byte that is not as connection `connection` sent it, `seen` being what came back from byte `at` on.
    pub(crate) fn check(&self, connection: u32, mut at: u64, mut seen: &[u8]) -> Result<(), Wrong> {
        while !seen.is_empty() {
            let expected = self.piece(connection, at, seen.len() as u64);
            let (head, tail) = seen.split_at(expected.len());
            if head != expected {
                let n = head.iter().zip(expected).position(|(seen, expected)| seen != expected).unwrap_or(0);
                return Err(Wrong { position: at + n as u64, expected: Some(expected[n]), seen: head[n] });
            }
            at += head.len() as u64;
            seen = tail;
        }
        Ok(())
    }
}

/// A byte that came back and should not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Its place in the connection's stream.
    pub(crate) position: u64,
    /// Nothing when it was never sent.
    pub(crate) expected: Option<u8>,
    pub(crate) seen: u8,
}

/// The next of a row of numbers that look random, which begins anywhere.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
