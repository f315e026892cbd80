//! Pages over TLS: whole and with a goodbye, however large they are and however slowly they are read; cut short without one.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    sync::{
        OnceLock,
        mpsc::{Receiver, channel},
    },
};

use bytes::Bytes;
use wheelhouse::{Builder, CloseReason, Engine, Listener, Reply};

use crate::{
    fixture::{Script, Server, connect_with_window, eventually, next, serve, tell},
    peer::{Client, config, config_with, over, secure},
    pki::tls,
    site::Ended,
};

/// Serves as many bytes as the path says, and tells how connections end.
fn pages(builder: Builder) -> (Server<Script>, Receiver<Ended>) {
    let (told, ends) = channel();
    let listener = Listener::new("wss://127.0.0.1:0").tls(tls());
    let server = serve(builder.listen(listener).reactors(1), move |_| {
        let told = told.clone();
        Script::<()>::new()
            .request(|_, (), request| {
                let size = request.path()[1..].parse().unwrap();
                Reply::status(200).body("application/octet-stream", page(size))
            })
            .close(move |closed, ()| tell(&told, Ended::of(closed)))
    });
    (server, ends)
}

/// Part of one page that all are served from.
fn page(size: usize) -> Bytes {
    static ALL: OnceLock<Bytes> = OnceLock::new();
    ALL.get_or_init(|| (0..70_u32 << 20).map(|n| (n % 251) as u8).collect()).slice(..size)
}

fn ask_for(client: &mut Client, size: usize) {
    client.write_all(format!("GET /{size} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
}

/// Reads up to the other side's goodbye: head and body.
#[track_caller]
fn answer(client: &mut Client) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("the other side's close_notify");
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = all.split_off(end);
    (String::from_utf8(all).unwrap(), body)
}

#[test]
fn a_page_of_any_size_arrives_whole_with_a_goodbye_behind_it() {
    let (server, ends) = pages(Engine::builder());
    let part = 48 << 10;
    for size in [0, 1, part - 1, part, part + 1, 2 * part, 21 * part, 21 * part + 1, 66 << 20] {
        let mut client = secure(server.at());
        ask_for(&mut client, size);
        let (head, body) = answer(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 ") && body == page(size), "{size} bytes: {head}");
        drop(client);
        let ended = next(&ends);
        assert_eq!((ended.reason, ended.opened), (CloseReason::Local, false), "{size} bytes");
    }
    assert_eq!(server.handle.stats().total().bytes_unsent, 0);
}

#[test]
fn a_page_that_is_read_slowly_arrives_whole_and_takes_no_more_memory_than_it_has() {
    // Sealed at once, it would not fit.
    let (server, ends) = pages(Engine::builder().buffer_memory(1 << 20).send_buffer(16 << 10));
    for version in [&rustls_stable::version::TLS12, &rustls_stable::version::TLS13] {
        let mut client = over(connect_with_window(server.at(), 4096), config_with(&[version], None));
        ask_for(&mut client, 900_000);
        let mut other = secure(server.at());
        ask_for(&mut other, 100);
        assert_eq!(answer(&mut other).1.len(), 100, "others are served meanwhile");
        let (head, body) = answer(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 ") && body == page(900_000), "{head}");
        drop((client, other));
        assert!([next(&ends), next(&ends)].iter().all(|ended| ended.reason == CloseReason::Local));
    }
}

#[test]
fn a_page_for_which_there_is_no_memory_is_500() {
    let (server, ends) = pages(Engine::builder().buffer_memory(256 << 10));
    for (size, status) in [(40_000, 200), (180_000, 200), (256 << 10, 500), (66 << 20, 500)] {
        let mut client = secure(server.at());
        ask_for(&mut client, size);
        let (head, body) = answer(&mut client);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{size}: {head}");
        drop(client);
        let ended = next(&ends);
        match status {
            200 => assert_eq!((body.len(), ended.reason), (size, CloseReason::Local)),
            _ => {
                assert_eq!(body, b"no memory for the answer\n");
                assert_eq!(ended.reason, CloseReason::MemoryPressure);
                ended.says(&format!("a body of {size} bytes does not fit into the buffer memory"));
            }
        }
    }
}

#[test]
fn a_page_that_is_cut_short_ends_without_a_goodbye_and_what_is_missing_is_counted() {
    let (server, ends) = pages(Engine::builder().send_buffer(16 << 10));
    let mut client = over(connect_with_window(server.at(), 4096), config());
    ask_for(&mut client, 5 << 20);
    client.read_exact(&mut [0; 1000]).unwrap();
    let stats = server.handle.clone();
    eventually("some of it is out", || stats.stats().total().bytes_out > 10_000);
    server.handle.shutdown();
    let mut all = Vec::new();
    let error = client.read_to_end(&mut all).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
    assert!(all.len() < 5 << 20);
    assert_eq!(next(&ends).reason, CloseReason::Shutdown);
    let unsent = stats.stats().total().bytes_unsent as usize;
    let missing = (5 << 20) + 1000 - all.len();
    assert!((1 << 20..=missing + (64 << 10)).contains(&unsent), "{unsent} unsent, {missing} missing");
}
