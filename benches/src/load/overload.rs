//! Quiet connections twice alone, and beside a crowd that behaves badly.
//!
//! The quiet have a listener of their own, which echoes; the crowd comes by another, whose messages have their length in
//! front, in four bytes with the high one first. What the crowd does is a [`Storm`]: it goes on for the whole stretch,
//! and until so many of the crowd as it is about have been closed.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::{Value, json};

use super::disturbed::{self, REST};
use super::quiet::Beside;
use super::{Over, PATIENCE_MS, connect, socket, watch};

/// What a crowd does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Storm {
    /// They come, as fast as they can, and each sends half a message.
    HalfSent,
    /// They are there and do not read, while one of them, who does, has broadcasts made one after the other.
    NeverRead,
    /// They are there, and send a message byte by byte.
    Trickle,
    /// They are there, as many as may be, while others connect as fast as they are turned away.
    Connects,
}

/// Traffic to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The quiet connections, which the crowd disturbs.
    pub disturbed: disturbed::Plan,
    /// Where the crowd connects.
    pub crowd: SocketAddr,
    /// What the crowd does.
    pub storm: Storm,
    /// How many the crowd are.
    pub count: usize,
    /// How many of them the storm must have closed before it is over.
    pub gone: usize,
}

/// Bytes that a message of the crowd announces, and that half of it is.
const ANNOUNCED: u32 = 6_000;
const HALF: usize = 3_000;

/// Bytes in a broadcast.
const BROADCAST: usize = 500;

/// From one byte of a trickle to the next.
const TRICKLE: Duration = Duration::from_millis(100);

/// When nobody has ended for so long, though not all have who should, those who are left ask whether they have.
const SILENCE: Duration = Duration::from_millis(500);

/// Connects that wait to be turned away.
const IN_FLIGHT: usize = 64;

/// As small as the kernel makes them.
const RECEIVE_BUFFER: usize = 2048;

/// Runs the plan; the line the runner reads. `came` and `ended` are the connections of the crowd that were made in the storm,
/// and those that ended in it.
///
/// # Errors
///
/// What the system refused, an answer that is not the question, or one that does not come.
pub fn run(plan: &Plan) -> io::Result<Value> {
    plan.disturbed.run(Over::Tcp, |quiet| {
        let mut crowd = Crowd::gather(plan)?;
        quiet.stretch(REST / 4, None)?;
        let before = crowd.ended;
        let stormy = quiet.stretch(plan.disturbed.quiet.stretch, Some(&mut crowd))?;
        Ok((stormy, json!({ "came": crowd.came, "ended": crowd.ended - before })))
    })
}

/// The crowd and its storm.
struct Crowd {
    storm: Storm,
    to: SocketAddr,
    count: usize,
    gone: u64,
    sockets: Vec<Option<TcpStream>>,
    /// Tells who has ended, and nothing else.
    ends: Epoll,
    came: u64,
    ended: u64,
    /// Whose half message the kernel has not taken yet.
    unsaid: VecDeque<usize>,
    /// The one who has broadcasts made, and how much of the last one it has.
    herald: Option<(TcpStream, usize)>,
    /// Who is next to send a byte, and when; which byte of its message that is.
    next: usize,
    due: Instant,
    byte: usize,
    steps: usize,
    /// When somebody was last seen to have ended, or those who are left were told to ask.
    heard: Instant,
}

impl Crowd {
    fn gather(plan: &Plan) -> io::Result<Self> {
        let mut crowd = Self {
            storm: plan.storm,
            to: plan.crowd,
            count: plan.count,
            gone: plan.gone as u64,
            sockets: Vec::new(),
            ends: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            came: 0,
            ended: 0,
            unsaid: VecDeque::new(),
            herald: None,
            next: 0,
            due: Instant::now(),
            byte: 0,
            steps: 0,
            heard: Instant::now(),
        };
        if plan.storm != Storm::HalfSent {
            for index in 0..plan.count {
                crowd.add(connected(plan.crowd, index, plan.storm == Storm::NeverRead)?)?;
            }
        }
        if plan.storm == Storm::NeverRead {
            // The last to come is the last to be sent a broadcast: then all have it.
            crowd.herald = Some((connected(plan.crowd, plan.count, false)?, FRAME));
        }
        Ok(crowd)
    }

    fn add(&mut self, socket: TcpStream) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLRDHUP, self.sockets.len() as u64);
        watch(&self.ends, &socket, event)?;
        self.sockets.push(Some(socket));
        Ok(())
    }

    /// Forgets those who have been closed.
    fn bury(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        let ready = self.ends.wait(&mut events, EpollTimeout::ZERO)?;
        for event in &events[..ready] {
            self.ended += u64::from(self.sockets[event.data() as usize].take().is_some());
        }
        let begun = self.ended > 0;
        if ready > 0 || !begun {
            self.heard = Instant::now();
        } else if self.storm == Storm::NeverRead && self.ended < self.gone && self.heard.elapsed() > SILENCE {
            self.heard = Instant::now();
            self.ask();
        }
        Ok(())
    }

    /// Each who is left sends a byte, and is reset again if it has been before: the kernel drops packets, resets too, while
    /// its timers have more to send than its queue holds (`net.core.netdev_max_backlog`), and who only waits never knows.
    fn ask(&mut self) {
        for socket in self.sockets.iter_mut().flatten() {
            // Who is closed is told when the ends are looked at.
            let _ = socket.write(b"?");
        }
    }

    /// One more comes and sends half a message; or one who could not send it yet tries again.
    fn come_and_say_half(&mut self) -> io::Result<()> {
        let who = match self.sockets.len() {
            index if index < self.count => {
                self.add(connect(self.to, index)?)?;
                self.came += 1;
                index
            }
            _ => match self.unsaid.pop_front() {
                Some(index) => index,
                None => return Ok(()),
            },
        };
        let Some(socket) = &mut self.sockets[who] else { return Ok(()) };
        match socket.write(&message(ANNOUNCED, HALF)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                self.unsaid.push_back(who);
            }
            // Who gives way to others is told when the ends are looked at.
            _ => {}
        }
        Ok(())
    }

    /// A broadcast, when all have been sent the last one.
    fn herald(&mut self, pours: bool) -> io::Result<()> {
        let Some((socket, got)) = &mut self.herald else { return Ok(()) };
        if *got == FRAME && pours {
            socket.write_all(&message(BROADCAST as u32, BROADCAST))?;
            *got = 0;
        }
        let mut bytes = [0; FRAME];
        match socket.read(&mut bytes[..FRAME - *got]) {
            Ok(0) if *got < FRAME => Err(io::Error::other("the one who reads was closed")),
            Ok(n) => {
                *got += n;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One byte of one of them, if it is time.
    fn trickle(&mut self) {
        if Instant::now() < self.due {
            return;
        }
        if let Some(Some(socket)) = self.sockets.get_mut(self.next) {
            let byte = ANNOUNCED.to_be_bytes().get(self.byte).copied().unwrap_or(b'?');
            // Who is closed is told when the ends are looked at.
            let _ = socket.write(&[byte]);
        }
        self.due += TRICKLE / self.count as u32;
        self.next += 1;
        if self.next == self.count {
            self.next = 0;
            self.byte += 1;
        }
    }

    /// One more, while not too many wait.
    fn knock(&mut self) -> io::Result<()> {
        if self.came - self.ended < IN_FLIGHT as u64 {
            self.add(connect(self.to, self.sockets.len())?)?;
            self.came += 1;
        }
        Ok(())
    }
}

impl Beside for Crowd {
    fn go_on(&mut self, pours: bool) -> io::Result<()> {
        self.steps += 1;
        match self.storm {
            Storm::HalfSent => self.come_and_say_half()?,
            Storm::NeverRead => self.herald(pours)?,
            Storm::Trickle => self.trickle(),
            Storm::Connects if pours => self.knock()?,
            Storm::Connects => {}
        }
        if self.steps.is_multiple_of(8) { self.bury() } else { Ok(()) }
    }

    fn is_over(&self) -> bool {
        let all_came = self.storm != Storm::HalfSent || self.sockets.len() == self.count;
        all_came && self.unsaid.is_empty() && self.ended >= self.gone
    }
}

/// A broadcast with its length.
const FRAME: usize = 4 + BROADCAST;

/// A message that announces so many bytes, and brings perhaps fewer.
fn message(announced: u32, brought: usize) -> Vec<u8> {
    let mut frame = announced.to_be_bytes().to_vec();
    frame.resize(4 + brought, b'?');
    frame
}

/// Connects and waits for it: this is the way in, not what is measured. Then it blocks no more.
fn connected(to: SocketAddr, index: usize, is_narrow: bool) -> io::Result<TcpStream> {
    let socket = socket(to, index)?;
    if is_narrow {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.connect_timeout(&to.into(), Duration::from_millis(PATIENCE_MS.into()))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{super::quiet, *};

    fn plan(storm: Storm, crowd: SocketAddr, count: usize, gone: usize) -> Plan {
        let (every, stretch) = (Duration::from_millis(10), Duration::from_millis(10));
        let quiet = quiet::Plan { to: crowd, count: 0, every, stretch };
        Plan { disturbed: disturbed::Plan { quiet, is_last: true }, crowd, storm, count, gone }
    }

    #[test]
    fn a_storm_is_over_when_as_many_are_gone_as_it_is_about() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = plan(Storm::Trickle, listener.local_addr().unwrap(), 2, 2);
        let mut crowd = Crowd::gather(&plan).unwrap();
        let mut server: Vec<TcpStream> = (0..2).map(|_| listener.accept().unwrap().0).collect();
        server.pop();
        let until = |crowd: &mut Crowd, ended| {
            let begun = Instant::now();
            while crowd.ended < ended {
                crowd.bury().unwrap();
                assert!(begun.elapsed() < Duration::from_secs(5), "{} have ended", crowd.ended);
            }
        };
        until(&mut crowd, 1);
        assert!(!crowd.is_over());
        server.pop();
        until(&mut crowd, 2);
        assert!(crowd.is_over());
    }

    #[test]
    fn who_was_not_told_of_its_end_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = plan(Storm::NeverRead, listener.local_addr().unwrap(), 2, 2);
        let mut crowd = Crowd::gather(&plan).unwrap();
        let mut server: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        drop(server.remove(0));
        let begun = Instant::now();
        let mut asked = [0; 1];
        server[0].set_nonblocking(true).unwrap();
        while server[0].read(&mut asked).is_err() {
            crowd.bury().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(5), "{} have ended", crowd.ended);
        }
        assert_eq!((&asked, crowd.ended), (b"?", 1));
    }

    #[test]
    fn a_trickle_is_a_message_that_goes_on_and_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = plan(Storm::Trickle, listener.local_addr().unwrap(), 1, 1);
        let mut crowd = Crowd::gather(&plan).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        for _ in 0..6 {
            crowd.due = Instant::now();
            crowd.trickle();
        }
        let mut bytes = [0; 6];
        server.read_exact(&mut bytes).unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&ANNOUNCED.to_be_bytes()[..], &b"??"[..]));
    }
}
