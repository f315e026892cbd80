//! A server as one writes it with mio: a map of connections, each served when its socket is ready.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);

/// Serves for ever. `greet` makes of a socket what is kept of the connection. `serve` reads until it would block, by way of
/// the buffer all of them share, and stops reading while answers wait: an error means the connection is over.
///
/// # Errors
///
/// What the system refused, or `greet`.
pub fn run<P>(
    listener: TcpListener,
    greet: impl Fn(TcpStream) -> io::Result<P>,
    serve: impl Fn(&mut P, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    let mut peers = HashMap::new();
    let mut next = 1;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, |mut socket| {
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                    peers.insert(token, greet(socket)?);
                    Ok(())
                })?;
            } else if let Some(peer) = peers.get_mut(&event.token())
                && serve(peer, &mut buffer).is_err()
            {
                peers.remove(&event.token());
            }
        }
    }
}

fn accept_all(
    listener: &mio::net::TcpListener,
    mut add: impl FnMut(TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => add(socket)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
