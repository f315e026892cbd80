//! What every HTTP answer on a WebSocket port says, whoever gives it.

use std::{
    io::{Read, Write},
    sync::{
        OnceLock,
        mpsc::{Receiver, channel},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use wheelhouse::{Builder, CloseReason, MemoryPolicy, Reply};

use crate::{
    MS, Script, Told,
    fixture::{Ending, Server, alone, connect_with_window, next, read_to_end, serve, tell},
    plain, refused,
    wire::{Answer, Client, Quiet, ask, peak_memory, read_head, request},
};

#[test]
fn every_answer_but_an_acceptance_says_when_it_was_made() {
    let server = serve(plain().reactors(1).handshake_timeout(300 * MS), |_| {
        Script::<()>::new().request(|_, (), request| match request.path() {
            "/panic" => std::panic::resume_unwind(Box::new("on purpose")),
            "/late" => Reply::later(),
            "/page" => Reply::status(200).body("text/plain", "a page"),
            "/other" => Reply::status(404),
            "/nothing" => Reply::status(204),
            _ => Reply::accept(),
        })
    });
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(20_000));
    let post = request("/", "").replace("GET", "POST");
    let old = request("/", "").replace("Version: 13", "Version: 8");
    for (request, status) in [
        ("GET /page HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 204),
        ("\x16\x03\x01", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (&post, 405),
        ("GET / HT", 408),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        (&old, 426),
        (&many, 431),
        (&long, 431),
        ("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n", 500),
        ("GET /late HTTP/1.1\r\nHost: a\r\n\r\n", 503),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ] {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let (bytes, ending) = read_to_end(&mut stream);
        let answer = Answer::parse(&bytes);
        assert_eq!((answer.status, ending), (status, Ending::Eof), "{request:.60}");
        let dates = answer.headers("Date");
        let [date] = dates[..] else { panic!("{dates:?} in the answer to {request:.60}") };
        // To a second, and written as it has to be (RFC 9110, 5.6.7).
        let parsed = httpdate::parse_http_date(date).unwrap();
        assert_eq!(httpdate::fmt_http_date(parsed), date);
        let now = SystemTime::now();
        let apart = now.duration_since(parsed).or_else(|_| parsed.duration_since(now)).unwrap();
        assert!(apart < Duration::from_secs(5), "{date} is {apart:?} from now");
    }
    let mut stream = server.connect();
    stream.write_all(request("/", "").as_bytes()).unwrap();
    let accepted = read_head(&mut stream);
    assert_eq!((accepted.status, accepted.header("Date")), (101, None));
}

#[test]
fn a_handler_that_knows_the_date_better_keeps_its_own() {
    let server = serve(plain().reactors(1), |_| {
        Script::<()>::new().request(|_, (), request| match request.path() {
            "/bad" => Reply::status(200).header("Date", "today\r\n"),
            _ => Reply::status(200).header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        })
    });
    let dates_of = |path: &str| {
        let mut stream = server.connect();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let answer = Answer::parse(&read_to_end(&mut stream).0);
        answer.headers("Date").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(dates_of("/own"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
    // One that is left out is as good as none.
    let dates = dates_of("/bad");
    assert!(dates.len() == 1 && httpdate::parse_http_date(&dates[0]).is_ok(), "{dates:?}");
}

/// Serves so many bytes, and tells why connections ended.
fn pages(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder.reactors(1), move |_| {
        let told = told.clone();
        Script::<()>::new()
            .request(|_, (), request| match request.path()[1..].parse() {
                Ok(size) => Reply::status(200).body("application/octet-stream", page(size)),
                Err(_) => Reply::accept(),
            })
            .close(move |closed, ()| {
                tell(&told, Told::Close { opened: closed.opened(), reason: *closed.reason() });
            })
    });
    (server, events)
}

/// Part of one page that all are served from.
fn page(size: usize) -> Bytes {
    static ALL: OnceLock<Bytes> = OnceLock::new();
    ALL.get_or_init(|| (0..100_u32 << 20).map(|n| (n % 251) as u8).collect()).slice(..size)
}

fn get(size: usize) -> String {
    format!("GET /{size} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn a_page_of_any_size_arrives_whole_and_is_not_copied_for_each() {
    alone("answers::a_page_of_any_size_arrives_whole_and_is_not_copied_for_each", || {
        let (server, events) = pages(plain());
        // Two wait at once, for the one page that there is.
        drop(page(1));
        let before = peak_memory();
        let mut slow = [(); 2].map(|()| connect_with_window(server.at(), 4096));
        slow.iter_mut().for_each(|stream| stream.write_all(get(100 << 20).as_bytes()).unwrap());
        slow.iter_mut().for_each(|stream| stream.read_exact(&mut [0; 4096]).unwrap());
        Client::open(server.at()).echo("others are served meanwhile");
        assert!(peak_memory() - before < 16 << 20, "{} B more", peak_memory() - before);
        drop(slow);
        let ends = [(); 3].map(|()| next(&events));
        assert!(ends.iter().all(|end| matches!(end, Told::Close { .. })), "{ends:?}");
        for size in [0, 1, 1023, 1024, 300_000, (64 << 20) - 1, 64 << 20, 80 << 20] {
            let answer = ask(server.at(), get(size).as_bytes());
            assert_eq!(answer.status, 200, "{size} bytes");
            assert!(answer.body == page(size), "{size} bytes");
            assert_eq!(next(&events), refused(CloseReason::Local));
        }
    });
}

#[test]
fn a_page_for_which_there_is_no_memory_is_500_and_no_reset() {
    let (server, events) = pages(plain().buffer_memory(1 << 20));
    let quiet = Quiet::talk(server.at());
    let fits = (1 << 20) - 2048;
    assert!(ask(server.at(), get(fits).as_bytes()).body == page(fits));
    assert_eq!(next(&events), refused(CloseReason::Local));
    for size in [1 << 20, 3 << 20] {
        let answer = ask(server.at(), get(size).as_bytes());
        assert_eq!((answer.status, &*answer.body), (500, &b"no memory for the answer\n"[..]));
        assert!(answer.header("Date").is_some());
        assert_eq!(next(&events), refused(CloseReason::MemoryPressure));
    }
    // Of whom only the head is told there is nothing to hold.
    let mut stream = server.connect();
    stream.write_all(get(3 << 20).replace("GET", "HEAD").as_bytes()).unwrap();
    let head = Answer::parse(&read_to_end(&mut stream).0);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("3145728")));
    drop(stream);
    assert_eq!(next(&events), refused(CloseReason::Local));
    quiet.was_served();
}

#[test]
fn for_a_page_others_give_way_where_the_policy_says_so() {
    for (policy, status) in [(MemoryPolicy::CloseGreatest, 200), (MemoryPolicy::CloseAsking, 500)] {
        let memory = plain().buffer_memory(1 << 20).memory_policy(policy);
        let (server, events) = pages(memory.send_buffer(16 << 10));
        let mut slow = connect_with_window(server.at(), 4096);
        slow.write_all(get(800_000).as_bytes()).unwrap();
        slow.read_exact(&mut [0; 100]).unwrap();
        assert_eq!(ask(server.at(), get(500_000).as_bytes()).status, status, "{policy:?}");
        // The one who has given way, or been told so; then the one who was served.
        assert_eq!(next(&events), refused(CloseReason::MemoryPressure));
        let (rest, ending) = read_to_end(&mut slow);
        drop(slow);
        assert_eq!(next(&events), refused(CloseReason::Local));
        let is_whole = rest.ends_with(&page(800_000)[700_000..]);
        assert_eq!((is_whole, ending == Ending::Eof), (status == 500, status == 500), "{policy:?}");
    }
}
