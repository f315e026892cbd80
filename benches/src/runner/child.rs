//! Processes the runner starts: each ends with it, and each has a time to end in.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Options;
use super::contestant::{self, Contestant};

/// Longest a load may take, and a server to start, to answer and to stop. Under valgrind all are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs; it is stopped when dropped.
pub(crate) struct Server {
    process: Process,
    address: String,
    /// What every load is told.
    load: &'static [&'static str],
}

impl Server {
    /// Starts a server on its core and waits until it listens.
    pub(crate) fn start(contestant: &Contestant, options: &Options) -> io::Result<Self> {
        Self::start_under(&[], contestant, options, &[])
    }

    /// The same under a program that watches it (`wrapper`), and with more arguments.
    pub(crate) fn start_under(
        wrapper: &[OsString],
        contestant: &Contestant,
        options: &Options,
        more: &[&str],
    ) -> io::Result<Self> {
        let mut line = priority(options);
        line.extend_from_slice(wrapper);
        line.push(contestant::path(contestant.program)?.into());
        line.extend(contestant.arguments.iter().chain(more).map(OsString::from));
        line.extend(["--cpu".into(), options.server_cpu.to_string().into()]);
        let process = Process::start(&line)?;
        let hello = process.line()?;
        let address = hello.strip_prefix("listening on ").map(str::to_owned);
        let address = address.ok_or_else(|| io::Error::other(format!("{}: {hello:?}", contestant.name)))?;
        Ok(Self { process, address, load: contestant.load })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Writes a line to the server and returns the one it answers with.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<String> {
        let input = self.process.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{question}")?;
        self.process.line()
    }

    /// As [`Server::ask`], where the answer is one line of JSON.
    pub(crate) fn ask_json(&mut self, question: &str) -> io::Result<Value> {
        parse(&self.ask(question)?)
    }

    /// What the engine behind it has counted.
    pub(crate) fn counters(&mut self) -> io::Result<Value> {
        self.ask_json("counters")
    }

    /// Asks for the counters until they are as wanted, and returns them; not for ever.
    pub(crate) fn await_counters(
        &mut self,
        what: &str,
        is_so: impl Fn(&Value) -> io::Result<bool>,
    ) -> io::Result<Value> {
        self.await_answer(what, "counters", is_so)
    }

    /// Asks one question until the answer is as wanted, and returns it; not for ever.
    pub(crate) fn await_answer(
        &mut self,
        what: &str,
        question: &str,
        is_so: impl Fn(&Value) -> io::Result<bool>,
    ) -> io::Result<Value> {
        let begun = Instant::now();
        loop {
            let answer = self.ask_json(question)?;
            if is_so(&answer)? {
                return Ok(answer);
            }
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what}: not so, but {answer}")));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a load against this server to its end and returns what it saw.
    pub(crate) fn load(&self, arguments: &[String], options: &Options) -> io::Result<Value> {
        self.start_load(arguments, options)?.into_json()
    }

    /// Starts a load; it lives until [`Load::into_json`] or until dropped.
    pub(crate) fn start_load(&self, arguments: &[String], options: &Options) -> io::Result<Load> {
        let mut line = priority(options);
        line.push(contestant::path("load")?.into());
        line.extend(["--to".into(), self.address.clone().into()]);
        line.extend(["--cpu".into(), options.load_cpu.to_string().into()]);
        line.extend(["--server-pid".into(), self.pid().to_string().into()]);
        line.extend(arguments.iter().map(OsString::from));
        line.extend(self.load.iter().map(OsString::from));
        Ok(Load(Process::start(&line)?))
    }

    /// Closes the server's input and sees it end by itself.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.process.end().map(drop)
    }
}

/// Runs a program that needs no other, on the servers' core, to its end; what it says.
pub(crate) fn alone(program: &str, arguments: &[String], options: &Options) -> io::Result<Value> {
    let mut line = priority(options);
    line.push(contestant::path(program)?.into());
    line.extend(["--cpu".into(), options.server_cpu.to_string().into()]);
    line.extend(arguments.iter().map(OsString::from));
    Load(Process::start(&line)?).into_json()
}

/// What comes before a program on its command line, to give it the priority asked for.
fn priority(options: &Options) -> Vec<OsString> {
    let nice = |by| vec!["nice".into(), format!("--adjustment={by}").into()];
    options.nice.map_or_else(Vec::new, nice)
}

/// A load that runs.
pub(crate) struct Load(Process);

impl Load {
    /// The line it prints. It may go on living: an idle load holds its connections.
    pub(crate) fn saw(&self) -> io::Result<Value> {
        parse(&self.0.line()?)
    }

    /// Closes its input, which a load that holds connections, or is about to begin, waits for.
    pub(crate) fn begin(&mut self) {
        self.0.input = None;
    }

    /// Lets a load go on that waits for it.
    pub(crate) fn tell_to_go_on(&mut self) -> io::Result<()> {
        let input = self.0.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input)
    }

    /// Closes its input likewise; what it says last.
    pub(crate) fn finish(self) -> io::Result<Value> {
        let last = self.0.end()?;
        parse(&last.unwrap_or_default())
    }

    pub(crate) fn into_json(self) -> io::Result<Value> {
        let saw = self.saw()?;
        self.0.end()?;
        Ok(saw)
    }
}

fn parse(line: &str) -> io::Result<Value> {
    serde_json::from_str(line).map_err(|_| io::Error::other(format!("a process says {line:?}")))
}

/// A figure of what a process says.
pub(crate) fn number(saw: &Value, name: &str) -> io::Result<f64> {
    saw[name].as_f64().ok_or_else(|| io::Error::other(format!("there is no {name} in {saw}")))
}

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    fn start(line: &[OsString]) -> io::Result<Self> {
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", line[0].display())))?;
        let input = child.stdin.take();
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || forward(output, &sender));
        }
        Ok(Self { child, input, lines })
    }

    fn line(&self) -> io::Result<String> {
        self.lines.recv_timeout(PATIENCE).map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("process {} has no more to say", self.child.id()))
        })
    }

    /// Closes its input and waits for the end of its output, which is its own end; the last line it says.
    fn end(mut self) -> io::Result<Option<String>> {
        self.input = None;
        let mut last = None;
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => last = Some(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let message = format!("process {} does not end", self.child.id());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
            }
        }
        let status = self.child.wait()?;
        if status.success() {
            Ok(last)
        } else {
            Err(io::Error::other(format!("process {} ended with {status}", self.child.id())))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to do about a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(output: ChildStdout, to: &mpsc::Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}
