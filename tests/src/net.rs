//! Plain sockets, each wait of theirs bounded.

use std::{
    io::{self, ErrorKind, Read},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::sys::socket::{MsgFlags, send};
use socket2::{Domain, SockRef, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(15);

/// A connection whose reads and writes fail after 15 s.
#[track_caller]
pub fn connect(to: SocketAddr) -> TcpStream {
    try_connect(to).expect("connect")
}

/// As [`connect`], where it may fail: the engine may reset before connecting is done.
pub fn try_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    bounded(&stream)?;
    Ok(stream)
}

/// As [`connect`], with kernel buffers of that size; they are set before connecting, so that the window is small from the
/// start.
#[track_caller]
pub fn connect_small(to: SocketAddr, buffers: usize) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("socket");
    socket.set_recv_buffer_size(buffers).expect("SO_RCVBUF");
    socket.set_send_buffer_size(buffers).expect("SO_SNDBUF");
    socket.connect_timeout(&to.into(), PATIENCE).expect("connect");
    let stream = TcpStream::from(socket);
    bounded(&stream).expect("set its timeouts");
    stream
}

fn bounded(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Closing it will send a reset.
#[track_caller]
pub fn linger_zero(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
}

/// Sends bytes of which the last is urgent.
#[track_caller]
pub fn send_urgent(stream: &TcpStream, bytes: &[u8]) {
    let sent = send(stream.as_raw_fd(), bytes, MsgFlags::MSG_OOB).expect("MSG_OOB");
    assert_eq!(sent, bytes.len());
}

/// Exactly so many bytes.
#[track_caller]
pub fn read_exactly(stream: &mut impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    let mut filled = 0;
    while filled < n {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => panic!("the stream ended after {filled} of {n} bytes"),
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("after {filled} of {n} bytes: {error}"),
        }
    }
    bytes
}

/// One line, without its LF, read byte by byte: nothing behind it is taken.
#[track_caller]
pub fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    loop {
        match read_exactly(stream, 1)[0] {
            b'\n' => return String::from_utf8(line).expect("a line of text"),
            byte => line.push(byte),
        }
    }
}

/// Everything until FIN; a reset is a failure.
#[track_caller]
pub fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        panic!("after {} bytes: {error}", bytes.len());
    }
    bytes
}

/// Reads and discards until the connection is over, by FIN or by reset.
#[track_caller]
pub fn wait_for_end(stream: &mut impl Read) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the connection did not end"),
            Err(error) => return Err(error),
        }
    }
}

/// Whether the connection ends with a reset; what comes before it is discarded.
#[track_caller]
pub fn is_reset(stream: &mut impl Read) -> bool {
    wait_for_end(stream).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}
