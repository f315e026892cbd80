//! What is done at a plateau: silence, some talk, a word to all.

use std::time::{Duration, Instant};

use wheelhouse_examples::grouped;

use super::{Conductor, SETTLING};
use crate::{
    crew::{Crew, cpu_of, resident_of},
    orders::Order,
    outcome::{Broadcast, Busy, Plateau},
    talk::Tally,
};

/// A word to a million connections takes some ten seconds; emulated, a minute.
const SPREADING: Duration = Duration::from_secs(120);

impl Conductor<'_> {
    /// What can be measured while it stays where it is; nothing where it does not come to rest.
    pub(super) fn measure(&mut self, ramp: Duration, before: u64) -> Option<Plateau> {
        let at = self.begun.elapsed();
        let connections = self.crew.open();
        self.settle(connections);
        if self.is_cut {
            return None;
        }
        self.progress.stage(format!("silent, {} connections", grouped(connections)));
        let quiet = self.quiet();
        if !self.crew.is_whole() {
            return None;
        }
        let memory = self.footprint(resident_of(self.crew.servers()), resident_of(self.crew.clients()));
        self.progress.stage("some talk");
        let (talk, talking) = self.talk();
        let all_came = talk.as_ref().is_some_and(|talk| talk.sent == talk.answered);
        self.progress.stage("a word to all");
        let broadcast = if all_came { self.broadcast() } else { None };
        let came = connections.saturating_sub(before);
        Some(Plateau { connections, at, ramp, came, memory, quiet, talking, talk, broadcast })
    }

    /// Until the servers have as many connections as the clients.
    pub(super) fn settle(&mut self, connections: u64) {
        let until = Instant::now() + SETTLING;
        while !self.is_cut && Instant::now() < until {
            if self.count_on_servers() == Some(connections) {
                return;
            }
            self.pause(Duration::from_millis(50));
        }
        if !self.is_cut {
            let there = self.crew.of_servers("connections");
            self.stop(format!("the servers have {there} connections, the clients {connections}"));
        }
    }

    fn quiet(&mut self) -> Option<Busy> {
        // What came last is still being dealt with.
        self.pause(Duration::from_millis(250));
        let meter = self.meter();
        self.pause(self.options.hold);
        self.busy_since(meter)
    }

    fn talk(&mut self) -> (Option<Tally>, Option<Busy>) {
        let meter = self.meter();
        let (every, seconds, share) = (self.options.every, self.options.hold, self.options.live);
        self.talk = (Tally::new(), 0);
        self.crew.order_clients(|_| Order::Talk { every, seconds, share });
        let until = Instant::now() + seconds + SETTLING;
        self.wait(until, |all| all.talk.1 == all.crew.clients().len());
        let busy = self.busy_since(meter);
        let talk = busy.map(|_| std::mem::replace(&mut self.talk.0, Tally::new()));
        // Nobody talks for no time.
        let busy = busy.filter(|_| talk.as_ref().is_some_and(|talk| talk.connections > 0));
        (talk, busy)
    }

    fn broadcast(&mut self) -> Option<Broadcast> {
        let order = self.crew.order_clients(|_| Order::Expect);
        self.wait(Instant::now() + SETTLING, |all| all.crew.clients_have_seen(order));
        let order = self.crew.ask_servers("broadcast");
        self.wait_for_servers(order);
        let delivered =
            |crew: &Crew| crew.clients().iter().map(|client| client.status.delivered).sum::<u64>();
        self.wait(Instant::now() + SPREADING, |all| delivered(&all.crew) >= all.crew.open());
        if self.is_cut {
            return None;
        }
        let begun = self
            .crew
            .servers()
            .iter()
            .filter_map(|server| server.answer["broadcast_at_ns"].as_u64())
            .min()?;
        let last = self.crew.clients().iter().map(|client| client.status.last_delivery_ns).max()?;
        let took = Duration::from_nanos(last.saturating_sub(begun));
        Some(Broadcast { delivered: delivered(&self.crew), took })
    }

    /// What the servers say, summed up; nothing when one does not answer, and then it is over.
    pub(super) fn count_on_servers(&mut self) -> Option<u64> {
        let order = self.crew.ask_servers("status");
        self.wait_for_servers(order).then(|| self.crew.of_servers("connections"))
    }

    fn wait_for_servers(&mut self, order: u64) -> bool {
        let answered = self.wait(Instant::now() + SETTLING, |all| all.crew.servers_have_answered(order));
        if !answered
            && !self.is_cut
            && let Some(who) = self.crew.find_silent_server(order, SETTLING)
        {
            self.cut(who);
        }
        answered
    }

    fn meter(&mut self) -> Meter {
        self.count_on_servers();
        let pings = self.pings();
        Meter {
            began: Instant::now(),
            servers: cpu_of(self.crew.servers()),
            clients: cpu_of(self.crew.clients()),
            turns: self.crew.of_servers("turns"),
            pings,
        }
    }

    fn busy_since(&mut self, then: Meter) -> Option<Busy> {
        let lasted = then.began.elapsed();
        let (servers, clients) = (cpu_of(self.crew.servers()), cpu_of(self.crew.clients()));
        self.count_on_servers();
        let pings = self.pings();
        (!self.is_cut).then(|| Busy {
            lasted,
            servers: servers.saturating_sub(then.servers),
            clients: clients.saturating_sub(then.clients),
            turns: self.crew.of_servers("turns").saturating_sub(then.turns),
            pings: pings.saturating_sub(then.pings),
        })
    }

    /// What the clients answered so far.
    fn pings(&mut self) -> u64 {
        let order = self.crew.order_clients(|_| Order::Status);
        self.wait(Instant::now() + SETTLING, |all| all.crew.clients_have_seen(order));
        self.crew.clients().iter().map(|client| client.status.pings).sum()
    }
}

/// How things were when a time began.
#[derive(Clone, Copy)]
struct Meter {
    began: Instant,
    servers: Duration,
    clients: Duration,
    turns: u64,
    pings: u64,
}
