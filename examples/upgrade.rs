//! A server that decides which WebSockets it takes, and is an HTTP server to everyone else.
//!
//! Shows [`Handler::on_request`]: a health check, paths, origins, subprotocols and tokens, each with its own answer; and a
//! decision that takes long, made by another thread while the connection waits ([`Reply::later`]). The subprotocol chosen
//! at once is kept for the late acceptance, for browsers give up on a server that forgets it.

use std::{
    process::ExitCode,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use clap::Parser;
use wheelhouse::{Action, Conn, ConnId, Engine, Handle, Handler, Message, Reply, Request};
use wheelhouse_examples::{AnyError, Certificate, end, listener, seconds, serve_at, websocket_url};

/// Tells each WebSocket on /v1 who it is: `Authorization: Bearer NAME.SECRET`, subprotocol json or cbor.
#[derive(Parser)]
struct Options {
    /// Where to listen: ws://HOST:PORT, or wss://HOST:PORT for TLS
    #[arg(long, value_name = "URL", value_parser = websocket_url, default_value = "ws://127.0.0.1:9007")]
    listen: String,
    #[command(flatten)]
    certificate: Certificate,
    /// What everyone has to know
    #[arg(long, value_name = "TEXT", default_value = "sesame")]
    secret: String,
    /// Pages of this origin may come too, as https://example.org; again for more; by default only those from where we are
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Vec<String>,
    /// How long it takes to look up one whose secret is not known here
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0.5")]
    look_up: Duration,
    /// How long somebody waits for that
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    within: Duration,
}

/// Look-ups that may wait for the thread; beyond that people are told to come again.
const WAITING: usize = 64;

/// So that a name fits into the shortest form of CBOR's text, too.
const LONGEST_NAME: usize = 23;

struct Api {
    secret: String,
    origins: Vec<String>,
    within: Duration,
    look_ups: SyncSender<LookUp>,
}

struct LookUp {
    id: ConnId,
    secret: String,
}

#[derive(Default)]
struct User {
    name: String,
}

impl Handler for Api {
    type Session = User;

    fn on_request(&mut self, conn: &mut Conn<'_>, user: &mut User, request: &Request<'_>) -> Reply {
        match request.path() {
            "/health" => return Reply::status(200).body("text/plain", "ok\n"),
            "/v1" => {}
            _ => return Reply::status(404).body("text/plain", "there is /health and /v1\n"),
        }
        if !request.is_upgrade() {
            // The engine says 426, or what is wrong with a request that tried.
            return Reply::accept();
        }
        if !self.is_welcome(request, conn.tls().is_some()) {
            return Reply::status(403).body("text/plain", "not from that page\n");
        }
        let Some((name, secret)) = credentials(request) else {
            return Reply::status(401).header("www-authenticate", "Bearer");
        };
        let Some(chosen) = request.protocols().find(|name| matches!(*name, "json" | "cbor")) else {
            return Reply::status(400).body("text/plain", "offer json or cbor\n");
        };
        user.name = name.to_owned();
        if secret == self.secret {
            return Reply::accept().subprotocol(chosen).header("x-served-by", "wheelhouse");
        }
        match self.look_ups.try_send(LookUp { id: conn.id(), secret: secret.to_owned() }) {
            Ok(()) => Reply::later().subprotocol(chosen).within(self.within),
            Err(_) => Reply::status(503).header("retry-after", "1"),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, user: &mut User, _: Message<'_>) -> Action {
        match conn.subprotocol() {
            Some("cbor") => conn.send(cbor(&user.name)),
            // A name has no character that JSON would escape.
            _ => conn.send(format!("{{\"user\":\"{}\"}}", user.name)),
        };
        Action::Continue
    }
}

impl Api {
    /// Browsers say which page asks; others say nothing, and have no cookies that a stranger's page could use.
    /// Over TLS a page is from where we are when it came by `https://`.
    fn is_welcome(&self, request: &Request<'_>, is_tls: bool) -> bool {
        request.is_same_origin(is_tls) || request.origin_is_one_of(&self.origins)
    }
}

/// Reads an origin from the command line: what is none, or has a path, would match no page (RFC 6454, 6.2).
fn origin(text: &str) -> Result<String, String> {
    let (scheme, host) = text.split_once("://").unwrap_or_default();
    let is_of_a_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let is_origin = !scheme.is_empty() && !host.is_empty() && host.chars().all(is_of_a_host);
    if is_origin && port.is_none_or(|port| port.parse::<u16>().is_ok()) {
        return Ok(text.to_owned());
    }
    Err("expected an origin, https://HOST or https://HOST:PORT".to_owned())
}

/// The name and the secret of a well-formed token.
fn credentials<'a>(request: &Request<'a>) -> Option<(&'a str, &'a str)> {
    let header = std::str::from_utf8(request.header("authorization")?).ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let (name, secret) = token.trim_start().split_once('.')?;
    let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    (scheme.eq_ignore_ascii_case("bearer") && is_name).then_some((name, secret))
}

/// A map of one pair of texts (RFC 8949, 3.1).
fn cbor(name: &str) -> Vec<u8> {
    let mut bytes = b"\xa1\x64user".to_vec();
    bytes.push(0x60 | name.len() as u8);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// Asks somebody far away, one after the other: secrets that begin with `guest` are good there.
fn look_up(asked: &Receiver<LookUp>, back: &Handle, takes: Duration) {
    for LookUp { id, secret } in asked {
        thread::sleep(takes);
        let is_good = secret.starts_with("guest");
        back.answer(id, if is_good { Reply::accept() } else { Reply::status(403) });
    }
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let Options { listen, certificate, secret, origin: origins, look_up: takes, within } = options;
    let urls = [listen];
    let tls = certificate.tls(&urls)?;
    let (look_ups, asked) = sync_channel(WAITING);
    let engine = Engine::builder().listen(listener(&urls[0], tls.as_ref())).build(move |_| Api {
        secret: secret.clone(),
        origins: origins.clone(),
        within,
        look_ups: look_ups.clone(),
    })?;
    let handle = engine.handle();
    // It ends with the process: a look-up may be under way when everything else is over.
    thread::Builder::new().name("look-ups".into()).spawn(move || look_up(&asked, &handle, takes))?;
    serve_at(engine, &urls)?;
    Ok(())
}
