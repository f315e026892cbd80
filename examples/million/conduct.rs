//! The conductor: up to each plateau, measured there, and down again, with a bound on all of it.

mod round;
mod stay;
mod watch;

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use wheelhouse_examples::{AnyError, findings::on_interrupt, grouped, raise_file_limit};

use crate::{
    crew::{Crew, Told, resident_of},
    machine::{Memory, Resident, Tcp, available, time_wait},
    options::Run,
    orders::Order,
    outcome::{Beyond, Outcome, Plateau, Round, Sample},
    plan::{Machine, Plan},
    progress::Progress,
    talk::Tally,
};

/// How often it is looked at.
const SAMPLE: Duration = Duration::from_millis(500);

/// Processes start within this, or not at all.
const STARTING: Duration = Duration::from_secs(60);

/// When no connection has come for so long, none will.
const STALLED: Duration = Duration::from_secs(20);

/// When none has come for so long, and servers turn away who asks, they are full.
const FULL: Duration = Duration::from_secs(5);

/// How long the servers' count may differ from the clients', and answers may be on their way.
const SETTLING: Duration = Duration::from_secs(10);

/// Kept from the time there is, so that all can be closed and looked at again; at most a quarter.
const COMING_DOWN: Duration = Duration::from_secs(30);

pub(crate) fn conduct(options: &Run, machine: &Machine, plan: &Plan) -> Result<Outcome, AnyError> {
    raise_file_limit()?;
    let (tell, told) = channel();
    let interrupted = tell.clone();
    on_interrupt(move || {
        let _ = interrupted.send(Told::Interrupted);
    })?;
    let started = Instant::now();
    let mut conductor = Conductor {
        options,
        machine,
        plan,
        crew: Crew::new(tell),
        told,
        progress: Progress::new(plan.connections),
        started,
        begun: started,
        until: started + options.within,
        late_while: None,
        looked: started,
        target: 0,
        opened: 0,
        base: Base::default(),
        series: Vec::new(),
        talk: (Tally::new(), 0),
        stopped_by: None,
        is_cut: false,
        interrupted: false,
    };
    conductor.muster()?;
    let plateaus = conductor.climb();
    let rounds = conductor.rounds(plateaus.iter().map(|plateau| plateau.ramp).sum());
    Ok(conductor.outcome(plateaus, rounds))
}

struct Conductor<'a> {
    options: &'a Run,
    machine: &'a Machine,
    plan: &'a Plan,
    crew: Crew,
    told: Receiver<Told>,
    progress: Progress,
    started: Instant,
    /// When all processes were there.
    begun: Instant,
    until: Instant,
    /// What was under way when the time was over.
    late_while: Option<String>,
    looked: Instant,
    target: u64,
    opened: u64,
    base: Base,
    series: Vec<Sample>,
    /// What those who talked told, and how many clients did.
    talk: (Tally, usize),
    /// Why there will be no more connections than there are.
    stopped_by: Option<String>,
    /// Nothing more is waited for, but that all are closed.
    is_cut: bool,
    interrupted: bool,
}

/// Before the first connection.
#[derive(Clone, Copy, Default)]
struct Base {
    servers: Resident,
    clients: Resident,
    memory: Memory,
    tcp: Tcp,
}

impl Conductor<'_> {
    // ---- up

    fn muster(&mut self) -> Result<(), AnyError> {
        self.progress.stage("starting");
        let until = Instant::now() + STARTING;
        let all_listen = |all: &Self| all.crew.servers().iter().all(|server| server.url.is_some());
        for server in 0..self.plan.servers {
            self.crew.start_server(self.options, self.plan)?;
            // The first one chooses the port that they share.
            if server == 0 && !self.wait(until, all_listen) {
                break;
            }
        }
        let mut is_there = self.wait(until, all_listen);
        if is_there {
            for client in 0..self.plan.clients {
                self.crew.start_client(self.options, self.plan, client)?;
            }
            let order = self.crew.order_clients(|_| Order::Status);
            is_there = self.wait(until, |all| all.crew.clients_have_seen(order));
        }
        if let Some(why) = self.stopped_by.take() {
            return Err(why.into());
        }
        if !is_there && !self.interrupted {
            return Err(format!("not all processes started within {} s", STARTING.as_secs()).into());
        }
        self.base = Base {
            servers: resident_of(self.crew.servers()),
            clients: resident_of(self.crew.clients()),
            memory: Memory::now(),
            tcp: Tcp::now(),
        };
        self.begun = Instant::now();
        Ok(())
    }

    fn climb(&mut self) -> Vec<Plateau> {
        self.keeping_time_to_come_down(|all| {
            let mut plateaus = Vec::new();
            for target in all.options.plateaus(all.plan.connections) {
                let (begun, before) = (Instant::now(), all.crew.open());
                all.ramp(target);
                let ramp = begun.elapsed();
                // Where it could not stay, or has been before, there is no plateau.
                let is_higher = !all.is_cut && all.crew.open() > before;
                let Some(plateau) = is_higher.then(|| all.measure(ramp, before)).flatten() else { break };
                all.progress.note(&crate::table::plateau(&plateau));
                plateaus.push(plateau);
                if all.is_cut || all.stopped_by.is_some() {
                    break;
                }
            }
            plateaus
        })
    }

    fn keeping_time_to_come_down<T>(&mut self, climb: impl FnOnce(&mut Self) -> T) -> T {
        let end = self.until;
        self.until -= COMING_DOWN.min(self.options.within / 4);
        let outcome = climb(self);
        self.until = end;
        outcome
    }

    fn ramp(&mut self, target: u64) {
        self.target = target;
        self.progress.stage("opening");
        let plan = self.plan;
        let order = self.crew.order_clients(|client| Order::Open(plan.share(client, target)));
        let mut best = (self.crew.open(), Instant::now());
        let mut turned_away = None;
        loop {
            let is_there = self.wait(self.until.min(Instant::now() + SAMPLE), |all| {
                let done = |(client, member): (usize, &crate::crew::Member)| {
                    let status = &member.status;
                    member.has_ended
                        || status.stuck.is_some()
                        || status.open >= plan.share(client as u64, target)
                };
                all.crew.clients_have_seen(order) && all.crew.clients().iter().enumerate().all(done)
            });
            if is_there || self.is_cut {
                break;
            }
            let open = self.crew.open();
            if open > best.0 {
                (best, turned_away) = ((open, Instant::now()), None);
            }
            if best.1.elapsed() > STALLED {
                self.stop(format!("no connection more came in {} s", STALLED.as_secs()));
            } else if best.1.elapsed() > FULL {
                turned_away = self.look_whether_full(turned_away);
            }
            if available() < self.machine.memory / 10 {
                self.stop("memory: less than a tenth of it is left".to_owned());
            }
            if self.stopped_by.is_some() {
                self.crew.order_clients(|_| Order::Stop);
                break;
            }
        }
        if let Some(why) = self.crew.clients().iter().find_map(|client| client.status.stuck.clone()) {
            self.stop(format!("a client can open no more: {why}"));
        }
        self.target = self.crew.open();
        self.opened = self.opened.max(self.target);
    }

    /// Whether the servers turned away more than `before`: how many they have by now.
    fn look_whether_full(&mut self, before: Option<u64>) -> Option<u64> {
        let connections = self.count_on_servers()?;
        let now = self.crew.of_servers("shed");
        if before.is_some_and(|before| now > before) {
            let (connections, now) = (grouped(connections), grouped(now));
            self.stop(format!(
                "the servers are full: they have {connections} connections, and turned away {now}"
            ));
        }
        Some(now)
    }

    // ---- told

    fn outcome(mut self, plateaus: Vec<Plateau>, rounds: Vec<Round>) -> Outcome {
        let mut retries = BTreeMap::new();
        let mut lost = BTreeMap::new();
        let add = |sum: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>| {
            more.iter().for_each(|(why, times)| *sum.entry(why.clone()).or_default() += times);
        };
        for client in self.crew.clients() {
            add(&mut retries, &client.status.retries);
            add(&mut lost, &client.status.lost);
        }
        let clients = self.crew.clients();
        let mut outcome = Outcome {
            options: self.options.clone(),
            machine: self.machine.clone(),
            plan: self.plan.clone(),
            opened: self.opened,
            plateaus,
            series: std::mem::take(&mut self.series),
            rounds,
            retries,
            lost,
            turned_away: self.crew.of_servers("shed"),
            wrong: clients.iter().map(|client| client.status.wrong).sum(),
            first_wrong: clients.iter().find_map(|client| client.status.first_wrong.clone()),
            pings: clients.iter().map(|client| client.status.pings).sum(),
            tcp: Tcp::now().since(self.base.tcp),
            time_wait: time_wait(),
            stopped_by: self.stopped_by.take(),
            interrupted: self.interrupted,
            took: self.begun.elapsed(),
            beyond: None,
            killed: 0,
        };
        self.progress.stage("ending");
        outcome.killed = self.crew.end();
        self.note_the_time();
        let beyond = self.started.elapsed().saturating_sub(self.options.within);
        outcome.beyond = self.late_while.take().map(|during| Beyond { by: beyond, during });
        outcome
    }
}
