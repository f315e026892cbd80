//! The programs that show one thing each.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{io::Write, net::Shutdown, thread};

use common::Server;

#[test]
fn the_greeter_knows_each_visitor_by_name() {
    let server = Server::start("greeter", &["--welcome", "Hi!"]);
    let (mut ann, mut bob) = (server.talk(), server.talk());
    assert_eq!((ann.hear(), bob.hear()), ("Hi!".into(), "Hi!".into()));
    assert_eq!(ann.ask("anybody there?"), "Stranger, you said: anybody there?");
    assert!(ann.ask("I am Ann").starts_with("Hello, Ann. You are number 1"));
    assert!(bob.ask("I am Bob").starts_with("Hello, Bob. You are number "));
    assert_eq!(ann.ask("so am I"), "Ann, you said: so am I");
    assert_eq!(bob.ask(""), "Bob, you said: ");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_thousand_questions_at_once_are_answered_in_order() {
    // A queue smaller than what one connection may have under way: both kinds of hold are met.
    let server = Server::start("offload", &["--workers", "3", "--queue", "8", "--rounds", "50"]);
    thread::scope(|scope| {
        for caller in 0..4 {
            let mut talk = server.talk();
            scope.spawn(move || {
                let questions: String = (0..1000).map(|n| format!("question {n} of {caller}\n")).collect();
                let mut write = talk.stream.get_ref().try_clone().unwrap();
                let writer = thread::spawn(move || {
                    write.write_all(questions.as_bytes()).unwrap();
                    write.shutdown(Shutdown::Write).unwrap();
                });
                for n in 0..1000 {
                    let answer = talk.hear();
                    assert!(answer.starts_with(&format!("question {n} of {caller} ")), "{n}: {answer:?}");
                }
                talk.assert_over();
                writer.join().unwrap();
            });
        }
    });
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn equal_questions_have_equal_answers() {
    let server = Server::start("offload", &[]);
    let mut talk = server.talk();
    let (first, other, again) = (talk.ask("a"), talk.ask("b"), talk.ask("a"));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_wrong_secret_is_refused_and_the_refusal_arrives() {
    let server = Server::start("login", &["--secret", "xyzzy"]);
    for wrong in ["ann plugh", "ann", "", " xyzzy"] {
        let mut talk = server.talk();
        assert_eq!(talk.hear(), "220 who is there?");
        assert_eq!(talk.ask(wrong), "535 no");
        talk.assert_over();
    }
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn one_who_knows_the_secret_may_stay_beyond_the_deadline() {
    let server = Server::start("login", &["--secret", "xyzzy", "--within", "1"]);
    let (mut silent, mut known) = (server.talk(), server.talk());
    assert_eq!(known.hear(), "220 who is there?");
    assert_eq!(known.ask("ann xyzzy"), "235 welcome");
    assert_eq!(silent.hear(), "220 who is there?");
    silent.assert_over(); // the deadline is over
    assert_eq!(known.ask("tea"), "250 at your service, ann");
    assert_eq!(known.ask("bye"), "221 bye");
    known.assert_over();
}

#[test]
fn one_who_is_known_and_silent_is_closed_too() {
    let server = Server::start("login", &["--idle", "0.1"]);
    let mut talk = server.talk();
    talk.hear();
    assert_eq!(talk.ask("ann sesame"), "235 welcome");
    talk.assert_over();
}

#[test]
fn the_number_is_found_by_halving() {
    let server = Server::start("game", &[]);
    let mut talk = server.talk();
    assert_eq!(talk.hear(), "I have a number from 1 to 100");
    assert_eq!(talk.ask("seven"), "a number, please");
    let (mut low, mut high) = (1, 100);
    loop {
        assert!(low <= high, "no number is left");
        let guess = (low + high) / 2;
        match talk.ask(&guess.to_string()).as_str() {
            "higher" => low = guess + 1,
            "lower" => high = guess - 1,
            "right" => break,
            other => panic!("{other}"),
        }
    }
    assert_eq!(talk.hear(), "I have a number from 1 to 100");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn the_silent_are_nudged_once_and_told_when_time_is_up() {
    let server = Server::start("game", &["--nudge", "0.05", "--round", "0.2", "--score", "600"]);
    let mut talk = server.talk();
    assert_eq!(talk.hear(), "I have a number from 1 to 100");
    assert_eq!(talk.hear(), "still there?");
    assert!(talk.hear().starts_with("time is up, it was "));
    assert_eq!(talk.hear(), "I have a number from 1 to 100");
    // The nudge does not repeat by itself: the next round ends first.
    assert!(talk.hear().starts_with("time is up, it was "));
}

#[test]
fn whoever_guesses_too_fast_waits_for_the_next_second() {
    let server = Server::start("game", &[]);
    let mut talk = server.talk();
    talk.hear();
    // 30 at once, of which 20 are allowed. Not numbers: nothing else is said in between.
    talk.stream.get_mut().write_all("?\n".repeat(30).as_bytes()).unwrap();
    let answers: Vec<String> = (0..30).map(|_| talk.hear()).collect();
    assert!(answers[..20].iter().all(|answer| answer == "a number, please"), "{answers:?}");
    assert!(answers.contains(&"not so fast".to_owned()), "{answers:?}");
    // Later there are guesses again.
    while talk.ask("?") == "not so fast" {
        thread::yield_now();
    }
}

#[test]
fn the_reactor_tells_everyone_the_score() {
    let server = Server::start("game", &["--score", "0.1"]);
    let mut talk = server.talk();
    assert_eq!(talk.hear(), "I have a number from 1 to 100");
    assert_eq!(talk.hear(), "players: 1, numbers found: 0");
    assert_eq!(talk.hear(), "players: 1, numbers found: 0");
}
