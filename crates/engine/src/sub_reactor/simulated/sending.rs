//! What the actor sends, and what it holds the answer against.

use bytes::Bytes;

use super::{
    actor::Actor,
    ledger::Certainty,
    wire::{Encoded, PANICS, REFUSED},
};
use crate::{Conn, ConnId, Kind, Payload, Policy, Reactor, Refusal, Sent, connection::Phase};

/// How a payload is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Borrowed,
    /// Bytes that nobody else holds.
    Owned,
    Shared,
    Parts,
}

pub(super) const FORMS: [Form; 4] = [Form::Borrowed, Form::Owned, Form::Shared, Form::Parts];

/// A connection as the engine sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub(super) takes_output: bool,
    pub(super) is_open: bool,
    pub(super) is_live: bool,
    pub(super) queued: usize,
    pub(super) corked: usize,
}

impl View {
    pub(super) fn of(reactor: &Reactor<'_>, id: ConnId) -> View {
        let core = &reactor.core;
        let found = core.connections.get(id.key()).filter(|c| c.sequence == id.sequence());
        found.map_or(View::default(), |connection| View {
            takes_output: connection.takes_output(),
            is_open: connection.phase == Phase::Open,
            is_live: connection.phase <= Phase::Open,
            queued: connection.queued(),
            corked: core.corked(id.key()),
        })
    }
}

impl Actor {
    /// Letters of which no numbered message is made.
    pub(super) fn letters(&mut self) -> Vec<u8> {
        let size = self.random.size(self.plan.most_sent);
        self.random.letters(size)
    }

    /// A payload that is told from all others by its first bytes.
    pub(super) fn numbered(&mut self) -> Payload<'static> {
        let mut body = {
            let mut model = self.model.borrow_mut();
            model.numbered += 1;
            format!("#{:012}#", model.numbered).into_bytes()
        };
        body.extend(self.letters());
        let bytes = Bytes::from(body);
        if self.random.one_in(2) {
            self.keep(bytes.clone());
        }
        Payload::from(bytes)
    }

    fn keep(&mut self, bytes: Bytes) {
        self.kept.push(bytes);
        if self.kept.len() > 8 {
            let out = self.random.below(self.kept.len());
            self.kept.swap_remove(out);
        }
    }

    pub(super) fn kind(&mut self) -> Kind {
        let number = self.random.next() as u16;
        self.random.pick(&[Kind::BINARY, Kind::TEXT, Kind::custom(number)])
    }

    pub(super) fn send(&mut self, conn: &mut Conn<'_>, kind: Kind, body: &[u8], form: Form) -> Sent {
        let id = conn.id();
        let kind = match kind {
            PANICS | REFUSED => Kind::BINARY,
            kind => kind,
        };
        self.send_as(conn, id, kind, body, form)
    }

    /// Sends what the protocol refuses, or panics at.
    pub(super) fn send_badly(&mut self, conn: &mut Conn<'_>) {
        let id = conn.id();
        let panics = self.plan.panics && self.random.one_in(4);
        let body = if self.random.one_in(2) { b"a\nb".to_vec() } else { self.random.letters(10_000) };
        self.send_as(conn, id, if panics { PANICS } else { REFUSED }, &body, Form::Borrowed);
    }

    fn send_as(&mut self, conn: &mut Conn<'_>, id: ConnId, kind: Kind, body: &[u8], form: Form) -> Sent {
        let before = View::of(conn.reactor(), id);
        let sent = match form {
            Form::Borrowed => conn.send(Payload::from(body).with_kind(kind)),
            Form::Owned => conn.send(Payload::from(body.to_vec()).with_kind(kind)),
            Form::Shared => {
                let bytes = Bytes::copy_from_slice(body);
                self.keep(bytes.clone());
                conn.send(Payload::from(bytes).with_kind(kind))
            }
            Form::Parts => {
                let (front, back) = body.split_at(body.len() / 3);
                conn.send_vectored(kind, &[front, b"", back])
            }
        };
        let after = View::of(conn.reactor(), id);
        let outcome = self.note(id, (kind, body, form), sent, (before, after));
        self.model.borrow_mut().check(id, outcome.map_err(|what| format!("{what}; {form:?}, {after:?}")));
        sent
    }

    /// Whether that is a fit answer, and what follows from it.
    fn note(
        &mut self,
        id: ConnId,
        (kind, body, form): (Kind, &[u8], Form),
        sent: Sent,
        (before, after): (View, View),
    ) -> Result<(), String> {
        let mut model = self.model.borrow_mut();
        let Some(index) = model.index(id) else { return Err("sent to a stranger".into()) };
        let len = body.len();
        model.trace.note(format_args!("  {id} is sent {len} B, {form:?}: {sent:?}"));
        model.refusals += u64::from(sent == Sent::Refused(Refusal::OverLimit));
        let record = &mut model.records[index];
        let (_, high, limit) = record.kind.marks;
        let encoded = record.encode(kind, body);
        let answer = |what: &str| Err(format!("a send of {} B was answered {sent:?}: {what}", body.len()));
        match sent {
            Sent::Accepted | Sent::Full => {
                let Encoded::Bytes(bytes) = encoded else { return answer("it has no encoding") };
                record.ledger.add(bytes, Certainty::Sure);
                record.is_owed |= sent.is_full();
                if !before.takes_output {
                    return answer("it takes no output");
                }
                if after.queued + after.corked > limit + record.added(after.queued) {
                    return answer("it is beyond the limit");
                }
                if sent.is_full() != (after.queued > high) {
                    return answer("the high mark says otherwise");
                }
            }
            Sent::Refused(Refusal::NotEncodable) => match encoded {
                Encoded::Refused => {}
                _ => return answer("it can be encoded"),
            },
            Sent::Refused(Refusal::OverLimit) => {
                let Encoded::Bytes(bytes) = encoded else { return answer("it has no encoding") };
                record.was_refused = true;
                record.is_over |= record.kind.policy == Policy::Close;
                // What is masked or compressed may take more.
                let more = if record.is_web() || record.is_secure() { 64 + bytes.len() / 8 } else { 0 };
                let waiting = after.queued + after.corked + more;
                if record.kind.policy != Policy::Close && waiting + bytes.len() <= limit {
                    return answer("there was room");
                }
            }
            Sent::Refused(Refusal::Closing) => {
                // What cannot be opened is known of before the messages in front of it are told.
                let seal = &self.kernel.borrow().sockets[index].seal;
                let may_break = seal.as_ref().is_some_and(|seal| seal.may_break());
                if after.takes_output && !may_break {
                    return answer("it takes output");
                }
                match encoded {
                    Encoded::Panics if before.takes_output => {
                        record.threw = true;
                        record.is_over = true;
                    }
                    Encoded::Bytes(bytes) if before.takes_output => record.ledger.add(bytes, Certainty::Cut),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
