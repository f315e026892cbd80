//! An echo server over TLS as one writes it with mio and rustls 0.23, whose connections keep what they read and write.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls_stable::ServerConnection;
use wheelhouse_benches::server::{self, Options};
use wheelhouse_benches::{mio_loop, secure};

struct Peer {
    socket: TcpStream,
    tls: ServerConnection,
}

fn main() -> io::Result<()> {
    let listener = Options::from_command_line()?.bind()?;
    server::stop_when_input_closes();
    let config = secure::server()?;
    let greet = |socket| {
        let tls = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        Ok(Peer { socket, tls })
    };
    mio_loop::run(listener, greet, echo)
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
