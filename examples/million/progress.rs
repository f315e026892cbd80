//! How far it is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use wheelhouse_examples::{grouped, note};

use crate::{outcome::Sample, table::plural};

const STYLE: &str = "{prefix:>10} [{wide_bar}] {msg}";

/// Where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// With fewer connections what a process takes anyway would be told as theirs.
const HARDLY_ANY: u64 = 100;

/// The rate is that of the last samples.
const LOOK_BACK: usize = 8;

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
    stage: String,
}

impl Progress {
    pub(crate) fn new(connections: u64) -> Progress {
        let bar = io::stderr().is_terminal().then(|| ProgressBar::new(connections));
        if let (Some(bar), Ok(style)) = (&bar, ProgressStyle::with_template(STYLE)) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress { bar, told: Instant::now(), stage: String::new() }
    }

    /// What is done from now on.
    pub(crate) fn stage(&mut self, stage: impl Into<String>) {
        self.stage = stage.into();
        match &self.bar {
            Some(bar) => bar.set_prefix(self.stage.clone()),
            None => note(&self.stage),
        }
    }

    /// The stage that it is at.
    pub(crate) fn what(&self) -> &str {
        &self.stage
    }

    /// Something that is to stay on the screen.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => note(line),
        }
    }

    pub(crate) fn show(&mut self, series: &[Sample], target: u64) {
        let Some(last) = series.last() else { return };
        let line = line(last, rate(series), target);
        match &self.bar {
            Some(bar) => {
                bar.set_position(last.connections);
                bar.set_message(line);
            }
            None if self.told.elapsed() >= LINE_EVERY => {
                self.told = Instant::now();
                note(format_args!("{:>7.1} s  {line}", last.at.as_secs_f64()));
            }
            None => {}
        }
    }
}

/// On the way down there is no target, and connections alone are told.
fn line(last: &Sample, rate: f64, target: u64) -> String {
    let mut line = plural(last.connections, "connection", "connections");
    if target == 0 {
        return line;
    }
    line += &format!(", {}/s", grouped(rate as u64));
    if last.connections >= HARDLY_ANY {
        let each = |bytes: i64| bytes / last.connections as i64;
        let (servers, kernel) = (each(last.memory.servers), each(last.memory.kernel));
        line += &format!(", {servers} B each in the server, {kernel} B in the kernel");
    }
    match target.saturating_sub(last.connections) {
        0 => {}
        left if rate >= 1.0 => line += &format!(", {:.0} s to go", left as f64 / rate),
        _ => line += ", waiting",
    }
    line
}

fn rate(series: &[Sample]) -> f64 {
    let recent = &series[series.len().saturating_sub(LOOK_BACK)..];
    let (Some(first), Some(last)) = (recent.first(), recent.last()) else { return 0.0 };
    let seconds = last.at.saturating_sub(first.at).as_secs_f64();
    if seconds > 0.0 { last.connections.saturating_sub(first.connections) as f64 / seconds } else { 0.0 }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
