//! Down again until one is left, what memory comes back, and up once more.

use std::time::{Duration, Instant};

use wheelhouse_examples::grouped;

use super::{COMING_DOWN, Conductor};
use crate::{crew::resident_of, machine::Resident, orders::Order, outcome::Round};

/// How long memory may take to come back: the server gives it back in slices, emulated 2 MB a second.
const COMING_BACK: Duration = Duration::from_secs(60);
/// A server looks a second after the last close what it can give back, and then takes its time.
const QUIET: Duration = Duration::from_secs(5);

impl Conductor<'_> {
    /// The rounds: the first one is up by now, and came there in so long; the others go straight to the top.
    pub(super) fn rounds(&mut self, opening: Duration) -> Vec<Round> {
        let mut rounds = Vec::new();
        let mut opening = opening;
        loop {
            let Some(round) = self.come_down(opening) else { return rounds };
            if self.options.rounds > 1 {
                let told = crate::table::afterwards(&round, self.plan.servers);
                self.progress.note(&format!("round {}: {}", rounds.len() + 1, told.join("; ")));
            }
            rounds.push(round);
            let is_over = self.stopped_by.is_some() || self.interrupted;
            if is_over || rounds.len() as u64 >= self.options.rounds {
                return rounds;
            }
            opening = self.climb_once_more();
            if self.crew.open() <= 1 {
                // Nobody came again: that is no round.
                return rounds;
            }
        }
    }

    fn climb_once_more(&mut self) -> Duration {
        self.keeping_time_to_come_down(|all| {
            let begun = Instant::now();
            all.ramp(all.plan.connections);
            let opening = begun.elapsed();
            all.settle(all.crew.open());
            opening
        })
    }

    /// Nothing where nobody came, or where a process is gone or silent: what came back cannot be told then.
    fn come_down(&mut self, opening: Duration) -> Option<Round> {
        let one = self.crew.clients().iter().position(|client| client.status.open > 0)? as u64;
        if !self.crew.is_whole() {
            return None;
        }
        let (came, height) = (self.crew.open(), resident_of(self.crew.servers()));
        self.progress.stage("closing all but one");
        self.is_cut = false;
        // Somebody who does not wait any longer still gets a report.
        self.until = self.until.max(Instant::now() + COMING_DOWN.min(self.options.within / 4));
        self.target = 0;
        let begun = Instant::now();
        let order = self.crew.order_clients(|client| Order::Close(u64::from(client == one)));
        self.wait(self.until, |all| all.crew.clients_have_seen(order) && all.crew.open() <= 1);
        let mut left = None;
        while !self.is_cut {
            left = self.count_on_servers().or(left);
            if left.is_some_and(|left| left <= 1) {
                break;
            }
            self.pause(Duration::from_millis(50));
        }
        let closing = begun.elapsed();
        if self.is_cut || !self.crew.is_whole() {
            // Cut short, it says nothing of what comes back.
            if let (Some(why), Some(left)) = (&mut self.stopped_by, left.filter(|left| *left > 1)) {
                why.push_str(&format!("; the servers still had {} connections", grouped(left)));
            }
            return None;
        }
        let staying = left?;
        let after = self.come_back();
        if !self.crew.is_whole() {
            return None;
        }
        let kernel = self.footprint(after, resident_of(self.crew.clients())).kernel;
        let start = self.base.servers;
        Some(Round { connections: came, opening, staying, closing, start, height, after, kernel })
    }

    /// What the servers have when they have given nothing back for a while.
    fn come_back(&mut self) -> Resident {
        self.progress.stage("memory comes back");
        let until = self.until.min(Instant::now() + COMING_BACK);
        let mut least = resident_of(self.crew.servers());
        let mut since = Instant::now();
        loop {
            self.pause(Duration::from_secs(1));
            let now = resident_of(self.crew.servers());
            if now.own < least.own - least.own / 100 {
                (least, since) = (now, Instant::now());
            }
            if since.elapsed() >= QUIET || Instant::now() >= until || self.is_cut {
                return now;
            }
        }
    }
}
