/// An endless stream of bytes, each a function of the stream and its position: what is lost, doubled or out of place shows.
#[derive(Clone, Debug)]
pub struct Pattern {
    stream: u64,
    at: u64,
}

impl Pattern {
    /// The stream of that number, from its beginning.
    pub fn new(stream: u64) -> Self {
        Pattern { stream, at: 0 }
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next()).collect()
    }

    /// Fails unless these are the next bytes.
    #[track_caller]
    pub fn check(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let at = self.at;
            assert_eq!(byte, self.next(), "stream {}, byte {at}", self.stream);
        }
    }

    /// How many bytes have been taken or checked.
    pub fn position(&self) -> u64 {
        self.at
    }

    fn next(&mut self) -> u8 {
        let mixed = (self.at ^ self.stream << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.at += 1;
        (mixed >> 56) as u8
    }
}
