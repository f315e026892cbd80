//! Processes the runner starts: each ends with it, and each has a time to end in.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Options;
use super::contestant::{self, Contestant};

/// Longest a load may take, and a server to start, to answer and to stop. Under valgrind all are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs; it is stopped when dropped.
pub(crate) struct Server {
    process: Process,
    address: String,
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
        Ok(Self { process, address })
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
        Ok(Load(Process::start(&line)?))
    }

    /// Closes the server's input and sees it end by itself.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.process.end()
    }
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
        let line = self.0.line()?;
        serde_json::from_str(&line).map_err(|_| io::Error::other(format!("the load says {line:?}")))
    }

    fn into_json(self) -> io::Result<Value> {
        let saw = self.saw()?;
        self.0.end()?;
        Ok(saw)
    }
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

    /// Closes its input and waits for the end of its output, which is its own end.
    fn end(mut self) -> io::Result<()> {
        self.input = None;
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().map(|_| ()),
                Err(RecvTimeoutError::Timeout) => {
                    let message = format!("process {} does not end", self.child.id());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
            }
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
