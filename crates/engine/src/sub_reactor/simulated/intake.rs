//! What a peer sent, against what the handler was offered of it.

use std::rc::Rc;

use super::{ledger::shown, script::Script};
use crate::{Control, Message, Payload};

/// How far the handler has come with a script.
pub(super) struct Intake {
    script: Rc<Script>,
    /// Messages taken, and controls.
    next: usize,
    controls: usize,
    /// Raw bytes taken, and offered.
    consumed: usize,
    offered: usize,
    is_held: bool,
    /// The connection was paused since: what was offered may come again without anything new.
    pub(super) may_repeat: bool,
    pub(super) is_at_end: bool,
    /// Messages, or reads, that were new.
    pub(super) count: u64,
}

impl Intake {
    pub(super) fn new(script: Rc<Script>) -> Intake {
        Intake {
            next: 0,
            controls: 0,
            consumed: script.preface,
            offered: script.preface,
            script,
            is_held: false,
            may_repeat: false,
            is_at_end: false,
            count: 0,
        }
    }

    /// Raw bytes are offered: what was left, and what came behind it.
    pub(super) fn offer(&mut self, bytes: &[u8]) -> Result<(), String> {
        let end = self.consumed + bytes.len();
        self.count += 1;
        if self.is_at_end {
            return Err("data behind the end".into());
        }
        if self.script.bytes.get(self.consumed..end) != Some(bytes) {
            return Err(format!("other bytes than sent at {}: {}", self.consumed, shown(bytes)));
        }
        if end < self.offered || (end == self.offered && !self.may_repeat) {
            return Err(format!("offered up to {end}, and before up to {}", self.offered));
        }
        self.offered = end;
        self.may_repeat = false;
        Ok(())
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
    }

    /// A message is offered: the next one, or the one on hold.
    pub(super) fn receive(&mut self, message: Message<'_>) -> Result<(), String> {
        let Some(next) = self.script.messages.get(self.next) else {
            return Err(format!("message {} of {}", self.next, self.script.messages.len()));
        };
        self.count += u64::from(!self.is_held);
        if self.is_held && !self.may_repeat {
            return Err("a message on hold was offered again without a resume".into());
        }
        if self.is_at_end {
            return Err("a message behind the end".into());
        }
        if message.kind() != next.kind || message.bytes() != next.body {
            let (is, should) = (shown(message.bytes()), shown(&next.body));
            return Err(format!("message {} is {is}, not {should}", self.next));
        }
        self.next += 1;
        self.is_held = false;
        self.may_repeat = false;
        Ok(())
    }

    /// A ping or pong is told: the next one, and in its place among the messages.
    pub(super) fn control(&mut self, control: Control<'_>) -> Result<(), String> {
        let script = Rc::clone(&self.script);
        let controls = script.talk.as_ref().map_or(&[][..], |talk| &talk.controls);
        let Some(next) = controls.get(self.controls) else { return Err("a control too many".into()) };
        let (is_ping, data) = match control {
            Control::Ping(data) => (true, data),
            Control::Pong(data) => (false, data),
        };
        if next.is_ping != is_ping || next.data != data || next.before != self.next {
            let (before, data) = (self.next, shown(data));
            return Err(format!("control {} says {data}, behind {before} messages", self.controls));
        }
        self.controls += 1;
        Ok(())
    }

    /// The message is to come once more.
    pub(super) fn hold(&mut self) {
        self.next -= 1;
        self.is_held = true;
    }

    /// The end is told: nothing may be left that could have been told before.
    pub(super) fn end(&mut self, read: usize) -> Result<(), String> {
        if std::mem::replace(&mut self.is_at_end, true) {
            return Err("the end, twice".into());
        }
        let all = self.script.bytes.len();
        if read != all {
            return Err(format!("the end after {read} of {all} bytes"));
        }
        match self.script.is_raw {
            true if self.offered < all => {
                Err(format!("the end when {} of {all} B were offered", self.offered))
            }
            false if self.next < self.script.messages.len() => {
                Err(format!("the end after {} of {} messages", self.next, self.script.messages.len()))
            }
            _ => Ok(()),
        }
    }

    /// Bytes that were read and are of no use yet, and those that the message they begin takes.
    pub(super) fn unused(&self, read: usize) -> (usize, usize) {
        let Some(next) = self.script.messages.get(self.next) else {
            let used = self.script.messages.last().map_or(self.consumed, |last| last.wire.end);
            return (read - used, self.script.longest.max(read - used));
        };
        (read.saturating_sub(next.wire.start), next.wire.len())
    }

    /// Who takes the connection over is given the message on hold, and what was read behind it.
    pub(super) fn hand_over(
        &self,
        held: Option<&Payload<'_>>,
        unread: &[u8],
        read: usize,
    ) -> Result<(), String> {
        let on_hold = self.script.messages.get(self.next).filter(|_| self.is_held);
        let is_right = |held: &Payload<'_>| {
            on_hold.is_some_and(|on_hold| held.kind() == on_hold.kind && held.bytes() == on_hold.body)
        };
        if on_hold.is_some() != held.is_some() || held.is_some_and(|held| !is_right(held)) {
            return Err(format!("of message {}, held {}, came {:?}", self.next, self.is_held, held));
        }
        let from = on_hold.map_or(self.place(), |on_hold| on_hold.wire.end);
        match self.script.bytes.get(from..read) == Some(unread) {
            true => Ok(()),
            false => Err(format!("unread from {from} to {read} are {} B: {}", unread.len(), shown(unread))),
        }
    }

    /// Goes on elsewhere: whoever took it over has used the message on hold (`is_taken`), or it comes again.
    pub(super) fn pass_on(&mut self, is_taken: bool) -> Intake {
        let fresh = Intake::new(Rc::clone(&self.script));
        let mut goes_on = std::mem::replace(self, fresh);
        goes_on.next += usize::from(goes_on.is_held && is_taken);
        (goes_on.is_held, goes_on.is_at_end, goes_on.may_repeat) = (false, false, true);
        goes_on
    }

    /// What was read, `read` bytes in all, and not taken.
    pub(super) fn unread(&self, read: usize) -> &[u8] {
        &self.script.bytes[self.place()..read]
    }

    /// Messages taken.
    pub(super) fn taken(&self) -> usize {
        self.next
    }

    /// Up to where all is taken.
    fn place(&self) -> usize {
        match (self.script.messages.get(self.next), self.script.messages.last()) {
            (Some(next), _) => next.wire.start,
            (None, Some(last)) => last.wire.end,
            (None, None) => self.consumed,
        }
    }

    /// Whether all messages in front of a script's bad end were told.
    pub(super) fn has_all_messages(&self) -> bool {
        let controls = self.script.talk.as_ref().map_or(0, |talk| talk.controls.len());
        self.next == self.script.messages.len() && self.controls == controls
    }
}
