//! A million timers in one engine: they are set, moved and taken back in no time, wake nobody while none is due, and are
//! served in slices when all of them are.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write as _,
    net::TcpStream,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::mpsc::{Sender, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use nix::sys::socket::{MsgFlags, recv};
use wheelhouse::{Action, Conn, Handle, Handler, Message, Reactor, TimerKind};

const MILLION: u32 = 1_000_000;

/// Far enough away, and spread over five hours.
fn far(n: u32) -> Duration {
    Duration::from_secs(3600) + Duration::from_millis(u64::from(n) * 17)
}

#[test]
fn a_million_pending_timers_wake_nobody_and_are_taken_back() {
    const CLIENTS: u32 = 2_000;
    const EACH: u32 = 250;
    const OWN: u32 = MILLION - CLIENTS * EACH;
    let _crowd = crowd();
    let (fired, soon) = channel();
    let server = serve(local().reactors(1), move |_| {
        let fired = fired.clone();
        Script::<()>::new().reactor_timer(move |_, kind| tell(&fired, kind))
    });
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| server.connect()).collect();
    eventually("all are there", || server.handle.stats().total().connections == u64::from(CLIENTS));
    // Half of them beside connections, half the reactor's own; each of the latter is moved once more.
    for id in server.handle.connections() {
        let set =
            move |conn: &mut Conn<'_>| (0..EACH).for_each(|n| conn.set_timer(TimerKind(n), far(n * 4000)));
        server.poster.post_to_timeout(id, move |_, conn, ()| set(conn), PATIENCE).unwrap();
    }
    for step in [17, 1] {
        server
            .ask(0, move |_, reactor| (0..OWN).for_each(|n| reactor.set_timer(TimerKind(n), far(n / step))));
    }
    let pending = || server.handle.stats().total().timers;
    eventually("a million are pending", || pending() == u64::from(MILLION));

    let turns = || server.handle.stats().total().turns;
    let before = turns();
    thread::sleep(Duration::from_secs(1));
    // A wake-up for what was asked last may have been on its way.
    let turned = turns() - before;
    assert!(turned <= 2, "{turned} turns although nothing is due");
    server.ask(0, |_, reactor| reactor.set_timer(TimerKind(OWN), Duration::from_millis(1)));
    assert_eq!(next(&soon), TimerKind(OWN), "the millionth and first");

    let taken = server.ask(0, |_, reactor| {
        let taken = (0..OWN).filter(|&n| reactor.cancel_timer(TimerKind(n))).count();
        assert!(!(0..=OWN).any(|n| reactor.cancel_timer(TimerKind(n))), "there is nothing left to take");
        taken
    });
    assert_eq!(taken, OWN as usize);
    eventually("the connections' are left", || pending() == u64::from(CLIENTS * EACH));
    // Resets leave no ports waiting.
    clients.iter().for_each(wheelhouse_tests::linger_zero);
    drop(clients);
    eventually("they go with their connections", || server.handle.count() == 0 && pending() == 0);
    assert!(soon.try_recv().is_err(), "nothing else was due");
    server.stop();
}

/// Writes to the engine's one connection from within it, and sees the bytes arrive.
struct Pinger {
    client: TcpStream,
    served: OwnedFd,
}

impl Pinger {
    fn ping(&mut self) {
        self.client.write_all(b"ping").unwrap();
        let (mut peeked, peek) = ([0; 4], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
        eventually("it has arrived", || recv(self.served.as_raw_fd(), &mut peeked, peek) == Ok(4));
    }
}

/// Counts its timers by the turn, and pings its connection now and then in the middle of them.
struct Busy {
    handle: Handle,
    pinger: Option<Pinger>,
    fired: u32,
    slice: u32,
    turn: u64,
    /// The turn in which a ping has arrived that is not served yet.
    pinged: Option<u64>,
    seen: Seen,
    done: Sender<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    /// The most timers of one turn.
    longest_slice: u32,
    /// How many turns after its arrival each ping was served.
    waits: Vec<u64>,
}

const PINGS: u32 = 20;

impl Busy {
    fn now(&self) -> u64 {
        self.handle.stats().reactors[0].turns
    }
}

impl Handler for Busy {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, (): &mut (), message: Message<'_>) -> Action {
        if let Some(pinged) = self.pinged.take() {
            self.seen.waits.push(self.now() - pinged);
        }
        conn.send(message);
        Action::Continue
    }

    fn on_reactor_timer(&mut self, _: &mut Reactor<'_>, _: TimerKind) {
        let turn = self.now();
        self.slice = if turn == self.turn { self.slice + 1 } else { 1 };
        self.turn = turn;
        self.seen.longest_slice = self.seen.longest_slice.max(self.slice);
        if self.fired.is_multiple_of(MILLION / PINGS)
            && let Some(pinger) = &mut self.pinger
        {
            pinger.ping();
            self.pinged = Some(turn);
        }
        self.fired += 1;
        if self.fired == MILLION {
            tell(&self.done, self.seen.clone());
        }
    }
}

#[test]
fn of_a_million_due_in_one_moment_a_slice_is_served_between_events() {
    let (done, is_done) = channel();
    let server = serve(local().reactors(1), move |spot| Busy {
        handle: spot.handle(),
        pinger: None,
        fired: 0,
        slice: 0,
        turn: 0,
        pinged: None,
        seen: Seen::default(),
        done: done.clone(),
    });
    let mut client = server.connect();
    echo(&mut client, b"before");
    let id = server.handle.connections().next().unwrap();
    let served = server.ask_conn(id, |conn, ()| conn.duplicate_fd().unwrap());
    let pinger = Pinger { client: client.try_clone().unwrap(), served };
    server.ask(0, move |busy: &mut Busy, reactor| {
        busy.pinger = Some(pinger);
        // One moment for all of them; the callback ends when it has come.
        let moment = Instant::now() + Duration::from_millis(1500);
        for n in 0..MILLION {
            reactor.set_timer(TimerKind(n), moment.saturating_duration_since(Instant::now()));
        }
        thread::sleep(moment.saturating_duration_since(Instant::now()) + Duration::from_millis(5));
    });
    let seen = next(&is_done);
    assert_eq!(seen.waits.len(), PINGS as usize, "each was served before the next");
    assert!(seen.waits.iter().all(|&turns| turns <= 2), "turns that each waited: {:?}", seen.waits);
    assert!(seen.longest_slice <= 10_000, "{} of a million in one turn", seen.longest_slice);
    expect(&mut client, &b"ping".repeat(PINGS as usize));
    eventually("none is left", || server.handle.stats().total().timers == 0);
    server.stop();
}
