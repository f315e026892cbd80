//! What a connection was given to send, against what the kernel took of it.

use std::collections::VecDeque;

/// Messages as they are to leave, in the order in which they were asked for.
#[derive(Default)]
pub(super) struct Ledger {
    items: VecDeque<Item>,
    /// Bytes of the first item that the kernel has.
    begun: usize,
    /// Taken by the kernel, and too few to tell what they are of.
    loose: Vec<u8>,
    /// Messages that were asked for and did not come, although others behind them did.
    pub(super) missed: usize,
}

struct Item {
    bytes: Vec<u8>,
    certainty: Certainty,
}

/// How sure it is that a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The sender was told that it was accepted.
    Sure,
    /// Nobody was told: it leaves unless it is refused.
    Due,
    /// Nobody was told, and it need not.
    Possible,
    /// The connection broke down over it: some of it may have left.
    Cut,
}

/// So many bytes tell messages apart that nobody is sure of: their numbers are among them.
const TELLING: usize = 24;

impl Ledger {
    pub(super) fn add(&mut self, bytes: Vec<u8>, certainty: Certainty) {
        if !bytes.is_empty() {
            self.items.push_back(Item { bytes, certainty });
        }
    }

    /// The kernel took these bytes: the next ones, or something is wrong.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.loose.extend_from_slice(bytes);
        let loose = std::mem::take(&mut self.loose);
        let mut rest = &loose[..];
        while !rest.is_empty() {
            let Some(item) = self.items.front() else {
                return Err(format!("sent {} bytes that nobody asked for: {}", rest.len(), shown(rest)));
            };
            let left = &item.bytes[self.begun..];
            let common = rest.len().min(left.len());
            if item.certainty != Certainty::Sure && self.begun == 0 {
                if rest.len() < left.len().min(TELLING) {
                    break;
                }
                if rest[..common] != left[..common] {
                    self.missed += usize::from(item.certainty == Certainty::Due);
                    self.items.pop_front();
                    continue;
                }
            }
            if let Some(at) = (0..common).find(|&at| rest[at] != left[at]) {
                let (is, should) = (shown(&rest[at..]), shown(&left[at..]));
                return Err(format!("other bytes than asked for: {is} for {should}, {:?}", item.certainty));
            }
            rest = &rest[common..];
            self.begun += common;
            if self.begun == item.bytes.len() {
                self.items.pop_front();
                self.begun = 0;
            }
        }
        self.loose = rest.to_vec();
        Ok(())
    }

    /// The connection is gone, and so many bytes were never sent, it is said; up to `slack` of them are none of a message's.
    pub(super) fn close(&mut self, unsent: u64, slack: usize) -> Result<(), String> {
        self.end(Unsent { told: Some(unsent as usize), slack })
            .map_err(|left| format!("{unsent} B are told as unsent, {left}"))
    }

    /// The same where it is not known how many bytes a message takes.
    pub(super) fn close_loosely(&mut self, unsent: u64) -> Result<(), String> {
        self.end(Unsent { told: None, slack: 0 })?;
        match self.left() {
            (1.., _) if unsent == 0 => Err("nothing is told as unsent, and messages have not left".into()),
            _ => Ok(()),
        }
    }

    fn end(&mut self, unsent: Unsent) -> Result<(), String> {
        let (loose, items) = (std::mem::take(&mut self.loose), self.items.make_contiguous());
        let Some(last) = end(items, self.begun, &loose, unsent) else {
            let left: Vec<(usize, Certainty)> =
                items.iter().map(|item| (item.bytes.len(), item.certainty)).collect();
            let (last, begun) = (shown(&loose), self.begun);
            return Err(format!("after {last}, of {left:?}; {begun} B had left"));
        };
        self.missed += last.missed;
        self.items.drain(..last.gone);
        Ok(())
    }

    /// Messages that are still to leave: those that must, and those that should.
    pub(super) fn left(&self) -> (usize, usize) {
        let count = |certainty| self.items.iter().filter(|item| item.certainty == certainty).count();
        (count(Certainty::Sure), count(Certainty::Due))
    }

    /// Whether it is known of every message whether it was accepted.
    pub(super) fn is_certain(&self) -> bool {
        self.items.iter().all(|item| item.certainty == Certainty::Sure)
    }

    /// Accepted and not taken by the kernel, as far as is known.
    pub(super) fn waiting(&self) -> usize {
        let all: usize = self.items.iter().map(|item| item.bytes.len()).sum();
        all - self.begun - self.loose.len()
    }
}

/// What is told of the bytes that never left, where they can be counted, and how many of them are none of a message's.
#[derive(Clone, Copy)]
struct Unsent {
    told: Option<usize>,
    slack: usize,
}

/// How a ledger ended: messages that have left, or were passed by, and those of them that should not have been.
struct LastOnes {
    gone: usize,
    missed: usize,
}

/// Finds out of which messages the last bytes are, when so many bytes are left unsent, some of them none of a message's.
fn end(items: &[Item], begun: usize, last: &[u8], unsent: Unsent) -> Option<LastOnes> {
    if last.is_empty() {
        return is_left(items, begun, unsent).then_some(LastOnes { gone: 0, missed: 0 });
    }
    let (item, behind) = items.split_first()?;
    let bytes = &item.bytes[begun..];
    let found = match last.strip_prefix(bytes) {
        Some(last) => end(behind, 0, last, unsent).map(|end| LastOnes { gone: end.gone + 1, ..end }),
        None if bytes.starts_with(last) => {
            is_left(items, begun + last.len(), unsent).then_some(LastOnes { gone: 0, missed: 0 })
        }
        None => None,
    };
    if found.is_some() || begun > 0 || item.certainty == Certainty::Sure {
        return found;
    }
    let missed = usize::from(item.certainty == Certainty::Due);
    let end = end(behind, 0, last, unsent)?;
    Some(LastOnes { gone: end.gone + 1, missed: end.missed + missed })
}

/// Whether so many bytes of these messages may have been accepted and be unsent, `begun` of the first having left.
fn is_left(items: &[Item], mut begun: usize, unsent: Unsent) -> bool {
    let Some(told) = unsent.told else { return true };
    let (mut sure, mut unsure, mut framing) = (0, Vec::new(), unsent.slack);
    for item in items {
        let left = item.bytes.len() - std::mem::take(&mut begun);
        match item.certainty {
            Certainty::Cut => framing = unsent.slack.max(FRAMING),
            Certainty::Sure => sure += left,
            // Also where some of it has left: the rest may have found no room.
            Certainty::Due | Certainty::Possible => {
                framing = unsent.slack.max(FRAMING);
                unsure.push(left);
            }
        }
    }
    told.checked_sub(sure).is_some_and(|rest| {
        (0..=framing).any(|framing| rest.checked_sub(framing).is_some_and(|rest| is_sum(rest, &unsure)))
    })
}

/// What is put in front of a body may count as accepted when the connection breaks down over the body.
const FRAMING: usize = 6;

/// Whether some of these make up that sum. With too many to try, they do.
fn is_sum(sum: usize, of: &[usize]) -> bool {
    match of {
        _ if sum == 0 => true,
        [] => false,
        _ if of.len() > 16 => true,
        [first, rest @ ..] => {
            is_sum(sum, rest) || sum.checked_sub(*first).is_some_and(|sum| is_sum(sum, rest))
        }
    }
}

pub(super) fn shown(bytes: &[u8]) -> String {
    let some = &bytes[..bytes.len().min(24)];
    format!("{:?}", String::from_utf8_lossy(some))
}
