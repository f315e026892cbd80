//! Waiting, with a bound, and looking meanwhile: what the processes say, and how they are.

use std::{
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use super::{Conductor, SAMPLE};
use crate::{
    crew::{Told, about_resident_of},
    machine::{Memory, Resident},
    outcome::{Footprint, Sample},
};

impl Conductor<'_> {
    /// Whether it came to be so, by then and before everything is cut short.
    pub(super) fn wait(&mut self, until: Instant, is_so: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.note_the_time();
            if is_so(self) {
                return true;
            }
            let now = Instant::now();
            if now >= self.until && !self.is_cut {
                self.cut(format!("time: --within {} s", self.options.within.as_secs_f64()));
            }
            if self.is_cut || now >= until {
                return false;
            }
            match self.told.recv_timeout(until.min(self.until).saturating_duration_since(now).min(SAMPLE / 4))
            {
                Ok(told) => self.hear(told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            self.look();
        }
    }

    pub(super) fn pause(&mut self, time: Duration) {
        self.wait(Instant::now() + time, |_| false);
    }

    /// The first reason counts.
    pub(super) fn stop(&mut self, why: String) {
        self.stopped_by.get_or_insert(why);
    }

    /// The same, and nothing more is waited for.
    pub(super) fn cut(&mut self, why: String) {
        self.stop(why);
        self.is_cut = true;
    }

    pub(super) fn note_the_time(&mut self) {
        if self.late_while.is_none() && self.started.elapsed() > self.options.within {
            self.late_while = Some(self.progress.what().to_owned());
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Line(member, line) => {
                if let Some(line) = self.crew.hear(member, line) {
                    self.talk.0.add(&line["talk"]);
                    self.talk.1 += 1;
                }
            }
            Told::Ended(member) => {
                let who = self.crew.has_ended(member);
                self.cut(who);
            }
            Told::Interrupted => {
                self.interrupted = true;
                self.is_cut = true;
            }
        }
    }

    fn look(&mut self) {
        if self.looked.elapsed() < SAMPLE {
            return;
        }
        self.looked = Instant::now();
        if let Some(who) = self.crew.find_stopped() {
            self.cut(who);
        }
        // Neither of what has not begun is there anything to tell, nor of what is no more.
        if self.base.servers.all == 0 || !self.crew.is_whole() {
            return;
        }
        let at = self.begun.elapsed();
        let (servers, clients) =
            (about_resident_of(self.crew.servers()), about_resident_of(self.crew.clients()));
        let memory = self.footprint(servers, clients);
        self.series.push(Sample { at, connections: self.crew.open(), memory });
        self.progress.show(&self.series, self.target);
    }

    /// What there is more than at the beginning.
    pub(super) fn footprint(&self, servers: Resident, clients: Resident) -> Footprint {
        let more = |now: u64, then: u64| now as i64 - then as i64;
        let memory = Memory::now();
        let (servers, clients) =
            (more(servers.own, self.base.servers.own), more(clients.own, self.base.clients.own));
        Footprint {
            servers,
            clients,
            kernel: more(memory.kernel, self.base.memory.kernel),
            kernel_by_free: more(self.base.memory.free, memory.free) - servers - clients,
        }
    }
}
