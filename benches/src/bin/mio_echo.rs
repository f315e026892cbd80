//! An echo server as one writes it with mio: a map of sockets, each read until it would block.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use wheelhouse_benches::mio_loop;
use wheelhouse_benches::server::{self, Options};

struct Peer {
    socket: TcpStream,
    unsent: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = Options::from_command_line()?.bind()?;
    server::stop_when_input_closes();
    mio_loop::run(listener, |socket| Ok(Peer { socket, unsent: Vec::new() }), echo)
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
