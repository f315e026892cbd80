//! An ordinary WebSocket echo server on tokio-tungstenite: one task to a connection, one thread for all of them.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use wheelhouse_benches::server::{self, Options};
use wheelhouse_benches::tokio_loop;

fn main() -> io::Result<()> {
    let listener = Options::from_command_line()?.bind()?;
    server::stop_when_input_closes();
    tokio_loop::run(listener, echo)
}

/// Ends with the connection, whichever way that goes.
async fn echo(socket: TcpStream) -> Result<(), Error> {
    let mut socket = tokio_tungstenite::accept_async(socket).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
