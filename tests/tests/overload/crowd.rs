//! Very many clients that wait for nothing.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use socket2::{Domain, Socket, Type};

use crate::{fixture::PATIENCE, in_the_end, remote::Remote};

/// Connects that the engine has not taken yet: fewer than its backlog.
pub(crate) const AT_ONCE: usize = 1_000;

/// Many connections, in the order in which they came. Their sockets do not block.
#[derive(Default)]
pub(crate) struct Crowd {
    pub(crate) clients: Vec<TcpStream>,
}

impl Crowd {
    /// So many of them, one after the other, as fast as the engine takes them: none is left to the kernel's patience.
    #[track_caller]
    pub(crate) fn of(n: usize, remote: &mut Remote) -> Crowd {
        Crowd::dialled(n, remote, |to| dial(to, None, None))
    }

    /// As [`Crowd::of`], with receive buffers as small as the kernel makes them: what is sent to one that does not read
    /// stays with the engine.
    #[track_caller]
    pub(crate) fn narrow(n: usize, remote: &mut Remote) -> Crowd {
        Crowd::dialled(n, remote, |to| dial(to, None, Some(1)))
    }

    #[track_caller]
    fn dialled(n: usize, remote: &mut Remote, dial: impl Fn(SocketAddr) -> TcpStream) -> Crowd {
        let (to, before) = (remote.crowd, remote.taken());
        let mut clients = Vec::with_capacity(n);
        while clients.len() < n {
            let more = AT_ONCE.min(n - clients.len());
            clients.extend((0..more).map(|_| dial(to)));
            remote.has_taken(before + clients.len());
        }
        Crowd { clients }
    }

    /// One more, with a receive buffer as small.
    pub(crate) fn join(&mut self, at: SocketAddr) {
        self.clients.push(dial(at, None, Some(1)));
    }

    /// Each sends the same.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        for client in &mut self.clients {
            // Who has had to go already says nothing.
            let _ = client.write(bytes);
        }
    }

    /// Those whose connections are open still.
    pub(crate) fn open(&self) -> Vec<bool> {
        self.clients.iter().map(is_open).collect()
    }

    /// How many of them have ended; what has come is read, and forgotten.
    pub(crate) fn ended(&self) -> usize {
        self.clients.iter().filter(|client| has_ended(client)).count()
    }

    #[track_caller]
    pub(crate) fn have_all_ended(&self) {
        in_the_end("all of the crowd see their end", || self.ended() == self.clients.len());
    }
}

/// Connects from an address, or any, with a receive buffer, or the kernel's.
pub(crate) fn dial(at: SocketAddr, from: Option<Ipv4Addr>, receive_buffer: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from.into(), 0).into()).unwrap();
    }
    socket.connect_timeout(&at.into(), PATIENCE).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// Whether nothing has ended the connection; what came is left where it is.
fn is_open(client: &TcpStream) -> bool {
    match client.peek(&mut [0]) {
        Ok(n) => n > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Whether the connection is over, when what came is read.
fn has_ended(mut client: &TcpStream) -> bool {
    let mut bytes = [0; 16 << 10];
    loop {
        match client.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}
