//! Which application protocol is agreed on by one who dials, with servers that are not ours.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::mpsc::channel,
};

use tempfile::NamedTempFile;
use wheelhouse::{Action, CloseReason, Connect, On, TlsClient, TlsClientBuilder};

use crate::{
    dialling::OpenSsl,
    fixture::{Script, local, next, serve, tell},
    foreign::file,
    pki::{authority, localhost},
    site::{ended, start},
    web::python,
};

#[test]
fn who_asks_for_a_websocket_offers_http_1_1_unless_told_otherwise() {
    let said_nothing = client().build().unwrap();
    assert_eq!(agreed(&["h2", "http/1.1"], said_nothing.clone()), "http/1.1");
    assert_eq!(agreed(&["h2", "http/1.1"], said_nothing.named("localhost").unwrap()), "http/1.1");
    assert_eq!(agreed(&["mine", "http/1.1"], client().alpn(["mine"]).build().unwrap()), "mine");
    assert_eq!(agreed(&["http/1.1"], client().alpn::<&str>([]).build().unwrap()), "None");
}

#[test]
fn a_server_that_agrees_on_none_is_as_good() {
    let said_nothing = client().build().unwrap();
    assert_eq!(agreed(&[], said_nothing.clone()), "None");
    assert_eq!(agreed(&["mine"], said_nothing), "None");
}

/// RFC 7301, 3.2.
#[test]
fn a_server_that_insists_on_another_is_told_of_with_its_alert() {
    let openssl = OpenSsl::start(&["-alpn", "h2"]);
    let (server, events) = start(local().reactors(1));
    let connect = Connect::to(format!("wss://127.0.0.1:{}", openssl.port)).tls(client().build().unwrap());
    server.handle.connect(On::Any, connect).unwrap();
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Handshake, false));
    ended.says("alert 120");
}

#[test]
fn what_is_no_websocket_offers_what_it_was_told_and_nothing_of_itself() {
    for (tls, chosen) in [(client(), None), (client().alpn(["http/1.1"]), Some("http/1.1"))] {
        let openssl = OpenSsl::start(&["-alpn", "http/1.1"]);
        let (told, heard) = channel();
        let server = serve(local().reactors(1), move |_| {
            let told = told.clone();
            Script::<()>::new().open(move |conn, _| {
                let info = conn.tls().unwrap();
                tell(&told, info.alpn().map(|name| String::from_utf8_lossy(name).into_owned()));
                Action::Close
            })
        });
        let connect = Connect::to(format!("tls://127.0.0.1:{}", openssl.port)).tls(tls.build().unwrap());
        server.handle.connect(On::Any, connect).unwrap();
        assert_eq!(next(&heard).as_deref(), chosen);
    }
}

fn client() -> TlsClientBuilder {
    TlsClient::builder("localhost").roots(authority().certificate())
}

/// What an open connection has agreed on, as both ends say it; it was of use by then.
fn agreed(serves: &[&str], tls: TlsClient) -> String {
    let mut python = Python::start(serves);
    let (told, heard) = channel();
    let server = serve(local().reactors(1), move |_| {
        let (open, echo) = (told.clone(), told.clone());
        Script::<()>::new()
            .open(move |conn, _| {
                let alpn = conn.tls().unwrap().alpn().map(|name| String::from_utf8_lossy(name).into_owned());
                tell(&open, alpn.unwrap_or("None".to_owned()));
                conn.send("hello");
                Action::Continue
            })
            .message(move |_, _, message| {
                tell(&echo, message.text().unwrap().to_owned());
                Action::Continue
            })
    });
    let connect = Connect::to(format!("wss://127.0.0.1:{}", python.port)).tls(tls);
    server.handle.connect(On::Any, connect).unwrap();
    let ours = next(&heard);
    assert_eq!(next(&heard), "hello");
    assert_eq!(python.lines.next(), Some(ours.clone()), "both say the same");
    ours
}

/// Python's websockets over its own TLS: prints its port, then what it has agreed on with each that connects.
struct Python {
    process: Child,
    lines: Box<dyn Iterator<Item = String>>,
    port: u16,
    _files: [NamedTempFile; 2],
}

const PROGRAM: &str = r#"
import ssl, sys
from websockets.sync.server import serve
certificate, key, *protocols = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
if protocols:
    context.set_alpn_protocols(protocols)

def talk(ws):
    print(ws.socket.selected_alpn_protocol(), flush=True)
    for message in ws:
        ws.send(message)

with serve(talk, "127.0.0.1", 0, ssl=context) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"#;

impl Python {
    fn start(protocols: &[&str]) -> Python {
        let files = [file(&localhost().certificate), file(&localhost().key)];
        let mut process = python()
            .args(["-c", PROGRAM])
            .args(files.iter().map(|file| file.path()))
            .args(protocols)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is installed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let port = lines.next().expect("a port").parse().unwrap();
        Python { process, lines: Box::new(lines), port, _files: files }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
