use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::Sender;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator,
};

use crate::{
    Error, Handle, Result,
    panics::panic_message,
    shared::{ReactorShared, Shared},
};

/// An engine whose threads run. Dropping it stops it and waits for them; on one of those threads it only stops it.
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{Action, Conn, Engine, Handler, Message};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Session = ();
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///         conn.send(message);
///         Action::Continue
///     }
/// }
///
/// let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Echo)?;
/// let handle = engine.handle();
/// let mut running = engine.start()?;
/// running.drain_on_signals(Duration::from_secs(30))?; // SIGTERM, SIGINT
/// handle.drain(Duration::from_secs(5)); // or from the program itself
/// running.join()?;
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropped, it stops"]
pub struct Running {
    threads: Threads,
    signals: Option<Signals>,
}

impl Running {
    pub(crate) fn new(threads: Threads) -> Self {
        Running { threads, signals: None }
    }

    pub(crate) fn stopped_by(mut self, signals: Signals) -> Self {
        self.signals = Some(signals);
        self
    }

    /// Drains the engine ([`Handle::drain`]) when `SIGTERM` or `SIGINT` comes, and stops it at the second signal. From now on
    /// these signals do not end the process, also not after the engine has stopped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use nix::sys::signal::{Signal, raise};
    /// use wheelhouse::Engine;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut running = Engine::builder().reactors(1).build(|_| Silent)?.start()?;
    /// running.drain_on_signals(Duration::from_secs(30))?;
    /// raise(Signal::SIGTERM).expect("a signal"); // as `kill` or a service manager would
    /// running.join()?; // nobody is there to be waited for
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::System`] when the system refuses the signal handlers or the thread that waits for them.
    pub fn drain_on_signals(&mut self, within: Duration) -> Result<()> {
        self.signals = Some(Signals::watch(Handle::new(Arc::clone(&self.threads.shared)), within)?);
        Ok(())
    }

    /// Waits until the engine has stopped: by [`Handle::shutdown`] or at the end of a [`Handle::drain`]. (A thread that is amid the look-up of a
    /// name ends with that.)
    ///
    /// ```
    /// use wheelhouse::Engine;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().reactors(2).build(|_| Silent)?;
    /// let handle = engine.handle();
    /// let running = engine.start()?;
    /// handle.shutdown();
    /// running.join()?; // the threads are gone now
    /// assert_eq!(handle.count(), 0);
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::System`] when one of its threads panicked, which is a defect of the engine; at once, on one of those threads: it
    /// cannot wait for itself. The engine is told to stop then.
    pub fn join(mut self) -> Result<()> {
        let outcome = self.threads.join();
        drop(self.signals.take());
        outcome
    }
}

pub(crate) struct Threads {
    shared: Arc<Shared>,
    joins: Vec<JoinHandle<()>>,
    /// They have ended, and been waited for.
    are_over: bool,
    /// Dropped unsent, it sends the thread home.
    go: Vec<Sender<()>>,
}

impl Threads {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Threads { shared: Arc::clone(shared), joins: Vec::new(), are_over: false, go: Vec::new() }
    }

    /// Has a thread wait until all are there.
    pub(crate) fn hold(&mut self, go: Sender<()>) {
        self.go.push(go);
    }

    /// Lets them run.
    pub(crate) fn release(&mut self) {
        for go in self.go.drain(..) {
            let _ = go.send(());
        }
    }

    pub(crate) fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name).spawn(run);
        self.joins.push(thread.map_err(Error::system("start a reactor's thread"))?);
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        if self.have_this_one() {
            let source = io::ErrorKind::Deadlock.into();
            return Err(Error::System { what: "wait for the engine on a thread of its own", source });
        }
        let mut outcome = Ok(());
        for join in self.joins.drain(..) {
            if let Err(panic) = join.join() {
                let source = io::Error::other(panic_message(&*panic).to_owned());
                outcome = Err(Error::System { what: "join a reactor's thread: it panicked", source });
            }
        }
        self.are_over = true;
        outcome
    }

    fn have_this_one(&self) -> bool {
        let this = thread::current().id();
        self.joins.iter().any(|join| join.thread().id() == this)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if self.are_over {
            return;
        }
        self.go.clear();
        self.shared.stop();
        // On a thread of their own they are left to themselves.
        if self.join().is_ok() {
            // Of those that never ran, nobody has closed the mailboxes.
            self.shared.reactors.iter().for_each(ReactorShared::close);
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.joins.iter().map(|join| join.thread().name())).finish()
    }
}

/// The thread that waits for signals.
#[derive(Debug)]
pub(crate) struct Signals {
    waiting: iterator::Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    pub(crate) fn watch(handle: Handle, within: Duration) -> Result<Signals> {
        let mut signals =
            iterator::Signals::new([SIGTERM, SIGINT]).map_err(Error::system("watch for signals"))?;
        let waiting = signals.handle();
        let wait = move || {
            for (count, signal) in signals.forever().enumerate() {
                tracing::info!(signal, "stopping the engine");
                match count {
                    0 => handle.drain(within),
                    _ => handle.shutdown(),
                }
            }
        };
        let thread = thread::Builder::new().name("wheelhouse-signals".to_owned()).spawn(wait);
        let thread = thread.map_err(Error::system("start the thread that waits for signals"))?;
        Ok(Signals { waiting, thread: Some(thread) })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.waiting.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
