//! What holds for very many connections: how little one that waits costs, and how much one turn does at most.

use std::time::Duration;

use super::{
    crowd::{Crowd, Done},
    invariants::all,
    socket::Ready,
};
use crate::{
    Audience, Framing, LengthDelimited, Listener,
    connection::{Flags, Inbound},
    options::Options,
    outbound::Outbound,
};

/// Connections that one slice of mass work, or of timers, deals with.
const SLICE: usize = 512;
/// Connections that are begun in one turn, each by a command.
const BEGUN: usize = 256;

fn listener() -> Listener {
    Listener::new("tcp://127.0.0.1:0")
}

#[test]
fn a_hundred_thousand_half_sent_messages_take_no_buffer() {
    for framing in [Framing::length_delimited(LengthDelimited::u32_be()), Framing::lines(100)] {
        let mut crowd = Crowd::new(listener().framing(framing), Options::default());
        crowd.accept(100_000);
        crowd.deliver(1, 1024);
        let core = crowd.core();
        assert_eq!(core.connections.len(), 100_000);
        assert_eq!((core.buffered(), core.pool.lent(), core.pool.kept()), (0, 0, 0));
        for (key, connection) in all(core) {
            let is_inside = matches!(connection.inbound, Inbound::Inline { len: 1, .. });
            assert!(is_inside && connection.storage() == 0, "{key:?}");
            assert!(connection.extras.is_none() && connection.outbound.is_none(), "{key:?}");
        }
    }
}

/// A million are accepted, hear one broadcast and fall idle within one tick; and as many again, which are told to stop. One
/// among them talks all the while, and is answered in each turn.
#[test]
fn a_million_are_served_in_slices() {
    let count = 1_000_000;
    let idle = Duration::from_secs(60);
    let mut crowd = Crowd::new(listener(), Options { idle_timeout: Some(idle), ..Options::default() });
    crowd.accept_talker();
    for round in 0..2 {
        let begun = crowd.accept(count);
        assert!(begun.callbacks <= BEGUN && begun.closes == 0, "{begun:?}");
        assert_eq!(crowd.core().connections.len(), count + 1);
        assert!(crowd.core().stats.timers as usize >= count, "each has its deadline");

        crowd.handle().broadcast(Audience::Open, "to all").unwrap();
        let told = crowd.settle();
        assert!(told.sends <= SLICE && told.sends > 0, "{told:?}");
        let heard = crowd.reactor.stage.handler.ids.iter().rev().take(count);
        let heard = heard.filter(|id| *crowd.sockets.borrow_mut().taken(id.sequence()) == 6).count();
        assert_eq!(heard, count);

        let closed = match round {
            0 => {
                crowd.pass(idle + Duration::from_millis(2));
                crowd.settle()
            }
            _ => {
                crowd.handle().shutdown();
                crowd.settle()
            }
        };
        assert!(closed.callbacks <= SLICE && closed.closes <= SLICE && closed.closes > 0, "{closed:?}");
        let talks = 1 - round;
        assert_eq!(crowd.core().connections.len(), talks);
        assert_eq!(crowd.reactor.stage.handler.closed, (round + 1) * count + round);
        println!("longest turn while {count} come: {:?}", begun.cpu);
        println!("while they hear one broadcast: {:?}; while they are closed: {:?}", told.cpu, closed.cpu);
        if round == 0 {
            // The storage of those who have left is still there, and empty.
            crowd.handle().broadcast(Audience::Open, "to the last").unwrap();
            println!("while the one who is left hears a broadcast: {:?}", crowd.settle().cpu);
            println!("while the storage goes back: {:?}", crowd.tidy().cpu);
            let core = crowd.core();
            assert!(core.doomed.memory() < 64 << 10, "{} B to remember the dead", core.doomed.memory());
            assert!(
                !core.connections.has_spare_room() && core.wheel.len() <= 1,
                "the storm is tidied up after"
            );
            assert!(core.wheel.memory() < 64 << 10, "{} B for an empty wheel", core.wheel.memory());
        }
    }
    assert!(!crowd.goes_on, "it has stopped");
}

/// Nobody reads: all that a broadcast costs is a reference in each queue. When they read again it leaves.
#[test]
fn a_broadcast_to_a_hundred_thousand_that_do_not_read_is_one_buffer() {
    let mut crowd = Crowd::new(listener(), Options::default());
    crowd.accept(100_000);
    crowd.sockets.borrow_mut().room = Some(0);
    crowd.handle().broadcast(Audience::Open, vec![7; 100_000]).unwrap();
    let queued = crowd.settle();
    assert!(queued.sends <= 2 * SLICE, "{queued:?}");
    let references = 100_000 * Outbound::PIECE;
    assert_eq!(crowd.core().in_use(), references + 100_000, "a reference each, and the payload once");
    assert!(all(crowd.core()).all(|(_, connection)| connection.queued() == 100_000));
    crowd.sockets.borrow_mut().room = None;
    let ids = crowd.reactor.stage.handler.ids.clone();
    for ids in ids.chunks(1024) {
        let events: Vec<_> = ids.iter().map(|&id| (id, Ready::OUT)).collect();
        let Done { sends, closes, .. } = crowd.turn(&events);
        assert_eq!((sends, closes), (events.len(), 0));
    }
    assert!(all(crowd.core()).all(|(_, connection)| connection.outbound.is_none()));
}

/// Nobody has to give way, and so nobody goes through the list of those who might: it does not grow for ever all the same.
#[test]
fn the_list_of_holders_forgets_those_who_are_gone() {
    let idle = Duration::from_secs(60);
    let listener = listener().framing(Framing::lines(1000));
    let mut crowd = Crowd::new(listener, Options { idle_timeout: Some(idle), ..Options::default() });
    for _ in 0..20 {
        crowd.accept(500);
        crowd.deliver(100, 256);
        assert_eq!(crowd.core().pool.lent(), 500 * 256, "each holds the beginning of a line");
        crowd.pass(idle + Duration::from_millis(2));
        crowd.settle();
        assert_eq!(crowd.core().connections.len(), 0);
        let listed = crowd.core().holding.len();
        assert!(listed <= 2 * 500, "{listed} on the list, of which 500 were there at once");
    }
    crowd.tidy();
    assert!(crowd.core().holding.is_empty(), "nobody is left");
}

/// Who has held something once is not remembered for as long as it stays: 8 bytes of every WebSocket there is, for the answer
/// that it once had in its queue.
#[test]
fn who_holds_nothing_any_more_leaves_the_list_of_holders() {
    // A message is a head of 64 bytes, whose last four are its length: 0.
    let framing = Framing::length_delimited(LengthDelimited::u32_be().offset(60));
    let mut crowd = Crowd::new(listener().framing(framing), Options::default());
    for round in 0..20 {
        crowd.accept(50);
        crowd.deliver_from(50 * round, 32, 256);
        assert_eq!(crowd.core().pool.lent(), 50 * 256, "each of the newcomers holds half a message");
        crowd.deliver_from(50 * round, 32, 256);
        assert_eq!(crowd.core().pool.lent(), 0);
    }
    assert_eq!(crowd.core().connections.len(), 1_000);
    let listed = crowd.core().holding.len();
    assert!(listed <= 2 * 50, "{listed} of 1,000 who all held something once");
}

#[test]
fn a_hundred_thousand_are_finished_in_slices() {
    let mut crowd = Crowd::new(listener(), Options::default());
    crowd.accept(100_000);
    crowd.call(|_, reactor| reactor.finish_all());
    let finished = crowd.settle();
    assert!(finished.fins <= SLICE && finished.fins > 0, "{finished:?}");
    assert!(all(crowd.core()).all(|(_, connection)| connection.flags.contains(Flags::SHUT)));
    // Nobody answers: they are given up, in slices too.
    crowd.pass(Duration::from_secs(10));
    let closed = crowd.settle();
    assert!(closed.callbacks <= SLICE && closed.closes <= SLICE, "{closed:?}");
    assert_eq!(crowd.core().connections.len(), 0);
}
