//! What came of it, and the same as JSON.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use wheelhouse_examples::latency::in_us;

use crate::{
    machine::{self, Resident, SETTINGS, Tcp},
    options::Run,
    plan::{Machine, Plan},
    talk::Tally,
};

pub(crate) struct Outcome {
    pub(crate) options: Run,
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    /// The most connections that were open at once.
    pub(crate) opened: u64,
    pub(crate) plateaus: Vec<Plateau>,
    pub(crate) series: Vec<Sample>,
    pub(crate) rounds: Vec<Round>,
    /// Attempts that came to nothing and were made anew, and connections that were lost, by reason.
    pub(crate) retries: BTreeMap<String, u64>,
    pub(crate) lost: BTreeMap<String, u64>,
    /// Connections that the servers closed at once, having no room for them.
    pub(crate) turned_away: u64,
    pub(crate) wrong: u64,
    pub(crate) first_wrong: Option<String>,
    pub(crate) pings: u64,
    pub(crate) tcp: Tcp,
    pub(crate) time_wait: u64,
    /// What ended it before its time.
    pub(crate) stopped_by: Option<String>,
    pub(crate) interrupted: bool,
    pub(crate) took: Duration,
    pub(crate) beyond: Option<Beyond>,
    /// Processes that did not end by themselves.
    pub(crate) killed: usize,
}

/// How much longer than `--within` it took until all processes had ended, and what was under way when that was over.
pub(crate) struct Beyond {
    pub(crate) by: Duration,
    pub(crate) during: String,
}

/// Where it stayed.
pub(crate) struct Plateau {
    /// More than at the plateau before, and never none.
    pub(crate) connections: u64,
    /// From the beginning until the last of them was open.
    pub(crate) at: Duration,
    /// The time to come here from the plateau before, and the connections that came in it.
    pub(crate) ramp: Duration,
    pub(crate) came: u64,
    pub(crate) memory: Footprint,
    pub(crate) quiet: Option<Busy>,
    pub(crate) talking: Option<Busy>,
    pub(crate) talk: Option<Tally>,
    pub(crate) broadcast: Option<Broadcast>,
}

/// What there is more than before the first connection, in bytes: of processes what they made themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Footprint {
    pub(crate) servers: i64,
    pub(crate) clients: i64,
    /// What the kernel says it holds.
    pub(crate) kernel: i64,
    /// What is no longer free and in no process: whatever else runs on the machine is in it.
    pub(crate) kernel_by_free: i64,
}

/// A time at the plateau.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    pub(crate) lasted: Duration,
    pub(crate) servers: Duration,
    pub(crate) clients: Duration,
    /// Times that the servers' reactors went round.
    pub(crate) turns: u64,
    pub(crate) pings: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Broadcast {
    pub(crate) delivered: u64,
    pub(crate) took: Duration,
}

pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) connections: u64,
    pub(crate) memory: Footprint,
}

/// All came, and all but one went.
pub(crate) struct Round {
    /// Those that were open, and the time to open them without what it stayed on the way.
    pub(crate) connections: u64,
    pub(crate) opening: Duration,
    /// Those that were left, and the time to close the others.
    pub(crate) staying: u64,
    pub(crate) closing: Duration,
    /// Of all servers together: before the first connection, with all of them, and when they were gone.
    pub(crate) start: Resident,
    pub(crate) height: Resident,
    pub(crate) after: Resident,
    pub(crate) kernel: i64,
}

/// What may stay with a server, besides a tenth of what it had at the start.
const MAY_STAY: u64 = 16 << 20;

impl Round {
    /// What the servers may have together.
    pub(crate) fn bound(&self, servers: u64) -> u64 {
        self.start.all + self.start.all / 10 + MAY_STAY * servers
    }

    pub(crate) fn is_within_bound(&self, servers: u64) -> bool {
        self.after.all <= self.bound(servers)
    }

    fn json(&self, servers: u64) -> Value {
        json!({
            "connections": self.connections,
            "opening_seconds": self.opening.as_secs_f64(),
            "connections_staying": self.staying,
            "closing_seconds": self.closing.as_secs_f64(),
            "server_processes": servers,
            "server_rss_bytes_start": self.start.all,
            "server_user_bytes_start": self.start.own,
            "server_rss_bytes_height": self.height.all,
            "server_user_bytes_height": self.height.own,
            "server_rss_bytes_after": self.after.all,
            "server_user_bytes_after": self.after.own,
            "bound_bytes": self.bound(servers),
            "within_bound": self.is_within_bound(servers),
            "kernel_bytes_after": self.kernel,
        })
    }
}

impl Outcome {
    /// Whether all that was planned was done, and every byte was as it should be.
    pub(crate) fn is_good(&self) -> bool {
        let answered = |plateau: &Plateau| {
            plateau.talk.as_ref().is_some_and(|talk| talk.unsent == 0 && talk.sent == talk.answered)
                && plateau.broadcast.is_some_and(|broadcast| broadcast.delivered == plateau.connections)
        };
        self.opened == self.plan.connections
            && self.stopped_by.is_none()
            && self.wrong == 0
            && self.lost.is_empty()
            && self.plateaus.iter().all(answered)
            && self.rounds.len() as u64 == self.options.rounds
            && self.rounds.iter().all(|round| {
                round.connections == self.plan.connections && round.is_within_bound(self.plan.servers)
            })
    }

    /// What each connection more took from each plateau to the next: what processes have anyway is not in it.
    pub(crate) fn slopes(&self) -> Vec<(&Plateau, &Plateau)> {
        self.plateaus.windows(2).map(|two| (&two[0], &two[1])).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let plan = &self.plan;
        json!({
            "to": self.options.to.to_string(),
            "connections": {
                "asked": match self.options.wanted().connections { Some(n) => json!(n), None => json!("all") },
                "planned": plan.connections,
                "opened": self.opened,
            },
            "ok": self.is_good() && !self.interrupted,
            "interrupted": self.interrupted,
            "stopped_by": self.stopped_by,
            "seconds": self.took.as_secs_f64(),
            "beyond_within": self.beyond.as_ref().map(|beyond| json!({
                "seconds": beyond.by.as_secs_f64(),
                "during": beyond.during,
            })),
            "processes": {
                "servers": plan.servers,
                "clients": plan.clients,
                "reactors_per_server": plan.reactors,
                "source_addresses": plan.clients * plan.sources,
                "killed": self.killed,
            },
            "parameters": {
                "hold_seconds": self.options.hold.as_secs_f64(),
                "live_share": self.options.live,
                "every_seconds": self.options.every.as_secs_f64(),
                "heartbeat_seconds": self.options.heartbeat.map(|every| every.as_secs_f64()),
                "within_seconds": self.options.within.as_secs_f64(),
                "rounds": self.options.rounds,
            },
            "limits": plan.limits.iter().map(|limit| json!({
                "name": limit.name,
                "value": limit.value,
                "needed": limit.needed,
                "allows_connections": limit.allows,
                "effect": limit.effect,
                "lift": limit.lift,
            })).collect::<Vec<_>>(),
            "plateaus": self.plateaus.iter().map(Plateau::json).collect::<Vec<_>>(),
            "slopes": self.slopes().iter().map(|(from, to)| slope(from, to)).collect::<Vec<_>>(),
            "retries": self.retries,
            "lost": self.lost,
            "turned_away": self.turned_away,
            "verification": { "wrong_connections": self.wrong, "first": self.first_wrong },
            "pings_answered": self.pings,
            "rounds": self.rounds.iter().map(|round| round.json(plan.servers)).collect::<Vec<_>>(),
            "kernel": {
                "syn_retransmits": self.tcp.syn_retransmits,
                "listen_overflows": self.tcp.listen_overflows,
                "listen_drops": self.tcp.listen_drops,
                "backlog_drops": self.tcp.backlog_drops,
                "time_wait_left": self.time_wait,
            },
            "machine": {
                "processor": machine::processor(),
                "cores": self.machine.cores,
                "memory_bytes": self.machine.memory,
                "memory_available_bytes": self.machine.memory_available,
                "kernel": machine::kernel(),
                "files_per_process": self.machine.files,
                "settings": SETTINGS.iter().map(|name| (*name, machine::setting(name))).collect::<BTreeMap<_, _>>(),
            },
            "series": self.series.iter().map(|sample| json!({
                "seconds": sample.at.as_secs_f64(),
                "connections": sample.connections,
                "server_user_bytes": sample.memory.servers,
                "client_user_bytes": sample.memory.clients,
                "kernel_bytes": sample.memory.kernel,
            })).collect::<Vec<_>>(),
        })
    }
}

impl Plateau {
    /// Of something that there are so many bytes of.
    pub(crate) fn each(&self, bytes: i64) -> f64 {
        bytes as f64 / self.connections as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.came as f64 / self.ramp.as_secs_f64().max(1e-9)
    }

    fn json(&self) -> Value {
        let memory = &self.memory;
        json!({
            "connections": self.connections,
            "seconds_since_start": self.at.as_secs_f64(),
            "ramp_seconds": self.ramp.as_secs_f64(),
            "connects_per_second": self.rate(),
            "server_user_bytes_per_connection": self.each(memory.servers),
            "client_user_bytes_per_connection": self.each(memory.clients),
            "kernel_bytes_per_connection": self.each(memory.kernel),
            "kernel_bytes_per_connection_by_free_memory": self.each(memory.kernel_by_free),
            "quiet": self.quiet.map(Busy::json),
            "talking": self.talking.map(Busy::json),
            "talk": self.talk.as_ref().map(|talk| json!({
                "connections": talk.connections,
                "sent": talk.sent,
                "answered": talk.answered,
                "unsent": talk.unsent,
                "latency_us": in_us(&talk.latency),
                "lateness_us": in_us(&talk.lateness),
            })),
            "broadcast": self.broadcast.map(|broadcast| json!({
                "delivered": broadcast.delivered,
                "seconds": broadcast.took.as_secs_f64(),
            })),
        })
    }
}

impl Busy {
    /// Cores that were busy with it: the servers', and the clients'.
    pub(crate) fn cores(self) -> (f64, f64) {
        let lasted = self.lasted.as_secs_f64().max(1e-9);
        (self.servers.as_secs_f64() / lasted, self.clients.as_secs_f64() / lasted)
    }

    fn json(self) -> Value {
        let (servers, clients) = self.cores();
        json!({
            "seconds": self.lasted.as_secs_f64(),
            "server_cores_busy": servers,
            "client_cores_busy": clients,
            "server_turns": self.turns,
            "pings_answered": self.pings,
        })
    }
}

/// Bytes for each connection more: the servers', the clients', the kernel's.
pub(crate) fn steepness(from: &Plateau, to: &Plateau) -> [f64; 3] {
    let more = (to.connections - from.connections) as f64;
    let (a, b) = (&from.memory, &to.memory);
    [b.servers - a.servers, b.clients - a.clients, b.kernel - a.kernel].map(|bytes| bytes as f64 / more)
}

fn slope(from: &Plateau, to: &Plateau) -> Value {
    let [servers, clients, kernel] = steepness(from, to);
    json!({
        "from_connections": from.connections,
        "to_connections": to.connections,
        "server_user_bytes_per_connection": servers,
        "client_user_bytes_per_connection": clients,
        "kernel_bytes_per_connection": kernel,
    })
}
