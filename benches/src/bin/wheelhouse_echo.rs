//! The engine's echo server: one reactor, which listens for itself or is handed its connections.

#![expect(unsafe_code, reason = "an allocator that counts is an implementation of an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use wheelhouse::{Action, Address, Conn, Engine, Handler, Message};
use wheelhouse_benches::server;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: server::Options,
    /// Let the sub-reactor accept for itself; otherwise the main reactor hands connections over.
    #[arg(long)]
    reuse_port: bool,
    /// Seconds after which an idle connection is closed.
    #[arg(long)]
    idle_timeout: Option<u64>,
    /// Count allocations, and print the count whenever a line comes in.
    #[arg(long)]
    count_allocations: bool,
}

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    options.common.prepare()?;
    let mut builder = Engine::builder()
        .listen(format!("tcp://{}", options.common.listen))
        .reactors(1)
        .reuse_port(options.reuse_port);
    if let Some(seconds) = options.idle_timeout {
        builder = builder.idle_timeout(Duration::from_secs(seconds));
    }
    let engine = builder.build(|_| Echo).map_err(io::Error::other)?;
    let Some(Address::Tcp(bound)) = engine.addresses().first() else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    server::announce(*bound)?;

    COUNTING.store(options.count_allocations, Ordering::Relaxed);
    let handle = engine.handle();
    server::attend_input(print_count, move || handle.shutdown());
    engine.run().map_err(io::Error::other)
}

fn print_count() {
    let count = ALLOCATIONS.load(Ordering::Relaxed);
    let mut out = io::stdout().lock();
    // A runner that is gone closes the input too, which ends the process.
    let _ = writeln!(out, "{count}").and_then(|()| out.flush());
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
