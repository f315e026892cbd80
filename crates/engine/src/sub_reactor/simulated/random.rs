/// splitmix64: small, seeded, and the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 up to `bound`, which is not among them.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in so many times; never, for 0.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        times > 0 && self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Mostly little, now and then a lot, and often just beside one of the sizes at which something changes.
    pub(super) fn size(&mut self, most: usize) -> usize {
        const EDGES: [usize; 9] = [0, 1, 14, 256, 1024, 4096, 8192, 16_384, 65_536];
        let size = match self.below(40) {
            0 => self.below(100_000),
            1..5 => self.below(6_000),
            5..8 => (self.pick(&EDGES) + self.below(3)).saturating_sub(1),
            _ => self.below(60),
        };
        size.min(most)
    }

    /// So many bytes of all kinds.
    pub(super) fn noise(&mut self, count: usize) -> Vec<u8> {
        let mut noise = Vec::with_capacity(count + 8);
        while noise.len() < count {
            noise.extend(self.next().to_le_bytes());
        }
        noise.truncate(count);
        noise
    }

    /// So many small letters.
    pub(super) fn letters(&mut self, count: usize) -> Vec<u8> {
        let mut letters = Vec::with_capacity(count + 8);
        while letters.len() < count {
            letters.extend(self.next().to_le_bytes().map(|byte| b'a' + byte % 26));
        }
        letters.truncate(count);
        letters
    }
}
