//! The conductor: connect, run, drain, close, one after the other on all reactors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use wheelhouse::{Engine, Poster, Reactor, ReactorId};
use wheelhouse_examples::{AnyError, findings::on_interrupt};

use crate::{
    load::Load,
    options::Options,
    pattern::Pattern,
    plan::{Event, Plan, Window},
    progress::Progress,
    summary::Summary,
    tally::{Live, Tally},
    target::Target,
};

/// Spans that the time under load is divided into, for the plot.
const SPANS: u32 = 100;
const SHORTEST_SPAN: Duration = Duration::from_millis(100);

/// How long closing may take, and what the reactors count may be on its way.
const CLOSING: Duration = Duration::from_secs(15);

/// How often the bar moves.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(options: &Options) -> Result<Summary, AnyError> {
    let reactors = options.reactors();
    let target = Target::parse(&options.to)?;
    let plan = Arc::new(Plan {
        options: options.clone(),
        trust: options.trust(&target)?,
        target,
        reactors,
        pattern: Pattern::new(),
        origin: Instant::now(),
        span: (options.seconds / SPANS).max(SHORTEST_SPAN),
        live: (0..reactors).map(|_| Live::default()).collect(),
    });
    let (events, told) = channel();
    let interrupted = events.clone();
    on_interrupt(move || {
        let _ = interrupted.send(Event::Interrupted);
    })?;
    let engine = Engine::builder().reactors(reactors).build({
        let plan = Arc::clone(&plan);
        move |spot| Load::new(Arc::clone(&plan), spot.reactor().0.into(), events.clone())
    })?;
    let poster = engine.poster();
    let running = engine.start()?;
    let mut conductor = Conductor { plan, poster, told, progress: Progress::new(), heard: Heard::default() };
    let (connecting, ran) = conductor.conduct();
    conductor.poster.shutdown();
    let tally = conductor.collect()?;
    let Conductor { plan, heard, .. } = conductor;
    running.join()?;
    Ok(Summary {
        options: options.clone(),
        reactors,
        connecting,
        ran,
        span: plan.span,
        tally,
        interrupted: heard.interrupted,
    })
}

struct Conductor {
    plan: Arc<Plan>,
    poster: Poster<Load>,
    told: Receiver<Event>,
    progress: Progress,
    heard: Heard,
}

/// How many reactors have told what.
#[derive(Default)]
struct Heard {
    settled: usize,
    drained: usize,
    gone: usize,
    stopped: Vec<Tally>,
    interrupted: bool,
}

impl Conductor {
    /// How long it took to connect, and how long the load lasted.
    fn conduct(&mut self) -> (Duration, Duration) {
        let reactors = self.plan.reactors;
        let options = &self.plan.options;
        let (connections, seconds, drain) = (options.connections, options.seconds, options.drain);
        let begun = Instant::now();
        self.wait_unless_interrupted(
            None,
            |heard| heard.settled == reactors,
            |progress, plan| {
                progress.connecting(connections, &plan.live);
            },
        );
        let connecting = begun.elapsed();
        let mut ran = Duration::ZERO;
        if !self.heard.interrupted && self.heard.gone < reactors {
            let start = self.plan.now();
            let window = Window { start, end: start + seconds.as_nanos() as u64 };
            self.on_each(move |load, reactor| load.begin(reactor, window));
            let pacer = Pacer::start(&self.plan, &self.poster, start);
            self.progress.begin();
            let begun = Instant::now();
            self.wait_unless_interrupted(
                Some(seconds),
                |heard| heard.gone == reactors,
                |progress, plan| {
                    progress.running(begun.elapsed(), seconds, &plan.live);
                },
            );
            ran = begun.elapsed();
            self.on_each(|load, _| load.drain());
            self.progress.note("draining");
            self.wait(Some(drain), |heard| heard.drained + heard.gone >= reactors, |_, _| ());
            drop(pacer);
        }
        self.progress.note("closing");
        self.on_each(|load, reactor| load.close(reactor));
        self.wait(Some(CLOSING), |heard| heard.gone == reactors, |_, _| ());
        (connecting, ran)
    }

    /// Until it is so, time is up, or somebody wants the program to end.
    fn wait_unless_interrupted(
        &mut self,
        time: Option<Duration>,
        is_so: impl Fn(&Heard) -> bool,
        show: impl FnMut(&mut Progress, &Plan),
    ) {
        self.wait(time, |heard| heard.interrupted || is_so(heard), show);
    }

    fn wait(
        &mut self,
        time: Option<Duration>,
        is_so: impl Fn(&Heard) -> bool,
        mut show: impl FnMut(&mut Progress, &Plan),
    ) {
        let begun = Instant::now();
        while !is_so(&self.heard) {
            let left = time.map_or(LOOK, |time| time.saturating_sub(begun.elapsed()));
            if left.is_zero() {
                return;
            }
            match self.told.recv_timeout(left.min(LOOK)) {
                Ok(event) => self.heard.hear(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            show(&mut self.progress, &self.plan);
        }
    }

    fn on_each(&self, job: impl Fn(&mut Load, &mut Reactor<'_>) + Clone + Send + 'static) {
        for reactor in 0..self.plan.reactors {
            let mut job = job.clone();
            while let Err(full) = self.poster.post(ReactorId(reactor as u16), job) {
                job = full.0;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn collect(&mut self) -> Result<Tally, AnyError> {
        let reactors = self.plan.reactors;
        self.wait(Some(CLOSING), |heard| heard.stopped.len() == reactors, |_, _| ());
        if self.heard.stopped.len() < reactors {
            return Err("a reactor did not stop".into());
        }
        let mut all = self.plan.tally();
        for tally in self.heard.stopped.drain(..) {
            all.add(tally);
        }
        Ok(all)
    }
}

impl Heard {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Settled => self.settled += 1,
            Event::Drained => self.drained += 1,
            Event::Gone => self.gone += 1,
            Event::Stopped(tally) => self.stopped.push(*tally),
            Event::Interrupted => self.interrupted = true,
        }
    }
}

/// Wakes the reactors when messages are due (open loop): finer than a timer of the engine's, which may be 2 ms late.
struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Shorter sleeps would cost more than they give.
const SHORTEST_SLEEP: Duration = Duration::from_micros(250);
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

impl Pacer {
    fn start(plan: &Arc<Plan>, poster: &Poster<Load>, start: u64) -> Option<Pacer> {
        let rate = plan.options.rate?;
        let stop = Arc::new(AtomicBool::new(false));
        let (plan, poster, stopped) = (Arc::clone(plan), poster.clone(), Arc::clone(&stop));
        let pace = move || {
            let busy: Vec<_> = (0..plan.reactors).map(|_| Arc::new(AtomicBool::new(false))).collect();
            while !stopped.load(Ordering::Relaxed) {
                for (reactor, busy) in busy.iter().enumerate() {
                    Pacer::wake(&poster, ReactorId(reactor as u16), busy);
                }
                let elapsed = plan.now().saturating_sub(start) as f64 / 1e9;
                let next = ((elapsed * rate).floor() + 1.0) / rate;
                let sleep = Duration::from_secs_f64((next - elapsed).clamp(0.0, 1.0));
                thread::sleep(sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
            }
        };
        let thread = thread::Builder::new().name("pacer".into()).spawn(pace).ok();
        Some(Pacer { stop, thread })
    }

    /// Unless it has not come round to the last call yet.
    fn wake(poster: &Poster<Load>, reactor: ReactorId, busy: &Arc<AtomicBool>) {
        if busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let done = Arc::clone(busy);
        let job = move |load: &mut Load, reactor: &mut Reactor<'_>| {
            done.store(false, Ordering::Release);
            load.send_due(reactor);
        };
        if poster.post(reactor, job).is_err() {
            busy.store(false, Ordering::Release);
        }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
