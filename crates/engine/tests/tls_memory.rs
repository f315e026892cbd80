//! TLS: what an idle session costs, and that an echo allocates nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use wheelhouse::{
    Tls, TlsClient,
    internals::{Phase, TlsSession},
};

/// The system's allocator, counting what each thread does. What aws-lc takes by itself it does not see.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls go to the system's allocator unchanged; the counter is a plain cell of the calling thread, initialised
// at compile time and without a destructor, so that touching it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `alloc` above, which is the system's, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The process's memory is everyone's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn configs(algorithm: &'static SignatureAlgorithm) -> (Tls, TlsClient) {
    let (tls, client, _) = made(algorithm);
    (tls, client)
}

fn made(algorithm: &'static SignatureAlgorithm) -> (Tls, TlsClient, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate =
        CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let tls =
        Tls::builder().certificate(&*certificate, key.serialize_pem()).alpn(["http/1.1"]).build().unwrap();
    let client = client_of(&certificate);
    (tls, client, certificate)
}

/// A client that was never here.
fn client_of(certificate: &str) -> TlsClient {
    TlsClient::builder("localhost").roots(certificate).alpn(["http/1.1"]).build().unwrap()
}

/// Both ends of a connection after the handshake, and what the server's took of the processor.
fn open(tls: &Tls, client: &TlsClient) -> (TlsSession, TlsSession, Duration) {
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut took = Duration::ZERO;
    let mut client = TlsSession::client(client, &mut to_server).unwrap();
    let start = cpu();
    let mut server = TlsSession::server(tls).unwrap();
    took += cpu() - start;
    while !(to_server.is_empty() && to_client.is_empty()) {
        let start = cpu();
        server.receive(&mut to_server, &mut to_client);
        took += cpu() - start;
        to_server.clear();
        client.receive(&mut to_client, &mut to_server);
        to_client.clear();
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    (server, client, took)
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// The process's memory, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn the_memory_of_an_idle_session_is_at_most_3_100_bytes() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const SESSIONS: usize = 4_000;
    let (tls, client) = configs(&PKCS_ECDSA_P256_SHA256);
    let mut sessions = Vec::with_capacity(SESSIONS);
    // What is made once is made.
    sessions.extend((0..50).map(|_| open(&tls, &client).0));
    let before = resident();
    sessions.extend((50..SESSIONS).map(|_| open(&tls, &client).0));
    let each = (resident() - before) / (SESSIONS - 50);
    println!("{each} B a session");
    assert!(each <= 3_100, "{each} bytes");
    assert_eq!(size_of::<TlsSession>(), 24);
}

#[test]
fn an_echo_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (tls, client) = configs(&PKCS_ECDSA_P256_SHA256);
    let (mut server, mut client, _) = open(&tls, &client);
    let (mut request, mut answer) = (Vec::with_capacity(128 * 1024), Vec::with_capacity(128 * 1024));
    for len in [64, 16 * 1024, 60_000] {
        let message = vec![7; len];
        for _ in 0..100 {
            request.clear();
            answer.clear();
            client.send(&[&message], &mut request).unwrap();
            let before = ALLOCATIONS.get();
            let received = server.receive(&mut request, &mut answer);
            let plain = &request[received.plain];
            assert_eq!((plain.len(), received.phase), (len, Phase::Open));
            server.send(&[&plain[..10], &plain[10..]], &mut answer).unwrap();
            assert_eq!(ALLOCATIONS.get(), before, "{len} bytes");
            client.receive(&mut answer, &mut request);
        }
    }
}

/// By hand: `cargo test --release -p wheelhouse --test tls_memory -- --ignored --nocapture`.
#[test]
#[ignore = "prints what handshakes and records cost; a benchmark, not a promise"]
fn costs() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2]
    };
    for (name, algorithm) in [("ECDSA P-256", &PKCS_ECDSA_P256_SHA256), ("RSA-2048", &PKCS_RSA_SHA256)] {
        let (tls, client, certificate) = made(algorithm);
        let resumed = median((0..300).map(|_| open(&tls, &client).2).collect());
        let strangers = (0..300).map(|_| open(&tls, &client_of(&certificate)).2);
        let full = median(strangers.collect());
        println!("handshake, {name}: {full:?}, resumed {resumed:?}");
    }
    let (tls, client) = configs(&PKCS_ECDSA_P256_SHA256);
    let (mut server, mut client, _) = open(&tls, &client);
    let (mut request, mut answer) = (Vec::with_capacity(64 * 1024), Vec::with_capacity(64 * 1024));
    for len in [64, 16 * 1024] {
        let message = vec![7; len];
        let rounds = (0..20_000).map(|_| {
            request.clear();
            answer.clear();
            client.send(&[&message], &mut request).unwrap();
            let start = Instant::now();
            let received = server.receive(&mut request, &mut answer);
            server.send(&[&request[received.plain]], &mut answer).unwrap();
            let took = start.elapsed();
            client.receive(&mut answer, &mut request);
            took
        });
        println!("open and seal, {len} B: {:?}", median(rounds.collect()));
    }
}
