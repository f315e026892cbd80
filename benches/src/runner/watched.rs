//! Servers under a watcher: what they ask of the kernel, what they execute, what they touch.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::Duration;
use std::{env, fs, io, thread};

use super::Options;
use super::child::Server;
use super::contestant::Contestant;

/// Traffic with a fixed number of bursts.
pub(crate) struct Load {
    pub(crate) title: &'static str,
    pub(crate) connections: u64,
    pub(crate) depth: u64,
    /// Bursts on each connection in the shorter and in the longer run.
    pub(crate) bursts: [u64; 2],
}

pub(crate) const LOADS: [Load; 3] = [
    Load { title: "1 connection, 1 in flight", connections: 1, depth: 1, bursts: [500, 10_500] },
    Load { title: "100 connections, 1 in flight", connections: 100, depth: 1, bursts: [10, 110] },
    Load { title: "100 connections, 16 in flight", connections: 100, depth: 16, bursts: [10, 110] },
];

impl Load {
    pub(crate) fn arguments(&self, bursts: u64) -> [String; 4] {
        [
            "echo".to_owned(),
            format!("--connections={}", self.connections),
            format!("--depth={}", self.depth),
            format!("--bursts={bursts}"),
        ]
    }

    /// Messages in so many bursts of each connection.
    pub(crate) fn messages(&self, bursts: u64) -> f64 {
        (bursts * self.connections * self.depth) as f64
    }

    /// Bursts by which the runs differ, all connections together.
    pub(crate) fn difference(&self) -> f64 {
        ((self.bursts[1] - self.bursts[0]) * self.connections) as f64
    }
}

/// Whether a watcher is installed and allowed.
pub(crate) fn works(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// What a server has asked of the kernel in its life, by name.
pub(crate) struct Calls(BTreeMap<String, u64>);

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Read,
    Write,
    Wait,
    /// Left out: how many connections one accepting turn finds is a matter of luck.
    Accept,
    Other,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Wait, Kind::Other];

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "read" | "readv" | "recvfrom" | "recvmsg" => Kind::Read,
            "write" | "writev" | "sendto" | "sendmsg" => Kind::Write,
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => Kind::Wait,
            "accept" | "accept4" => Kind::Accept,
            _ => Kind::Other,
        }
    }
}

impl Calls {
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.0.iter().filter(|(name, _)| Kind::of(name) == kind).map(|(_, calls)| calls).sum()
    }

    /// The table of `strace -c`: share, seconds, microseconds a call, calls, errors (or nothing), name.
    fn parse(table: &str) -> Self {
        let line = |line: &str| {
            let cells: Vec<_> = line.split_whitespace().collect();
            let (name, calls) = (cells.last()?, cells.get(3)?.parse().ok()?);
            (*name != "total").then(|| ((*name).to_owned(), calls))
        };
        Self(table.lines().filter_map(line).collect())
    }
}

/// What strace counts in a whole life under one load.
pub(crate) fn calls(
    contestant: &Contestant,
    options: &Options,
    load: &Load,
    bursts: u64,
) -> io::Result<Calls> {
    let watcher = |file: &Path| ["strace".into(), "-c".into(), "-f".into(), "-o".into(), file.into()];
    let table = Watched::start(contestant, options, watcher)?.through(load, bursts, options)?.finish()?;
    Ok(Calls::parse(&table))
}

/// User instructions of a whole life under one load, as callgrind sums them up.
pub(crate) fn executed(
    contestant: &Contestant,
    options: &Options,
    load: &Load,
    bursts: u64,
) -> io::Result<u64> {
    let watcher = |file: &Path| {
        [
            "valgrind".into(),
            "--tool=callgrind".into(),
            "--callgrind-out-file=/dev/null".into(),
            log_file(file),
        ]
    };
    let log = Watched::start(contestant, options, watcher)?.through(load, bursts, options)?.finish()?;
    log.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("callgrind says {log:?}")))
}

/// The argument that names valgrind's log.
pub(crate) fn log_file(file: &Path) -> OsString {
    let mut log = OsString::from("--log-file=");
    log.push(file);
    log
}

/// A server that runs under a watcher, which writes what it sees to a file.
pub(crate) struct Watched {
    server: Server,
    file: PathBuf,
}

impl Watched {
    /// Starts a server under the watcher with this command line.
    pub(crate) fn start<const N: usize>(
        contestant: &Contestant,
        options: &Options,
        watcher: impl Fn(&Path) -> [OsString; N],
    ) -> io::Result<Self> {
        let file = env::temp_dir().join(format!("wheelhouse-bench-{}", process::id()));
        let server = Server::start_under(&watcher(&file), contestant, options, &[])?;
        Ok(Self { server, file })
    }

    /// Puts it through a load, to the last connection's end.
    pub(crate) fn through(self, load: &Load, bursts: u64, options: &Options) -> io::Result<Self> {
        self.server.load(&load.arguments(bursts), options)?;
        // The load's connections close behind it: the server is to see every one of them in each run.
        thread::sleep(Duration::from_millis(300));
        Ok(self)
    }

    /// How much the watcher has written so far.
    pub(crate) fn written(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.file)?.len())
    }

    /// Ends the server; what the watcher wrote.
    pub(crate) fn finish(self) -> io::Result<String> {
        self.server.stop()?;
        let saw = fs::read_to_string(&self.file)?;
        fs::remove_file(&self.file)?;
        Ok(saw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     61.00    0.000100           1       100           sendto\n \
                     39.00    0.000050           1        50        12 recvfrom\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000150           1       150        12 total\n";
        let calls = Calls::parse(table);
        assert_eq!(KINDS.map(|kind| calls.of(kind)), [50, 100, 0, 0]);
    }
}
