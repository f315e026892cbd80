//! A calculator that is spoken to in a binary protocol of this program's own.
//!
//! Shows a [`Protocol`]: how it says what it needs before a message is whole, changes a body in place, makes a larger one in
//! the reactor's scratch, and carries type and flags in a message's [`Kind`]. Where nothing is to be done to the bodies
//! `Framing::length_delimited(LengthDelimited::type_flags())` cuts the same frames.
//!
//! ```text
//! | type 1 | flags 1 | length 4, big-endian | body: length bytes |
//! ```
//!
//! A body is numbers of eight bytes each, signed and big-endian. With flag 1 they are little-endian instead, with flag 2 of
//! two bytes each. The handler is spared both: it sees numbers of the first sort.

use std::process::ExitCode;

use clap::Parser;
use wheelhouse::{
    Action, Conn, Decoded, Engine, Framing, Handler, Input, Kind, Listener, Message, Output, Payload,
    Protocol, ProtocolError, Refusal,
};
use wheelhouse_examples::{AnyError, end, serve};

/// Adds, multiplies and tells the total, for each connection its own.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9006")]
    listen: String,
    /// The longest body
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    max: usize,
}

/// Adds each number to the total; without an answer.
const ADD: u8 = 1;
/// Multiplies the total by each number; without an answer.
const MULTIPLY: u8 = 2;
/// Asks for the total: the answer is of the same type and has one number.
const TOTAL: u8 = 3;
/// The last answer, with what went wrong in words.
const WRONG: u8 = 0xff;

const LITTLE_ENDIAN: u8 = 1;
const NARROW: u8 = 2;

const HEADER: usize = 6;
const WIDE: usize = size_of::<i64>();

struct Numbers {
    max: usize,
}

impl Protocol for Numbers {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let Some(&[kind, flags, a, b, c, d]) = input.peek().first_chunk::<HEADER>() else {
            return Ok(Decoded::Need(HEADER));
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.max {
            return Err(ProtocolError(format!("a body of {length} B, at most {}", self.max).into()));
        }
        let size = if flags & NARROW == 0 { WIDE } else { size_of::<i16>() };
        if !length.is_multiple_of(size) {
            return Err(ProtocolError(format!("a body of {length} B: no numbers of {size} B").into()));
        }
        if input.len() < HEADER + length {
            return Ok(Decoded::Need(HEADER + length));
        }
        // From here on the message is whole, and may be changed.
        input.skip(HEADER);
        let mut body = input.take_mut(length);
        if flags & LITTLE_ENDIAN != 0 {
            body.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if flags & NARROW != 0
            && let Some(wide) = input.scratch()
        {
            let narrow = body.as_chunks().0.iter().map(|number| i16::from_be_bytes(*number));
            wide.extend(narrow.flat_map(|number| i64::from(number).to_be_bytes()));
            body = wide;
        }
        let kind = Kind::custom(u16::from_be_bytes([kind, flags]));
        Ok(Decoded::Message(Message::new(kind, body)))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        let kind = payload.kind().number().ok_or(Refusal::NotEncodable)?;
        let length = u32::try_from(payload.bytes().len()).map_err(|_| Refusal::NotEncodable)?;
        out.put(&kind.to_be_bytes());
        out.put(&length.to_be_bytes());
        out.body(payload);
        Ok(())
    }
}

struct Calculator;

impl Handler for Calculator {
    type Session = i64;

    fn on_message(&mut self, conn: &mut Conn<'_>, total: &mut i64, message: Message<'_>) -> Action {
        let numbers = || message.bytes().as_chunks().0.iter().map(|number| i64::from_be_bytes(*number));
        let sum = match kind_of(&message) {
            ADD => numbers().try_fold(*total, i64::checked_add),
            MULTIPLY => numbers().try_fold(*total, i64::checked_mul),
            TOTAL => {
                conn.send(Payload::from(&total.to_be_bytes()).with_kind(answer(TOTAL)));
                Some(*total)
            }
            _ => return refuse(conn, "an unknown type"),
        };
        let Some(sum) = sum else { return refuse(conn, "more than 64 bits hold") };
        *total = sum;
        Action::Continue
    }
}

fn kind_of(message: &Message<'_>) -> u8 {
    let [kind, _] = message.kind().number().unwrap_or_default().to_be_bytes();
    kind
}

/// No flags.
fn answer(kind: u8) -> Kind {
    Kind::custom(u16::from_be_bytes([kind, 0]))
}

fn refuse(conn: &mut Conn<'_>, why: &str) -> Action {
    conn.send(Payload::from(why).with_kind(answer(WRONG)));
    Action::Finish
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let Options { listen, max } = options;
    let listener = Listener::new(listen).framing(Framing::custom(Numbers { max }));
    serve(Engine::builder().listen(listener).build(|_| Calculator)?)?;
    Ok(())
}
