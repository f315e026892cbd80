//! The load, against servers that behave and others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use common::{Ended, PATIENCE, Running, Server, example, run};
use nix::sys::signal::Signal;
use serde_json::Value;

fn stress(to: &str, options: &[&str]) -> Ended {
    run(example("stress").args(["--to", to]).args(options))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}{}", ended.out, ended.err))
}

/// A server whose connections are each served by `serve`, on a thread.
fn server(serve: fn(TcpStream, usize)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (nth, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream, nth));
        }
    });
    address
}

/// Echoes, passing everything through `change` with its place in the stream.
fn echo(mut stream: TcpStream, mut change: impl FnMut(u64, &mut [u8])) {
    let (mut buffer, mut at) = ([0; 4096], 0);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        change(at, &mut buffer[..n]);
        at += n as u64;
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

#[test]
fn two_hundred_connections_come_through_whole_and_are_reported() {
    let server = Server::start("echo", &[]);
    let directory = tempfile::tempdir().unwrap();
    let (page, file) = (directory.path().join("report.html"), directory.path().join("results.json"));
    let ended = stress(
        server.url(),
        &[
            "--connections=200",
            "--seconds=1",
            "--reactors=2",
            "--pipeline=4",
            &format!("--report={}", page.display()),
            &format!("--json={}", file.display()),
        ],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("bytes as they were sent"), "{}", ended.out);

    let results: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(results["ok"], true);
    assert_eq!(results["connections"]["opened"], 200);
    let answered = results["messages"]["answered"].as_u64().unwrap();
    assert!(answered >= 800);
    assert_eq!(results["messages"]["sent"], answered);
    assert_eq!(results["bytes"]["received"], answered * 64);
    assert_eq!(results["latency_us"]["count"], answered);
    assert_eq!(results["lateness_us"], Value::Null);

    let (_, summary) = server.stop();
    assert!(summary.contains("200 accepted"), "{summary}");

    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("p99.99"));
    // Namespaces are names; everything else with an address would be loaded.
    let without_names = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for loads in ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "src="] {
        assert!(!without_names.contains(loads), "the page has {loads}");
    }
}

#[test]
fn messages_larger_than_any_buffer_come_through_whole_over_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("unix:{}", directory.path().join("echo.sock").display());
    let _server = Server::start_on("echo", &[&url], &[]);
    let ended = stress(&url, &["--connections=5", "--seconds=0.5", "--size=3000000", "--json"]);
    let results = json(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(0), &Value::Bool(true)), "{}", ended.err);
    assert!(results["messages"]["answered"].as_u64().unwrap() >= 5);
}

#[test]
fn the_rate_is_kept_and_every_message_of_the_schedule_is_sent() {
    let server = Server::start("echo", &[]);
    let ended =
        stress(server.url(), &["--connections=30", "--rate=1000", "--seconds=1", "--sources=3", "--json"]);
    let results = json(&ended);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(results["messages"]["sent"], 1000);
    assert_eq!(results["messages"]["answered"], 1000);
    assert_eq!(results["latency_is"], "from the time each message was due");
    // None before its time: with them spread over a second, neither half has much more than half.
    let halves = results["throughput"]["messages"].as_array().unwrap();
    let first: u64 = halves[..halves.len() / 2].iter().filter_map(Value::as_u64).sum();
    assert!(first <= 500, "{first} of 1000 in the first half");
}

#[test]
fn a_message_that_could_not_be_sent_in_time_counts_from_when_it_was_due() {
    // Reads nothing for a second, in which 50 messages of 512 KiB are due: more than all buffers on the way hold.
    let stalling = server(|mut stream, _| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        thread::sleep(Duration::from_secs(1));
        stream.write_all(&first).unwrap();
        echo(stream, |_, _| ());
    });
    let to = format!("tcp://{stalling}");
    let options = ["--connections=1", "--rate=100", "--seconds=0.5", "--size=524288", "--drain=20", "--json"];
    let ended = stress(&to, &options);
    let results = json(&ended);
    assert_eq!((ended.code, &results["messages"]["answered"]), (Some(0), &50.into()), "{}", ended.err);
    // The last one was due after 490 ms, and nothing came back before 1 s.
    assert!(results["latency_us"]["p50"].as_f64().unwrap() >= 500_000.0, "{}", ended.err);
    // Some were indeed sent late, or this would have shown nothing.
    assert!(results["lateness_us"]["p90"].as_f64().unwrap() >= 500_000.0, "{}", ended.err);
}

#[test]
fn one_flipped_byte_is_found_and_named() {
    let corrupting = server(|stream, nth| {
        echo(stream, |at, bytes| {
            // Byte 1000 of one stream in four.
            if nth % 4 == 0 && (at..at + bytes.len() as u64).contains(&1000) {
                bytes[(1000 - at) as usize] ^= 1;
            }
        });
    });
    let to = format!("tcp://{corrupting}");
    let ended = stress(&to, &["--connections=4", "--seconds=0.5", "--reactors=1", "--json"]);
    let results = json(&ended);
    assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)));
    assert_eq!(results["verification"]["corrupt_connections"], 1);
    let wrong = &results["verification"]["first"][0];
    assert_eq!(wrong["position"], 1000);
    assert_eq!(wrong["expected"].as_u64().unwrap() ^ 1, wrong["seen"].as_u64().unwrap());
    assert_eq!(results["connections"]["failures"]["sent back something else"], 1);
    assert!(ended.err.contains("byte 1,000: expected 0x"), "{}", ended.err);

    let ended = stress(&to, &["--connections=4", "--seconds=0.2", "--no-verify", "--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn a_byte_that_was_never_sent_is_found() {
    let talkative = server(|mut stream, _| {
        let mut message = [0; 65];
        stream.read_exact(&mut message[..64]).unwrap();
        stream.write_all(&message).unwrap();
        let _ = stream.read(&mut message);
    });
    let to = format!("tcp://{talkative}");
    // The next message is due long after the extra byte came.
    let ended = stress(&to, &["--connections=1", "--seconds=0.5", "--rate=1", "--json"]);
    let results = json(&ended);
    assert_eq!(ended.code, Some(1));
    let wrong = &results["verification"]["first"][0];
    assert_eq!((&wrong["position"], &wrong["expected"]), (&Value::from(64), &Value::Null));
}

#[test]
fn every_connection_is_accounted_for() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = stress(&format!("tcp://{nobody}"), &["--connections=20", "--json"]);
    let results = json(&ended);
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        (&results["connections"]["opened"], &results["connections"]["failed"]),
        (&0.into(), &20.into())
    );
    let reasons = results["connections"]["failures"].as_object().unwrap();
    assert_eq!(reasons["connect failed: Connection refused (os error 111)"], 20);
    assert_eq!(results["messages"]["per_second"], Value::Null, "there was no load");

    // One in two is closed at once; the others go on.
    let moody = server(|stream, nth| {
        if nth % 2 == 0 {
            echo(stream, |_, _| ());
        }
    });
    let ended = stress(&format!("tcp://{moody}"), &["--connections=20", "--seconds=0.3", "--json"]);
    let results = json(&ended);
    assert_eq!(ended.code, Some(1));
    assert_eq!(results["connections"]["failed"], 10, "{}", ended.err);
}

#[test]
fn what_was_asked_for_cannot_break_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("report.html");
    let ended = stress("unix:@<b>&", &["--connections=1", &format!("--report={}", page.display())]);
    assert_eq!(ended.code, Some(1));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("unix:@&lt;b&gt;&amp;") && !page.contains("<b>"));
    assert!(page.contains("Nothing was measured"));
}

#[test]
fn what_never_comes_back_is_waited_for_no_longer_than_asked() {
    let mute = server(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let to = format!("tcp://{mute}");
    let ended = stress(&to, &["--connections=3", "--seconds=0.2", "--drain=0.2", "--json"]);
    let results = json(&ended);
    assert_eq!(ended.code, Some(1));
    assert_eq!((&results["messages"]["sent"], &results["messages"]["unanswered"]), (&3.into(), &3.into()));
    assert_eq!((&results["latency_us"]["p50"], &results["latency_us"]["mean"]), (&Value::Null, &Value::Null));
}

#[test]
fn an_interrupted_run_tells_what_there_was_until_then() {
    let (came, comes) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut message = [0; 64];
        stream.read_exact(&mut message).unwrap();
        stream.write_all(&message).unwrap();
        came.send(()).unwrap();
        echo(stream, |_, _| ());
    });
    let options = ["--connections=1", "--seconds=600", "--json", "--to", &to];
    let running = Running::start(example("stress").args(options));
    comes.recv_timeout(PATIENCE).unwrap();
    running.signal(Signal::SIGINT);
    let ended = running.end();
    let results = json(&ended);
    assert_eq!((ended.code, &results["interrupted"]), (Some(130), &Value::Bool(true)));
    assert_eq!(
        (&results["messages"]["unanswered"], &results["connections"]["failed"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn what_this_process_cannot_have_is_told_before_it_begins() {
    for (options, part) in [
        (&["--connections=10000000", "--sources=254"][..], "connections asked for: "),
        (&["--connections=1000000"], "at least --sources "),
        (&["--size=16000000", "--pipeline=1000"], "size times pipeline is too much"),
        (&["--to=unix:@nobody", "--sources=2"], "--sources: only with a server on tcp://127"),
        (&["--to=nonsense"], "address `nonsense`: no scheme"),
        (&["--rate=0"], "expected messages per second"),
    ] {
        let ended = run(example("stress").args(options));
        assert_eq!(ended.code, Some(2), "{options:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{options:?}: {}", ended.err);
    }
}
