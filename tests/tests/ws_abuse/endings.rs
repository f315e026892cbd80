//! How WebSockets end, for both ends: codes and reasons, resets, deadlines, panics, drains.

use std::{io::Write, time::Duration};

use wheelhouse::{Action, CloseCode, CloseReason, Engine, WebSocket};

use crate::{
    MS, Script, Told, closed,
    fixture::{Ending, eventually, next, read_to_end, serve, tell},
    listener, plain, silent, telling,
    wire::{BINARY, CLOSE, Client, Quiet, close, frame, text, wait_until_empty},
};

#[test]
fn a_peers_close_is_answered_with_its_code_and_on_close_knows_it() {
    let (server, events) = telling(plain());
    for (bytes, heard, code) in [
        (close(1000, "bye"), 1000, 1000),
        (close(1001, ""), 1001, 1001),
        (close(3000, "registered"), 3000, 3000),
        (close(4999, "own"), 4999, 4999),
        (frame(0x80 | CLOSE, b""), 1005, 1005),
    ] {
        let mut client = Client::open(server.at());
        client.write(&bytes);
        client.expect_close(heard);
        drop(client);
        assert_eq!(next(&events), Told::Request("/".into()));
        assert_eq!(next(&events), Told::Open(None));
        assert_eq!(next(&events), closed(CloseReason::Peer { code: Some(code) }));
    }
}

#[test]
fn what_comes_behind_a_close_is_ignored() {
    let (server, events) = telling(plain());
    let mut client = Client::open(server.at());
    client.write(&[close(1000, ""), text("late"), b"\xff\xff\xff\xff".to_vec()].concat());
    client.expect_close(1000);
    let _ = client.stream.write_all(&text("later still"));
    drop(client);
    assert_eq!(next(&events), Told::Request("/".into()));
    assert_eq!(next(&events), Told::Open(None));
    assert_eq!(next(&events), closed(CloseReason::Peer { code: Some(1000) }));
}

#[test]
fn an_end_without_a_close_has_no_code_and_a_reset_in_mid_frame_is_an_error_that_harms_nobody() {
    let (server, events) = telling(plain());
    let client = Client::open(server.at());
    drop(client);
    assert_eq!(next(&events), Told::Request("/".into()));
    assert_eq!(next(&events), Told::Open(None));
    assert_eq!(next(&events), closed(CloseReason::Peer { code: None }));
    drop(events);
    let (server, events) = telling(plain());
    let mut other = Client::open(server.at());
    other.echo("before");
    let mut client = Client::open(server.at());
    client.write(&frame(0x80 | BINARY, &[7; 50_000])[..30_000]);
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let is_close = |told: &Told| matches!(told, Told::Close { .. });
    let told = std::iter::repeat_with(|| next(&events)).find(is_close);
    assert_eq!(told, Some(closed(CloseReason::Io)));
    other.echo("after");
}

/// An echo server that ends whoever says so, as he wishes.
fn obeying() -> crate::Server<Script> {
    serve(plain().reactors(1).close_timeout(300 * MS), |_| {
        Script::<()>::new().message(|conn, (), message| {
            conn.send(message);
            match message.text() {
                Some("finish") => conn.finish(),
                Some("1003") => conn.finish_with(CloseCode::UNSUPPORTED, "text only"),
                Some("4000") => conn.finish_with(CloseCode::new(4000).unwrap(), &"é".repeat(100)),
                Some("panic") => std::panic::resume_unwind(Box::new("on purpose")),
                _ => {}
            }
            Action::Continue
        })
    })
}

#[test]
fn our_own_close_tells_code_and_reason_behind_what_was_sent_before() {
    let server = obeying();
    for (said, payload) in [
        ("finish", b"\x03\xe8".to_vec()),
        ("1003", b"\x03\xebtext only".to_vec()),
        ("4000", [&b"\x0f\xa0"[..], "é".repeat(61).as_bytes()].concat()),
    ] {
        let mut client = Client::open(server.at());
        client.echo("hello");
        client.echo(said);
        assert_eq!(client.read(), (0x80 | CLOSE, payload));
        client.write(&close(1000, ""));
        assert_eq!(read_to_end(&mut client.stream), (Vec::new(), Ending::Eof));
    }
    wait_until_empty(&server.handle);
}

#[test]
fn one_who_does_not_answer_our_close_is_let_go_in_the_end() {
    let (told, events) = std::sync::mpsc::channel();
    let server = serve(plain().reactors(1).close_timeout(200 * MS), move |_| {
        let told = told.clone();
        Script::<()>::new()
            .message(|conn, (), _| {
                conn.finish_with(CloseCode::NORMAL, "");
                Action::Continue
            })
            .close(move |closed, ()| tell(&told, *closed.reason()))
    });
    let mut client = Client::open(server.at());
    client.write(&text("end"));
    client.expect_close(1000);
    // It stays connected, and goes on talking.
    let _ = client.stream.write_all(&text("more"));
    assert_eq!(next(&events), CloseReason::CloseTimeout);
    drop(client);
}

#[test]
fn a_panic_is_told_1011_even_to_one_whose_rest_is_unread_and_ends_no_other() {
    let server = obeying();
    let mut other = Client::open(server.at());
    for more in [0, 8 << 20] {
        let mut client = Client::open(server.at());
        let mut bytes = text("panic");
        bytes.resize(bytes.len() + more, 0);
        let mut stream = client.stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || stream.write_all(&bytes));
        client.expect_text("panic");
        client.expect_close(1011);
        drop(client);
        let _ = writer.join().unwrap();
        other.echo("still served");
    }
}

#[test]
fn one_who_does_not_say_who_he_is_in_time_is_told_1008_even_with_unread_input() {
    let websocket = listener(WebSocket::new()).authentication(200 * MS);
    let (told, events) = std::sync::mpsc::channel();
    let server = serve(Engine::builder().listen(websocket).reactors(1), move |_| {
        let told = told.clone();
        Script::<()>::new()
            .message(|conn, (), message| match message.text() {
                // The engine reads no further.
                Some("wait") => Action::Hold,
                Some("secret") => {
                    conn.authenticated();
                    conn.send("welcome");
                    Action::Continue
                }
                _ => Action::Continue,
            })
            .close(move |closed, ()| tell(&told, *closed.reason()))
    });
    let mut known = Client::open(server.at());
    known.write(&text("secret"));
    known.expect_text("welcome");
    for said in ["who?", "wait"] {
        let mut client = Client::open(server.at());
        client.write(&text(said));
        if said == "wait" {
            client.write(&frame(0x80 | BINARY, &[7; 100_000]));
        }
        client.expect_close(1008);
        drop(client);
        assert_eq!(next(&events), CloseReason::Auth);
    }
    known.write(&text("secret"));
    known.expect_text("welcome");
}

#[test]
fn idleness_and_age_are_told_1001() {
    let builders: [fn(wheelhouse::Builder) -> wheelhouse::Builder; 2] =
        [|builder| builder.idle_timeout(100 * MS), |builder| builder.lifetime(100 * MS)];
    for build in builders {
        let server = silent(build(plain()));
        Client::open(server.at()).expect_close(1001);
    }
}

#[test]
fn a_drain_tells_1001_to_those_who_are_left_and_refuses_new_ones() {
    let (server, events) = telling(plain());
    let mut client = Client::open(server.at());
    client.echo("hello");
    server.handle.drain(300 * MS);
    client.echo("still served");
    client.expect_close(1001);
    drop(client);
    let is_close = |told: &Told| matches!(told, Told::Close { .. });
    let told = std::iter::repeat_with(|| next(&events)).find(is_close);
    assert_eq!(told, Some(closed(CloseReason::Shutdown)));
}

#[test]
fn a_shutdown_tells_1001() {
    let server = silent(plain());
    let mut clients: Vec<_> = (0..50).map(|_| Client::open(server.at())).collect();
    eventually("all are open", || server.handle.count() == 50);
    server.handle.shutdown();
    for client in &mut clients {
        client.expect_close(1001);
    }
}

#[test]
fn messages_of_every_size_come_back_whole_while_another_floods() {
    let server = silent(plain());
    let quiet = Quiet::talk(server.at());
    let mut client = Client::open(server.at());
    for size in [0, 1, 125, 126, 127, 4095, 4096, 65_535, 65_536, 65_537, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|at| (at * 7 + at / 251) as u8).collect();
        client.write(&frame(0x80 | BINARY, &payload));
        let (first, back) = client.read();
        assert!((first, &back) == (0x80 | BINARY, &payload), "{size} bytes");
    }
    quiet.was_served();
}

#[test]
fn that_an_extension_is_missing_no_server_says() {
    let server = serve(plain().reactors(1), |_| {
        Script::<()>::new().message(|conn, (), _| {
            conn.finish_with(CloseCode::new(1010).unwrap(), "");
            Action::Continue
        })
    });
    let mut client = Client::open(server.at());
    client.write(&text("now"));
    client.expect_close(1000);
    drop(server);
    // Nor when a client has said so.
    let (server, events) = telling(plain());
    let mut client = Client::open(server.at());
    client.write(&close(1010, "deflate, please"));
    client.expect_close(1000);
    drop(client);
    assert_eq!(next(&events), Told::Request("/".into()));
    assert_eq!(next(&events), Told::Open(None));
    assert_eq!(next(&events), closed(CloseReason::Peer { code: Some(1010) }));
}

#[test]
fn the_close_code_reaches_a_peer_whose_pongs_have_filled_the_queue() {
    let listener = listener(WebSocket::new().max_controls(60_000)).water_marks(0, 100_000, 200_000);
    let (told, full) = std::sync::mpsc::channel();
    let server = serve(Engine::builder().listen(listener).reactors(1).send_buffer(4096), move |_| {
        let told = told.clone();
        Script::<()>::new().open(move |conn, ()| {
            conn.set_auto_pause(false);
            while !conn.send(&[7; 2000][..]).is_refused() {}
            tell(&told, ());
            Action::Continue
        })
    });
    let mut client = Client::open(server.at());
    next(&full);
    // More pongs than there is room for, down to the last two bytes, and then what breaks a rule.
    let ping = |payload: &[u8]| frame(0x80 | crate::wire::PING, payload);
    let bytes = [ping(&[1; 125]).repeat(8000), ping(b"").repeat(200), frame(0xf0 | BINARY, b"reserved bits")];
    let all = bytes.concat();
    client.write(&all);
    eventually("all has come", || server.handle.stats().total().bytes_in as usize > all.len());
    let (code, before) = client.read_close();
    assert_eq!(code, 1002);
    assert!(before > 10, "{before} frames came before it");
}
