//! What an end that echoes says to a stream of frames, by the protocol alone.

use wheelhouse_websocket::{Rules, State, deflate::Inflator};

use crate::frames::{Seen, seen};

/// Echoed, it is the last: the connection is closed behind it.
pub(crate) const LAST_WORD: &[u8] = b"bye";

pub(crate) struct Echo {
    pub(crate) rules: Rules,
    /// Pings and pongs that are borne: all come in one second.
    pub(crate) max_controls: usize,
    /// Whether the other end's compressor remembers earlier messages, where compression was agreed on.
    pub(crate) deflate: Option<bool>,
}

impl Echo {
    /// What it says to these bytes. The last may be a failure, which is said by a close frame.
    pub(crate) fn answers(&self, bytes: &[u8]) -> Vec<Seen> {
        let came = seen(self.rules, State::new(self.deflate.is_some()), [bytes].into_iter(), false);
        let keeps_context = self.deflate.unwrap_or_default();
        let (mut inflator, mut controls, mut answers) = (Inflator::new(15), 0, Vec::new());
        for event in came {
            let is_control = matches!(event, Seen::Ping(_) | Seen::Pong(_));
            controls += usize::from(is_control);
            let echo = match event {
                _ if is_control && controls > self.max_controls => Seen::Failed(1008),
                Seen::Message { is_text, is_compressed: true, payload } => {
                    let mut message = Vec::new();
                    match inflator.inflate(&payload, keeps_context, self.rules.max_message, &mut message) {
                        Ok(()) if is_text && str::from_utf8(&message).is_err() => Seen::Failed(1007),
                        Ok(()) => Seen::Message { is_text, is_compressed: false, payload: message },
                        Err(violation) => Seen::Failed(violation.code.number()),
                    }
                }
                Seen::Ping(payload) => Seen::Pong(payload),
                Seen::Pong(_) => continue,
                Seen::Close(code, _) => Seen::Close(code, String::new()),
                event => event,
            };
            let is_last = matches!(&echo, Seen::Message { payload, .. } if payload == LAST_WORD);
            answers.push(echo);
            if is_last {
                answers.push(Seen::Close(Some(1000), String::new()));
            }
            if is_last || matches!(answers.last(), Some(Seen::Failed(_) | Seen::Close(..))) {
                break;
            }
        }
        answers
    }
}

/// What came is what was to be said.
///
/// # Panics
/// Where it is not.
pub(crate) fn compare(frames: &[Seen], expected: &[Seen]) {
    assert_eq!(frames.len(), expected.len(), "{frames:?}, not {expected:?}");
    for (frame, expected) in frames.iter().zip(expected) {
        match (frame, expected) {
            // The reason is for people.
            (Seen::Close(Some(code), _), Seen::Failed(expected)) => assert_eq!(code, expected),
            _ => assert_eq!(frame, expected),
        }
    }
}
