//! What a world is made of: drawn from its seed before anything happens.

use std::{rc::Rc, time::Duration};

use super::{
    deed::Deed,
    kernel::Habits,
    random::Random,
    seal::Keys,
    turning::Turn,
    web::{Beat, Web},
    wire::Wire,
};
use crate::{Connect, Framing, Listener, Policy, options::Options, proxy_protocol::TrustedNetworks};

/// A world's measures, and which of all mischief is done in it. Each world leaves much out: what is common would hide what
/// is rare.
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) kinds: Vec<Kind>,
    pub(super) habits: Habits,
    pub(super) deeds: Vec<Deed>,
    /// How many deeds a callback does at most, and how often one ends badly.
    pub(super) activity: usize,
    pub(super) connections: usize,
    pub(super) steps: usize,
    /// The step in which the engine is told to stop.
    pub(super) stops_at: Option<usize>,
    /// The step in which a drain begins, and the time it has.
    pub(super) drains_at: Option<usize>,
    pub(super) drains_within: Duration,
    /// Peers do nothing unexpected, and nobody has to go.
    pub(super) is_gentle: bool,
    pub(super) panics: bool,
    pub(super) most_sent: usize,
    /// Events taken at once, and served in one turn.
    pub(super) batch: usize,
    pub(super) slice: usize,
    /// The reactor wakes for nothing at one of so many steps.
    pub(super) wakes_for_nothing: usize,
    /// Milliseconds that the engine has been running, and connections that it has had.
    pub(super) age: u64,
    pub(super) first_sequence: u32,
}

/// What the connections of a listener, or dialled alike, have in common.
#[derive(Clone)]
pub(super) struct Kind {
    pub(super) wire: Wire,
    pub(super) framing: Framing,
    pub(super) marks: (usize, usize, usize),
    pub(super) policy: Policy,
    pub(super) authentication: Option<Duration>,
    /// Proxies come through this listener, too.
    pub(super) proxies: bool,
    /// They speak TLS.
    pub(super) keys: Option<Rc<Keys>>,
    /// What they become at one of their messages.
    pub(super) turns: Option<Turn>,
}

/// Whoever comes from here is a proxy, where the listener knows proxies.
const PROXIES: &str = "10.9.0.0/16";
/// One of so many worlds has TLS: its handshakes take as long as all else does.
const SECURE: usize = 6;
/// In ms.
const AN_HOUR: u64 = 60 * 60 * 1000;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Plan {
    pub(super) fn draw(random: &mut Random) -> Plan {
        let is_gentle = random.one_in(3);
        let ms = |random: &mut Random, from: &[u64]| Duration::from_millis(random.pick(from));
        let some = |random: &mut Random, from: &[u64]| {
            (!is_gentle && random.one_in(2)).then(|| Duration::from_millis(random.pick(from)))
        };
        let roomy = is_gentle || random.one_in(2);
        let memory = [64 * KIB, 96 * KIB, 200 * KIB, MIB];
        let options = Options {
            reactors: 1,
            read_buffer: KIB << random.below(5),
            read_budget: KIB << random.below(6),
            inbound_limit: if roomy { 400_000 } else { random.pick(&[64, 600, 5_000, 400_000]) },
            buffer_memory: if roomy { 256 * MIB } else { random.pick(&memory) },
            mailbox: random.pick(&[16, 40, 16_384]),
            idle_timeout: some(random, &[1, 20, 300, 5_000]),
            lifetime: some(random, &[5, 500, 20_000]),
            write_stall_timeout: match is_gentle || random.one_in(3) {
                true => None,
                false => Some(ms(random, &[5, 100, 1_000, 60_000])),
            },
            handshake_timeout: match is_gentle {
                true => Duration::from_secs(3_600),
                false => ms(random, &[2, 50, 10_000]),
            },
            max_per_address: (!is_gentle && random.one_in(5)).then(|| 1 + random.below(3)),
            close_timeout: if is_gentle { Duration::from_secs(3_600) } else { ms(random, &[1, 50, 5_000]) },
            ..Options::default()
        };
        let rates = |random: &mut Random| random.pick(&[0, 0, 40, 8, 3]);
        let habits = Habits {
            interrupts: random.pick(&[0, 20, 5]),
            short: rates(random),
            spurious: rates(random),
            meanwhile: rates(random),
            is_talkative: random.one_in(2),
            send_buffer: random.pick(&[300, 4 * KIB, 40 * KIB, MIB]),
        };
        let keys = random.one_in(SECURE).then(|| Rc::new(Keys::draw(random)));
        let mut kinds: Vec<Kind> = (0..1 + random.below(3)).map(|_| Kind::draw(random, is_gentle)).collect();
        for kind in &mut kinds {
            if let Wire::Web(web) = &mut kind.wire {
                web.max_head = options.read_buffer;
                kind.framing = kind.wire.framing();
            }
            kind.keys = keys.clone().filter(|_| !random.one_in(3));
            let may_start = kind.keys.is_some() && matches!(kind.wire, Wire::Lines(_) | Wire::Lengths(_));
            if may_start && random.one_in(2) {
                kind.turns = Some(Turn::Tls);
            }
        }
        let share = random.pick(&[2, 4, 8]);
        let deeds = Deed::ALL.iter().copied().filter(|deed| {
            let allowed = !is_gentle || deed.is_gentle();
            allowed && random.one_in(share)
        });
        let deeds: Vec<Deed> = deeds.collect();
        let steps = random.pick(&[20, 60, 60, 150]);
        let crowd = if random.one_in(5) { 20 } else { 5 };
        Plan {
            options,
            kinds,
            habits,
            deeds,
            activity: random.pick(&[0, 1, 2, 3, 5]),
            connections: 1 + random.below(crowd),
            steps,
            stops_at: random.one_in(4).then(|| random.below(steps)),
            drains_at: random.one_in(5).then(|| random.below(steps)),
            drains_within: match is_gentle {
                true => Duration::from_secs(1_000_000),
                false => ms(random, &[0, 4, 300, AN_HOUR]),
            },
            is_gentle,
            panics: !is_gentle && random.one_in(4),
            most_sent: random.pick(&[100, 5_000, 100_000]),
            batch: random.pick(&[1, 3, 1024]),
            slice: random.pick(&[1, 2, 512]),
            wakes_for_nothing: random.pick(&[0, 0, 0, 10]),
            age: if random.one_in(8) { u64::from(u32::MAX) - random.below(3_000) as u64 } else { AN_HOUR },
            first_sequence: if random.one_in(8) { u32::MAX - random.below(10) as u32 } else { 1 },
        }
    }
}

impl Kind {
    pub(super) fn draw(random: &mut Random, is_gentle: bool) -> Kind {
        let lengths = [64, 9_000, 200_000];
        let wire = match random.below(8) {
            0 => Wire::Raw,
            1 => Wire::Lines(random.pick(&lengths)),
            2 => Wire::Lengths(random.pick(&lengths)),
            3 => Wire::Typed(random.pick(&lengths)),
            4 => Wire::Joined,
            _ => Wire::Web(Web::draw(random, is_gentle)),
        };
        let marks = [
            (0, 1, 40),
            (500, 2_000, 300_000),
            (100, 3_000, 9_000),
            (64 * KIB, 64 * KIB, 64 * KIB),
            (64 * KIB, 256 * KIB, 4 * MIB),
        ];
        let marks = if is_gentle { (500, 2_000, 64 * MIB) } else { random.pick(&marks) };
        let policies = [Policy::Refuse, Policy::Close, Policy::DropMessage];
        let policy = random.pick(&policies[..if wire == Wire::Raw { 2 } else { 3 }]);
        let authentication = (!is_gentle && random.one_in(6)).then(|| Duration::from_millis(200));
        let proxies = random.one_in(4);
        let may_turn = !matches!(wire, Wire::Raw | Wire::Web(_));
        let others = [Wire::Lines(9_000), Wire::Lengths(9_000), Wire::Typed(200_000), Wire::Joined];
        let turns = (may_turn && random.one_in(4)).then(|| Turn::Framing(random.pick(&others)));
        Kind { wire, framing: wire.framing(), marks, policy, authentication, proxies, keys: None, turns }
    }

    pub(super) fn listener(&self) -> Listener {
        let (low, high, limit) = self.marks;
        let listener = Listener::new("tcp://127.0.0.1:0").framing(self.framing.clone()).policy(self.policy);
        let mut listener = listener.water_marks(low, high, limit);
        if self.proxies {
            listener.trusted = TrustedNetworks::parse(&[PROXIES.to_owned()]).ok();
        }
        if let Some(keys) = self.keys.as_ref().filter(|_| self.turns != Some(Turn::Tls)) {
            listener = listener.tls(keys.tls.clone());
        }
        if let Some(Beat { every, timeout }) = self.heartbeat() {
            listener = listener.heartbeat(every, timeout);
        }
        match self.authentication {
            Some(within) => listener.authentication(within),
            None => listener,
        }
    }

    /// As it is dialled.
    pub(super) fn connect(&self) -> Connect {
        let (low, high, limit) = self.marks;
        let keys = self.keys.as_ref().filter(|_| self.turns != Some(Turn::Tls));
        let scheme = match (matches!(self.wire, Wire::Web(_)), keys.is_some()) {
            (false, false) => "tcp",
            (false, true) => "tls",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        let to = Connect::to(format!("{scheme}://127.0.0.1:9"));
        let to = if let Some(keys) = keys { to.tls(keys.client.clone()) } else { to };
        let to = to.framing(self.framing.clone()).policy(self.policy).water_marks(low, high, limit);
        match self.heartbeat() {
            Some(Beat { every, timeout }) => to.heartbeat(every, timeout),
            None => to.no_heartbeat(),
        }
    }

    pub(super) fn heartbeat(&self) -> Option<Beat> {
        match self.wire {
            Wire::Web(web) => web.heartbeat,
            _ => None,
        }
    }
}
