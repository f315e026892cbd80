//! An echo server as one writes it with mio: a map of sockets, each read until it would block.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use wheelhouse_benches::server::{self, Options};

const LISTENER: Token = Token(0);

struct Peer {
    socket: TcpStream,
    unsent: Vec<u8>,
}

fn main() -> io::Result<()> {
    let mut listener = TcpListener::from_std(Options::from_command_line()?.bind()?);
    server::stop_when_input_closes();
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
                accept_all(&listener, &poll, &mut peers, &mut next)?;
            } else if let Some(peer) = peers.get_mut(&event.token())
                && echo(peer, &mut buffer).is_err()
            {
                peers.remove(&event.token());
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: &Poll,
    peers: &mut HashMap<Token, Peer>,
    next: &mut usize,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut socket, _)) => {
                let token = Token(*next);
                *next += 1;
                poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                peers.insert(token, Peer { socket, unsent: Vec::new() });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads until it would block, and stops reading while answers wait: an error means the connection is over.
fn echo(peer: &mut Peer, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        while !peer.unsent.is_empty() {
            match peer.socket.write(&peer.unsent) {
                Ok(sent) => drop(peer.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let read = match peer.socket.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        match peer.socket.write(&buffer[..read]) {
            Ok(sent) => peer.unsent.extend_from_slice(&buffer[sent..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                peer.unsent.extend_from_slice(&buffer[..read]);
            }
            Err(error) => return Err(error),
        }
    }
}
