//! Very many that connect at once: nobody waits for another, each has one echo and is gone.
//!
//! What the kernel drops for want of room in the listener's queue, it tries again itself: a SYN after one second, then
//! the next, then after ever longer (`tcp_syn_retries`). A connect that it gives up, or that is reset, is made again here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::{Value, json};
use socket2::{SockRef, Socket};

use super::{histogram, socket, watch};

/// Bytes of the one echo.
const SIZE: usize = 64;

/// Longest that all of it may take: the kernel's patience with one SYN is a minute and more.
const LONGEST: Duration = Duration::from_secs(50);

/// Those who will connect: their sockets are made, and nobody has knocked yet.
pub struct Crowd {
    to: SocketAddr,
    /// The number of the first of them: the sources of several processes are not the same.
    first: usize,
    sockets: Vec<Socket>,
}

/// What they met.
#[derive(Debug)]
pub struct Outcome {
    served: usize,
    /// Connects that failed, or were reset before their echo, and were made again.
    again: usize,
    /// From the first connect of all to the own echo, in nanoseconds.
    waits: Histogram<u64>,
}

impl Crowd {
    /// Makes the sockets.
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub fn gather(to: SocketAddr, first: usize, count: usize) -> io::Result<Self> {
        let sockets = (first..first + count).map(|index| socket(to, index)).collect::<io::Result<_>>()?;
        Ok(Self { to, first, sockets })
    }

    /// All of them connect, and each has its echo.
    ///
    /// # Errors
    ///
    /// What the system refused, an answer that is not the question, or somebody who is not served within 50 s.
    pub fn knock(self) -> io::Result<Outcome> {
        let count = self.sockets.len();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let begun = Instant::now();
        let mut outcome = Outcome { served: 0, again: 0, waits: histogram()? };
        let mut waiting: Vec<Option<TcpStream>> = Vec::with_capacity(count);
        for (index, socket) in self.sockets.into_iter().enumerate() {
            waiting.push(Some(dial(socket, self.to, index, &epoll)?));
        }
        let mut events = vec![EpollEvent::empty(); 1024];
        while outcome.served < count {
            if begun.elapsed() > LONGEST {
                let left = count - outcome.served;
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{left} of {count} are not served")));
            }
            let ready = epoll.wait(&mut events, EpollTimeout::from(1_000_u16))?;
            for event in &events[..ready] {
                let index = event.data() as usize;
                let Some(stream) = &waiting[index] else { continue };
                match serve(stream, index, event.events()) {
                    Ok(false) => {}
                    Ok(true) => {
                        // Gone with a reset, so that no port is left waiting.
                        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
                        waiting[index] = None;
                        outcome.served += 1;
                        outcome.waits.saturating_record(begun.elapsed().as_nanos() as u64);
                    }
                    Err(error) if error.kind() == ErrorKind::InvalidData => return Err(error),
                    Err(_) => {
                        outcome.again += 1;
                        waiting[index] =
                            Some(dial(socket(self.to, self.first + index)?, self.to, index, &epoll)?);
                    }
                }
            }
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// The line the runner reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "served": self.served,
            "again": self.again,
            "p50_ns": self.waits.value_at_quantile(0.5),
            "p99_ns": self.waits.value_at_quantile(0.99),
            "max_ns": self.waits.max(),
        })
    }
}

/// Edges are told of: one when the connection is there, one when its answer is.
fn dial(socket: Socket, to: SocketAddr, index: usize, epoll: &Epoll) -> io::Result<TcpStream> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
            return Err(error);
        }
        _ => {}
    }
    let stream = TcpStream::from(OwnedFd::from(socket));
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    watch(epoll, &stream, EpollEvent::new(interest, index as u64))?;
    Ok(stream)
}

/// Asks when it is connected, and reads the answer when that is there; true when it was.
fn serve(mut stream: &TcpStream, index: usize, events: EpollFlags) -> io::Result<bool> {
    let question = question(index);
    if events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
        return Err(stream.take_error()?.unwrap_or_else(|| ErrorKind::ConnectionReset.into()));
    }
    if !events.contains(EpollFlags::EPOLLIN) {
        // So few bytes go into an empty buffer at once.
        let written = stream.write(&question)?;
        return if written == SIZE { Ok(false) } else { Err(ErrorKind::WriteZero.into()) };
    }
    let mut answer = [0; SIZE];
    match stream.read(&mut answer) {
        Ok(SIZE) if answer == question => Ok(true),
        Ok(0) => Err(ErrorKind::ConnectionReset.into()),
        Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "the answer is not the question")),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn question(index: usize) -> [u8; SIZE] {
    let mut question = [b'?'; SIZE];
    question[..8].copy_from_slice(&(index as u64).to_be_bytes());
    question
}
