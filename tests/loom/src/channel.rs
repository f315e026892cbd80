use crate::sync::{AtomicUsize, Ordering};

/// Stands for the `crossbeam_channel::unbounded` in a mailbox: which commands there are does not matter, only how many.
///
/// It must not order threads more than the channel does, or a missing fence would go unnoticed: a queue behind a mutex
/// would, for who locks second sees all that the first did before. So it has less of everything:
///
/// | here | crossbeam-channel 0.5, `flavors/list.rs` |
/// |---|---|
/// | `send`: one addition, Release | `start_send`: compare-and-exchange of the tail's index, SeqCst; `write`: the slot's state, Release |
/// | `is_empty`: two loads, Acquire | head's and tail's index, SeqCst |
/// | `try_recv` finds nothing: a load, Acquire | `start_recv`: a SeqCst fence, then a load of the tail's index |
/// | `try_recv` takes one: compare-and-exchange, AcqRel | of the head's index, SeqCst; then it waits for the slot's state, Acquire |
///
/// A command whose place the tail counts already and whose slot is not written yet is there for `is_empty`, and `try_recv`
/// waits for it; here both happen at once. To the reactor that makes no difference: it stays awake and gets the command.
/// What is relied upon is that a `send` that has returned is seen by an `is_empty` or a `try_recv` that comes after it in
/// the order of the fences around them; that who takes a command sees what its sender did before; and that none is taken twice.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    sent: AtomicUsize,
    received: AtomicUsize,
}

impl Channel {
    pub(crate) fn send(&self) {
        self.sent.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        let received = self.received.load(Ordering::Acquire);
        received == self.sent.load(Ordering::Acquire)
    }

    pub(crate) fn try_recv(&self) -> bool {
        let mut received = self.received.load(Ordering::Acquire);
        while received < self.sent.load(Ordering::Acquire) {
            let next = received + 1;
            match self.received.compare_exchange(received, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(newer) => received = newer,
            }
        }
        false
    }
}
