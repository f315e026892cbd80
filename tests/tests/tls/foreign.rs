//! Clients that are no Rust: openssl and Python.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use tempfile::NamedTempFile;
use wheelhouse::{CloseReason, Framing};

use crate::{
    fixture::{Script, serve},
    pki::authority,
    site::{Event, engine, listener, start},
};

/// The authority's certificate as a file.
pub(crate) fn root() -> NamedTempFile {
    file(&authority().certificate())
}

pub(crate) fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// What a program prints, which must succeed.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Vec<u8> {
    let mut timed = Command::new("timeout");
    timed.arg("30").arg(command.get_program()).args(command.get_args());
    let output = timed.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    output.stdout
}

const PYTHON: &str = r#"
import random, select, socket, ssl, sys
port, root = sys.argv[1:]
for newest in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
    context = ssl.create_default_context(cafile=root)
    context.maximum_version = newest
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", int(port)), timeout=15) as plain:
        tls = context.wrap_socket(plain, server_hostname="localhost")
        assert tls.selected_alpn_protocol() == "http/1.1"
        sent = random.Random(1).randbytes(1500000)
        # One thread: an SSL object of OpenSSL's is not to be read and written at once.
        tls.setblocking(False)
        left, got = memoryview(sent), b""
        while len(got) < len(sent):
            is_stuck = True
            try:
                if left:
                    left = left[tls.send(left[:1 << 16]):]
                    is_stuck = False
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            try:
                piece = tls.recv(1 << 16)
                assert piece, len(got)
                got += piece
                is_stuck = False
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            if is_stuck:
                ready = select.select([tls], [tls] if left else [], [], 15)
                assert any(ready), len(got)
        assert got == sent
        tls.setblocking(True)
        tls.unwrap().close()  # sends close_notify, and waits for ours
print("all is well")
"#;

#[test]
fn python_gets_every_byte_back_and_says_goodbye() {
    let (server, events) = start(engine());
    let root = root();
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON, &server.at().port().to_string()]);
    assert_eq!(output(python.arg(root.path())), b"all is well\n");
    for _ in 0..2 {
        let ended = loop {
            if let Event::Close(ended) = crate::fixture::next(&events) {
                break ended;
            }
        };
        assert_eq!((ended.reason, ended.error), (CloseReason::Peer { code: None }, None));
    }
}

#[test]
fn openssl_s_client_checks_the_name_and_hears_its_lines() {
    let lines = wheelhouse::Engine::builder().listen(listener().framing(Framing::lines(100))).reactors(1);
    let server = serve(lines, |_| {
        Script::<()>::new().message(|conn, _, message| {
            conn.send(message);
            match message.bytes() {
                b"and goodbye" => wheelhouse::Action::Finish,
                _ => wheelhouse::Action::Continue,
            }
        })
    });
    let root = root();
    let mut client = Command::new("timeout");
    client.args([
        "30",
        "openssl",
        "s_client",
        "-quiet",
        "-verify_return_error",
        "-verify_hostname",
        "localhost",
    ]);
    client
        .args(["-servername", "localhost", "-connect", &server.at().to_string(), "-CAfile"])
        .arg(root.path());
    let mut client = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    // Kept open: it ends because we say so.
    let mut lines = client.stdin.take().unwrap();
    lines.write_all(b"hello\nand goodbye\n").unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(output.stdout, b"hello\nand goodbye\n");
    drop(lines);
}
