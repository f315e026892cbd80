//! A server as one writes it with tokio: one task to a connection, one thread for all of them.

use std::io;
use std::net::TcpListener;

use tokio::net::TcpStream;

/// Serves for ever: each connection ends with its task, whichever way that goes.
///
/// # Errors
///
/// What the system refused.
pub fn run<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output: Send> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(serve(socket));
        }
    })
}
