/// Bytes as the network may cut them: mostly into small pieces, some of them large.
pub(crate) struct Pieces<'a> {
    rest: &'a [u8],
    seed: u64,
}

impl<'a> Pieces<'a> {
    /// The same seed cuts alike; 0 does not cut.
    pub(crate) fn new(bytes: &'a [u8], seed: u16) -> Self {
        Pieces { rest: bytes, seed: u64::from(seed) }
    }

    fn len(&mut self) -> usize {
        // Steele, Lea and Flood's SplitMix64, for it is short.
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.seed;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let most = [2, 4, 16, 300][mixed as usize % 4];
        1 + (mixed >> 8) as usize % most
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let len = if self.seed == 0 { self.rest.len() } else { self.len().min(self.rest.len()) };
        let (piece, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(piece)
    }
}
