//! An echo server over TLS as one writes it with mio and rustls 0.23, whose connections keep what they read and write.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls_stable::{ServerConfig, ServerConnection};
use wheelhouse_benches::secure;
use wheelhouse_benches::server::{self, Options};

const LISTENER: Token = Token(0);

struct Peer {
    socket: TcpStream,
    tls: ServerConnection,
}

fn main() -> io::Result<()> {
    let mut listener = TcpListener::from_std(Options::from_command_line()?.bind()?);
    server::stop_when_input_closes();
    let config = secure::server()?;
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
                accept_all(&listener, &poll, &config, &mut peers, &mut next)?;
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
    config: &Arc<ServerConfig>,
    peers: &mut HashMap<Token, Peer>,
    next: &mut usize,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut socket, _)) => {
                let token = Token(*next);
                *next += 1;
                poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                peers.insert(token, Peer { socket, tls });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads until it would block, and stops reading while answers wait: an error means the connection is over.
fn echo(peer: &mut Peer, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        while peer.tls.wants_write() {
            match peer.tls.write_tls(&mut peer.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match peer.tls.read_tls(&mut peer.socket) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut plain = peer.tls.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read();
        while plain > 0 {
            let read = peer.tls.reader().read(buffer)?;
            peer.tls.writer().write_all(&buffer[..read])?;
            plain -= read;
        }
    }
}
