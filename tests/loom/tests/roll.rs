//! Whether a connection is there is asked without a lock while its reactor lets it go and gives its slot to the next.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use loom::thread;
use wheelhouse_loom::{Flaw, Roll, check, conn_id, leave_out};

/// A slot changes hands while another thread asks for both tenants.
fn change_hands(start_reader: fn()) {
    check(move || {
        let roll = Arc::new(Roll::new());
        let (old, new) = (conn_id(0, 1), conn_id(0, 2));
        let reactor = thread::spawn({
            let roll = Arc::clone(&roll);
            move || {
                roll.enter(old);
                roll.leave(old);
                roll.enter(new);
            }
        });
        start_reader();
        let (first, then) = (roll.holds(new), roll.holds(old));
        assert!(!(first && then), "the old tenant is back");
        assert!(!roll.holds(conn_id(1, 1)), "a slot that nobody had");
        reactor.join().unwrap();
        assert!(roll.holds(new) && !roll.holds(old));
    });
}

#[test]
fn a_slots_next_tenant_is_never_taken_for_the_last() {
    change_hands(|| ());
}

#[test]
fn who_has_left_does_not_come_back() {
    check(|| {
        let roll = Arc::new(Roll::new());
        let id = conn_id(0, 1);
        roll.enter(id);
        let reactor = thread::spawn({
            let roll = Arc::clone(&roll);
            move || roll.leave(id)
        });
        let (first, then) = (roll.holds(id), roll.holds(id));
        assert!(first || !then, "it is back");
        reactor.join().unwrap();
        assert!(!roll.holds(id));
    });
}

#[test]
fn who_comes_into_a_chunk_that_was_freed_is_there() {
    check(|| {
        let roll = Arc::new(Roll::new());
        let (old, new) = (conn_id(0, 1), conn_id(0, 2));
        roll.enter(old);
        let reactor = thread::spawn({
            let roll = Arc::clone(&roll);
            move || {
                roll.leave(old);
                roll.free_chunk(0);
                roll.enter(new);
            }
        });
        let (first, then) = (roll.holds(new), roll.holds(old));
        assert!(!(first && then), "the old tenant is back");
        reactor.join().unwrap();
        assert!(roll.holds(new) && !roll.holds(old));
    });
}

#[test]
#[should_panic(expected = "wiped with him in")]
fn a_chunk_that_is_freed_by_another_than_its_reactor_loses_who_comes() {
    check(|| {
        let roll = Arc::new(Roll::new());
        roll.enter(conn_id(1, 1));
        let another = thread::spawn({
            let roll = Arc::clone(&roll);
            move || roll.free_chunk(0)
        });
        roll.enter(conn_id(0, 1));
        another.join().unwrap();
        assert!(roll.holds(conn_id(0, 1)), "wiped with him in");
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_reader_without_acquire_follows_a_pointer_to_nothing() {
    change_hands(|| leave_out(Flaw::NoOrder));
}
