//! Taking a connection out of the engine: the socket lives on, and no byte of either direction is lost, doubled or out of
//! place.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use fixture::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use wheelhouse::{
    Action, Bytes, CloseReason, Conn, ConnId, Detached, Framing, LengthDelimited, Listener, Sent,
};
use wheelhouse_tests::Pattern;

/// What a handler tells of one connection's end, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(Vec<u8>),
    Close(CloseReason, u64),
    Heir,
}

/// Takes the connection out from a closure beside it.
fn take_out(server: &Server<Script>, id: ConnId) -> Detached {
    let (heir, inherited) = channel();
    assert!(server.ask_conn(id, move |conn, _| conn.detach(move |detached| tell(&heir, detached))));
    next(&inherited)
}

/// The socket as a plain blocking one.
fn plain(detached: Detached) -> TcpStream {
    let stream = TcpStream::from(detached.socket);
    stream.set_nonblocking(false).unwrap();
    impatient(&stream);
    stream
}

/// An engine whose handler takes nothing of its input, and the ids of its connections.
fn takes_nothing(listener: Listener) -> (Server<Script>, Receiver<ConnId>) {
    let (told, ids) = channel();
    let builder = wheelhouse::Engine::builder().listen(listener).reactors(1);
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::new()
            .open(move |conn, _| {
                tell(&told, conn.id());
                Action::Continue
            })
            .data(|_, _, _| Action::Continue)
    });
    (server, ids)
}

fn raw() -> Listener {
    Listener::new("tcp://127.0.0.1:0")
}

#[test]
fn input_that_was_read_and_not_used_comes_along_and_the_rest_is_in_the_socket() {
    // Inside the connection, in a ring, in storage of its own; raw bytes, and a message that is not whole.
    let length = Framing::length_delimited(LengthDelimited::u32_be().max_body(1 << 19));
    for framing in [Framing::raw(), length] {
        let is_raw = format!("{framing:?}") == "Framing::raw";
        for size in [1, 14, 15, 20, 3 << 10, 200 << 10] {
            let (server, ids) = takes_nothing(raw().framing(framing.clone()));
            let (mut client, id) = client(&server, &ids);
            let mut sent = Pattern::new(size as u64).take(size);
            if !is_raw {
                let header = (1_u32 << 19).to_be_bytes();
                sent[..size.min(4)].copy_from_slice(&header[..size.min(4)]);
            }
            client.write_all(&sent).unwrap();
            eventually("all of it was read", || server.ask_conn(id, |conn, _| conn.buffered().0) == size);
            let detached = take_out(&server, id);
            assert!(detached.unread == sent, "{size} bytes");
            assert!(detached.held.is_none() && detached.unsent.is_empty());
            client.write_all(b"and more").unwrap();
            expect(&mut plain(detached), b"and more");
            eventually("its storage is free", || server.handle.stats().total().buffered == 0);
            server.stop();
        }
    }
}

#[test]
fn a_message_on_hold_comes_along_apart_from_what_followed_it() {
    let (told, ids) = channel();
    let listener = raw().framing(Framing::lines(80));
    let builder = wheelhouse::Engine::builder().listen(listener).reactors(1);
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::<()>::new().message(move |conn, _, message| match message.bytes() {
            b"first" => Action::Continue,
            _ => {
                tell(&told, conn.id());
                Action::Hold
            }
        })
    });
    let mut client = server.connect();
    client.write_all(b"first\nsecond\r\nthird\nfour").unwrap();
    let id = next(&ids);
    let detached = take_out(&server, id);
    assert_eq!(detached.held.as_ref().map(|held| held.bytes()), Some(&b"second"[..]));
    assert_eq!(detached.held.as_ref().map(|held| held.kind()), Some(wheelhouse::Kind::TEXT));
    assert_eq!(detached.unread, b"third\nfour");
    eventually("its storage is free", || server.handle.stats().total().buffered == 0);
}

/// Sends pieces of the pattern, copied, shared and handed over, until so many bytes wait; how many were sent in all.
fn pile_up(conn: &mut Conn<'_>, pattern: &mut Pattern, waiting: usize) -> usize {
    let mut sent = 0;
    for round in 0.. {
        if conn.buffered().1 >= waiting {
            break;
        }
        let piece = pattern.take([10, 1500, 5000, 20_000][round % 4]);
        let len = piece.len();
        let outcome = match round % 3 {
            0 => conn.send(&piece),
            1 => {
                let shared = Bytes::from(piece);
                let kept = shared.clone();
                let outcome = conn.send(shared);
                drop(kept);
                outcome
            }
            _ => conn.send(piece),
        };
        assert!(!outcome.is_refused());
        sent += len;
    }
    sent
}

#[test]
fn what_was_accepted_and_not_sent_follows_what_the_peer_has_received_without_a_seam() {
    let builder = wheelhouse::Engine::builder().listen(raw()).reactors(1).send_buffer(16 << 10);
    let (server, ids) = telling_ids(builder);
    let mut client = connect_with_window(server.at(), 8 << 10);
    let id = next(&ids);
    let sent = server.ask_conn(id, |conn, _| pile_up(conn, &mut Pattern::new(7), 600 << 10));
    // Some of it on its way first, so that the queue begins amid a piece.
    let mut pattern = Pattern::new(7);
    let mut first = vec![0; 10_000];
    client.read_exact(&mut first).unwrap();
    pattern.check(&first);
    let detached = take_out(&server, id);
    let unsent = detached.unsent.clone();
    assert!(unsent.len() > 100 << 10 && unsent.len() < sent, "{} of {sent} bytes", unsent.len());
    let heir = thread::spawn(move || {
        let mut stream = plain(detached);
        stream.write_all(&unsent).unwrap();
    });
    let (rest, ending) = read_to_end(&mut client);
    pattern.check(&rest);
    assert_eq!((pattern.position(), ending), (sent as u64, Ending::Eof));
    heir.join().unwrap();
    eventually("its storage is free", || server.handle.stats().total().buffered == 0);
}

#[test]
fn a_fin_that_was_asked_for_is_said_or_the_heir_is_told_to_say_it() {
    let builder = wheelhouse::Engine::builder().listen(raw()).reactors(1).send_buffer(16 << 10);
    let (server, ids) = telling_ids(builder);
    for waiting in [0, 600 << 10] {
        let mut client = connect_with_window(server.at(), 8 << 10);
        let id = next(&ids);
        let sent = server.ask_conn(id, move |conn, _| {
            let sent = pile_up(conn, &mut Pattern::new(7), waiting);
            conn.shutdown_write();
            sent
        });
        let detached = take_out(&server, id);
        let (unsent, fin) = (detached.unsent.clone(), detached.fin);
        assert_eq!((unsent.is_empty(), fin), (waiting == 0, waiting > 0));
        let heir = thread::spawn(move || {
            let mut stream = plain(detached);
            stream.write_all(&unsent).unwrap();
            if fin {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            stream
        });
        // The heir holds the socket: nothing but FIN ends what the client reads.
        let (heard, ending) = read_to_end(&mut client);
        Pattern::new(7).check(&heard);
        assert_eq!((heard.len(), ending), (sent, Ending::Eof));
        drop(heir.join().unwrap());
    }
}

/// An engine that takes a connection out when it hears `out`, and tells of what happens to it.
fn on_request(and_then: impl Fn(&mut Conn<'_>) -> Action + Copy + Send + Sync + 'static) -> Scene {
    let (told, events) = channel();
    let (heir, inherited) = channel();
    let server = serve(local().reactors(1), move |_| {
        let (told, closes, heir) = (told.clone(), told.clone(), heir.clone());
        Script::<()>::new()
            .message(move |conn, _, message| {
                tell(&told, Told::Message(message.bytes().to_vec()));
                if message.bytes() != b"out" {
                    return Action::Continue;
                }
                let (told, heir) = (told.clone(), heir.clone());
                assert!(conn.detach(move |detached| {
                    tell(&told, Told::Heir);
                    tell(&heir, detached);
                }));
                and_then(conn)
            })
            .close(move |closed, ()| {
                assert!(closed.opened());
                tell(&closes, Told::Close(*closed.reason(), closed.unsent()));
            })
    });
    Scene { server, events, inherited }
}

struct Scene {
    server: Server<Script>,
    events: Receiver<Told>,
    inherited: Receiver<Detached>,
}

impl Scene {
    /// A client that has asked to be taken out, and what is left of its connection.
    fn take_out(&self) -> (TcpStream, Detached) {
        let mut client = self.server.connect();
        client.write_all(b"out").unwrap();
        assert_eq!(next(&self.events), Told::Message(b"out".to_vec()));
        assert_eq!(next(&self.events), Told::Close(CloseReason::Detached, 0));
        assert_eq!(next(&self.events), Told::Heir);
        (client, next(&self.inherited))
    }

    /// Nothing more was told by the time the engine has stopped.
    fn ends_silently(self) {
        self.server.stop();
        assert_eq!(self.events.try_iter().collect::<Vec<_>>(), []);
    }
}

#[test]
fn on_close_comes_once_and_before_the_heir_and_nothing_comes_after() {
    let scene = on_request(|conn| {
        conn.set_timer(wheelhouse::TimerKind(1), std::time::Duration::from_millis(1));
        Action::Continue
    });
    let (mut client, detached) = scene.take_out();
    let handle = &scene.server.handle;
    let fd = detached.socket.as_raw_fd();
    assert_eq!((handle.find(fd), handle.count(), handle.connections().count()), (None, 0, 0));
    let flags = OFlag::from_bits_truncate(fcntl(&detached.socket, FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_NONBLOCK));
    eventually("it is counted as closed", || handle.stats().total().connections == 0);
    let total = handle.stats().total();
    assert_eq!((total.opened, total.closed), (1, 1));
    client.write_all(b"hello").unwrap();
    let mut stream = plain(detached);
    expect(&mut stream, b"hello");
    stream.write_all(b"good bye").unwrap();
    drop(stream);
    assert_eq!(read_to_end(&mut client), (b"good bye".to_vec(), Ending::Eof));
    scene.ends_silently();
}

#[test]
fn what_was_sent_in_the_same_callback_has_left_before() {
    let (heir, inherited) = channel();
    let server = serve(local().reactors(1), move |_| {
        let heir = heir.clone();
        Script::<()>::new().message(move |conn, _, message| {
            assert_eq!(conn.send(message), Sent::Accepted);
            let heir = heir.clone();
            assert!(conn.detach(move |detached| tell(&heir, detached)));
            Action::Continue
        })
    });
    let mut client = server.connect();
    client.write_all(b"last words").unwrap();
    let detached = next(&inherited);
    assert!(detached.unsent.is_empty());
    plain(detached).write_all(b", and mine").unwrap();
    assert_eq!(read_to_end(&mut client), (b"last words, and mine".to_vec(), Ending::Eof));
}

#[test]
fn what_is_asked_after_it_does_nothing_and_says_so() {
    let scene = on_request(|conn| {
        assert_eq!(conn.send("late"), Sent::Refused(wheelhouse::Refusal::Closing));
        assert!(conn.ping(&[]).is_refused());
        assert!(!conn.is_open());
        assert!(!conn.detach(|_| panic!("the second heir inherits nothing")));
        conn.finish();
        conn.close();
        conn.reset();
        conn.shutdown_write();
        assert!(!conn.detach(|_| panic!("nor does the third")));
        Action::Continue
    });
    let (mut client, detached) = scene.take_out();
    plain(detached).write_all(b"alive").unwrap();
    assert_eq!(read_to_end(&mut client), (b"alive".to_vec(), Ending::Eof));
    scene.ends_silently();
}

#[test]
fn the_callbacks_action_is_overtaken() {
    fn ends_alive(and_then: impl Fn(&mut Conn<'_>) -> Action + Copy + Send + Sync + 'static) {
        let scene = on_request(and_then);
        let (mut client, detached) = scene.take_out();
        plain(detached).write_all(b"alive").unwrap();
        assert_eq!(read_to_end(&mut client), (b"alive".to_vec(), Ending::Eof));
        scene.ends_silently();
    }
    ends_alive(|_| Action::Finish);
    ends_alive(|_| Action::Close);
    ends_alive(|_| Action::Reset);
}

#[test]
fn from_any_callback_it_is_the_same() {
    type Heir = Sender<(&'static str, Detached)>;
    fn out(conn: &mut Conn<'_>, from: &'static str, heir: &Heir) {
        let heir = heir.clone();
        assert!(conn.detach(move |detached| tell(&heir, (from, detached))), "{from}");
    }
    let (heir, inherited) = channel();
    let server = serve(local().reactors(1), move |_| {
        let heirs: [Heir; 5] = std::array::from_fn(|_| heir.clone());
        let [on_open, on_message, on_eof, on_timer, on_close] = heirs;
        Script::<Option<ConnId>>::new()
            .open(move |conn, _| {
                if conn.reactor().len() == 1 {
                    out(conn, "open", &on_open);
                }
                Action::Continue
            })
            .message(move |conn, friend, message| {
                match message.bytes() {
                    b"timer" => conn.set_timer(wheelhouse::TimerKind(1), std::time::Duration::ZERO),
                    b"befriend" => {
                        let id = conn.id();
                        *friend = conn.reactor().connections().into_iter().find(|&other| other != id);
                    }
                    b"friend" => {
                        let id = conn.id();
                        let other = conn.reactor().connections().into_iter().find(|&other| other != id);
                        out(&mut conn.other(other.unwrap()).unwrap(), "another's message", &on_message);
                    }
                    _ => {}
                }
                Action::Continue
            })
            .eof(move |conn, _| {
                out(conn, "eof", &on_eof);
                Action::Finish
            })
            .timer(move |conn, _, _| {
                out(conn, "timer", &on_timer);
                Action::Continue
            })
            .close(move |closed, friend| {
                if let Some(mut friend) = friend.and_then(|id| closed.reactor().conn(id)) {
                    out(&mut friend, "another's close", &on_close);
                }
            })
    });
    let taken_out = |client: &mut TcpStream, from: &str| {
        let (by, detached) = next(&inherited);
        assert_eq!(by, from);
        let mut stream = plain(detached);
        stream.write_all(from.as_bytes()).unwrap();
        drop(stream);
        let (got, _) = read_to_end(client);
        assert_eq!(got, from.as_bytes());
    };
    let mut first = server.connect();
    taken_out(&mut first, "open");
    // One who stays, so that the others are not alone.
    let open = |n: usize| eventually("it is open", || server.ask(0, |_, reactor| reactor.len()) == n);
    let blocked = server.block(0);
    let mut friend = server.connect();
    let mut second = server.connect();
    eventually("both have come", || server.handle.count() == 2);
    drop(blocked);
    // The first of the two met an empty reactor.
    taken_out(&mut friend, "open");
    open(1);
    let mut third = server.connect();
    open(2);
    third.write_all(b"timer").unwrap();
    taken_out(&mut third, "timer");
    let mut fourth = server.connect();
    open(2);
    fourth.shutdown(std::net::Shutdown::Write).unwrap();
    taken_out(&mut fourth, "eof");
    let mut fifth = server.connect();
    open(2);
    second.write_all(b"friend").unwrap();
    taken_out(&mut fifth, "another's message");
    let mut sixth = server.connect();
    open(2);
    second.write_all(b"befriend").unwrap();
    eventually("it was heard", || server.handle.stats().total().messages_in == 3);
    // The close of one takes the other out, in the turn after.
    wheelhouse_tests::linger_zero(&second);
    drop(second);
    taken_out(&mut sixth, "another's close");
    eventually("all are gone", || server.handle.count() == 0);
}
