//! Floods: of pings, of fragments, of messages, and towards one who never reads. Each has a bound, and the others their turn.

use std::{io::Write, time::Duration};

use wheelhouse::{Action, CloseReason, Engine, WebSocket};

use crate::{
    Told, closed,
    fixture::{connect_with_window, eventually, next, serve, within},
    listener, plain, silent, telling,
    wire::{BINARY, Client, PING, PONG, Quiet, TEXT, frame, peak_memory},
};

#[test]
fn as_many_pings_in_a_second_as_are_allowed_are_answered_and_a_flood_is_told_1008() {
    let (server, events) = telling(Engine::builder().listen(listener(WebSocket::new().max_controls(20))));
    let quiet = Quiet::talk(server.at());
    for _ in 0..3 {
        assert!(matches!(next(&events), Told::Request(_) | Told::Open(_) | Told::Text(_)));
    }
    let mut client = Client::open(server.at());
    client.write(&frame(0x80 | PING, b"ping").repeat(20));
    for _ in 0..20 {
        assert_eq!(client.read(), (0x80 | PONG, b"ping".to_vec()));
    }
    // Sixty in a moment: even when a second begins in their midst, one of the two has too many.
    client.write(&frame(0x80 | PING, b"ping").repeat(60));
    let (code, answered) = client.read_close();
    assert!(code == 1008 && answered <= 40, "{answered} pongs, then {code}");
    drop(client);
    let mut pings = 0;
    quiet.was_served();
    loop {
        match next(&events) {
            Told::Ping(_) => pings += 1,
            told if told == closed(CloseReason::Protocol) => break,
            _ => {}
        }
    }
    assert!((20..=60).contains(&pings), "{pings}");
}

#[test]
fn a_flood_of_pongs_that_nobody_asked_for_is_told_1008_too() {
    let server = silent(plain());
    let mut client = Client::open(server.at());
    client.write(&frame(0x80 | PONG, b"").repeat(300));
    client.expect_close(1008);
}

#[test]
fn as_many_fragments_as_are_allowed_pass_and_a_flood_of_them_is_told_1008() {
    let server = silent(plain());
    let quiet = Quiet::talk(server.at());
    let before = peak_memory();
    for fill in [&b""[..], b"x"] {
        let mut client = Client::open(server.at());
        let most = [&frame(TEXT, fill)[..], &frame(0, fill).repeat(1022), &frame(0x80, b"!")].concat();
        client.write(&most);
        let (first, payload) = client.read();
        assert_eq!((first, payload.len()), (0x80 | TEXT, 1023 * fill.len() + 1));
        client.write(&[&frame(TEXT, fill)[..], &frame(0, fill).repeat(1024)].concat());
        client.expect_close(1008);
    }
    assert!(peak_memory().saturating_sub(before) < 64 << 20);
    quiet.was_served();
}

#[test]
fn one_who_floods_with_small_messages_and_reads_the_answers_keeps_nobody_from_his() {
    let server = silent(plain());
    let quiet = Quiet::talk(server.at());
    let mut client = Client::open(server.at());
    let mut stream = client.stream.try_clone().unwrap();
    const BATCHES: usize = 200;
    let writer = std::thread::spawn(move || {
        let batch = frame(0x80 | BINARY, b"12345678").repeat(1000);
        for _ in 0..BATCHES {
            stream.write_all(&batch).unwrap();
        }
    });
    for _ in 0..BATCHES * 1000 {
        assert_eq!(client.read(), (0x80 | BINARY, b"12345678".to_vec()));
    }
    writer.join().unwrap();
    quiet.was_served();
}

#[test]
fn one_who_never_reads_has_his_pongs_dropped_at_the_bound_and_costs_no_more() {
    const LIMIT: usize = 64 << 10;
    let websocket = listener(WebSocket::new().max_controls(255)).water_marks(1 << 10, LIMIT, LIMIT);
    let builder = Engine::builder().listen(websocket).send_buffer(4 << 10).reactors(1);
    // Sends until there is no more room, so that pongs are all that could still be queued.
    let server = serve(builder, |_| {
        crate::Script::<()>::new().message(|conn, (), _| {
            conn.set_auto_pause(false);
            while !conn.send(&[7; 1000][..]).is_refused() {}
            Action::Continue
        })
    });
    let mut other = Client::open(server.at());
    let mut is_served = move || {
        other.write(&frame(0x80 | PING, b"quiet"));
        assert_eq!(other.read(), (0x80 | PONG, b"quiet".to_vec()));
    };
    is_served();
    let mut client = Client::open_over(connect_with_window(server.at(), 4 << 10), "");
    client.write(&frame(0x80 | TEXT, b"go"));
    eventually("the queue is full", || server.handle.stats().total().sends_refused > 0);
    let refused = server.handle.stats().total().sends_refused;
    let (before, mut sent) = (peak_memory(), 0);
    let pings = frame(0x80 | PING, &[9; 125]).repeat(100);
    // A hundred at a time, below what is allowed in a second, until some are refused: the bound was met.
    eventually("pongs are dropped", || {
        assert!(client.stream.write_all(&pings).is_ok(), "closed after {sent} pings");
        sent += 100;
        std::thread::sleep(Duration::from_millis(500));
        server.handle.stats().total().sends_refused > refused
    });
    let id = server.handle.connections().find(|id| server.ask_conn(*id, |conn, ()| conn.buffered().1) > 0);
    let queued = server.ask_conn(id.unwrap(), |conn, ()| conn.buffered().1);
    assert!(queued <= LIMIT + (16 << 10), "{queued} bytes are queued");
    assert!(peak_memory().saturating_sub(before) < 64 << 20);
    is_served();
}

#[test]
fn one_who_never_reads_what_he_asks_for_is_paused_at_the_mark() {
    let server =
        silent(Engine::builder().listen(listener(WebSocket::new()).water_marks(4 << 10, 64 << 10, 1 << 20)));
    let quiet = Quiet::talk(server.at());
    let before = peak_memory();
    let client = Client::open(server.at());
    let mut stream = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let message = frame(0x80 | BINARY, &[7; 16 << 10]);
        // The kernel's own buffers are some megabytes; of a gigabyte most is never taken.
        (0..64 << 10).take_while(|_| stream.write_all(&message).is_ok()).count()
    });
    let written = within("the writer is stopped", move || writer.join().unwrap());
    assert!(written < 4 << 10, "{written} messages of 16 KiB were taken");
    assert!(peak_memory().saturating_sub(before) < 64 << 20);
    quiet.was_served();
    drop(client);
}
