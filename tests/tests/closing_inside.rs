//! A connection may be closed, in every way there is, from every callback there is: one `on_close`, and no harm to others.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    time::Duration,
};

use wheelhouse::{Action, CloseReason, Conn, ConnId, TimerKind};
use wheelhouse_tests::{Bench, Script, one_reactor, read_exactly, try_connect, wait_for_end};

const TICK: TimerKind = TimerKind(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Open,
    Message,
    Eof,
    Writable,
    Timer,
    Posted,
    /// In the `on_close` of another connection.
    OthersClose,
    /// In a callback of another connection.
    OthersMessage,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Returned(Action),
    Finish,
    Close,
    Reset,
    /// All of them, one after the other: the first counts.
    CloseThenMore,
}

impl How {
    const ALL: [How; 7] = [
        How::Returned(Action::Finish),
        How::Returned(Action::Close),
        How::Returned(Action::Reset),
        How::Finish,
        How::Close,
        How::Reset,
        How::CloseThenMore,
    ];

    fn apply(self, conn: &mut Conn<'_>) -> Action {
        match self {
            How::Returned(action) => return action,
            How::Finish => conn.finish(),
            How::Close => conn.close(),
            How::Reset => conn.reset(),
            How::CloseThenMore => {
                conn.close();
                conn.close();
                conn.finish();
                conn.reset();
                conn.pause();
                conn.resume();
                conn.set_timer(TICK, Duration::ZERO);
                assert!(conn.send("too late").is_refused());
                assert!(!conn.is_open());
                return Action::Finish;
            }
        }
        assert!(!conn.is_open());
        assert!(conn.send("too late").is_refused());
        Action::Continue
    }

    fn resets(self) -> bool {
        matches!(self, How::Returned(Action::Reset) | How::Reset)
    }
}

/// The script of one that closes `here`, and what leads there: `!` from the peer, except for those that need more.
fn closing(here: Where, how: How) -> Script {
    let victim: std::rc::Rc<std::cell::Cell<Option<ConnId>>> = std::rc::Rc::default();
    let close_victim = move |victim: Option<ConnId>, conn: Option<Conn<'_>>| {
        if let (Some(_), Some(mut conn)) = (victim, conn) {
            match how.apply(&mut conn) {
                Action::Finish => conn.finish(),
                Action::Close => conn.close(),
                Action::Reset => conn.reset(),
                _ => {}
            }
        }
    };
    let (first, second, third) = (victim.clone(), victim.clone(), victim);
    let close_victim_too = close_victim;
    Script::new()
        .on_open(move |conn, _| if here == Where::Open { how.apply(conn) } else { Action::Continue })
        .on_message(move |conn, _, message| match (message.bytes(), here) {
            (b"?", _) => {
                conn.send("!");
                Action::Continue
            }
            (b"victim", _) => {
                first.set(Some(conn.id()));
                conn.send("!");
                Action::Continue
            }
            (_, Where::Message) => how.apply(conn),
            (_, Where::Writable) => {
                let flood = vec![b'x'; 1 << 20];
                assert!(conn.send(&flood).is_full());
                Action::Continue
            }
            (_, Where::Timer) => {
                conn.set_timer(TICK, Duration::from_millis(1));
                Action::Continue
            }
            (_, Where::OthersMessage) => {
                if let Some(id) = first.get() {
                    close_victim(Some(id), conn.other(id));
                }
                Action::Continue
            }
            _ => Action::Continue,
        })
        .on_eof(move |conn, _| match here {
            Where::Eof => how.apply(conn),
            _ => Action::Finish,
        })
        .on_writable(move |conn, _| match here {
            Where::Writable => how.apply(conn),
            _ => Action::Continue,
        })
        .on_timer(move |conn, _, _| how.apply(conn))
        .on_close(move |closed, _| {
            if here == Where::OthersClose && second.get() != Some(closed.id()) {
                let id = third.get();
                close_victim_too(id, id.and_then(|id| closed.reactor().conn(id)));
            }
        })
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(b"?").unwrap();
    assert_eq!(read_exactly(stream, 1), b"!");
}

#[track_caller]
fn close_in(here: Where) {
    for how in How::ALL {
        // Small, so that a flood is queued, and the queue goes down when the peer reads.
        let builder = one_reactor().send_buffer(64 << 10);
        let bench = Bench::start(builder, move |_| closing(here, how));
        let (mut bystander, bystanders) = bench.connect();
        ask(&mut bystander);
        let (mut stream, id) = bench.connect();
        match here {
            Where::Eof => stream.shutdown(Shutdown::Write).unwrap(),
            Where::Posted => bench
                .poster()
                .post_to(id, move |_, conn, _| match how.apply(conn) {
                    Action::Finish => conn.finish(),
                    Action::Close => conn.close(),
                    Action::Reset => conn.reset(),
                    _ => {}
                })
                .ok()
                .unwrap(),
            Where::OthersClose | Where::OthersMessage => {
                stream.write_all(b"victim").unwrap();
                assert_eq!(read_exactly(&mut stream, 1), b"!");
                let (mut other, others) = bench.connect();
                other.write_all(b"now").unwrap();
                if here == Where::OthersClose {
                    drop(other);
                    bench.closed(others);
                }
            }
            _ => stream.write_all(b"now").unwrap(),
        }
        let peer_first = here == Where::Eof && matches!(how, How::Finish | How::Returned(Action::Finish));
        // A graceful close waits for the peer's FIN.
        finish_peer(&mut stream, how);
        let gone = bench.closed(id);
        let reason = if peer_first { CloseReason::Peer { code: None } } else { CloseReason::Local };
        assert_eq!(gone.reason, reason, "{here:?} {how:?}");
        assert!(gone.opened);
        ask(&mut bystander);
        drop(bystander);
        bench.closed(bystanders);
        check_whole(bench, id);
    }
}

/// What the peer sees of the end, and its own end.
#[track_caller]
fn finish_peer(stream: &mut TcpStream, how: How) {
    let end = wait_for_end(stream);
    if how.resets() {
        assert!(end.is_err(), "{how:?}: a reset");
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Nothing more is told of it until the engine stops.
#[track_caller]
fn check_whole(bench: Bench, id: ConnId) {
    let late: Vec<_> = bench.stop().into_iter().filter(|event| event.conn() == Some(id)).collect();
    let closes = late.iter().filter(|event| event.name() == "close").count();
    assert_eq!(closes, 0, "a second close: {late:?}");
}

#[test]
fn in_on_open() {
    // The peer closes as soon as it sees the end; a graceful close waits for that.
    for how in How::ALL {
        let bench = Bench::raw(move |_| closing(Where::Open, how));
        match try_connect(bench.addr()) {
            Ok(mut stream) => finish_peer(&mut stream, how),
            Err(error) => assert!(how.resets(), "{how:?}: {error}"),
        }
        let id = bench.opened();
        let gone = bench.closed(id);
        assert_eq!((gone.reason, gone.opened), (CloseReason::Local, true), "{how:?}");
        check_whole(bench, id);
    }
}

#[test]
fn in_on_message() {
    close_in(Where::Message);
}

#[test]
fn in_on_eof() {
    close_in(Where::Eof);
}

#[test]
fn in_on_writable() {
    close_in(Where::Writable);
}

#[test]
fn in_on_timer() {
    close_in(Where::Timer);
}

#[test]
fn in_a_posted_closure() {
    close_in(Where::Posted);
}

#[test]
fn in_the_close_of_another() {
    close_in(Where::OthersClose);
}

#[test]
fn in_a_message_of_another() {
    close_in(Where::OthersMessage);
}
