//! A reactor that sleeps is woken by whoever brings it something, in whichever order their threads run.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use loom::thread;
use wheelhouse_loom::{Flaw, Mailbox, check, leave_out};

/// A reactor serves what two senders bring, one each, by turns that are made by `turn`; `start` and `start_sender` run first
/// on their threads. A wake-up that is lost leaves the reactor asleep for ever: loom calls that a deadlock.
fn serve_two(start: fn(), start_sender: fn(), turn: fn(&Mailbox) -> usize) {
    check(move || {
        let mailbox = Arc::new(Mailbox::default());
        let senders = [(); 2].map(|()| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                start_sender();
                mailbox.hand_over();
            })
        });
        start();
        let mut served = 0;
        while served < senders.len() {
            served += turn(&mailbox);
        }
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!((served, mailbox.load()), (2, 0), "none twice");
        let (slept, woken) = mailbox.slept_and_woken();
        assert!(woken <= slept, "woken {woken} times, and {slept} times about to sleep");
    });
}

fn nothing() {}

fn without_fences() {
    leave_out(Flaw::NoFences);
}

#[test]
fn no_wake_up_is_lost_and_none_is_made_twice() {
    serve_two(nothing, nothing, Mailbox::turn);
}

/// The reactor is woken by a socket, and says that it is awake while a sender finds that it sleeps.
#[test]
fn no_wake_up_is_lost_when_something_else_wakes_the_reactor() {
    check(|| {
        let mailbox = Arc::new(Mailbox::default());
        let sender = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                mailbox.hand_over();
                mailbox.hand_over();
            }
        });
        let socket = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.stir()
        });
        let mut served = 0;
        while served < 2 {
            served += mailbox.turn();
        }
        sender.join().unwrap();
        socket.join().unwrap();
        assert_eq!((served, mailbox.load()), (2, 0));
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_senders_fence_a_wake_up_is_lost() {
    serve_two(nothing, without_fences, Mailbox::turn);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_reactors_fence_a_wake_up_is_lost() {
    serve_two(without_fences, nothing, Mailbox::turn);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_reactor_that_looks_before_it_announces_loses_a_wake_up() {
    serve_two(nothing, nothing, Mailbox::turn_that_looks_first);
}
