//! `million`: what it plans, with every limit met, and small runs that go all the way up and down.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

#[path = "../million/plan.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod plan;

use std::{
    fs,
    path::Path,
    process::{Command, id},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    common::{Ended, Running, example, run},
    plan::{Machine, Plan, Transport, Wanted, shared_capacity, source},
};

// ---- what is planned

/// A machine on which nothing stops a million.
fn roomy() -> Machine {
    Machine {
        cores: 2,
        files: 2_000_000,
        nr_open: 2_000_000,
        file_max: 10_000_000,
        files_in_use: 1_000,
        ports: 28_232,
        somaxconn: 4_096,
        watches: 5_000_000,
        packets: 10_000,
        tcp_pages: 1 << 22,
        conntrack: None,
        memory: 64 << 30,
        memory_available: 60 << 30,
    }
}

fn wanted(connections: u64) -> Wanted {
    Wanted { transport: Transport::Ws, connections: Some(connections), processes: 128, reactors: None }
}

fn limits(plan: &Plan) -> Vec<(&str, Option<u64>)> {
    plan.limits.iter().map(|limit| (limit.name, limit.allows)).collect()
}

#[test]
fn a_machine_with_room_has_a_million_in_one_server() {
    let plan = Plan::new(&roomy(), &wanted(1_000_000));
    assert_eq!((plan.connections, plan.servers, plan.clients, plan.reactors), (1_000_000, 1, 1, 2));
    assert_eq!(plan.sources, 102);
    assert_eq!(limits(&plan), []);
}

#[test]
fn twenty_thousand_files_a_process_take_several_and_stop_nothing() {
    let plan = Plan::new(&Machine { files: 20_000, ..roomy() }, &wanted(1_000_000));
    assert_eq!((plan.connections, plan.servers, plan.clients, plan.reactors), (1_000_000, 58, 51, 1));
    // Each client's connections come from addresses with 10,000 at most.
    assert!(plan.share(0, plan.connections) <= 10_000 * plan.sources);
    assert_eq!(limits(&plan), [("files per process (RLIMIT_NOFILE)", None)]);
    assert!(plan.limits[0].lift.contains("ulimit -n 1000080"), "{}", plan.limits[0].lift);
}

#[test]
fn servers_on_one_address_have_room_for_an_uneven_share() {
    for files in [300, 1_024, 20_000, 1_000_000] {
        let planned = shared_capacity(files, 80);
        let most = planned + planned / 10 + 5 * planned.isqrt() + 80;
        assert!(most <= files && planned > files / 3, "{planned} of {files}");
    }
    assert_eq!(shared_capacity(20_000, 72) / 100, 175);
    for (files, planned) in [(0, 0), (80, 0), (85, 0), (86, 1), (99, 8)] {
        assert_eq!(shared_capacity(files, 80), planned, "{files}");
    }
    // Over Unix sockets each has a path of its own, and no room is left empty.
    let plan = Plan::new(
        &Machine { files: 20_000, ..roomy() },
        &Wanted { transport: Transport::Unix, ..wanted(1_000_000) },
    );
    assert_eq!((plan.servers, plan.sources), (51, 0));
}

#[test]
fn each_limit_is_named_with_what_it_allows_and_what_lifts_it() {
    let cases: [(&str, Machine, u64, &str); 6] = [
        ("files per process (RLIMIT_NOFILE)", Machine { files: 300, ..roomy() }, 8_614, "ulimit -n "),
        (
            "fs.file-max",
            Machine { file_max: 103_560, ..roomy() },
            50_000,
            "sudo sysctl -w fs.file-max=2003560",
        ),
        (
            "fs.epoll.max_user_watches",
            Machine { watches: 402_048, ..roomy() },
            200_000,
            "sudo sysctl -w fs.epoll.max_user_watches=2002048",
        ),
        (
            "net.ipv4.ip_local_port_range (ports)",
            Machine { ports: 3, ..roomy() },
            62_500,
            "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
        ),
        (
            "net.netfilter.nf_conntrack_max",
            Machine { conntrack: Some((262_144, 144)), ..roomy() },
            262_000,
            "sudo sysctl -w net.netfilter.nf_conntrack_max=1000144",
        ),
        (
            "memory available (bytes)",
            Machine { memory: 4_000_000_000, memory_available: 4_400_000_000 + 5_000_000, ..roomy() },
            500_000,
            "memory",
        ),
    ];
    for (name, machine, allows, lift) in cases {
        let plan = Plan::new(&machine, &wanted(1_000_000));
        let met = plan.limits.iter().find(|limit| limit.name == name && limit.allows.is_some());
        let met = met.unwrap_or_else(|| panic!("{name} is not among {:?}", plan.limits));
        assert_eq!((met.allows, plan.connections), (Some(allows), allows), "{name}");
        assert!(met.lift.contains(lift), "{}", met.lift);
        assert!(met.needed > met.value, "{met:?}");
        // With what is needed it stops nothing any more.
        let lifted = match name {
            "files per process (RLIMIT_NOFILE)" => Machine { files: met.needed, ..machine },
            "fs.file-max" => Machine { file_max: met.needed, ..machine },
            "fs.epoll.max_user_watches" => Machine { watches: met.needed, ..machine },
            "net.ipv4.ip_local_port_range (ports)" => Machine { ports: met.needed, ..machine },
            "net.netfilter.nf_conntrack_max" => Machine { conntrack: Some((met.needed, 144)), ..machine },
            _ => Machine { memory_available: met.needed, ..machine },
        };
        assert_eq!(Plan::new(&lifted, &wanted(1_000_000)).connections, 1_000_000, "{name}");
    }
}

#[test]
fn what_only_costs_is_told_too_and_stops_nothing() {
    for (name, machine, needed, lift) in [
        (
            "net.core.netdev_max_backlog (packets)",
            Machine { packets: 1_000, ..roomy() },
            10_000,
            "sudo sysctl -w net.core.netdev_max_backlog=10000",
        ),
        (
            "net.core.somaxconn",
            Machine { somaxconn: 128, ..roomy() },
            4_096,
            "sudo sysctl -w net.core.somaxconn=4096",
        ),
        (
            "net.ipv4.tcp_mem (pages)",
            Machine { tcp_pages: 200_000, ..roomy() },
            250_000,
            "sudo sysctl -w net.ipv4.tcp_mem=\"125000 187500 250000\"",
        ),
    ] {
        let plan = Plan::new(&machine, &wanted(1_000_000));
        assert_eq!((plan.connections, limits(&plan)), (1_000_000, vec![(name, None)]));
        let met = &plan.limits[0];
        assert_eq!((met.needed, met.lift.as_str()), (needed, lift));
        assert!(!met.effect.is_empty(), "{name}");
    }
    // A few connections need no more than there is anywhere.
    let small = Machine { packets: 1_000, somaxconn: 128, tcp_pages: 2_000, ..roomy() };
    assert_eq!(limits(&Plan::new(&small, &wanted(64))), []);
    // Unix sockets send no packets.
    let over_unix = Wanted { transport: Transport::Unix, ..wanted(1_000_000) };
    assert_eq!(limits(&Plan::new(&Machine { packets: 1, tcp_pages: 1, ..roomy() }, &over_unix)), []);
}

#[test]
fn the_lowest_limit_counts_and_all_are_told() {
    let machine = Machine { file_max: 103_560, conntrack: Some((262_144, 144)), ..roomy() };
    let plan = Plan::new(&machine, &wanted(1_000_000));
    assert_eq!(plan.connections, 50_000);
    let both = [("fs.file-max", Some(50_000)), ("net.netfilter.nf_conntrack_max", Some(262_000))];
    assert_eq!(limits(&plan), both);
}

#[test]
fn all_means_as_many_as_the_first_limit_allows() {
    let all = Wanted { connections: None, ..wanted(0) };
    let plan = Plan::new(&Machine { conntrack: Some((262_144, 144)), ..roomy() }, &all);
    assert_eq!((plan.connections, limits(&plan).len()), (262_000, 1));
}

#[test]
fn a_machine_without_room_allows_nothing_and_does_not_panic() {
    let empty = Machine {
        cores: 1,
        files: 0,
        nr_open: 0,
        file_max: 0,
        files_in_use: 0,
        ports: 0,
        somaxconn: 0,
        watches: 0,
        packets: 0,
        tcp_pages: 0,
        conntrack: Some((0, 5)),
        memory: 0,
        memory_available: 0,
    };
    for transport in [Transport::Tcp, Transport::Tls, Transport::Unix, Transport::Ws, Transport::Wss] {
        for connections in [None, Some(1), Some(1_000_000)] {
            let plan = Plan::new(&empty, &Wanted { transport, connections, processes: 1, reactors: Some(1) });
            assert_eq!(plan.connections, 0);
            assert!(plan.limits.len() >= 3, "{:?}", plan.limits);
        }
    }
}

#[test]
fn shares_differ_by_one_and_sources_are_all_different() {
    let plan = Plan::new(&Machine { files: 20_000, ..roomy() }, &wanted(999_999));
    let shares: Vec<u64> = (0..plan.clients).map(|client| plan.share(client, 999_999)).collect();
    assert_eq!(shares.iter().sum::<u64>(), 999_999);
    assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
    let mut sources: Vec<_> = (0..62_500).map(source).collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 62_500);
    assert!(
        sources.iter().all(|[first, _, third, last]| (*first, *third > 0, *last > 0) == (127, true, true))
    );
}

// ---- what is done

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

fn left_of(name: &str) -> Vec<String> {
    let wanted = format!("{MARK}={}", mark(name));
    let of = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).replace('\0', " ");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let ours = processes.filter(|path| of(&path.join("environ")).contains(&wanted));
    ours.map(|path| of(&path.join("cmdline"))).filter(|command| !command.is_empty()).collect()
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
        ["--connections=300", "--to=ws", "--heartbeat=0.4", "--hold=1", "--at=100", "--within=28", "--json"];
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
