//! `openssl s_client`, over a real socket: what rustls' clients never ask for.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use wheelhouse::{
    Tls, TlsError,
    internals::{Phase, TlsSession},
};

use crate::pki::Authority;

const PATIENCE: Duration = Duration::from_secs(20);

/// Echoes until the client is gone: how it ended (still `Handshaking` where the stream did without a word), and the echo.
fn echo(mut socket: TcpStream, tls: &Tls) -> (Phase, Vec<u8>) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut session = TlsSession::server(tls).unwrap();
    let (mut buffer, mut kept, mut out, mut echoed) = (vec![0; 70_000], 0, Vec::new(), Vec::new());
    loop {
        let len = match socket.read(&mut buffer[kept..]) {
            Ok(0) | Err(_) => return (Phase::Handshaking, echoed),
            Ok(len) => kept + len,
        };
        let received = session.receive(&mut buffer[..len], &mut out);
        let plain = &buffer[received.plain.clone()];
        if !plain.is_empty() {
            echoed.extend_from_slice(plain);
            session.send(&[plain], &mut out).unwrap();
        }
        if received.phase == Phase::Closed {
            session.close_notify(&mut out);
        }
        let _ = socket.write_all(&out);
        out.clear();
        if matches!(received.phase, Phase::Closed | Phase::Failed(_)) {
            return (received.phase, echoed);
        }
        kept = received.left.len();
        buffer.copy_within(received.left, 0);
    }
}

/// `openssl s_client` at our server, ended with the test.
struct Client {
    process: Child,
    said: Receiver<String>,
    all: String,
    server: JoinHandle<(Phase, Vec<u8>)>,
}

impl Client {
    fn connect(arguments: &[&str]) -> Self {
        let own = Authority::new().signs(&["localhost"]);
        let tls = Tls::builder().certificate(own.certificate, own.key).alpn(["http/1.1"]).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || echo(listener.accept().unwrap().0, &tls));
        let mut process = Command::new("openssl")
            .args(["s_client", "-connect", &address, "-servername", "localhost"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let (say, said) = mpsc::channel();
        listen(process.stdout.take().unwrap(), say.clone());
        listen(process.stderr.take().unwrap(), say);
        Client { process, said, all: String::new(), server }
    }

    /// Types a line, which s_client takes for a command where it is one letter, and waits for what must come of it.
    fn types(&mut self, line: &str, expected: &str) {
        self.process.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        self.waits_for(expected);
    }

    fn waits_for(&mut self, expected: &str) {
        while !self.all.contains(expected) {
            match self.said.recv_timeout(PATIENCE) {
                Ok(more) => self.all.push_str(&more),
                Err(_) => panic!("no `{expected}` in {}", self.all),
            }
        }
    }

    /// Hangs up; how our side ended, and all that it echoed.
    fn ends(mut self) -> (Phase, Vec<u8>) {
        drop(self.process.stdin.take());
        let ended = self.server.join().unwrap();
        let _ = self.process.kill();
        let _ = self.process.wait();
        ended
    }
}

fn listen(mut from: impl Read + Send + 'static, say: Sender<String>) {
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut piece) {
            let _ = say.send(String::from_utf8_lossy(&piece[..len]).into_owned());
        }
    });
}

#[test]
fn openssl_echoes_says_goodbye_and_agrees_on_what_was_agreed() {
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let mut client = Client::connect(&[version, "-alpn", "h2,http/1.1"]);
        client.waits_for(name);
        client.waits_for("ALPN protocol: http/1.1");
        client.types("first words\n", "first words\n");
        assert_eq!(client.ends(), (Phase::Closed, b"first words\n".to_vec()));
    }
}

#[test]
fn openssl_renews_its_keys_and_asks_for_ours() {
    let mut client = Client::connect(&["-tls1_3"]);
    client.types("before\n", "before\n");
    for round in 0..3 {
        client.types("K\n", "KEYUPDATE\n");
        client.all.clear();
        let line = format!("after {round}\n");
        client.types(&line, &line);
    }
    assert_eq!(client.ends(), (Phase::Closed, b"before\nafter 0\nafter 1\nafter 2\n".to_vec()));
}

#[test]
fn renegotiation_is_refused_and_said_so() {
    let mut client = Client::connect(&["-tls1_2"]);
    client.types("before\n", "before\n");
    client.types("R\n", "no renegotiation");
    let (phase, echoed) = client.ends();
    assert!(matches!(phase, Phase::Handshaking | Phase::Failed(TlsError::Alert { .. })), "{phase:?}");
    assert_eq!(echoed, b"before\n");
}

#[test]
fn openssl_that_speaks_only_old_versions_is_refused() {
    // Debian's openssl offers TLS 1.1 only at its lowest level of security.
    let mut client = Client::connect(&["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"]);
    client.waits_for("alert");
    assert!(matches!(client.ends().0, Phase::Failed(TlsError::Incompatible { .. })));
}
