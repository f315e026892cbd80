//! An ordinary echo server on tokio: one task to a connection, one thread for all of them.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wheelhouse_benches::server::{self, Options};
use wheelhouse_benches::tokio_loop;

fn main() -> io::Result<()> {
    let listener = Options::from_command_line()?.bind()?;
    server::stop_when_input_closes();
    tokio_loop::run(listener, echo)
}

/// Ends with the connection, whichever way that goes.
async fn echo(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        socket.write_all(&buffer[..read]).await?;
    }
}
