//! The models copy what they cannot compile. These are the lines they copy; when one changes, `src/mailbox.rs` has to follow.

const MAILBOX: &str = include_str!("../../../crates/engine/src/mailbox.rs");
const SHARED: &str = include_str!("../../../crates/engine/src/shared.rs");
const MAIN_REACTOR: &str = include_str!("../../../crates/engine/src/main_reactor.rs");
const SUB_REACTOR: &str = include_str!("../../../crates/engine/src/sub_reactor/mod.rs");
const BEGIN: &str = include_str!("../../../crates/engine/src/sub_reactor/begin.rs");
const CLOSE: &str = include_str!("../../../crates/engine/src/sub_reactor/close.rs");

/// The code without comments, and with one space where there is any.
fn plain(source: &str) -> String {
    let code = source.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// That `lines` are in the function `name`, in this order.
#[track_caller]
fn copied(source: &str, name: &str, lines: &[&str]) {
    let source = plain(source);
    let head = format!("fn {name}(");
    let body = source.split_once(&head).unwrap_or_else(|| panic!("`{name}` is gone")).1;
    let mut rest = body.split_once(" fn ").map_or(body, |(body, _)| body);
    for line in lines {
        rest = rest.split_once(line).unwrap_or_else(|| panic!("`{name}` has changed: no `{line}` here")).1;
    }
}

#[test]
fn a_sender_counts_puts_in_wakes_and_looks_whether_it_was_too_late() {
    copied(
        MAIN_REACTOR,
        "hand_over",
        &["load.fetch_add(1, Ordering::Relaxed);", "reactor.put(Command::Accepted(accepted))"],
    );
    copied(SHARED, "put", &["self.mailbox.put(command);", "self.abandon_if_closed();"]);
    copied(SHARED, "put_in", &["self.mailbox.put_in(place, command);", "self.abandon_if_closed();"]);
    copied(MAILBOX, "put", &["self.push(command)"]);
    copied(MAILBOX, "put_in", &["self.push(command)"]);
    copied(MAILBOX, "push", &["self.sender.send(command);", "self.wake()"]);
    copied(MAILBOX, "wake", &["let slept = self.asleep.rouse(); if slept {", "self.waker.wake();"]);
}

#[test]
fn a_reactor_announces_looks_sleeps_and_is_awake() {
    copied(MAILBOX, "is_empty", &["self.receiver.is_empty()"]);
    copied(MAILBOX, "fall_asleep", &["self.asleep.fall_asleep(|| self.is_empty())"]);
    copied(MAILBOX, "stay_awake", &["self.asleep.stay_awake();"]);
    copied(SUB_REACTOR, "sleep", &["mailbox().fall_asleep()", "poll.poll(", "mailbox().stay_awake();"]);
}

#[test]
fn a_reactor_that_stops_says_so_and_drops_what_there_is() {
    copied(SHARED, "close", &["self.mailbox.close();", "self.abandon_if_closed();"]);
    copied(
        SHARED,
        "abandon_if_closed",
        &["if self.mailbox.is_closed() {", "self.load.fetch_sub(self.mailbox.drain(), Ordering::Relaxed);"],
    );
    copied(MAILBOX, "close", &["self.closed.store(true, Ordering::SeqCst); fence(Ordering::SeqCst);"]);
    copied(MAILBOX, "is_closed", &["self.closed.load(Ordering::Acquire)"]);
    copied(MAILBOX, "drain", &["while let Some(command) = self.take() {", "Command::Accepted"]);
}

#[test]
fn a_connection_is_on_the_roll_as_long_as_its_descriptor_leads_to_it() {
    copied(BEGIN, "take_in", &["roll.enter(id);", "self.shared.enter("]);
    copied(BEGIN, "put_in", &["roll.enter(id);", "self.shared.enter("]);
    copied(SHARED, "enter", &["self.fds.insert(fd, id);"]);
    copied(CLOSE, "release", &["fds.remove(", "roll.leave(id);"]);
}
