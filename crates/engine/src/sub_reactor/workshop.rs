//! What a reactor's WebSockets share: compressors, masks, and the count of control frames.

use std::collections::HashMap;

use rand::{Rng as _, rngs::StdRng};
use wheelhouse_websocket::deflate::{Deflator, Inflator};

use crate::ConnId;

/// What a reactor's WebSockets share.
#[derive(Default)]
pub(crate) struct Workshop {
    /// By level and window.
    deflators: Vec<((u32, u8), Deflator)>,
    pub(super) inflator: Option<Inflator>,
    pub(super) deflated: Vec<u8>,
    pub(super) masks: Masks,
    controls: Controls,
    /// Connections with contexts of their own.
    pub(super) contexts: usize,
    /// The subprotocols that are spoken, so that a connection keeps four bits of its own.
    pub(super) subprotocols: Vec<Box<str>>,
}

/// Masks that nobody foresees (RFC 6455, 5.3): a generator seeded by the system when it is first needed.
#[derive(Default)]
pub(super) struct Masks(Option<Box<StdRng>>);

impl Masks {
    /// The same ones each time, for worlds that are to be.
    #[cfg(test)]
    pub(super) fn seeded(seed: u64) -> Masks {
        Masks(Some(Box::new(rand::SeedableRng::seed_from_u64(seed))))
    }

    pub(super) fn next(&mut self) -> [u8; 4] {
        self.0.get_or_insert_with(|| Box::new(rand::make_rng())).next_u32().to_ne_bytes()
    }
}

/// Who sent how many control frames in the present second.
#[derive(Default)]
struct Controls {
    second: u64,
    counts: HashMap<ConnId, usize>,
}

impl Controls {
    fn count(&mut self, id: ConnId, second: u64) -> usize {
        if self.second != second {
            self.second = second;
            self.counts.clear();
        }
        let count = self.counts.entry(id).or_default();
        *count += 1;
        *count
    }
}

/// Compression that remembers earlier messages of one connection: some 430 KB.
pub(crate) struct Contexts {
    pub(super) ours: Deflator,
    pub(super) theirs: Inflator,
    pub(super) keeps_ours: bool,
    pub(super) keeps_theirs: bool,
}

impl Contexts {
    /// Bytes that they take, about.
    pub(crate) const ABOUT: usize = 430 << 10;
}

/// What makes connections of one profile differ in how a payload is framed for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kindred {
    pub(super) is_client: bool,
    /// The window of what is compressed, in bits; 0 where nothing is.
    pub(super) window: u8,
    /// It compresses for itself.
    pub(super) has_contexts: bool,
}

impl Workshop {
    /// How many control frames have come from a connection in this second, with the one at hand.
    pub(super) fn count_control(&mut self, id: ConnId, second: u64) -> usize {
        self.controls.count(id, second)
    }

    /// Gives back what a storm has left behind. What compresses and expands is made anew for the next message.
    pub(super) fn tidy(&mut self) {
        self.controls.counts.shrink_to(1024);
        self.deflators = Vec::new();
        self.inflator = None;
    }

    pub(super) fn deflator(&mut self, level: u32, window: u8) -> &mut Deflator {
        let wanted = (level, window);
        let at = match self.deflators.iter().position(|(of, _)| *of == wanted) {
            Some(at) => at,
            None => {
                self.deflators.push((wanted, Deflator::new(window, level)));
                self.deflators.len() - 1
            }
        };
        &mut self.deflators[at].1
    }

    /// The key of one more frame's mask.
    pub(super) fn mask(&mut self) -> [u8; 4] {
        self.masks.next()
    }

    /// Sixteen bytes that nobody foresees.
    pub(super) fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce.chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&self.masks.next()));
        nonce
    }
}
