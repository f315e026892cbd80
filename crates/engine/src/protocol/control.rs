use std::sync::Arc;

use bytes::Bytes;

use super::{Decoded, Frame, Output, Protocol, ProtocolError};
use crate::{Error, Input, Kind, Payload, Refusal, Result};

/// What a protocol carries beside messages, to ask whether the peer is there and to answer.
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{Action, Conn, Control, Engine, Framing, Handler, Listener, ListenerId, Message, testing::Bench};
///
/// struct Watchful;
///
/// impl Handler for Watchful {
///     type Session = u32;
///
///     fn on_control(&mut self, _: &mut Conn<'_>, pongs: &mut u32, control: Control<'_>) -> Action {
///         *pongs += u32::from(matches!(control, Control::Pong(_)));
///         Action::Continue
///     }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut u32, _: Message<'_>) -> Action { Action::Continue }
/// }
///
/// let chat = Listener::new("tcp://127.0.0.1:0")
///     .framing(Framing::lines(80).with_heartbeat("PING", "PONG"))
///     .heartbeat(Duration::from_secs(30), Duration::from_secs(90));
/// let mut bench = Bench::with_options(Engine::builder().listen(chat), |_| Watchful);
/// let client = bench.open_on(ListenerId(0));
/// bench.turn(Duration::from_secs(30));
/// assert_eq!(bench.output(client), b"PING\n");
/// bench.input(client, b"PONG\nPING\n");
/// assert_eq!(bench.session(client), Some(&mut 1));
/// assert_eq!(bench.output(client), b"PONG\n");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control<'a> {
    /// Asks for a pong with the same bytes; the engine has answered it already.
    Ping(&'a [u8]),
    /// Answers a ping.
    Pong(&'a [u8]),
}

/// Two messages that are a ping and a pong, for a protocol that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    ping: Word,
    pong: Word,
}

type Word = (Kind, Bytes);

impl Words {
    pub(super) fn new(ping: &Payload<'_>, pong: &Payload<'_>) -> Words {
        let word = |payload: &Payload<'_>| (payload.kind(), Bytes::copy_from_slice(payload.bytes()));
        Words { ping: word(ping), pong: word(pong) }
    }

    /// `longest` is the largest message that the framing takes, where it writes larger ones all the same.
    pub(super) fn validate(&self, frame: &Frame, longest: usize) -> Result<()> {
        let refuse = |word: &Word, allowed: &str| {
            let value = word.1.escape_ascii().to_string();
            Err(Error::BadOption { option: "with_heartbeat", value, allowed: allowed.into() })
        };
        let Frame::Protocol(protocol) = frame else {
            return refuse(&self.ping, "a framing with messages: raw bytes have none");
        };
        if self.ping.1 == self.pong.1 {
            return refuse(&self.pong, "two words that differ");
        }
        for word in [&self.ping, &self.pong] {
            let is_taken = word.1.len() <= longest;
            if !is_taken || encode(word, &**protocol, &mut Output::new(&mut Vec::new())).is_err() {
                return refuse(word, "a word that the framing can carry as a message");
            }
        }
        Ok(())
    }
}

fn encode(word: &Word, protocol: &dyn Protocol, out: &mut Output<'_>) -> Result<(), Refusal> {
    protocol.encode(&Payload::from(&word.1[..]).with_kind(word.0), out)
}

/// A protocol with two words set aside.
pub(super) struct Worded {
    inner: Arc<dyn Protocol>,
    words: Words,
}

impl Worded {
    pub(super) fn new(inner: Arc<dyn Protocol>, words: Words) -> Self {
        Worded { inner, words }
    }
}

impl Protocol for Worded {
    fn decode<'a>(&self, state: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let decoded = self.inner.decode(state, input)?;
        Ok(match decoded {
            Decoded::Message(message) if message.bytes() == self.words.ping.1 => {
                Decoded::Control(Control::Ping(&[]))
            }
            Decoded::Message(message) if message.bytes() == self.words.pong.1 => {
                Decoded::Control(Control::Pong(&[]))
            }
            other => other,
        })
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        self.inner.encode(payload, out)
    }

    fn encode_control(&self, control: &Control<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        match control {
            Control::Ping([]) => encode(&self.words.ping, &*self.inner, out),
            Control::Pong([]) => encode(&self.words.pong, &*self.inner, out),
            _ => Err(Refusal::NotEncodable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Framing;

    fn protocol(framing: &Framing) -> &dyn Protocol {
        let Frame::Protocol(protocol) = framing.frame() else { panic!("raw") };
        &**protocol
    }

    #[test]
    fn the_two_words_are_controls_and_everything_else_is_a_message() {
        let framing = Framing::lines(80).with_heartbeat("PING", "PONG");
        let mut bytes = *b"PING\nPONG\r\nPINGS\n";
        let (mut input, mut state) = (Input::new(&mut bytes), 0);
        let mut next = || match protocol(&framing).decode(&mut state, &mut input) {
            Ok(Decoded::Control(control)) => format!("{control:?}"),
            Ok(Decoded::Message(message)) => message.text().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!([next(), next(), next()], ["Ping([])", "Pong([])", "PINGS"]);
        let mut out = Vec::new();
        protocol(&framing).encode_control(&Control::Pong(&[]), &mut Output::new(&mut out)).unwrap();
        assert_eq!(out, b"PONG\n");
        let with_bytes = protocol(&framing).encode_control(&Control::Ping(b"x"), &mut Output::new(&mut out));
        assert_eq!(with_bytes, Err(Refusal::NotEncodable));
    }

    #[test]
    fn words_that_cannot_be_told_apart_or_carried_are_refused_with_their_name() {
        let error = |framing: Framing| framing.validate().unwrap_err().to_string();
        let same = error(Framing::lines(80).with_heartbeat("PING", "PING"));
        assert!(same.contains("with_heartbeat") && same.contains("PING"), "{same}");
        let two_lines = error(Framing::lines(80).with_heartbeat("PI\nNG", "PONG"));
        assert!(two_lines.contains("PI\\nNG"), "{two_lines}");
        let raw = error(Framing::raw().with_heartbeat("PING", "PONG"));
        assert!(raw.contains("raw bytes have none"), "{raw}");
        assert!(
            Framing::lines(80).with_heartbeat("PING", "PONG").has_pings() && !Framing::lines(80).has_pings()
        );
    }
}
