//! What is printed, and the same as JSON.

use serde_json::{Value, json};

use super::summary::Summary;
use crate::machine;

/// Prints tables as they are made, and keeps their figures.
pub(crate) struct Report {
    figures: Vec<Value>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { figures: Vec::new() }
    }

    /// Begins a table: a heading and a line of columns.
    pub(crate) fn table(&self, title: &str, columns: &str) {
        let rule: String = columns.split('|').map(|_| "|--").collect();
        println!("## {title}\n\n| {columns} |\n{rule}|");
    }

    /// A line of the present table.
    pub(crate) fn line(&self, cells: &str) {
        println!("| {cells} |");
    }

    /// Ends the present table.
    pub(crate) fn end(&self) {
        println!();
    }

    /// Says so where some windows were disturbed.
    pub(crate) fn note_disturbances(&self, disturbed: usize, windows: usize) {
        if disturbed > 0 {
            println!("Others were busy in {disturbed} of {windows} windows: latencies tell little.\n");
        }
    }

    /// Keeps a figure for the JSON.
    pub(crate) fn keep(&mut self, row: &str, server: &str, what: &str, value: Summary) {
        self.figures.push(json!({
            "row": row,
            "server": server,
            "what": what,
            "median": value.median,
            "quartiles": value.quartiles,
            "ends": value.ends,
        }));
    }

    pub(crate) fn into_json(self) -> Value {
        json!({ "machine": machine::describe(), "figures": self.figures })
    }
}

/// A ratio beside the least it has to be, as [`verdict`] has the most.
pub(crate) fn verdict_of_rate(ratio: f64, goal: f64, spread: f64) -> String {
    let verdict = match goal - ratio {
        under if under <= 0.0 => "met",
        under if under <= spread => "met within the spread",
        _ => "missed",
    };
    format!("at least {goal:.2}: {verdict}")
}

/// A ratio beside the most it may be. What is over by less than the floor's spread against itself is no
/// difference, and said to be none.
pub(crate) fn verdict(ratio: f64, goal: f64, spread: f64) -> String {
    let verdict = match ratio - goal {
        over if over <= 0.0 => "met",
        over if over <= spread => "met within the spread",
        _ => "missed",
    };
    format!("at most {goal:.2}: {verdict}")
}
