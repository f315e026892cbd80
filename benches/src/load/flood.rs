//! Quiet connections twice alone, and beside one that floods.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::quiet::{self, Beside, Quiet, Stretch};
use super::{Over, PATIENCE_MS, connect};

/// Bytes of the flood handled between two looks at the quiet ones: small, so that the load itself hardly
/// delays them.
const GULP: usize = 16 * 1024;

/// Which of the three stretches is flooded.
const FLOODED: usize = 2;

/// Traffic to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The quiet connections.
    pub quiet: quiet::Plan,
    /// Which of the three stretches comes first: they take turns, so that none profits from its place.
    pub first: usize,
}

/// What the three stretches came to.
#[derive(Debug)]
pub struct Outcome {
    /// Alone, alone again, flooded.
    stretches: Vec<Stretch>,
    flood_bytes: u64,
}

impl Outcome {
    /// The line the runner reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "stretches": self.stretches.iter().map(Stretch::to_json).collect::<Vec<_>>(),
            "flood_bytes": self.flood_bytes,
        })
    }
}

/// Runs the plan.
///
/// # Errors
///
/// What the system refused, an answer that is not the question, or one that does not come.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut quiet = Quiet::gather(&plan.quiet, Over::Tcp)?;
    let mut flood =
        Flood { socket: connect(plan.quiet.to, 0)?, chunk: vec![b'!'; GULP], sent: 0, returned: 0 };
    let mut stretches = Vec::new();
    for place in 0..3 {
        let is_flooded = (plan.first + place) % 3 == FLOODED;
        let beside = is_flooded.then_some(&mut flood as &mut dyn Beside);
        stretches.push(quiet.stretch(plan.quiet.stretch, beside)?);
        if is_flooded {
            flood.drain()?;
        }
    }
    // Back from the order in which they came.
    stretches.rotate_right(plan.first % 3);
    Ok(Outcome { stretches, flood_bytes: flood.returned })
}

/// Sends as fast as the server takes it, never waiting for an answer, and reads back what comes.
struct Flood {
    socket: TcpStream,
    chunk: Vec<u8>,
    sent: u64,
    returned: u64,
}

impl Beside for Flood {
    /// Takes back what has come, and sends more where it `pours` yet.
    fn go_on(&mut self, pours: bool) -> io::Result<()> {
        match if pours { self.socket.write(&self.chunk) } else { Ok(0) } {
            Ok(sent) => self.sent += sent as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        match self.socket.read(&mut self.chunk) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the flood")),
            Ok(read) => self.returned += read as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Flood {
    /// Reads back what is left of it: what follows is to be undisturbed.
    fn drain(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while self.returned < self.sent {
            self.go_on(false)?;
            if begun.elapsed() > Duration::from_millis(PATIENCE_MS.into()) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the flood does not come back"));
            }
        }
        Ok(())
    }
}
