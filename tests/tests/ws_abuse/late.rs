//! Answers that are put off: given from another thread, given twice, too late, or never.

use std::{
    io::Write,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use wheelhouse::{CloseReason, ConnId, Handle, Reply};

use crate::{
    MS, Told,
    fixture::{Script, Server, eventually, next, read_to_end, serve, tell},
    plain, refused,
    wire::{Answer, Client, Quiet, read_head, request, text},
};

/// An echo server that puts every answer off, but those to `Quiet`, and tells whom to answer.
fn late(within: Option<Duration>) -> (Server<Script>, Receiver<ConnId>, Receiver<Told>) {
    let ((ask, asked), (told, events)) = (channel(), channel());
    let server = serve(plain().reactors(1).handshake_timeout(300 * MS), move |_| {
        let (ask, opens, closes) = (ask.clone(), told.clone(), told.clone());
        Script::new()
            .request(move |conn, (), request| {
                if request.path() == "/" {
                    return Reply::accept();
                }
                tell(&ask, conn.id());
                let reply = Reply::later();
                let reply = within.map_or(reply.clone(), |within| reply.within(within));
                match request.protocols().last() {
                    Some(last) => reply.subprotocol(last),
                    None => reply,
                }
            })
            .open(move |conn, ()| {
                tell(&opens, Told::Open(conn.subprotocol().map(str::to_owned)));
                wheelhouse::Action::Continue
            })
            .close(move |closed, ()| {
                tell(&closes, Told::Close { opened: closed.opened(), reason: *closed.reason() });
            })
    });
    (server, asked, events)
}

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

/// From a thread of its own.
fn answer(handle: &Handle, id: ConnId, reply: Reply) {
    let handle = handle.clone();
    thread::spawn(move || handle.answer(id, reply)).join().unwrap();
}

fn ask_late(server: &Server<Script>, headers: &str) -> std::net::TcpStream {
    let mut stream = server.connect();
    stream.write_all(request("/late", headers).as_bytes()).unwrap();
    stream
}

#[test]
fn an_acceptance_from_another_thread_keeps_the_subprotocol_that_was_chosen_before() {
    let (server, asked, events) = late(MINUTE);
    let quiet = Quiet::talk(server.at());
    assert_eq!(next(&events), Told::Open(None));
    let mut stream = ask_late(&server, "Sec-WebSocket-Protocol: chat, superchat\r\n");
    answer(&server.handle, next(&asked), Reply::accept().header("X-Late", "yes"));
    let head = read_head(&mut stream);
    assert_eq!((head.status, head.header("X-Late")), (101, Some("yes")));
    assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("superchat"));
    assert_eq!(next(&events), Told::Open(Some("superchat".into())));
    Client { stream }.echo("hello");
    quiet.was_served();
}

#[test]
fn a_late_choice_replaces_the_earlier_one_and_one_that_was_not_offered_is_never_answered() {
    let (server, asked, events) = late(MINUTE);
    let mut stream = ask_late(&server, "Sec-WebSocket-Protocol: chat, superchat\r\n");
    answer(&server.handle, next(&asked), Reply::accept().subprotocol("chat"));
    assert_eq!(read_head(&mut stream).header("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(next(&events), Told::Open(Some("chat".into())));
    let mut stream = ask_late(&server, "Sec-WebSocket-Protocol: chat\r\n");
    answer(&server.handle, next(&asked), Reply::accept().subprotocol("poker"));
    let head = read_head(&mut stream);
    assert_eq!((head.status, head.header("Sec-WebSocket-Protocol")), (101, None));
    assert_eq!(next(&events), Told::Open(None));
}

#[test]
fn frames_that_came_before_the_answer_are_served_after_it() {
    let (server, asked, _events) = late(MINUTE);
    let mut stream = server.connect();
    let early = [request("/late", "").as_bytes(), &text("one"), &text("two")[..4]].concat();
    stream.write_all(&early).unwrap();
    let id = next(&asked);
    stream.write_all(&[&text("two")[4..], &text("three")].concat()).unwrap();
    answer(&server.handle, id, Reply::accept());
    assert_eq!(read_head(&mut stream).status, 101);
    let mut client = Client { stream };
    ["one", "two", "three"].iter().for_each(|said| client.expect_text(said));
    client.echo("four");
}

#[test]
fn a_late_refusal_arrives_whole() {
    let (server, asked, events) = late(MINUTE);
    let mut stream = ask_late(&server, "");
    // Unread input must not turn the answer into a reset.
    stream.write_all(&text("early").repeat(1000)).unwrap();
    answer(&server.handle, next(&asked), Reply::status(401).body("text/plain", "who are you?"));
    let (heard, ending) = read_to_end(&mut stream);
    let heard = Answer::parse(&heard);
    heard.assert_is_last();
    assert_eq!(
        (heard.status, &*heard.body, ending),
        (401, &b"who are you?"[..], crate::fixture::Ending::Eof)
    );
    drop(stream);
    assert_eq!(next(&events), refused(CloseReason::Local));
}

#[test]
fn an_answer_that_never_comes_is_503_when_its_time_is_up() {
    // Its own time, and by default the handshake's.
    for within in [Some(50 * MS), None] {
        let (server, asked, events) = late(within);
        let mut stream = ask_late(&server, "");
        let id = next(&asked);
        let heard = Answer::parse(&read_to_end(&mut stream).0);
        assert_eq!(heard.status, 503);
        heard.assert_is_last();
        drop(stream);
        assert_eq!(next(&events), refused(CloseReason::Handshake));
        let late = server.handle.stats().total().late_commands;
        answer(&server.handle, id, Reply::accept());
        eventually("it is counted as late", || server.handle.stats().total().late_commands == late + 1);
    }
}

#[test]
fn a_client_that_has_gone_before_the_answer_ends_once_and_the_answer_reaches_nobody_else() {
    let (server, asked, events) = late(MINUTE);
    for with_reset in [true, false] {
        let stream = ask_late(&server, "");
        let id = next(&asked);
        if with_reset {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(stream);
        if with_reset {
            assert!(matches!(next(&events), Told::Close { opened: false, .. }));
        }
        let mut successor = Client::open(server.at());
        assert_eq!(next(&events), Told::Open(None));
        answer(&server.handle, id, Reply::accept());
        successor.echo("mine");
        successor.write(&crate::wire::close(1000, ""));
        successor.expect_close(1000);
        drop(successor);
        // A FIN is found out when reading goes on, be it after an opening; then it ends, once.
        let (mut ends, mut opened) = (0, 0);
        while ends < if with_reset { 1 } else { 2 } {
            match next(&events) {
                Told::Close { .. } => ends += 1,
                Told::Open(_) => opened += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(opened <= 1);
        crate::wire::wait_until_empty(&server.handle);
        assert!(events.try_recv().is_err());
    }
}

#[test]
fn of_two_answers_the_first_counts_and_the_second_is_late() {
    let (server, asked, _events) = late(MINUTE);
    let mut stream = ask_late(&server, "");
    let id = next(&asked);
    let late = server.handle.stats().total().late_commands;
    answer(&server.handle, id, Reply::accept());
    answer(&server.handle, id, Reply::status(403));
    assert_eq!(read_head(&mut stream).status, 101);
    Client { stream }.echo("accepted once");
    eventually("it is counted as late", || server.handle.stats().total().late_commands == late + 1);
}

#[test]
fn an_answer_to_one_who_is_open_already_is_late() {
    let (server, _asked, events) = late(MINUTE);
    let handle = server.handle.clone();
    drop(events);
    let mut client = Client::open(server.at());
    let id = handle.connections().next().unwrap();
    answer(&handle, id, Reply::status(500));
    client.echo("not moved");
    eventually("it is counted as late", || handle.stats().total().late_commands == 1);
}

#[test]
fn who_waits_for_an_answer_when_the_engine_stops_is_told_503() {
    for is_drained in [false, true] {
        let (server, asked, events) = late(MINUTE);
        let mut streams = [ask_late(&server, ""), server.connect()];
        streams[1].write_all(b"HEAD /late HTTP/1.1\r\nHost: a\r\n\r\nand more").unwrap();
        next(&asked);
        next(&asked);
        match is_drained {
            true => server.handle.drain(50 * MS),
            false => server.handle.shutdown(),
        }
        for (stream, has_body) in streams.iter_mut().zip([true, false]) {
            let heard = Answer::parse(&read_to_end(stream).0);
            assert_eq!((heard.status, !heard.body.is_empty()), (503, has_body));
            assert_eq!(heard.header("Connection"), Some("close"));
            assert!(httpdate::parse_http_date(heard.header("Date").unwrap()).is_ok());
            assert_eq!(next(&events), refused(CloseReason::Shutdown));
        }
    }
}

#[test]
fn who_is_finished_before_the_answer_is_told_nothing_at_all() {
    let (server, asked, events) = late(MINUTE);
    for has_code in [false, true] {
        let mut stream = ask_late(&server, "");
        let id = next(&asked);
        match has_code {
            true => server.handle.finish_with(id, wheelhouse::CloseCode::GOING_AWAY, "tomorrow"),
            false => server.handle.finish(id),
        }
        assert_eq!(read_to_end(&mut stream).0, b"");
        assert_eq!(next(&events), refused(CloseReason::Local));
    }
}
