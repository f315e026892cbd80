//! What is put into a mailbox that closes is dropped by somebody, and is counted no longer.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use loom::thread;
use wheelhouse_loom::{Flaw, Mailbox, check, leave_out};

/// A reactor makes its last turn and closes while two senders hand a connection over, one each.
fn close_under(start: fn(), start_sender: fn()) {
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
        mailbox.close();
        for sender in senders {
            sender.join().unwrap();
        }
        assert!(mailbox.is_empty(), "lost in the mailbox");
        assert_eq!(mailbox.load(), 0, "lost in the count");
    });
}

fn nothing() {}

fn without_fences() {
    leave_out(Flaw::NoFences);
}

#[test]
fn what_comes_too_late_is_dropped_by_somebody_and_counted_no_longer() {
    close_under(nothing, nothing);
}

/// The reactor's last turns and its end, with a sender at any point of them.
#[test]
fn what_comes_in_the_last_turn_is_served_or_dropped() {
    check(|| {
        let mailbox = Arc::new(Mailbox::default());
        let sender = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                mailbox.hand_over();
                mailbox.hand_over();
            }
        });
        assert!(mailbox.turn() <= 2);
        mailbox.close();
        sender.join().unwrap();
        assert!(mailbox.is_empty(), "lost in the mailbox");
        assert_eq!(mailbox.load(), 0, "lost in the count");
    });
}

#[test]
#[should_panic(expected = "lost in the mailbox")]
fn without_the_senders_fence_a_connection_is_lost() {
    close_under(nothing, without_fences);
}

#[test]
#[should_panic(expected = "lost in the mailbox")]
fn without_the_reactors_fence_a_connection_is_lost() {
    close_under(without_fences, nothing);
}
