//! How far it is, on a terminal; elsewhere nothing is shown.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use wheelhouse_examples::grouped;

use crate::tally::Live;

const STYLE: &str = "{prefix:>10} [{wide_bar}] {msg}";

pub(crate) struct Progress {
    bar: ProgressBar,
    last: Instant,
    last_answered: u64,
    second: u64,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress { bar, last: Instant::now(), last_answered: 0, second: 0 }
    }

    pub(crate) fn connecting(&mut self, connections: u32, live: &[Live]) {
        let (open, failed, _) = Live::look(live);
        self.bar.set_prefix("connecting");
        self.bar.set_length(connections.into());
        self.bar.set_position(open + failed);
        self.bar.set_message(format!("{} open, {} failed", grouped(open), grouped(failed)));
    }

    pub(crate) fn begin(&mut self) {
        (self.last, self.last_answered, self.second) = (Instant::now(), 0, 0);
    }

    /// The bar, and a line for each second.
    pub(crate) fn running(&mut self, elapsed: Duration, whole: Duration, live: &[Live]) {
        let (open, failed, answered) = Live::look(live);
        self.bar.set_prefix("running");
        self.bar.set_length(whole.as_millis() as u64);
        self.bar.set_position(elapsed.min(whole).as_millis() as u64);
        if self.last.elapsed() < Duration::from_secs(1) {
            return;
        }
        let rate = (answered - self.last_answered) as f64 / self.last.elapsed().as_secs_f64();
        self.second += 1;
        let line = format!(
            "{} messages/s, {} open, {} failed",
            grouped(rate as u64),
            grouped(open),
            grouped(failed)
        );
        self.bar.println(format!("{:>8} s  {line}", self.second));
        self.bar.set_message(line);
        (self.last, self.last_answered) = (Instant::now(), answered);
    }

    pub(crate) fn note(&self, stage: &'static str) {
        self.bar.set_prefix(stage);
        self.bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
