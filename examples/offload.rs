//! A server whose answers take long to find: worker threads look for them, while the reactors go on.
//!
//! Shows work that leaves the reactor and comes back. The queue to the workers is bounded, and so is each connection's
//! share of it: what has no place is left with the engine ([`Action::Hold`]), which reads no further from that connection
//! until it is resumed. An answer comes back as a closure, run beside its connection ([`Poster::post_to_timeout`]), and is
//! sent in the order of the questions whichever worker was the quickest.

use std::{
    collections::VecDeque,
    process::ExitCode,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use clap::Parser;
use wheelhouse::{Action, Conn, ConnId, Engine, Framing, Handler, Listener, Message, Poster};
use wheelhouse_examples::{AnyError, end, serve};

/// Answers every line with the line and its digest, which takes a while to compute.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9005")]
    listen: String,
    /// Threads that look for answers
    #[arg(long, value_name = "N", default_value_t = 4)]
    workers: usize,
    /// Questions that may wait for a worker
    #[arg(long, value_name = "N", default_value_t = 1024)]
    queue: usize,
    /// How hard it is: rounds of hashing for each line
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rounds: u32,
}

/// Questions of one connection that may be with the workers.
const IN_FLIGHT: usize = 16;

/// How long a worker waits for room in a reactor's mailbox before it gives the connection up.
const PATIENCE: Duration = Duration::from_secs(5);

struct Front {
    queue: Arc<Queue>,
}

/// Questions of a connection that are not answered yet, oldest first; those already found wait for the ones before them.
#[derive(Default)]
struct Caller {
    answers: VecDeque<Option<String>>,
    /// The number of the oldest.
    first: usize,
    /// Nothing more will be asked.
    is_last: bool,
}

impl Handler for Front {
    type Session = Caller;

    fn on_message(&mut self, conn: &mut Conn<'_>, caller: &mut Caller, message: Message<'_>) -> Action {
        if caller.answers.len() == IN_FLIGHT {
            return Action::Hold; // until the next answer
        }
        let number = caller.first + caller.answers.len();
        let job =
            Job { from: conn.id(), number, line: String::from_utf8_lossy(message.bytes()).into_owned() };
        if !self.queue.offer(job) {
            return Action::Hold; // until a worker has taken something
        }
        caller.answers.push_back(None);
        Action::Continue
    }

    fn on_eof(&mut self, _: &mut Conn<'_>, caller: &mut Caller) -> Action {
        caller.is_last = true;
        if caller.answers.is_empty() { Action::Finish } else { Action::Continue }
    }
}

impl Caller {
    fn answer(&mut self, conn: &mut Conn<'_>, number: usize, answer: String) {
        if let Some(place) = self.answers.get_mut(number - self.first) {
            *place = Some(answer);
        }
        while let Some(found) = self.answers.front_mut().and_then(Option::take) {
            self.answers.pop_front();
            self.first += 1;
            conn.send(found);
        }
        if self.is_last && self.answers.is_empty() {
            conn.finish();
        }
        conn.resume();
    }
}

struct Job {
    from: ConnId,
    number: usize,
    line: String,
}

/// Bounded, and it knows who was turned away.
struct Queue {
    state: Mutex<State>,
    came: Condvar,
    most: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    turned_away: Vec<ConnId>,
    is_closed: bool,
}

impl Queue {
    fn new(most: usize) -> Queue {
        Queue { state: Mutex::default(), came: Condvar::new(), most }
    }

    /// False when there is no room; the connection is then among those that [`next`](Queue::next) tells of.
    fn offer(&self, job: Job) -> bool {
        let mut state = self.lock();
        if state.jobs.len() >= self.most {
            state.turned_away.push(job.from);
            return false;
        }
        state.jobs.push_back(job);
        self.came.notify_one();
        true
    }

    /// A job, and who may try again now; nothing once the queue is closed.
    fn next(&self) -> Option<(Job, Vec<ConnId>)> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some((job, std::mem::take(&mut state.turned_away)));
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.came.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(queue: &Queue, back: &Poster<Front>, rounds: u32) {
    while let Some((job, turned_away)) = queue.next() {
        for id in turned_away {
            back.resume(id);
        }
        let Job { from, number, line } = job;
        let answer = format!("{line} {:016x}", digest(&line, rounds));
        let come_back = move |_: &mut Front, conn: &mut Conn<'_>, caller: &mut Caller| {
            caller.answer(conn, number, answer);
        };
        if back.post_to_timeout(from, come_back, PATIENCE).is_err() {
            back.close(from);
        }
    }
}

/// FNV-1a, over and over.
fn digest(line: &str, rounds: u32) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for _ in 0..rounds {
        for &byte in line.as_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let queue = Arc::new(Queue::new(options.queue));
    let listener = Listener::new(options.listen).framing(Framing::lines(4096));
    let engine = Engine::builder().listen(listener).build({
        let queue = Arc::clone(&queue);
        move |_| Front { queue: Arc::clone(&queue) }
    })?;
    thread::scope(|scope| {
        for _ in 0..options.workers {
            let (queue, back) = (&*queue, engine.poster());
            scope.spawn(move || work(queue, &back, options.rounds));
        }
        let served = serve(engine);
        queue.close();
        served.map(drop)
    })
}
