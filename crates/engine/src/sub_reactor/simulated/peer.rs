//! The far side of a socket, and the network between: what comes when, and what is taken when.

use std::io::ErrorKind;

use super::{random::Random, socket::Socket};

/// How a peer behaves.
#[derive(Clone)]
pub(super) struct Peer {
    end: End,
    appetite: Appetite,
    /// Breaks the connection at one of so many steps.
    breaks: usize,
    /// Answers a connect at one of so many steps; never, for 0.
    answers: usize,
    refuses: bool,
    /// It is gone: whatever reaches it is answered with a reset.
    is_gone: bool,
}

/// What it does when it has sent all it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    /// Only when it has seen our FIN.
    FinLast,
    /// Closes altogether: reads no more.
    Leave,
    Silent,
}

/// How it reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Appetite {
    All,
    Some(usize),
    None,
}

/// Bytes that the kernel keeps until somebody reads.
const RECEIVE_BUFFER: usize = 200_000;

impl Peer {
    /// `gentle`: it does nothing that a well-behaved one would not.
    pub(super) fn draw(random: &mut Random, gentle: bool) -> Peer {
        let ends = [End::Fin, End::Fin, End::FinLast, End::FinLast, End::Leave, End::Silent];
        let appetites =
            [Appetite::All, Appetite::All, Appetite::Some(300), Appetite::Some(20_000), Appetite::None];
        let polite = if gentle { 4 } else { 0 };
        Peer {
            end: random.pick(&ends[..ends.len() - polite / 2]),
            appetite: random.pick(&appetites[..appetites.len() - polite / 4]),
            breaks: if gentle { 0 } else { random.pick(&[0, 0, 400, 60]) },
            answers: random.pick(&[1, 3, 20, 0]),
            refuses: random.one_in(4),
            is_gone: false,
        }
    }

    /// From now on it reads all there is, and ends when the other side does, or before.
    pub(super) fn calm_down(&mut self) {
        self.appetite = Appetite::All;
        self.end = if self.end == End::Leave { End::Leave } else { End::Fin };
        self.breaks = 0;
        self.answers = 1;
    }

    /// Something happens, or nothing.
    pub(super) fn step(&mut self, socket: &mut Socket, random: &mut Random) {
        if socket.closed.is_some() || socket.is_broken {
            return;
        }
        if socket.is_connecting {
            return self.answer(socket, random);
        }
        if random.one_in(self.breaks) {
            return socket.break_down(random.pick(&[ErrorKind::ConnectionReset, ErrorKind::TimedOut]));
        }
        if socket.is_choked && random.one_in(3) {
            socket.unchoke();
        }
        self.read(socket, random);
        self.send(socket, random);
    }

    fn answer(&mut self, socket: &mut Socket, random: &mut Random) {
        if random.one_in(self.answers) {
            match self.refuses {
                true => socket.break_down(ErrorKind::ConnectionRefused),
                false => socket.connected(),
            }
        }
    }

    fn read(&mut self, socket: &mut Socket, random: &mut Random) {
        if self.is_gone {
            if socket.used > 0 && random.one_in(2) {
                socket.break_down(ErrorKind::ConnectionReset);
            }
            return;
        }
        let n = match self.appetite {
            Appetite::All => socket.used,
            Appetite::Some(most) => random.below(most + 1).min(socket.used),
            Appetite::None => 0,
        };
        if n > 0 && random.one_in(2) {
            socket.acknowledge(n);
        }
    }

    fn send(&mut self, socket: &mut Socket, random: &mut Random) {
        let most = random.pick(&[1, 40, 3_000, 300_000]);
        socket.say(random.below(most + 1));
        let room = RECEIVE_BUFFER.saturating_sub(socket.unread());
        let coming = (socket.sent - socket.arrived).min(room);
        if coming > 0 && random.one_in(2) {
            if random.one_in(40) && socket.mark.is_none() && !socket.is_unix {
                socket.mark = Some(socket.arrived + random.below(coming));
            }
            let all = random.one_in(2);
            socket.arrive(if all { coming } else { random.below(coming + 1) });
        }
        let is_done = socket.has_said_all() && !socket.fin_sent;
        if is_done && random.one_in(4) && self.ends(socket) {
            socket.say_fin();
            self.is_gone |= self.end == End::Leave;
        }
        let is_next = socket.fin_sent && !socket.fin_arrived && socket.arrived == socket.sent;
        if is_next && random.one_in(2) {
            socket.arrive_fin();
        }
    }

    fn ends(&self, socket: &Socket) -> bool {
        match self.end {
            End::Fin | End::Leave => true,
            End::FinLast => socket.fin_said && socket.used == 0,
            End::Silent => false,
        }
    }
}
