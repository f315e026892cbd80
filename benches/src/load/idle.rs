//! Idle connections: opened, greeted with one echo each so that the server has seen them, then held.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::sealed::Client;
use super::wire::{Over, Wire};
use super::{PATIENCE_MS, connect};

/// Opens `count` connections with one echo on each, one after the other, and hands them over to be held.
///
/// # Errors
///
/// What the system refused, or an answer that is not the question.
pub fn open(to: SocketAddr, over: Over, count: usize, size: usize) -> io::Result<Vec<TcpStream>> {
    let mut wire = Wire::new(to, over, size, 1)?;
    if over == Over::Tcp {
        return (0..count).map(|index| greet(connect(to, index)?, index, &mut wire)).collect();
    }
    let sockets = over.open(to, count)?.into_iter().enumerate();
    sockets.map(|(index, socket)| greet(socket, index, &mut wire)).collect()
}

/// The same over TLS.
///
/// # Errors
///
/// As [`open`], and a handshake that fails.
pub fn open_sealed(to: SocketAddr, over: Over, count: usize, size: usize) -> io::Result<Vec<Client>> {
    let mut wire = Wire::new(to, over, size, 1)?;
    let mut clients = Client::open(to, over, count)?;
    for (index, client) in clients.iter_mut().enumerate() {
        let question = wire.question(index, 0).to_vec();
        client.ask(&question, wire.answer(index, 0))?;
    }
    Ok(clients)
}

/// Blocking, one at a time: this is the way in, not what is measured.
fn greet(mut socket: TcpStream, index: usize, wire: &mut Wire) -> io::Result<TcpStream> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
    socket.write_all(wire.question(index, 0))?;
    let awaited = wire.answer(index, 0);
    let mut answer = vec![0; awaited.len()];
    socket.read_exact(&mut answer)?;
    if answer == awaited {
        Ok(socket)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"))
    }
}
