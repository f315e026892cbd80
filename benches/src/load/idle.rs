//! Idle connections: opened, greeted with one echo each so that the server has seen them, then held.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{PATIENCE_MS, connect};

/// Opens `count` connections with one echo of 64 bytes on each, and hands them over to be held.
///
/// # Errors
///
/// What the system refused, or an answer that is not the question.
pub fn open(to: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|index| greet(connect(to, index)?)).collect()
}

/// Blocking, one at a time: this is the way in, not what is measured.
fn greet(mut socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
    let question = [b'?'; 64];
    let mut answer = [0; 64];
    socket.write_all(&question)?;
    socket.read_exact(&mut answer)?;
    if answer == question {
        Ok(socket)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"))
    }
}
