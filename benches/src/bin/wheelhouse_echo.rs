//! The engine's echo server, over TCP, WebSocket and TLS: one reactor or several, which listen for themselves or are handed
//! their connections.

#![expect(unsafe_code, reason = "an allocator that counts is an implementation of an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use wheelhouse::{
    Action, Audience, Conn, Deflate, Framing, Handle, Handler, LengthDelimited, Listener, Message, WebSocket,
};
use wheelhouse_benches::{engine, secure, server};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    engine: engine::Options,
    /// Seconds after which an idle connection is closed.
    #[arg(long)]
    idle_timeout: Option<u64>,
    /// Sub-reactors.
    #[arg(long, default_value_t = 1)]
    reactors: usize,
    /// Messages have their length in front, in four bytes; otherwise bytes go back as they come.
    #[arg(long)]
    framed: bool,
    /// Messages are WebSocket's.
    #[arg(long)]
    ws: bool,
    /// What is spoken is spoken over TLS.
    #[arg(long, conflicts_with = "framed")]
    tls: bool,
    /// Listen for WebSocket over TLS too, at an address that the question `wss` is answered with.
    #[arg(long)]
    and_wss: bool,
    /// Seconds that a handshake may take; the default if absent.
    #[arg(long)]
    handshake_timeout: Option<u64>,
    /// Compress them, where the client can, at this level.
    #[arg(long, requires = "ws")]
    deflate: Option<u32>,
    /// Send every message to every connection, instead of back.
    #[arg(long)]
    broadcast: bool,
    /// The kernel's buffer for what a peer does not read, in bytes; the kernel's choice if absent.
    #[arg(long)]
    send_buffer: Option<usize>,
    /// Count allocations, to answer the question `allocations`.
    #[arg(long)]
    count_allocations: bool,
}

struct Echo {
    /// Set where all connections get what one says.
    all: bool,
}

impl Handler for Echo {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        if self.all {
            // The load waits for every delivery: one that finds no room breaks the run.
            let _ = conn.reactor().broadcast(Audience::Open, message.to_payload());
        } else {
            conn.send(message);
        }
        Action::Continue
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let (scheme, framing) = match (options.ws, options.framed) {
        (true, _) => (["ws", "wss"], Framing::websocket(websocket(options.deflate))),
        (false, true) => (["tcp", "tls"], Framing::length_delimited(LengthDelimited::u32_be())),
        (false, false) => (["tcp", "tls"], Framing::raw()),
    };
    let scheme = scheme[usize::from(options.tls)];
    let mut builder = options.engine.builder_of(scheme, framing)?.reactors(options.reactors);
    if let Some(seconds) = options.idle_timeout {
        builder = builder.idle_timeout(Duration::from_secs(seconds));
    }
    if options.and_wss {
        let framing = Framing::websocket(websocket(options.deflate));
        builder = builder.listen(Listener::new("wss://127.0.0.1:0").tls(secure::tls()?).framing(framing));
    }
    if let Some(seconds) = options.handshake_timeout {
        builder = builder.handshake_timeout(Duration::from_secs(seconds));
    }
    if let Some(bytes) = options.send_buffer {
        builder = builder.send_buffer(bytes);
    }
    let all = options.broadcast;
    let engine = builder.build(move |_| Echo { all }).map_err(io::Error::other)?;
    engine::announce(&engine)?;

    COUNTING.store(options.count_allocations, Ordering::Relaxed);
    let wss = engine.addresses().get(1).map(ToString::to_string).unwrap_or_default();
    let handle = engine.handle();
    let asked = handle.clone();
    server::attend_input(move |question| answer(question, &wss, &asked), move || handle.shutdown());
    engine.run().map_err(io::Error::other)
}

/// Messages of 1 MiB pass (N24).
fn websocket(level: Option<u32>) -> WebSocket {
    let socket = WebSocket::new().max_message(1 << 20);
    match level {
        Some(level) => socket.deflate(Deflate::new().level(level)),
        None => socket,
    }
}

fn answer(question: &str, wss: &str, handle: &Handle) -> String {
    match question {
        "wss" => wss.trim_start_matches("tcp://").to_owned(),
        "allocations" => ALLOCATIONS.load(Ordering::Relaxed).to_string(),
        "counters" => engine::counters(handle).to_string(),
        _ => format!("no answer to {question:?}"),
    }
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The system's allocator, counting where asked to: elsewhere it costs one look at a flag.
struct Counted;

impl Counted {
    fn count() {
        if COUNTING.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promises are those `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as above; `block` came from `System`, as all of ours do.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
