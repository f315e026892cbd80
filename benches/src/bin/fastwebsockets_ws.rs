//! An ordinary WebSocket echo server on fastwebsockets, as its own example has it: one task to a connection, which never
//! yields while there is something to read. The handshake is ours: the crate's needs a whole HTTP server.

use std::io;

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wheelhouse_benches::server::{self, Options};
use wheelhouse_benches::tokio_loop;
use wheelhouse_benches::websocket::{end_of_head, upgrade};

/// A request that is longer is none of the load's.
const LONGEST_HEAD: usize = 16 * 1024;

fn main() -> io::Result<()> {
    let listener = Options::from_command_line()?.bind()?;
    server::stop_when_input_closes();
    tokio_loop::run(listener, |socket| tokio::task::unconstrained(echo(socket)))
}

/// Ends with the connection, whichever way that goes.
async fn echo(mut socket: TcpStream) -> Result<(), WebSocketError> {
    greet(&mut socket).await?;
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(socket, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn greet(socket: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while end_of_head(&head).is_none() {
        if socket.read_buf(&mut head).await? == 0 || head.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let answer = upgrade(&head).ok_or(io::ErrorKind::InvalidData)?;
    socket.write_all(answer.as_bytes()).await
}
