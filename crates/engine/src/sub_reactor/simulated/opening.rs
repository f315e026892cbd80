//! How WebSockets are asked for, and the answers: at once, later, or never.

use std::time::{Duration, Instant};

use super::{
    actor::Actor,
    frames::{FIN, PONG, plain},
    ledger::Certainty,
    model::{Life, Model, Record, Running},
    web::Asks,
    world::World,
};
use crate::{Conn, ConnId, Control, Reply, Request, mailbox::Command};

/// What was decided about a request.
#[derive(Default)]
pub(super) struct Decision {
    /// The handler was asked.
    pub(super) was_asked: bool,
    /// The statuses of which one is to be answered.
    pub(super) statuses: Vec<u16>,
    /// When it was put off, and for how long.
    pub(super) put_off: Option<(Instant, Duration)>,
}

impl Decision {
    pub(super) fn is_to_come(&self) -> bool {
        self.put_off.is_some() && self.statuses.is_empty()
    }
}

impl Record {
    /// That is what becomes of its request.
    fn note_reply(&mut self, status: u16) {
        let asks = self.script.talk.as_ref().map(|talk| talk.head.asks);
        self.decision.statuses.push(match (status, asks) {
            (101, Some(Asks::Other(instead))) => instead,
            (status, _) => status,
        });
    }
}

impl Actor {
    /// `on_request`.
    pub(super) fn decide(&mut self, conn: &mut Conn<'_>, request: &Request<'_>) -> Reply {
        let id = conn.id();
        self.learn(conn);
        let _running = Running::enter(&self.model, format!("on_request of {id}"));
        let mut model = self.model.borrow_mut();
        let is_calm = model.is_calm;
        let Some(record) = model.record(id) else { return Reply::accept() };
        let asks = record.script.talk.as_ref().map(|talk| talk.head.asks);
        let is_fit = match asks {
            _ if record.life != Life::Admitted || record.is_over => Err("asked for what is over".to_owned()),
            _ if std::mem::replace(&mut record.decision.was_asked, true) => Err("asked for twice".to_owned()),
            Some(Asks::Socket) if request.is_upgrade() => Ok(()),
            Some(Asks::Other(_)) if !request.is_upgrade() => Ok(()),
            asks => Err(format!("asked for {:?}, and it is {asks:?}", request.target())),
        };
        let (status, reply) = match self.random.below(5) {
            0 if !is_calm => {
                let within = self.random.pick(&[None, None, Some(1), Some(300)]).map(Duration::from_millis);
                let within = within.filter(|_| !self.plan.is_gentle);
                let most = within.unwrap_or(self.plan.options.handshake_timeout);
                record.decision.put_off = Some((conn.now(), most));
                let later = Reply::later();
                (None, within.map_or(later.clone(), |within| later.within(within)))
            }
            1 => {
                // Copied, by reference; over TLS sealed at once or as it leaves, the last in more than a turn.
                let size = self.random.pick(&[0, 9, 5_000, 60_000, 1_200_000]);
                (Some(403), Reply::status(403).body("text/plain", vec![b'.'; size]))
            }
            _ => (Some(101), Reply::accept()),
        };
        if let Some(status) = status {
            record.note_reply(status);
        }
        model.check(id, is_fit);
        drop(model);
        if self.plan.panics && self.random.one_in(20) {
            self.throw(id);
        }
        reply
    }

    /// `on_control`: the engine has answered a ping already.
    pub(super) fn meet_control(&mut self, id: ConnId, control: Control<'_>) {
        let certainty = if self.plan.is_gentle { Certainty::Due } else { Certainty::Possible };
        let mut model = self.model.borrow_mut();
        let Some(record) = model.record(id) else { return };
        let outcome = record.intake.control(control);
        if let Control::Ping(data) = control {
            record.ledger.add(plain(FIN | PONG, data), certainty);
            // It may have been too much for the high mark.
            record.is_blind = true;
        }
        model.check(id, outcome);
    }

    /// Answers somebody's request, in a callback.
    pub(super) fn answer_late(&mut self) {
        let Some(id) = self.any_to_answer() else { return };
        let (status, reply) = self.late_reply();
        self.poster.answer(id, reply);
        if let Some(record) = self.model.borrow_mut().record(id) {
            record.note_reply(status);
        }
    }

    fn any_to_answer(&mut self) -> Option<ConnId> {
        let waiting: Vec<ConnId> = waiting(&self.model.borrow()).collect();
        (!waiting.is_empty()).then(|| self.random.pick(&waiting))
    }

    fn late_reply(&mut self) -> (u16, Reply) {
        match self.random.below(3) {
            0 => (404, Reply::status(404).body("text/plain", "not here")),
            _ => (101, Reply::accept()),
        }
    }
}

fn waiting(model: &Model) -> impl Iterator<Item = ConnId> + '_ {
    let records = model.records.iter().filter(|record| record.life == Life::Admitted);
    records.filter(|record| record.decision.is_to_come()).filter_map(|record| record.id)
}

impl World {
    /// Another thread answers a request that was put off; all of them, or one.
    pub(super) fn answer_from_afar(&mut self, all: bool) {
        let waiting: Vec<ConnId> = waiting(&self.model.borrow()).collect();
        for id in waiting {
            if !all && !self.random.one_in(2) {
                continue;
            }
            let (status, reply) = self.reactor.stage.handler.late_reply();
            let noting = move |actor: &mut Actor, _: &mut crate::Reactor<'_>| {
                if let Some(record) = actor.model.borrow_mut().record(id) {
                    record.note_reply(status);
                }
            };
            self.ask(noting, Command::Answer(id, Box::new(reply)));
        }
    }
}
