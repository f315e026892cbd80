//! What other threads ask of the reactor, through its mailbox. A closure posted in front of each command notes what follows
//! from it, in the very place where the command is carried out.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    actor::Actor,
    arrivals::{Newcomer, introduce},
    estate::{begin_anew, drop_estates, meet_answer},
    model::Record,
    world::World,
};
use crate::{Audience, ConnId, ListenerId, NotTaken, Reactor, Tag, mailbox::Command, sub_reactor::Job};

impl World {
    /// One thing or another, or nothing.
    pub(super) fn ask_from_afar(&mut self) {
        if !self.random.one_in(6) {
            return;
        }
        let gentle = self.plan.is_gentle;
        self.answer_from_afar(false);
        match self.random.below(if gentle { 8 } else { 11 }) {
            0 => self.post_some(),
            1 => self.send_to_one(),
            2 => self.send_to_many(),
            3 => self.broadcast(),
            4 => self.dial(),
            5 => self.ask_of_one(Record::resume, Command::Resume),
            6 => self.ask_of_one(|record| record.was_finished = true, Command::Finish),
            7 => self.adopt(),
            8 => self.ask_of_one(|record| record.was_closed = true, Command::Close),
            9 => self.ask_of_one(|record| record.was_reset = true, Command::Reset),
            _ => self.fill_the_mailbox(),
        }
    }

    /// Ends every pause, and then every connection.
    pub(super) fn let_all_go(&mut self) {
        self.answer_from_afar(true);
        for (index, id) in self.living() {
            self.ask(move |actor, _| note(actor, id, Record::resume), Command::Resume(id));
            let socket_is_done = {
                let kernel = self.kernel.borrow();
                let socket = &kernel.sockets[index];
                !socket.is_connecting && socket.is_read_through()
            };
            if socket_is_done && self.random.one_in(4) {
                self.ask(
                    move |actor, _| note(actor, id, |record| record.was_finished = true),
                    Command::Finish(id),
                );
            }
        }
    }

    /// What was taken out begins anew, or is closed by whoever has it.
    pub(super) fn settle_estates(&mut self) {
        match self.random.one_in(2) && !self.model.borrow().is_stopping {
            true => self.adopt(),
            false => drop_estates(&mut self.model.borrow_mut(), &mut self.kernel.borrow_mut()),
        }
    }

    fn adopt(&mut self) {
        let Some(place) = self.core().mailbox().reserve() else { return };
        let (now, plan) = (self.core().clock.now(), Rc::clone(&self.plan));
        let (model, kernel) = (&mut *self.model.borrow_mut(), &mut *self.kernel.borrow_mut());
        let begun = begin_anew(model, kernel, &mut self.random, &plan, now);
        let mailbox = self.reactor.stage.core.mailbox();
        let Some(anew) = begun else { return mailbox.unreserve(place) };
        // As a handle looks at it on the caller's thread.
        match anew.adopt.prepare() {
            Ok(()) => mailbox.put_in(place, Command::Adopt(Box::new(anew.adopt))),
            Err(error) => {
                mailbox.unreserve(place);
                let back = NotTaken { what: anew.adopt, error };
                meet_answer::<()>(model, kernel, anew.expected, Err(back));
            }
        }
    }

    /// Puts a command in, and in front of it what notes it; neither, where there is no room for both.
    pub(super) fn ask(
        &mut self,
        noting: impl FnOnce(&mut Actor, &mut Reactor<'_>) + Send + 'static,
        command: Command,
    ) {
        let mailbox = self.core().mailbox();
        let Some(first) = mailbox.reserve() else { return };
        let second = match command.is_refusable() {
            true => match mailbox.reserve() {
                None => return mailbox.unreserve(first),
                place => place,
            },
            false => None,
        };
        mailbox.put_in(first, Command::Post(Box::new(Job::<Actor>::Reactor(Box::new(noting)))));
        match second {
            Some(place) => mailbox.put_in(place, command),
            None => _ = mailbox.put(command),
        }
    }

    fn ask_of_one(&mut self, follows: fn(&mut Record), command: fn(ConnId) -> Command) {
        if let Some(id) = self.any() {
            self.ask(move |actor, _| note(actor, id, follows), command(id));
        }
    }

    fn any(&mut self) -> Option<ConnId> {
        let ids: Vec<ConnId> = if self.random.one_in(8) {
            self.model.borrow().records.iter().filter_map(|record| record.id).collect()
        } else {
            self.living().into_iter().map(|(_, id)| id).collect()
        };
        (!ids.is_empty()).then(|| self.random.pick(&ids))
    }

    fn post_some(&mut self) {
        for _ in 0..self.random.below(5) {
            let Some(place) = self.core().mailbox().reserve() else { return };
            let job: Job<Actor> = match self.any() {
                Some(id) => Job::Conn(id, Box::new(|actor, conn, _| actor.act_when_posted(conn))),
                None => Job::Reactor(Box::new(|actor, reactor| actor.act_at_large_when_posted(reactor))),
            };
            self.core().mailbox().put_in(place, Command::Post(Box::new(job)));
        }
    }

    /// More than it holds: the reactor's own handler is refused, too.
    fn fill_the_mailbox(&mut self) {
        for _ in 0..self.plan.options.mailbox.min(40) {
            let Some(place) = self.core().mailbox().reserve() else { return };
            let job = Job::<Actor>::Reactor(Box::new(|actor, reactor| {
                if actor.random.one_in(8) {
                    actor.act_at_large_when_posted(reactor);
                }
            }));
            self.core().mailbox().put_in(place, Command::Post(Box::new(job)));
        }
    }

    fn send_to_one(&mut self) {
        let Some(to) = self.any() else { return };
        let payload = self.reactor.stage.handler.numbered();
        let expected = payload.clone();
        let noting = move |actor: &mut Actor, reactor: &mut Reactor<'_>| {
            actor.expect(reactor, &expected, |record| record.id == Some(to));
        };
        self.ask(noting, Command::Send { to, payload });
    }

    fn send_to_many(&mut self) {
        let mut to: Vec<ConnId> = (0..self.random.below(6)).filter_map(|_| self.any()).collect();
        // As a handle sorts them.
        to.sort_unstable();
        let to: Arc<[ConnId]> = to.into();
        let payload = self.reactor.stage.handler.numbered();
        let (expected, named) = (payload.clone(), Arc::clone(&to));
        let noting = move |actor: &mut Actor, reactor: &mut Reactor<'_>| {
            for named in named.iter() {
                actor.expect(reactor, &expected, |record| record.id == Some(*named));
            }
        };
        self.ask(noting, Command::SendMany { to, payload });
    }

    fn broadcast(&mut self) {
        let listener = ListenerId(self.random.below(self.plan.kinds.len()) as u16);
        let to = if self.random.one_in(3) { Audience::Listener(listener) } else { Audience::Open };
        let payload = self.reactor.stage.handler.numbered();
        let expected = payload.clone();
        let noting = move |actor: &mut Actor, reactor: &mut Reactor<'_>| {
            actor.expect(reactor, &expected, |record| record.is_heard_by(to));
        };
        self.ask(noting, Command::Broadcast { to, payload });
    }

    fn dial(&mut self) {
        let Some(place) = self.core().mailbox().reserve() else { return };
        if self.model.borrow().is_stopping || self.model.borrow().records.len() > 30 {
            return self.core().mailbox().unreserve(place);
        }
        let plan = Rc::clone(&self.plan);
        let kind = plan.kinds[self.random.below(plan.kinds.len())].clone();
        let now = self.core().clock.now();
        let random = &mut self.random;
        let index = introduce(&self.model, &self.kernel, random, &plan, Newcomer::dialled(kind.clone(), now));
        let timeout = Duration::from_millis(self.random.pick(&[3, 10_000]));
        self.model.borrow_mut().records[index].timeout = Some(timeout);
        let to = kind.connect().timeout(timeout).tag(Tag(index as u64));
        self.core().mailbox().put_in(place, Command::Connect(Box::new(to)));
    }
}

fn note(actor: &mut Actor, id: ConnId, follows: impl FnOnce(&mut Record)) {
    if let Some(record) = actor.model.borrow_mut().record(id) {
        follows(record);
    }
}
