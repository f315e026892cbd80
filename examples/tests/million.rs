//! `million`: small runs that go all the way up and down, and what it says where they cannot.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, id},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::common::{Ended, Running, example, run};

/// Which processes are of a run, wherever they are: they have this in their environment.
const MARK: &str = "MILLION_OF_TEST";

fn million(name: &str, options: &[&str]) -> Command {
    let mut command = example("million");
    command.arg("run").args(options).env(MARK, mark(name));
    command
}

fn mark(name: &str) -> String {
    format!("{name}-{}", id())
}

/// The processes of a run that are there: their directories below `/proc`, and their command lines.
fn processes_of(name: &str) -> Vec<(PathBuf, String)> {
    let wanted = format!("{MARK}={}", mark(name));
    let of = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).replace('\0', " ");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let ours = processes.filter(|path| of(&path.join("environ")).contains(&wanted));
    let commands = ours.map(|path| (of(&path.join("cmdline")), path)).map(|(command, path)| (path, command));
    commands.filter(|(_, command)| !command.is_empty()).collect()
}

fn left_of(name: &str) -> Vec<String> {
    processes_of(name).into_iter().map(|(_, command)| command).collect()
}

fn assert_none_is_left(name: &str) {
    let begun = Instant::now();
    while !left_of(name).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?} are left", left_of(name));
        thread::sleep(Duration::from_millis(20));
    }
}

fn results(ended: &Ended) -> Value {
    serde_json::from_str(ended.out.trim()).unwrap_or_else(|e| panic!("{e}: {}\n{}", ended.out, ended.err))
}

/// The server's bytes for each connection more are fewer than `most`.
fn two_thousand_come_and_go(to: &str, most: f64) {
    let name = format!("two-thousand-{to}");
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("million.html");
    let options = [
        "--connections=2000",
        "--to",
        to,
        "--at=500",
        "--hold=0.5",
        "--every=0.1",
        "--within=28",
        "--json=-",
    ];
    let ended = run(million(&name, &options).arg(format!("--report={}", page.display())));
    let results = results(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(0), &Value::Bool(true)), "{}\n{results:#}", ended.err);
    assert_eq!(results["connections"]["opened"], 2000);
    assert_eq!(results["lost"].as_object().unwrap().len(), 0);

    let plateaus = results["plateaus"].as_array().unwrap();
    assert_eq!(
        plateaus.iter().map(|at| at["connections"].as_u64().unwrap()).collect::<Vec<_>>(),
        [500, 2000]
    );
    for plateau in plateaus {
        let talk = &plateau["talk"];
        assert!(talk["answered"].as_u64().unwrap() > 0, "{plateau:#}");
        assert_eq!(talk["answered"], talk["sent"]);
        assert_eq!(talk["latency_us"]["count"], talk["answered"]);
        assert_eq!(plateau["broadcast"]["delivered"], plateau["connections"]);
        assert!(plateau["server_user_bytes_per_connection"].as_f64().unwrap() < 10.0 * most, "{plateau:#}");
    }
    assert_eq!(results["verification"]["wrong_connections"], 0);
    assert!(results["slopes"][0]["server_user_bytes_per_connection"].as_f64().unwrap() < most);

    assert_rounds(&results, 1, 2000);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("<h2>Memory of the servers when all but one are gone</h2>"));

    assert_eq!(page.matches("<svg").count(), 4);
    let without_names = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for loads in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "src="] {
        assert!(!without_names.contains(loads), "the page has {loads}");
    }
    assert_none_is_left(&name);
}

#[test]
fn two_thousand_come_and_go_over_tcp() {
    two_thousand_come_and_go("tcp", 1_000.0);
}

#[test]
fn two_thousand_come_and_go_over_unix_sockets() {
    two_thousand_come_and_go("unix", 1_000.0);
}

#[test]
fn two_thousand_come_and_go_over_websocket() {
    two_thousand_come_and_go("ws", 1_000.0);
}

#[test]
fn two_thousand_come_and_go_over_tls() {
    two_thousand_come_and_go("tls", 6_000.0);
}

#[test]
fn two_thousand_come_and_go_over_websocket_and_tls() {
    two_thousand_come_and_go("wss", 6_000.0);
}

/// All came and all but one went, so many times, and each time their memory came back.
fn assert_rounds(results: &Value, rounds: usize, connections: u64) {
    let told = results["rounds"].as_array().unwrap();
    assert_eq!(told.len(), rounds, "{results:#}");
    for round in told {
        assert_eq!(
            (&round["connections"], &round["connections_staying"], &round["within_bound"]),
            (&connections.into(), &1.into(), &Value::Bool(true)),
            "{round:#}"
        );
        assert!(round["server_rss_bytes_after"].as_u64() <= round["bound_bytes"].as_u64(), "{round:#}");
    }
}

#[test]
fn they_come_and_go_as_often_as_asked_and_memory_is_looked_at_each_time() {
    for to in ["ws", "unix"] {
        let name = format!("rounds-{to}");
        let options = [
            "--connections=1000",
            "--to",
            to,
            "--rounds=3",
            "--hold=0.2",
            "--at=1000",
            "--within=28",
            "--json",
        ];
        let ended = run(&mut million(&name, &options));
        let results = results(&ended);
        assert_eq!((ended.code, &results["ok"]), (Some(0), &Value::Bool(true)), "{}\n{results:#}", ended.err);
        assert_rounds(&results, 3, 1000);
        for told in ["round 1: 1,000 came in ", "round 2: 1,000 came in ", "round 3      1,000 came in "] {
            assert!(ended.err.contains(told), "`{told}` is not in {}", ended.err);
        }
        // What was there only once is not told for each.
        assert_eq!(results["plateaus"].as_array().unwrap().len(), 1);
        assert_none_is_left(&name);
    }
}

#[test]
fn servers_that_are_full_are_told_of_and_those_that_are_in_stay() {
    for to in ["ws", "tcp", "unix"] {
        let name = format!("full-{to}");
        let options = [
            "--connections=1000",
            "--to",
            to,
            "--max-connections=300",
            "--reactors=1",
            "--at=200",
            "--hold=0.2",
        ];
        let ended = run(million(&name, &options).args(["--within=28", "--json"]));
        let results = results(&ended);
        assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)), "{}", ended.err);
        let why = results["stopped_by"].as_str().unwrap();
        assert!(
            why.starts_with("the servers are full: they have 300 connections, and turned away "),
            "{why}"
        );
        assert!(ended.err.contains("STOPPED      the servers are full"), "{}", ended.err);
        assert!(results["turned_away"].as_u64().unwrap() > 0, "{results:#}");
        assert_eq!(results["connections"]["opened"], 300);
        // Those that are there are served as ever, and none of them is lost to the crowd.
        let plateau = &results["plateaus"][1];
        assert_eq!((&plateau["connections"], &plateau["broadcast"]["delivered"]), (&300.into(), &300.into()));
        assert_eq!(plateau["talk"]["answered"], plateau["talk"]["sent"]);
        assert_eq!(results["lost"].as_object().unwrap().len(), 0, "{results:#}");
        assert_rounds(&results, 1, 300);
        assert_none_is_left(&name);
    }
}

#[test]
fn silent_websockets_are_pinged_and_answer() {
    let options =
        ["--connections=300", "--to=ws", "--heartbeat=1", "--hold=2", "--at=100", "--within=28", "--json"];
    let results = results(&run(&mut million("pinged", &options)));
    let quiet = &results["plateaus"][1]["quiet"];
    assert!(quiet["pings_answered"].as_u64().unwrap() >= 300, "{quiet:#}");
    assert_eq!((&results["ok"], results["lost"].as_object().unwrap().len()), (&Value::Bool(true), 0));
}

#[test]
fn a_low_file_limit_is_named_and_as_many_come_as_it_allows() {
    let program = example("million").get_program().to_owned();
    for to in ["tcp", "unix"] {
        let name = format!("low-limit-{to}");
        let script = format!(
            "ulimit -n 300 && exec \"$0\" run --to {to} --connections 5000 --processes 2 --reactors 1 --hold 0.2 \
             --within 28 --json -"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&program).env(MARK, mark(&name));
        let ended = run(&mut command);
        let results = results(&ended);
        assert_eq!((ended.code, &results["ok"]), (Some(0), &Value::Bool(true)), "{}\n{results:#}", ended.err);
        let limit = &results["limits"][0];
        assert_eq!(limit["name"], "files per process (RLIMIT_NOFILE)");
        assert_eq!(
            (&limit["value"], &limit["allows_connections"]),
            (&300.into(), &results["connections"]["opened"])
        );
        assert!(results["connections"]["opened"].as_u64().unwrap() >= 250, "{results:#}");
        assert!(ended.err.contains("lift it: ulimit -n "), "{}", ended.err);
        assert_none_is_left(&name);
    }
}

#[test]
fn no_time_left_ends_it_with_what_there_is() {
    let ended = run(&mut million("no-time", &["--connections=2000", "--hold=20", "--within=3", "--json"]));
    let results = results(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)), "{}", ended.err);
    assert_eq!(results["stopped_by"], "time: --within 3 s");
    assert_eq!(results["rounds"][0]["connections_staying"], 1);
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
    let (server, _) =
        processes_of(name).into_iter().find(|(_, command)| command.contains(" serve ")).expect("a server");
    let begun = Instant::now();
    while fs::read_dir(server.join("fd")).unwrap().count() < 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody came");
        thread::sleep(Duration::from_millis(20));
    }
    let pid = server.file_name().and_then(|pid| pid.to_str()?.parse().ok()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let killed = Instant::now();
    let ended = running.end();
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}: {}", killed.elapsed(), ended.err);
    let results = results(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)), "{}", ended.err);
    assert_eq!(results["stopped_by"], "a server ended (signal: 9 (SIGKILL))");
    assert_eq!(results["rounds"], Value::Array(Vec::new()));
    assert_none_is_left(name);
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

/// As `make million ARGS=..` has it: its own options come first.
#[test]
fn of_an_option_that_is_given_twice_the_last_one_counts() {
    let ended =
        run(&mut million("twice", &["--to=ws", "--to=tcp", "--connections=5", "--connections=7", "--plan"]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("asked for    7 connections over tcp"), "{}", ended.err);
}

#[test]
fn what_cannot_be_is_told_before_anything_starts() {
    for (options, told) in [
        (&["--connections=0"][..], "expected `all`, or a number"),
        (&["--connections=some"], "expected `all`, or a number"),
        (&["--to=udp"], "invalid value 'udp'"),
        (&["--at=5,4"], "--at: expected numbers that rise"),
        (&["--connections=10", "--at=20"], "--at 20: more than --connections 10"),
        (&["--live=101%"], "expected 0% to 100%"),
        (&["--hold=0"], "--hold 0: expected 0.1 to 3600 seconds"),
        (&["--within=0.5"], "--within 0.5: expected 1 to 86400 seconds"),
        (&["--rounds=0"], "0 is not in 1..=10"),
        (&["--rounds=11"], "11 is not in 1..=10"),
        (&["--max-connections=0"], "0 is not in 1.."),
        (&["--heartbeat=1"], "--heartbeat: only with --to ws"),
        (&["--to=ws", "--heartbeat=often"], "expected `off`, or seconds"),
    ] {
        let ended = run(&mut million("bad", options));
        assert_eq!(ended.code, Some(2), "{options:?}: {}", ended.err);
        assert!(ended.err.contains(told), "{options:?}: {}", ended.err);
    }
}
