//! What every echo server here does before it serves, so that they differ in the serving alone.

use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, TcpListener};
use std::{process, thread};

use clap::Parser;
use socket2::{Domain, Protocol, Socket, Type};

use crate::machine;

/// Enough for the 15,000 connections of the idle row, as far as the kernel allows: a SYN dropped for want
/// of room comes back a second later.
const BACKLOG: i32 = 4096;

/// Options that every server takes.
#[derive(Parser, Debug, Clone)]
#[group(id = "server")]
pub struct Options {
    /// Address to listen on; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Core to run on; anywhere if absent.
    #[arg(long)]
    pub cpu: Option<usize>,
}

impl Options {
    /// Parses the command line and gets the process ready: see [`Options::prepare`].
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub fn from_command_line() -> io::Result<Self> {
        let options = Self::parse();
        options.prepare()?;
        Ok(options)
    }

    /// Pins the process and lifts its limit of open files.
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub fn prepare(&self) -> io::Result<()> {
        machine::raise_file_limit()?;
        self.cpu.map_or(Ok(()), machine::pin)
    }

    /// As [`listen`], announced on standard output.
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub fn bind(&self) -> io::Result<TcpListener> {
        let listener = listen(self.listen)?;
        announce(listener.local_addr()?)?;
        Ok(listener)
    }
}

/// A non-blocking listener. `TCP_NODELAY` is set on it, once: the sockets it accepts inherit it.
///
/// # Errors
///
/// What the system refused.
pub fn listen(on: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(on), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&on.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Tells the runner where to connect.
///
/// # Errors
///
/// What writing to standard output came to.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    out.flush()
}

/// Ends the process when standard input closes: a server never outlives its runner, however that one died.
pub fn stop_when_input_closes() {
    attend_input(|_| "this server knows no questions".to_owned(), || process::exit(0));
}

/// Answers each line that comes in with one, and calls `closed` when standard input closes, on a thread that
/// sleeps in `read` all the while and costs the measurement nothing.
pub fn attend_input(
    mut answer: impl FnMut(&str) -> String + Send + 'static,
    closed: impl FnOnce() + Send + 'static,
) {
    thread::spawn(move || {
        for question in io::stdin().lock().lines().map_while(Result::ok) {
            let mut out = io::stdout().lock();
            // A runner that is gone closes the input too, which ends the process.
            let _ = writeln!(out, "{}", answer(&question)).and_then(|()| out.flush());
        }
        closed();
    });
}
