//! Runs of `million`, found again by a mark in their environment.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, id},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Ended, example};

/// Which processes are of a run, wherever they are: they have this in their environment.
pub(crate) const MARK: &str = "MILLION_OF_TEST";

pub(crate) fn million(name: &str, options: &[&str]) -> Command {
    let mut command = example("million");
    command.arg("run").args(options).env(MARK, mark(name));
    command
}

pub(crate) fn mark(name: &str) -> String {
    format!("{name}-{}", id())
}

/// The processes of a run that are there: their directories below `/proc`, and their command lines.
pub(crate) fn processes_of(name: &str) -> Vec<(PathBuf, String)> {
    let wanted = format!("{MARK}={}", mark(name));
    let of = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).replace('\0', " ");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let ours = processes.filter(|path| of(&path.join("environ")).contains(&wanted));
    let commands = ours.map(|path| (of(&path.join("cmdline")), path)).map(|(command, path)| (path, command));
    commands.filter(|(_, command)| !command.is_empty()).collect()
}

pub(crate) fn left_of(name: &str) -> Vec<String> {
    processes_of(name).into_iter().map(|(_, command)| command).collect()
}

pub(crate) fn assert_none_is_left(name: &str) {
    let begun = Instant::now();
    while !left_of(name).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?} are left", left_of(name));
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn results(ended: &Ended) -> Value {
    serde_json::from_str(ended.out.trim()).unwrap_or_else(|e| panic!("{e}: {}\n{}", ended.out, ended.err))
}

/// No number that is none, and memory for each connection only of those that are there to stay for a while.
pub(crate) fn assert_only_what_was_measured_is_told(err: &str) {
    for bad in ["NaN", "inf B", " 0 connections at", " 1 connections"] {
        assert!(!err.contains(bad), "`{bad}` is in {err}");
    }
    let down = err.split("closing all but one").skip(1).filter_map(|down| down.split("opening").next());
    for line in down.flat_map(str::lines).take_while(|line| !line.starts_with("connections")) {
        assert!(!line.contains("B each in the server"), "{line}");
    }
}
