//! Who ends a connection, how the other one hears of it, and what a missing goodbye says.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    sync::mpsc::channel,
};

use wheelhouse::{Action, CloseReason, Conn, Message};

use crate::{
    fixture::{echo, next, tell},
    peer::{Client, goodbye, sealed, secure},
    site::{at_eof, ended, engine, opened, start, start_with},
};

/// Reads to the end: the plaintext, and whether a `close_notify` came before the FIN.
fn to_the_end(client: &mut Client) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    match client.read_to_end(&mut all) {
        Ok(_) => (all, true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => (all, false),
        Err(error) => panic!("after {} bytes: {error}", all.len()),
    }
}

#[test]
fn a_goodbye_is_the_end_of_input_and_is_answered() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    echo(&mut client, b"hello");
    assert_eq!(goodbye(&mut client), b"");
    opened(&events);
    at_eof(&events);
    drop(client);
    let ended = ended(&events);
    assert_eq!((ended.reason, &ended.error), (CloseReason::Peer { code: None }, &None));
}

#[test]
fn a_stream_that_ends_without_goodbye_is_told_as_truncated() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    echo(&mut client, b"hello");
    client.sock.shutdown(Shutdown::Write).unwrap();
    opened(&events);
    // Our goodbye still comes: it is the other way that was cut.
    assert_eq!(to_the_end(&mut client), (vec![], true));
    let ended = ended(&events);
    assert_eq!(ended.reason, CloseReason::Peer { code: None });
    ended.says("without close_notify");
}

#[test]
fn a_stream_that_ends_in_the_middle_of_a_record_is_told_as_truncated() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    let record = sealed(&mut client, b"the whole of it, or nothing");
    client.sock.write_all(&record[..record.len() - 1]).unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    opened(&events);
    assert_eq!(to_the_end(&mut client), (vec![], true));
    let ended = ended(&events);
    assert_eq!(ended.reason, CloseReason::Peer { code: None });
    ended.says("without close_notify");
}

#[test]
fn what_came_before_a_truncation_is_served() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    let record = sealed(&mut client, b"the last words");
    client.sock.write_all(&record).unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to_the_end(&mut client), (b"the last words".to_vec(), true));
    opened(&events);
    ended(&events).says("without close_notify");
}

#[test]
fn nothing_after_the_peers_goodbye_reaches_the_handler() {
    let (told, heard) = channel();
    let (server, events) = start_with(engine(), move |script| {
        let told = told.clone();
        script
            .message(move |_, _, message| {
                tell(&told, message.bytes().to_vec());
                Action::Continue
            })
            .eof(|conn, _| {
                // It stays open for sending, and so for listening, if there were anything to hear.
                conn.send("still here");
                Action::Continue
            })
    });
    let mut client = secure(server.at());
    let mut bytes = sealed(&mut client, b"before");
    client.conn.send_close_notify();
    bytes.extend(crate::peer::out_of(&mut client.conn));
    // A second goodbye, a record's like, and plain words, behind the first one.
    let goodbye = bytes[bytes.len() - 24..].to_vec();
    bytes.extend_from_slice(&goodbye);
    bytes.extend_from_slice(b"\x17\x03\x03\x00\x20................................");
    bytes.extend_from_slice(b"and plain words");
    client.sock.write_all(&bytes).unwrap();
    let id = opened(&events);
    let mut still_here = [0; 10];
    client.read_exact(&mut still_here).unwrap();
    assert_eq!(&still_here, b"still here");
    client.sock.write_all(b"more in a later segment").unwrap();
    server.handle.finish(id);
    assert_eq!(to_the_end(&mut client), (vec![], true));
    drop(client);
    ended(&events);
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [b"before".to_vec()]);
}

/// Has the handler end a connection at the first message: what the client then reads, and whether it is told goodbye.
fn ended_by(how: fn(&mut Conn<'_>)) -> (Vec<u8>, bool) {
    let (server, events) = start_with(engine(), move |script| {
        script.message(move |conn, _, message: Message<'_>| {
            conn.send(message);
            conn.send(" and goodbye");
            how(conn);
            Action::Continue
        })
    });
    let mut client = secure(server.at());
    client.write_all(b"hello").unwrap();
    let end = to_the_end(&mut client);
    drop(client);
    opened(&events);
    let ended = ended(&events);
    assert_eq!((ended.reason, &ended.error), (CloseReason::Local, &None));
    end
}

#[test]
fn whoever_is_finished_or_closed_is_told_goodbye_before_the_fin() {
    let all = (b"hello and goodbye".to_vec(), true);
    assert_eq!(ended_by(|conn| conn.finish()), all);
    assert_eq!(ended_by(|conn| conn.close()), all);
}

#[test]
fn whoever_is_left_by_a_shutdown_is_told_goodbye_before_the_fin() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    echo(&mut client, b"hello");
    opened(&events);
    server.handle.shutdown();
    assert_eq!(to_the_end(&mut client), (vec![], true));
    assert_eq!(ended(&events).reason, CloseReason::Shutdown);
    server.stop();
}

#[test]
fn the_fin_of_a_half_close_comes_behind_a_goodbye_and_input_goes_on() {
    let (told, heard) = channel();
    let (server, events) = start_with(engine(), move |script| {
        let told = told.clone();
        script.message(move |conn, _, message| {
            tell(&told, message.bytes().to_vec());
            conn.send("the last of mine");
            conn.shutdown_write();
            assert!(conn.send("too late").is_refused());
            Action::Continue
        })
    });
    let mut client = secure(server.at());
    client.write_all(b"first").unwrap();
    assert_eq!(to_the_end(&mut client), (b"the last of mine".to_vec(), true));
    assert_eq!(next(&heard), b"first");
    client.write_all(b"second").unwrap();
    assert_eq!(next(&heard), b"second");
    assert_eq!(goodbye(&mut client), b"");
    opened(&events);
    at_eof(&events);
    let ended = ended(&events);
    assert_eq!((ended.reason, &ended.error), (CloseReason::Peer { code: None }, &None));
}

#[test]
fn a_long_answer_reaches_its_peer_whole_before_the_goodbye() {
    let (server, _events) = start_with(engine().send_buffer(4096), |script| {
        script.message(|conn, _, _| {
            conn.send(vec![b'x'; 2 << 20]);
            Action::Finish
        })
    });
    let mut client = secure(server.at());
    client.write_all(b"all of it").unwrap();
    let (all, is_goodbye) = to_the_end(&mut client);
    assert_eq!((all.len(), is_goodbye), (2 << 20, true));
    assert!(all.iter().all(|&byte| byte == b'x'));
}

#[test]
fn the_end_of_input_waits_for_what_is_held() {
    let (told, heard) = channel();
    let (server, events) = start_with(engine(), move |script| {
        let told = told.clone();
        let mut has_come = false;
        script.message(move |conn, _, message| {
            if !std::mem::replace(&mut has_come, true) {
                tell(&told, ());
                return Action::Hold;
            }
            conn.send(message);
            Action::Continue
        })
    });
    let mut client = secure(server.at());
    // The message and the goodbye in one segment.
    let mut bytes = sealed(&mut client, b"the last words");
    client.conn.send_close_notify();
    bytes.extend(crate::peer::out_of(&mut client.conn));
    client.sock.write_all(&bytes).unwrap();
    let id = opened(&events);
    next(&heard);
    server.handle.resume(id);
    assert_eq!(to_the_end(&mut client), (b"the last words".to_vec(), true));
    at_eof(&events);
    assert_eq!(ended(&events).error, None);
}
