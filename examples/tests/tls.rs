//! The programs over TLS, spoken to by other implementations of it, and the load against them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use common::{Ended, Server, connect, example, run};
use rustls_stable::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tempfile::TempDir;
use tungstenite::Message;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A server whose certificate is made at its start, and written to a file.
struct Secure {
    server: Server,
    certificate: PathBuf,
    _directory: TempDir,
}

impl Secure {
    fn start(urls: &[&str]) -> Secure {
        let directory = tempfile::tempdir().unwrap();
        let certificate = directory.path().join("cert.pem");
        let server = Server::start_on("echo", urls, &["--write-cert", certificate.to_str().unwrap()]);
        Secure { server, certificate, _directory: directory }
    }

    fn ca(&self) -> String {
        format!("--ca={}", self.certificate.display())
    }
}

/// TLS to that server, which has to be who it says by the certificates in that file.
fn trusting(certificate: &Path, server: &Server, name: &str) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, connect(server.address()))
}

fn stress(to: &str, options: &[&str]) -> Ended {
    run(example("stress").args(["--to", to, "--seconds=0.3"]).args(options))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}{}", ended.out, ended.err))
}

#[test]
fn the_certificate_made_at_the_start_is_told_and_holds_for_each_name_of_this_machine() {
    let echo = Secure::start(&["tls://127.0.0.1:0"]);
    let told = format!(
        "certificate: self-signed, for localhost, 127.0.0.1 and ::1; written to {}\n",
        echo.certificate.display()
    );
    assert_eq!(echo.server.said(), told);
    assert!(echo.server.url().starts_with("tls://127.0.0.1:"), "{}", echo.server.url());
    for name in ["localhost", "127.0.0.1", "::1"] {
        let mut stream = trusting(&echo.certificate, &echo.server, name);
        stream.write_all(b"over TLS").unwrap();
        let mut back = [0; 8];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"over TLS");
    }
    assert_eq!(echo.server.stop().0, Some(0));
}

#[test]
fn a_websocket_over_tls_has_its_messages_echoed() {
    let echo = Secure::start(&["wss://127.0.0.1:0"]);
    let stream = trusting(&echo.certificate, &echo.server, "localhost");
    let (mut socket, _) = tungstenite::client("wss://localhost/", stream).unwrap();
    for message in [Message::text("gr\u{fc}n"), Message::binary(vec![7; 100_000])] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
}

/// `openssl s_client`, killed when dropped.
struct OpenSsl(Child);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn openssl_trusts_the_certificate_that_was_written() {
    let echo = Secure::start(&["tls://127.0.0.1:0"]);
    let mut client = OpenSsl(
        Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost", "-CAfile"])
            .arg(&echo.certificate)
            .args(["-connect", &echo.server.address().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed"),
    );
    client.0.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(client.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
}

#[test]
fn the_load_comes_through_whole_over_tls_and_over_a_websocket_over_tls() {
    let echo = Secure::start(&["tls://127.0.0.1:0", "wss://127.0.0.1:0"]);
    for (nth, trust) in [(0, "--insecure"), (0, &*echo.ca()), (1, "--insecure"), (1, &*echo.ca())] {
        let to = &echo.server.urls()[nth];
        let ended = stress(to, &["--connections=20", "--pipeline=3", "--json", trust]);
        let results = json(&ended);
        assert_eq!((ended.code, &results["ok"]), (Some(0), &Value::Bool(true)), "{to}: {}", ended.err);
        assert_eq!(results["connections"]["opened"], 20);
        let answered = results["messages"]["answered"].as_u64().unwrap();
        assert!(answered >= 60);
        assert_eq!(results["bytes"]["received"], answered * 64);
        assert!(ended.err.contains("bytes as they were sent"), "{}", ended.err);
    }
}

#[test]
fn messages_of_many_records_come_through_whole() {
    let echo = Secure::start(&["tls://127.0.0.1:0", "wss://127.0.0.1:0"]);
    for url in echo.server.urls() {
        let options = ["--connections=3", "--size=300000", "--pipeline=2", "--json", "--insecure"];
        let ended = stress(url, &options);
        assert_eq!((ended.code, &json(&ended)["ok"]), (Some(0), &Value::Bool(true)), "{}", ended.err);
    }
}

#[test]
fn a_schedule_is_kept_over_tls() {
    let echo = Secure::start(&["tls://127.0.0.1:0"]);
    let ended =
        stress(echo.server.url(), &["--connections=10", "--rate=500", "--sources=2", "--json", "--insecure"]);
    assert_eq!((ended.code, &json(&ended)["messages"]["answered"]), (Some(0), &150.into()), "{}", ended.err);
}

#[test]
fn who_is_signed_by_nobody_that_is_trusted_is_refused_by_the_load() {
    let (echo, other) = (Secure::start(&["tls://127.0.0.1:0"]), Secure::start(&["tls://127.0.0.1:0"]));
    let ended = stress(echo.server.url(), &["--connections=3", &other.ca()]);
    let told = "3 TLS: the server's certificate is neither in --ca nor signed by what is (--insecure trusts anybody)";
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains(told), "{}{}", ended.out, ended.err);
}

#[test]
fn a_server_that_speaks_no_tls_is_told_of() {
    let server = Server::start("echo", &[]);
    let to = format!("tls://{}", server.address());
    let ended = stress(&to, &["--connections=2", "--insecure"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("2 TLS: "), "{}{}", ended.out, ended.err);
}

#[test]
fn the_load_asks_whom_to_trust_before_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let (none, empty) = (directory.path().join("none.pem"), directory.path().join("empty.pem"));
    std::fs::write(&empty, "").unwrap();
    let (none, empty) = (none.to_str().unwrap(), empty.to_str().unwrap());
    let cannot_be_read = format!("--ca {none}: cannot be read");
    let is_empty = format!("--ca {empty}: no certificate in it");
    for (options, part) in [
        (&["--to=tls://127.0.0.1:1"][..], "--ca PEM trusts"),
        (&["--to=wss://127.0.0.1:1"], "--insecure trusts anybody"),
        (&["--to=tls://127.0.0.1:1", "--ca", none], &cannot_be_read),
        (&["--to=tls://127.0.0.1:1", "--ca", empty], &is_empty),
        (&["--to=tls://127.0.0.1:1", "--ca", none, "--insecure"], "cannot be used with"),
        (&["--to=tcp://127.0.0.1:1", "--insecure"], "only with --to tls:// or wss://"),
    ] {
        let ended = run(example("stress").args(options));
        assert_eq!(ended.code, Some(2), "{options:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{options:?}: {}", ended.err);
    }
}

#[test]
fn a_certificate_from_files_is_shown_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = pair(directory.path(), "own");
    let options = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let server = Server::start_on("echo", &["tls://127.0.0.1:0"], &options);
    assert_eq!(server.said(), "");
    let mut stream = trusting(&certificate, &server, "site.example");
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn files_that_are_no_certificate_and_its_key_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let ((certificate, key), (_, other)) = (pair(directory.path(), "own"), pair(directory.path(), "other"));
    let none = directory.path().join("none.pem");
    let (certificate, key, other, none) = (path(&certificate), path(&key), path(&other), path(&none));
    let at = "tls://127.0.0.1:0";
    for (url, options, parts) in [
        (at, &["--cert", none, "--key", key][..], ["none.pem", "cannot be read"]),
        (at, &["--cert", certificate, "--key", none], ["none.pem", "cannot be read"]),
        (at, &["--cert", key, "--key", key], ["own.key", "no certificate in it"]),
        (at, &["--cert", certificate, "--key", certificate], ["own.pem", "no private key in it"]),
        (at, &["--cert", certificate, "--key", other], ["own.pem", "the key is not this certificate's"]),
        (at, &["--cert", certificate], ["--key", "required"]),
        (at, &["--key", key], ["--cert", "required"]),
        ("tcp://127.0.0.1:0", &["--cert", certificate, "--key", key], ["--cert", "only with tls://"]),
    ] {
        let ended = run(example("echo").args(["--listen", url]).args(options));
        assert_eq!(ended.code, Some(2), "{options:?}: {}", ended.err);
        assert!(parts.iter().all(|part| ended.err.contains(part)), "{options:?}: {}", ended.err);
    }
}

#[test]
fn the_chat_serves_its_page_by_https_and_knows_its_own_origin() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("cert.pem");
    let options = ["--ws", "wss://127.0.0.1:0", "--tcp", "tcp://127.0.0.1:0", "--write-cert"];
    let chat = Server::start_with("chat", 2, &[&options[..], &[path(&certificate)]].concat());
    let page = asking(&certificate, &chat, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(page, "HTTP/1.1 200 OK\r\n");
    for (scheme, answer) in [("https", "HTTP/1.1 101 "), ("http", "HTTP/1.1 403 ")] {
        let head = asking(&certificate, &chat, &from_a_page(scheme, "GET / HTTP/1.1", ""));
        assert!(head.starts_with(answer), "{scheme}: {head}");
    }
}

#[test]
fn who_is_let_in_over_tls_is_who_came_by_https() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("cert.pem");
    let server = Server::start_on("upgrade", &["wss://127.0.0.1:0"], &["--write-cert", path(&certificate)]);
    assert!(server.url().starts_with("wss://127.0.0.1:"), "{}", server.url());
    let more = "Authorization: Bearer ann.sesame\r\nSec-WebSocket-Protocol: json\r\n";
    for (scheme, answer) in [("https", "HTTP/1.1 101 "), ("http", "HTTP/1.1 403 ")] {
        let head = asking(&certificate, &server, &from_a_page(scheme, "GET /v1 HTTP/1.1", more));
        assert!(head.starts_with(answer), "{scheme}: {head}");
    }
    assert_eq!(server.stop().0, Some(0));
}

/// The first line of the answer to a request over TLS.
fn asking(certificate: &Path, server: &Server, request: &str) -> String {
    let mut stream = trusting(certificate, server, "127.0.0.1");
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    BufReader::new(stream).read_line(&mut head).unwrap();
    head
}

/// As a browser asks for a WebSocket from the page of the same host. Both have the default port: the engine looks at a page's
/// host and port, and a scheme is a port here.
fn from_a_page(scheme: &str, line: &str, more: &str) -> String {
    let host = "127.0.0.1";
    format!(
        "{line}\r\nHost: {host}\r\nOrigin: {scheme}://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{more}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Files with a certificate for `site.example` and its key.
fn pair(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["site.example".to_owned()]).unwrap();
    let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
