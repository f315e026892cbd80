//! From one engine into another: taken out of the first, taken over by the second, and no byte of either direction lost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    collections::HashMap,
    io::Write,
    sync::{Arc, Mutex, mpsc::channel},
    thread,
};

use fixture::*;
use wheelhouse::{Action, Adopt, Bytes, Detached, Engine, Framing, LengthDelimited, Listener, On, Tag};
use wheelhouse_tests::Pattern;

/// What the second engine sends first: what the first one had accepted.
type Unsent = Arc<Mutex<HashMap<Tag, Bytes>>>;

/// An engine that echoes, and sends the unsent first.
fn second(unsent: &Unsent) -> Server<Script> {
    let unsent = Arc::clone(unsent);
    serve(Engine::builder().reactors(1), move |_| {
        let unsent = Arc::clone(&unsent);
        Script::new().open(move |conn, ()| {
            if let Some(bytes) = unsent.lock().unwrap().remove(&conn.tag()) {
                assert!(!conn.send(bytes).is_refused());
            }
            Action::Continue
        })
    })
}

/// Makes of a body what goes over the wire.
type Frame = fn(&[u8]) -> Vec<u8>;

fn framings() -> Vec<(Framing, Frame)> {
    fn raw(body: &[u8]) -> Vec<u8> {
        body.to_vec()
    }
    fn line(body: &[u8]) -> Vec<u8> {
        let printable = body.iter().map(|byte| b'a' + byte % 26);
        printable.chain([b'\n']).collect()
    }
    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[..], body].concat()
    }
    let length = LengthDelimited::u32_be().max_body(1 << 20);
    vec![(Framing::raw(), raw), (Framing::lines(1 << 20), line), (Framing::length_delimited(length), frame)]
}

#[test]
fn a_message_begun_in_one_engine_is_answered_by_the_other_byte_by_byte_the_same() {
    for (framing, frame) in framings() {
        for size in [1, 20, 3 << 10, 200 << 10] {
            let unsent = Unsent::default();
            let second = second(&unsent);
            let (told, ids) = channel();
            let listener = Listener::new("tcp://127.0.0.1:0").framing(framing.clone());
            let first = serve(Engine::builder().listen(listener).reactors(1), move |_| {
                let told = told.clone();
                Script::<()>::new()
                    .open(move |conn, _| {
                        tell(&told, conn.id());
                        Action::Continue
                    })
                    .data(|_, _, _| Action::Continue)
            });
            let (mut client, id) = client(&first, &ids);
            let whole = frame(&Pattern::new(size as u64).take(size));
            // The first engine has a part of it: all of a raw message, which it does not take; never all of a framed one.
            let cut = if format!("{framing:?}") == "Framing::raw" { size } else { whole.len() - 1 };
            client.write_all(&whole[..cut]).unwrap();
            eventually("it was read", || first.ask_conn(id, |conn, _| conn.buffered().0) == cut);
            let (handle, framing) = (second.handle.clone(), framing.clone());
            let handed_over = first.ask_conn(id, move |conn, _| {
                conn.detach(move |Detached { socket, unread, .. }| {
                    handle.adopt(On::Any, Adopt::new(socket).framing(framing).unread(unread)).unwrap();
                })
            });
            assert!(handed_over);
            client.write_all(&whole[cut..]).unwrap();
            expect(&mut client, &whole);
            echo(&mut client, &frame(b"and once more"));
            assert_eq!((first.handle.count(), second.handle.count()), (0, 1));
        }
    }
}

#[test]
fn what_one_engine_had_accepted_the_other_sends_and_then_goes_on() {
    const SIZE: usize = 900 << 10;
    let unsent = Unsent::default();
    let second = second(&unsent);
    let (first, ids) = telling_ids(local().reactors(1).send_buffer(16 << 10));
    let mut client = connect_with_window(first.at(), 8 << 10);
    let id = next(&ids);
    let (handle, kept) = (second.handle.clone(), Arc::clone(&unsent));
    let handed_over = first.ask_conn(id, move |conn, _| {
        let mut pattern = Pattern::new(1);
        for _ in 0..SIZE / 1000 {
            conn.send(pattern.take(1000));
        }
        conn.send(pattern.take(SIZE % 1000));
        conn.detach(move |Detached { socket, unsent, .. }| {
            assert!(!unsent.is_empty() && unsent.len() < SIZE);
            kept.lock().unwrap().insert(Tag(5), unsent.into());
            handle.adopt(On::Any, Adopt::new(socket).tag(Tag(5))).unwrap();
        })
    });
    assert!(handed_over);
    let reader = thread::spawn(move || {
        expect(&mut client, &Pattern::new(1).take(SIZE));
        echo(&mut client, b"and on");
    });
    reader.join().unwrap();
}

#[test]
fn back_into_the_same_engine_it_is_a_connection_like_any_other() {
    let (told, ids) = channel();
    let server = serve(local().reactors(2), move |spot| {
        let (handle, told) = (spot.handle(), told.clone());
        Script::<()>::new()
            .open(move |conn, _| {
                tell(&told, conn.id());
                Action::Continue
            })
            .message(move |conn, _, message| {
                conn.send(message);
                if message.bytes() == b"move" {
                    let handle = handle.clone();
                    conn.detach(move |Detached { socket, unread, .. }| {
                        handle.adopt(On::Any, Adopt::new(socket).unread(unread)).unwrap();
                    });
                }
                Action::Continue
            })
    });
    let mut client = server.connect();
    let mut id = next(&ids);
    for _ in 0..100 {
        echo(&mut client, b"move");
        let successor = next(&ids);
        assert_ne!(successor, id);
        assert!(!server.handle.is_open(id) && server.handle.is_open(successor));
        id = successor;
        echo(&mut client, b"stay");
    }
    eventually("each has its place in the counts", || {
        let total = server.handle.stats().total();
        (total.adopted, total.closed, server.handle.count()) == (100, 100, 1)
    });
}
