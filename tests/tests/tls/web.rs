//! WebSockets and pages over TLS: tungstenite, Python's websockets, curl.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
};

use tungstenite::Message as Frame;
use wheelhouse::{
    Action, Conn, Deflate, Engine, Framing, Handler, Listener, Message, Reply, Request, Tls, WebSocket,
};
use wheelhouse_tests::Pattern;

use crate::{
    fixture::{Server, connect, expect, serve},
    foreign::{output, root},
    peer::{Client, config, goodbye, over, secure, session},
    pki::{localhost, tls},
};

/// Echoes messages, and serves one page.
struct Site;

impl Handler for Site {
    type Session = ();

    fn on_request(&mut self, conn: &mut Conn<'_>, (): &mut (), request: &Request<'_>) -> Reply {
        match request.path() {
            "/page" => {
                let seen =
                    conn.tls().map(|info| format!("{:?} for {:?}", info.version(), info.server_name()));
                Reply::status(200).body("text/html", seen.unwrap_or_default())
            }
            "/long" => Reply::status(200).body("text/plain", Pattern::new(1).take(300_000)),
            _ => Reply::accept(),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, (): &mut (), message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }
}

fn site() -> Server<Site> {
    let framing = Framing::websocket(WebSocket::new().deflate(Deflate::new()));
    let listener = Listener::new("wss://127.0.0.1:0").framing(framing).tls(tls());
    serve(Engine::builder().listen(listener).reactors(2), |_| Site)
}

#[test]
fn tungstenite_talks_over_tls() {
    let server = site();
    let (mut socket, answer) = tungstenite::client("ws://localhost/talk", secure(server.at())).unwrap();
    assert_eq!(answer.status(), 101);
    for size in [0, 1, 125, 126, 5000, 65_535, 65_536, 200_000] {
        let bytes = Pattern::new(size as u64).take(size);
        let text: String = bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        for frame in [Frame::binary(bytes), Frame::text(text)] {
            socket.send(frame.clone()).unwrap();
            assert!(socket.read().unwrap() == frame, "{size} bytes");
        }
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    // And TLS ends as it should, behind the close frame.
    assert_eq!(goodbye(socket.get_mut()), b"");
}

const REQUEST: &[u8] =
    b"GET /talk HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// `hello`, masked with zeros.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";

/// Reads an answer's head, and no more.
fn head(client: &mut Client) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_first_frame_in_the_record_of_the_request_is_served() {
    let server = site();
    let mut client = secure(server.at());
    client.write_all(&[REQUEST, HELLO, HELLO].concat()).unwrap();
    assert!(head(&mut client).starts_with("HTTP/1.1 101 "));
    expect(&mut client, b"\x81\x05hello\x81\x05hello");
}

#[test]
fn a_request_and_frames_cut_anywhere_into_records_are_the_same() {
    let server = site();
    let all = [REQUEST, HELLO].concat();
    for cut in [1, 2, REQUEST.len() - 1, REQUEST.len(), REQUEST.len() + 1, all.len() - 1] {
        let mut client = secure(server.at());
        // Two records in one segment.
        let mut bytes = crate::peer::sealed(&mut client, &all[..cut]);
        bytes.extend(crate::peer::sealed(&mut client, &all[cut..]));
        client.sock.write_all(&bytes).unwrap();
        assert!(head(&mut client).starts_with("HTTP/1.1 101 "), "cut at {cut}");
        expect(&mut client, b"\x81\x05hello");
    }
}

#[test]
fn plain_http_on_a_wss_port_is_answered_with_an_alert() {
    let server = site();
    let mut socket = connect(server.at());
    socket.write_all(REQUEST).unwrap();
    let (all, _) = crate::fixture::read_to_end(&mut socket);
    assert_eq!((all.len(), all[0]), (7, 21), "{all:02x?}");
}

#[test]
fn curl_gets_a_page_by_https() {
    let server = site();
    let root = root();
    let get = |path: &str, version: &[&str]| {
        let port = server.at().port();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "15", "--noproxy", "*"]).args(version);
        curl.arg("--cacert").arg(root.path());
        curl.args(["--resolve", &format!("localhost:{port}:127.0.0.1")]);
        output(curl.arg(format!("https://localhost:{port}{path}")))
    };
    assert_eq!(get("/page", &["--tlsv1.3"]), b"Tls13 for Some(\"localhost\")");
    assert_eq!(get("/page", &["--tls-max", "1.2"]), b"Tls12 for Some(\"localhost\")");
    assert!(get("/long", &["--tlsv1.3"]) == Pattern::new(1).take(300_000));
}

/// Python with websockets: the one that the tests have installed, or the system's.
pub(crate) fn python() -> Command {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/venv/bin/python");
    match installed.exists() {
        true => Command::new(installed),
        false => Command::new("python3"),
    }
}

const WEBSOCKETS: &str = r#"
import ssl, sys, random
from websockets.sync.client import connect
port, root, compression = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
compression = None if compression == "plain" else compression
with connect(f"wss://localhost:{port}/talk", ssl=context, compression=compression, proxy=None, max_size=None, open_timeout=60) as ws:
    agreed = ws.response.headers.get("Sec-WebSocket-Extensions", "")
    assert ("permessage-deflate" in agreed) == (compression == "deflate"), agreed
    noise = random.Random(1)
    for size in [0, 1, 511, 512, 5000, 65535, 70000, 400000]:
        for message in ["the same again " * (size // 15), noise.randbytes(size)]:
            ws.send(message)
            assert ws.recv(timeout=15) == message, size
    ws.close(4001, "that is all")
    assert ws.close_code == 4001
print("all is well")
"#;

#[test]
fn pythons_websockets_talk_over_tls_compressed_and_plain() {
    let server = site();
    let root = root();
    for compression in ["deflate", "plain"] {
        let mut python = python();
        python.args(["-c", WEBSOCKETS, &server.at().port().to_string()]);
        assert_eq!(output(python.arg(root.path()).arg(compression)), b"all is well\n", "{compression}");
    }
}

/// A client that offers these application protocols.
fn offering(protocols: &[&str]) -> rustls_stable::ClientConfig {
    let mut config = config();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

#[test]
fn a_listener_of_websockets_speaks_http_1_1_by_alpn_without_being_told_and_others_what_they_are_told() {
    let unnamed = Tls::new(&*localhost().certificate, &*localhost().key).unwrap();
    let of = |url: &str| {
        let listener = Listener::new(url).tls(unnamed.clone());
        serve(Engine::builder().listen(listener).reactors(1), |_| Site)
    };
    let (web, plain) = (of("wss://127.0.0.1:0"), of("tls://127.0.0.1:0"));
    for (server, offered, chosen) in [
        (&web, &["h2", "http/1.1"][..], Some(&b"http/1.1"[..])),
        (&web, &["http/1.1"], Some(b"http/1.1")),
        (&web, &[], None),
        (&plain, &["h2", "smtp"], None),
        (&plain, &[], None),
    ] {
        let client = over(connect(server.at()), offering(offered));
        assert_eq!(client.conn.alpn_protocol(), chosen, "{offered:?}");
    }
    // RFC 7301, 3.2.
    let mut socket = connect(web.at());
    let refused = session("localhost", offering(&["h2"])).complete_io(&mut socket).unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    // After a reload, too.
    let named = Tls::builder().certificate(&*localhost().certificate, &*localhost().key).alpn(["mine"]);
    unnamed.reload(&named.build().unwrap());
    for server in [&web, &plain] {
        let client = over(connect(server.at()), offering(&["http/1.1", "mine"]));
        assert_eq!(client.conn.alpn_protocol(), Some(&b"mine"[..]));
    }
}
