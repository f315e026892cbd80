//! A storm: connections that come, are really used, and are held until they leave all at once.
//!
//! The server frames its messages by a length of four bytes, the high one first. Every connection has an echo of
//! its own; every second one is a burden beside: it leaves a long answer unread, so that the server's queue keeps what
//! the kernel would not take, and sends half of a message, which the server's buffer keeps.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{PATIENCE_MS, socket};

/// Bytes in the message that every connection gets back.
const GREETING: usize = 64;

/// Bytes in the answer that is left unread, of which the kernel takes a part, where its buffers are small. All
/// connections of a storm together stay below the engine's limit of buffers.
const UNREAD: usize = 16 * 1024;

/// Bytes in the message of which only half is sent.
const HALF_SENT: usize = 8 * 1024;

/// The kernel's buffer for what a burden does not read, in bytes; the kernel doubles it. It is set before the
/// socket connects: a window that has been offered is not taken back.
const RECEIVE_BUFFER: usize = 2048;

/// The connections of one storm.
pub struct Storm {
    light: Vec<TcpStream>,
    burdens: Vec<TcpStream>,
}

impl Storm {
    /// Opens connections, of which every second one, but not the first, is a burden.
    ///
    /// # Errors
    ///
    /// What the system refused, or an answer that is not the question.
    pub fn open(to: SocketAddr, count: usize) -> io::Result<Self> {
        let mut storm = Self { light: Vec::new(), burdens: Vec::new() };
        for index in 0..count {
            let is_burden = index % 2 == 1;
            let mut socket = connect(to, index, is_burden)?;
            echo(&mut socket)?;
            if is_burden {
                burden(&mut socket)?;
                storm.burdens.push(socket);
            } else {
                storm.light.push(socket);
            }
        }
        Ok(storm)
    }

    /// Connections there are, and how many of them are burdens.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.light.len() + self.burdens.len(), self.burdens.len())
    }

    /// Sees that the light ones are still served; how many there are.
    ///
    /// # Errors
    ///
    /// As [`Storm::open`].
    pub fn ask_again(&mut self) -> io::Result<usize> {
        self.light.iter_mut().try_for_each(echo)?;
        Ok(self.light.len())
    }
}

/// Blocking, one at a time: this is the way in, not what is measured.
fn connect(to: SocketAddr, index: usize, is_burden: bool) -> io::Result<TcpStream> {
    let socket = socket(to, index)?;
    let patience = Some(Duration::from_millis(PATIENCE_MS.into()));
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(patience)?;
    socket.set_write_timeout(patience)?;
    if is_burden {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn echo(socket: &mut TcpStream) -> io::Result<()> {
    let question = framed(GREETING, GREETING);
    let mut answer = vec![0; question.len()];
    socket.write_all(&question)?;
    socket.read_exact(&mut answer)?;
    if answer == question {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"))
    }
}

fn burden(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(&framed(UNREAD, UNREAD))?;
    socket.write_all(&framed(HALF_SENT, HALF_SENT / 2))
}

/// A message that announces so many bytes, and brings perhaps fewer.
fn framed(announced: usize, brought: usize) -> Vec<u8> {
    let mut frame = (announced as u32).to_be_bytes().to_vec();
    frame.resize(4 + brought, b'?');
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_announces_its_length_whatever_it_brings() {
        assert_eq!(framed(0x0102, 3), b"\0\0\x01\x02???");
        assert_eq!(framed(2, 2), b"\0\0\0\x02??");
    }
}
