//! What every HTTP answer on a WebSocket port says, whoever gives it.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use wheelhouse::Reply;

use crate::{
    MS, Script,
    fixture::{Ending, read_to_end, serve},
    plain,
    wire::{Answer, read_head, request},
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
