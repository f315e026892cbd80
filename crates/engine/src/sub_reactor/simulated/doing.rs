//! The actor's deeds, and what each is to bring about.

use std::time::Duration;

use super::{
    actor::Actor,
    arrivals::name_the_new,
    deed::Deed,
    model::{Life, Model, Running},
    sending::{FORMS, Form, View},
};
use crate::{Audience, Conn, ConnId, ListenerId, Payload, Reactor, ReactorId, TimerKind};

impl Actor {
    /// What a callback without a connection does.
    pub(super) fn act_at_large(&mut self, reactor: &mut Reactor<'_>) {
        if self.model.borrow().is_calm {
            return;
        }
        for _ in 0..self.random.below(self.plan.activity + 1) {
            let Some(deed) = self.choose() else { break };
            if deed == Deed::Panic {
                super::wire::throw();
            }
            if !self.do_at_large(reactor, deed)
                && let Some(id) = self.any(reactor)
                && let Some(mut conn) = reactor.conn(id)
            {
                self.do_to(&mut conn, deed);
            }
        }
    }

    /// To the connection itself mostly, else to another.
    pub(super) fn do_to_one(&mut self, conn: &mut Conn<'_>, deed: Deed) {
        if deed == Deed::Panic {
            self.throw(conn.id());
        }
        if self.do_at_large(conn.reactor(), deed) {
            return;
        }
        if self.random.one_in(3)
            && let Some(id) = self.any(conn.reactor())
        {
            if let Some(mut other) = conn.other(id) {
                self.do_to(&mut other, deed);
            }
            return;
        }
        self.do_to(conn, deed);
    }

    /// Some connection or other; now and then one that is gone.
    fn any(&mut self, reactor: &Reactor<'_>) -> Option<ConnId> {
        let model = self.model.borrow();
        let ids: Vec<ConnId> = if self.random.one_in(6) {
            model.records.iter().filter_map(|record| record.id).collect()
        } else {
            model.alive().collect()
        };
        debug_assert_eq!(reactor.id(), ReactorId(0));
        (!ids.is_empty()).then(|| self.random.pick(&ids))
    }

    fn do_to(&mut self, conn: &mut Conn<'_>, deed: Deed) {
        let id = conn.id();
        self.model.borrow_mut().trace.note(format_args!("  {deed:?} to {id}"));
        match deed {
            Deed::Echo => {
                let Some(body) = self.echo.clone() else { return };
                let (kind, form) = (self.kind(), self.random.pick(&FORMS));
                self.send(conn, kind, &body, form);
            }
            Deed::Chatter => {
                for _ in 0..self.random.below(8) {
                    let body = self.random.letters(9);
                    let kind = self.kind();
                    self.send(conn, kind, &body, Form::Borrowed);
                }
            }
            Deed::Send | Deed::Vectored => {
                let (kind, body, form) = (self.kind(), self.letters(), self.random.pick(&FORMS));
                let form = if deed == Deed::Vectored { Form::Parts } else { form };
                self.send(conn, kind, &body, form);
            }
            Deed::Unsendable => self.send_badly(conn),
            Deed::Pause => {
                conn.pause();
                self.note_paused(id);
            }
            Deed::Resume => {
                conn.resume();
                self.with(id, |record| record.resume());
            }
            Deed::Timer => self.set_timer(conn),
            Deed::CancelTimer => self.cancel_timer(conn),
            Deed::Finish => {
                conn.finish();
                self.with(id, |record| (record.was_finished, record.is_over) = (true, true));
            }
            Deed::Close => {
                conn.close();
                self.with(id, |record| (record.was_closed, record.is_over) = (true, true));
            }
            Deed::Reset => {
                conn.reset();
                self.with(id, |record| (record.was_reset, record.is_over) = (true, true));
            }
            Deed::ShutWrite => {
                let is_able = View::of(conn.reactor(), id).takes_output;
                conn.shutdown_write();
                self.with(id, |record| {
                    record.is_shut = true;
                    record.fin_asked |= is_able;
                    if record.is_web() {
                        // Half a WebSocket there is not.
                        (record.was_finished, record.is_over) = (true, true);
                    }
                });
            }
            Deed::Detach => self.detach(conn),
            Deed::AutoPause => {
                let on = self.random.one_in(3);
                conn.set_auto_pause(on);
            }
            Deed::Idle => {
                let after = self.random.pick(&[Some(5), Some(400), None]).map(Duration::from_millis);
                conn.set_idle_timeout(after);
                let now = conn.now();
                self.with(id, |record| (record.idle, record.active) = (Some(after), now));
            }
            Deed::Authenticate => {
                // A WebSocket may be on its way out for not having been it.
                let is_live = View::of(conn.reactor(), id).is_live;
                conn.authenticated();
                self.with(id, |record| record.is_authenticated |= is_live);
            }
            _ => {}
        }
    }

    fn with(&mut self, id: ConnId, note: impl FnOnce(&mut super::model::Record)) {
        if let Some(record) = self.model.borrow_mut().record(id) {
            note(record);
        }
    }

    /// A resume from afar in an earlier callback may still be under way: then it is not known what comes of both.
    fn note_paused(&mut self, id: ConnId) {
        let now = self.model.borrow().callbacks;
        self.with(id, |record| {
            record.is_paused = true;
            record.is_in_doubt = record.resumed_in.is_some_and(|callback| callback != now);
        });
    }

    fn set_timer(&mut self, conn: &mut Conn<'_>) {
        let (kind, after) = self.timer();
        let id = conn.id();
        conn.set_timer(kind, after);
        if View::of(conn.reactor(), id).is_live {
            let due = conn.now() + after;
            self.with(id, |record| {
                record.timers.retain(|(known, _)| *known != kind);
                record.timers.push((kind, due));
            });
        }
    }

    fn cancel_timer(&mut self, conn: &mut Conn<'_>) {
        let (kind, _) = self.timer();
        let id = conn.id();
        let (was_set, is_live) = (conn.cancel_timer(kind), View::of(conn.reactor(), id).is_live);
        let mut model = self.model.borrow_mut();
        let Some(record) = model.record(id) else { return };
        let known = record.timers.iter().position(|(known, _)| *known == kind);
        known.map(|at| record.timers.swap_remove(at));
        if is_live && was_set != known.is_some() {
            model.fail(id, format!("{kind:?} was taken back: {was_set}"));
        }
    }

    fn timer(&mut self) -> (TimerKind, Duration) {
        let micros = self.random.pick(&[0, 300, 1_000, 7_700, 90_000, 4_000_000]);
        (TimerKind(self.random.below(3) as u32), Duration::from_micros(micros))
    }

    /// What needs no connection of its own; false for what does.
    fn do_at_large(&mut self, reactor: &mut Reactor<'_>, deed: Deed) -> bool {
        self.model.borrow_mut().trace.note(format_args!("  {deed:?}"));
        match deed {
            Deed::HandleSend => self.send_from_afar(reactor),
            Deed::HandleMany => self.send_to_many(reactor),
            Deed::HandleBroadcast | Deed::Broadcast => self.broadcast(reactor, deed),
            Deed::Flood => {
                for _ in 0..self.plan.options.mailbox.min(41) {
                    let deed = self.random.pick(&[Deed::Broadcast, Deed::HandleBroadcast]);
                    self.broadcast(reactor, deed);
                }
            }
            Deed::HandleResume => {
                if let Some(id) = self.any(reactor) {
                    self.poster.resume(id);
                    let now = self.model.borrow().callbacks;
                    self.with(id, |record| {
                        record.resume();
                        record.resumed_in = Some(now);
                    });
                }
            }
            Deed::HandleFinish | Deed::HandleClose | Deed::HandleReset => {
                let Some(id) = self.any(reactor) else { return true };
                let poster = self.poster.clone();
                self.with(id, |record| match deed {
                    Deed::HandleFinish => {
                        poster.finish(id);
                        record.was_finished = true;
                    }
                    Deed::HandleClose => {
                        poster.close(id);
                        record.was_closed = true;
                    }
                    _ => {
                        poster.reset(id);
                        record.was_reset = true;
                    }
                });
            }
            Deed::ReactorTimer => {
                let (kind, after) = self.timer();
                reactor.set_timer(kind, after);
                let mut model = self.model.borrow_mut();
                model.reactor_timers.retain(|(known, _)| *known != kind);
                model.reactor_timers.push((kind, reactor.now() + after));
            }
            Deed::CancelReactorTimer => {
                let (kind, _) = self.timer();
                let was_set = reactor.cancel_timer(kind);
                let mut model = self.model.borrow_mut();
                let known = model.reactor_timers.iter().position(|(known, _)| *known == kind);
                known.map(|at| model.reactor_timers.swap_remove(at));
                if was_set != known.is_some() {
                    model.fail_at_large(format!("reactor's {kind:?} was taken back: {was_set}"));
                }
            }
            Deed::Post => self.post(),
            Deed::PostTo => self.post_to(reactor),
            Deed::Dial | Deed::HandleDial => self.dial(reactor, deed),
            Deed::FinishAll => self.finish_all(reactor),
            Deed::Adopt | Deed::HandleAdopt => self.adopt(reactor, deed),
            Deed::Answer => self.answer_late(),
            Deed::Watch | Deed::Unwatch => self.watch(reactor, deed),
            _ => return false,
        }
        true
    }

    /// Notes that something was refused by a full mailbox.
    pub(super) fn note_full(&mut self) {
        self.model.borrow_mut().note_full();
    }

    fn send_from_afar(&mut self, reactor: &Reactor<'_>) {
        let Some(to) = self.any(reactor) else { return };
        let payload = self.numbered();
        match self.poster.send(to, payload.clone()) {
            Ok(()) => self.expect(reactor, &payload, |record| record.id == Some(to)),
            Err(_) => self.note_full(),
        }
    }

    fn send_to_many(&mut self, reactor: &Reactor<'_>) {
        let to: Vec<ConnId> = (0..self.random.below(6)).filter_map(|_| self.any(reactor)).collect();
        let payload = self.numbered();
        match self.poster.send_many(&to, payload.clone()) {
            Ok(()) => {
                // Named twice, sent twice.
                for named in to {
                    self.expect(reactor, &payload, |record| record.id == Some(named));
                }
            }
            Err(_) => self.note_full(),
        }
    }

    fn broadcast(&mut self, reactor: &mut Reactor<'_>, deed: Deed) {
        let listener = ListenerId(self.random.below(self.plan.kinds.len()) as u16);
        let to = if self.random.one_in(3) { Audience::Listener(listener) } else { Audience::Open };
        let payload = self.numbered();
        let asked = match deed {
            Deed::Broadcast => reactor.broadcast(to, payload.clone()),
            _ => self.poster.broadcast(to, payload.clone()),
        };
        match asked {
            Ok(()) => self.expect(reactor, &payload, |record| record.is_heard_by(to)),
            Err(_) => self.note_full(),
        }
    }

    /// Those who are chosen will be sent this.
    pub(super) fn expect(
        &mut self,
        reactor: &Reactor<'_>,
        payload: &Payload<'static>,
        is_meant: impl Fn(&super::model::Record) -> bool,
    ) {
        name_the_new(reactor.core, &self.model, &self.kernel);
        let Model { records, trace, .. } = &mut *self.model.borrow_mut();
        for record in records {
            // What a callback has asked to adopt comes before what it asks for next, and has no name yet.
            let is_known = record.id.is_some() || record.carrier.is_some();
            if record.life == Life::Closed || !is_known || !is_meant(record) {
                continue;
            }
            let view = record.id.map_or(View::default(), |id| View::of(reactor, id));
            trace.note(format_args!("  {:?} is to be sent {} B", record.id, payload.bytes().len()));
            // One that stops sends to many no more.
            record.expect(payload, view.takes_output && !reactor.core.stopping && !record.ends_soon());
        }
    }

    /// A posted closure.
    pub(super) fn act_at_large_when_posted(&mut self, reactor: &mut Reactor<'_>) {
        let _running = Running::enter(&self.model, "a posted closure".to_owned());
        self.act_at_large(reactor);
    }

    /// A closure posted to one connection.
    pub(super) fn act_when_posted(&mut self, conn: &mut Conn<'_>) {
        let _running = self.enter("a posted closure", conn.id());
        if self.model.borrow().is_calm {
            return;
        }
        for _ in 0..2 {
            if let Some(deed) = self.choose() {
                self.do_to_one(conn, deed);
            }
        }
    }

    fn post(&mut self) {
        let posted = self.poster.post(ReactorId(0), |actor, reactor| actor.act_at_large_when_posted(reactor));
        if posted.is_err() {
            self.note_full();
        }
    }

    fn post_to(&mut self, reactor: &Reactor<'_>) {
        let Some(to) = self.any(reactor) else { return };
        let posted = self.poster.post_to(to, |actor, conn, _| actor.act_when_posted(conn));
        if posted.is_err() {
            self.note_full();
        }
    }
}
