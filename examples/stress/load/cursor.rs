/// The next message by schedule.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    pub(super) round: u64,
    pub(super) client: usize,
}

impl Cursor {
    /// The next client's, and after the last one the first one's of the next round.
    pub(super) fn advance(&mut self, clients: usize) {
        self.client += 1;
        if self.client == clients {
            *self = Cursor { round: self.round + 1, client: 0 };
        }
    }
}
