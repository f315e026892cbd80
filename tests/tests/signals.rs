//! SIGTERM and SIGINT, each in a process of its own: the first drains, the second stops at once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};
use wheelhouse::{Engine, Running};

const HOUR: Duration = Duration::from_secs(3600);
const AT: &str = "listening on ";

/// An engine that runs until a signal in a process of its own.
struct Program {
    child: Child,
    at: SocketAddr,
}

impl Program {
    /// Runs the test of that name once more, as a child.
    fn start(test: &str) -> Program {
        let (name, value) = child_environment(test);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(child_arguments(test)).env(name, value);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| tell(&told, line)));
        let at = loop {
            let line = next(&lines);
            if let Some((_, at)) = line.split_once(AT) {
                break at.parse().unwrap();
            }
        };
        Program { child, at }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn refuses(&self) {
        eventually("newcomers are refused", || TcpStream::connect(self.at).is_err());
    }

    /// Waits for its end, which is no failure.
    fn ends(mut self) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < until, "it does not end"),
            }
            thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the child: an echo server on a port that nobody else is given.
fn program() -> Engine<Script> {
    let url = format!("tcp://127.0.0.1:{}", free_port());
    Engine::builder().listen(url).reactors(2).build(|_| Script::<()>::new()).unwrap()
}

fn say_where(engine: &Engine<Script>) {
    println!("\n{AT}{}", tcp(&engine.addresses()[0]));
}

/// In the child: runs it until a signal.
fn run(within_time: Duration) {
    let engine = program();
    say_where(&engine);
    engine.run_until_signal(within_time).unwrap();
}

fn drains(test: &str, signal: Signal) {
    if is_child(test) {
        return run(HOUR);
    }
    let program = Program::start(test);
    let mut client = connect(program.at);
    echo(&mut client, b"before");
    program.signal(signal);
    program.refuses();
    for _ in 0..100 {
        echo(&mut client, b"and on");
    }
    drop(client);
    program.ends();
}

#[test]
fn sigterm_drains() {
    drains("sigterm_drains", Signal::SIGTERM);
}

#[test]
fn sigint_drains_too() {
    drains("sigint_drains_too", Signal::SIGINT);
}

#[test]
fn the_second_signal_stops_it_at_once() {
    const TEST: &str = "the_second_signal_stops_it_at_once";
    if is_child(TEST) {
        return run(HOUR);
    }
    for (first, second) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGINT, Signal::SIGTERM)] {
        let program = Program::start(TEST);
        let mut client = connect(program.at);
        echo(&mut client, b"before");
        program.signal(first);
        program.refuses();
        echo(&mut client, b"still here");
        program.signal(second);
        assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
        program.ends();
    }
}

#[test]
fn a_client_that_stays_is_closed_at_the_end_of_the_time() {
    const TEST: &str = "a_client_that_stays_is_closed_at_the_end_of_the_time";
    if is_child(TEST) {
        return run(Duration::from_millis(100));
    }
    let program = Program::start(TEST);
    let mut client = connect(program.at);
    echo(&mut client, b"before");
    program.signal(Signal::SIGTERM);
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
    program.ends();
}

/// A signal to this very process.
fn signal_me(signal: Signal) {
    kill(getpid(), signal).unwrap();
}

/// From the moment that somebody may be served, and before: a process that is told to stop while it starts up does.
#[test]
fn a_signal_while_the_engine_starts_drains_it() {
    alone("a_signal_while_the_engine_starts_drains_it", || {
        let engine = Engine::builder().listen("tcp://127.0.0.1:0").reactors(1).build(|_| {
            signal_me(Signal::SIGTERM);
            Script::<()>::new()
        });
        let engine = engine.unwrap();
        let mut client = connect(tcp(&engine.addresses()[0]));
        let running = thread::spawn(move || engine.run_until_signal(HOUR));
        echo(&mut client, b"waited, and served");
        drop(client);
        within("it stops", move || running.join().unwrap()).unwrap();
    });
}

#[test]
fn the_thread_that_waits_ends_with_the_engine_and_the_process_does_not() {
    alone("the_thread_that_waits_ends_with_the_engine_and_the_process_does_not", || {
        let before = descriptors();
        for _ in 0..3 {
            let engine = program();
            let handle = engine.handle();
            let mut running: Running = engine.start().unwrap();
            running.drain_on_signals(HOUR).unwrap();
            // Anew, with another time: the first one's thread ends.
            running.drain_on_signals(HOUR).unwrap();
            eventually("one thread waits", || engine_threads() == 4);
            handle.shutdown();
            within("it stops", move || running.join().unwrap());
            assert_eq!(engine_threads(), 0);
        }
        // It would end the process if nobody had ever asked for it.
        signal_me(Signal::SIGTERM);
        signal_me(Signal::SIGINT);
        let running = program().start().unwrap();
        drop(running);
        // What the process keeps is a pipe of each of those who waited, at most.
        assert!(descriptors() <= before + 2, "{} descriptors, {before} before", descriptors());
    });
}

#[test]
fn each_engine_of_a_process_hears_of_it() {
    alone("each_engine_of_a_process_hears_of_it", || {
        let engines = [program(), program()];
        let mut clients: Vec<_> = engines.iter().map(|engine| connect(tcp(&engine.addresses()[0]))).collect();
        let running = engines.map(|engine| {
            let mut running = engine.start().unwrap();
            running.drain_on_signals(HOUR).unwrap();
            running
        });
        clients.iter_mut().for_each(|client| echo(client, b"here"));
        signal_me(Signal::SIGINT);
        clients.clear();
        for running in running {
            within("it stops", move || running.join().unwrap());
        }
    });
}
