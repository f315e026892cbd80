//! `million`: small runs that go all the way up and down, and what it says where they cannot.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{fs, process::Command};

use serde_json::Value;

use common::{
    crew::{MARK, assert_none_is_left, assert_only_what_was_measured_is_told, mark, million, results},
    example, run,
};

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
        assert_only_what_was_measured_is_told(&ended.err);
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
fn of_an_option_that_is_given_twice_the_last_one_counts() {
    // As `make million ARGS="--to tcp --json -"` has it.
    let options = ["--to=ws", "--report=a", "--json=a", "--to=tcp", "--report=b", "--json", "-"];
    let ended = run(million("twice", &options).args(["--connections=100", "--connections=200", "--plan"]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("asked for    200 connections over tcp"), "{}", ended.err);
}

#[test]
fn where_nobody_talks_nobody_is_said_to_be_busy_with_it() {
    let options = ["--connections=100", "--at=100", "--hold=0.2", "--live=0%", "--within=28", "--json"];
    let results = results(&run(&mut million("nobody-talks", &options)));
    let plateau = &results["plateaus"][0];
    assert_eq!((&plateau["talk"]["sent"], &plateau["talking"]), (&0.into(), &Value::Null));
    assert_eq!((&results["ok"], &plateau["talk"]["latency_us"]["mean"]), (&Value::Bool(true), &Value::Null));
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
