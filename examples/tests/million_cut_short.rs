//! `million` where it cannot go on to its end: no time, an interrupt, a process that is gone or does not answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use common::{
    Running,
    crew::{
        assert_none_is_left, assert_only_what_was_measured_is_told, left_of, million, processes_of, results,
    },
    run,
};

#[test]
fn no_time_left_ends_it_with_what_there_is() {
    let ended = run(&mut million("no-time", &["--connections=2000", "--hold=20", "--within=3", "--json"]));
    let results = results(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)), "{}", ended.err);
    assert_eq!(results["stopped_by"], "time: --within 3 s");
    assert_eq!(results["rounds"][0]["connections_staying"], 1);
    // What memory comes back is looked at until the end, and then the processes end.
    let beyond = &results["beyond_within"];
    assert!((0.0..10.0).contains(&beyond["seconds"].as_f64().unwrap()), "{beyond}");
    assert!(["memory comes back", "ending"].contains(&beyond["during"].as_str().unwrap()), "{beyond}");
    assert!(ended.err.contains(" s after --within, which passed during \""), "{}", ended.err);
    assert_none_is_left("no-time");
}

#[test]
fn an_interrupt_ends_it_with_a_report() {
    let running = start_and_see("interrupted");
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(
        (ended.code, &results(&ended)["interrupted"]),
        (Some(130), &Value::Bool(true)),
        "{}",
        ended.err
    );
    assert_none_is_left("interrupted");
}

#[test]
fn one_who_is_killed_leaves_no_process_behind() {
    let running = start_and_see("killed");
    running.signal(Signal::SIGKILL);
    running.end();
    assert_none_is_left("killed");
}

#[test]
fn a_server_that_is_killed_ends_it_at_once_and_nothing_is_said_of_its_memory() {
    let name = "server-killed";
    let running = start_and_see(name);
    kill(server_with_two_hundred(name), Signal::SIGKILL).unwrap();
    let killed = Instant::now();
    let ended = running.end();
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}: {}", killed.elapsed(), ended.err);
    let results = results(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)), "{}", ended.err);
    assert_eq!(results["stopped_by"], "a server ended (signal: 9 (SIGKILL))");
    assert_eq!(results["rounds"], Value::Array(Vec::new()));
    assert_none_is_left(name);
}

#[test]
fn a_server_that_is_stopped_is_said_not_to_answer_and_nothing_is_told_that_was_not_measured() {
    let name = "server-stopped";
    let running = start_and_see(name);
    let server = server_with_two_hundred(name);
    kill(server, Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    let ended = running.end();
    assert!(stopped.elapsed() < Duration::from_secs(15), "{:?}: {}", stopped.elapsed(), ended.err);
    let results = results(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)), "{}", ended.err);
    assert_eq!(results["stopped_by"], format!("a server does not answer: process {server}, it is stopped"));
    let nothing = Value::Array(Vec::new());
    assert_eq!(
        (&results["plateaus"], &results["slopes"], &results["rounds"]),
        (&nothing, &nothing, &nothing)
    );
    assert_eq!(results["processes"]["killed"], 1);
    assert!(ended.err.contains("1 process had to be killed"), "{}", ended.err);
    assert_only_what_was_measured_is_told(&ended.err);
    assert_none_is_left(name);
}

#[test]
fn an_interrupt_before_anybody_came_tells_of_no_plateau() {
    let name = "interrupted-early";
    let running = Running::start(&mut million(name, &["--connections=2000", "--hold=20", "--json"]));
    let begun = Instant::now();
    while left_of(name).len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", left_of(name));
        thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::SIGINT);
    let ended = running.end();
    let results = results(&ended);
    assert_eq!((ended.code, &results["interrupted"]), (Some(130), &Value::Bool(true)), "{}", ended.err);
    assert_eq!(results["plateaus"], Value::Array(Vec::new()), "{}", ended.err);
    assert!(!ended.err.contains("error: "), "{}", ended.err);
    assert_only_what_was_measured_is_told(&ended.err);
    assert_none_is_left(name);
}

#[test]
fn where_it_has_been_before_is_no_plateau() {
    let options = ["--connections=1000", "--max-connections=300", "--reactors=1", "--at=300", "--hold=0.2"];
    let ended = run(million("no-higher", &options).args(["--within=28", "--json"]));
    let results = results(&ended);
    assert!(results["stopped_by"].as_str().unwrap().starts_with("the servers are full"), "{}", ended.err);
    let plateaus = results["plateaus"].as_array().unwrap();
    assert_eq!((plateaus.len(), &plateaus[0]["connections"]), (1, &300.into()), "{}", ended.err);
    assert_only_what_was_measured_is_told(&ended.err);
}

#[test]
fn a_server_that_cannot_start_is_all_that_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than the address of a Unix socket may be.
    let long = directory.path().join("x".repeat(120));
    fs::create_dir(&long).unwrap();
    let ended = run(million("cannot-start", &["--connections=300", "--to=unix"]).env("TMPDIR", &long));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.ends_with("error: a server ended (exit status: 2)\n"), "{}", ended.err);
    assert!(!ended.err.contains("--to <URL>"), "{}", ended.err);
    assert_eq!(fs::read_dir(&long).unwrap().count(), 0, "nothing is left behind");
}

/// The first server of a run, once it has the connections of the first plateau.
fn server_with_two_hundred(name: &str) -> Pid {
    let (server, _) =
        processes_of(name).into_iter().find(|(_, command)| command.contains(" serve ")).expect("a server");
    let begun = Instant::now();
    while fs::read_dir(server.join("fd")).unwrap().count() < 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody came");
        thread::sleep(Duration::from_millis(20));
    }
    Pid::from_raw(server.file_name().and_then(|pid| pid.to_str()?.parse().ok()).unwrap())
}

/// Starts a long run, and waits until a server and a client are there.
fn start_and_see(name: &str) -> Running {
    let running = Running::start(&mut million(name, &["--connections=2000", "--hold=20", "--json"]));
    let begun = Instant::now();
    while left_of(name).len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", left_of(name));
        thread::sleep(Duration::from_millis(20));
    }
    running
}
