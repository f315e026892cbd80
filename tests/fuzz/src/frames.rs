use std::mem::take;

use wheelhouse_websocket::{
    Event, Header, Left, Opcode, Pass, Role, Rules, State, deflate::most_deflated, mask,
};

use crate::{input::Input, pieces::Pieces};

/// A stream of frames gives the same events however it is cut, keeps within the rules whatever is in it, and what was
/// seen, written again, is seen again.
///
/// The first byte chooses role and rules, the next two the cuts.
///
/// # Panics
/// Where that does not hold.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let choices = input.byte();
    let rules = Rules {
        role: if choices & 1 == 0 { Role::Server } else { Role::Client },
        max_message: [125, 126, 1000, 70_000][usize::from(choices >> 1 & 3)],
        max_frame: if choices >> 6 & 1 == 0 { usize::MAX } else { 300 },
        max_fragments: [1, 2, 7, 1024][usize::from(choices >> 3 & 3)],
    };
    let state = State::new(choices >> 5 & 1 == 1);
    let seed = input.short();
    let bytes = input.rest();

    let whole = seen(rules, state, Pieces::new(bytes, 0), false);
    assert_eq!(seen(rules, state, Pieces::new(bytes, seed), false), whole, "cut");
    assert_eq!(seen(rules, state, Pieces::new(bytes, seed), true), whole, "cut, an event at a time");
    assert_eq!(seen(rules, state, bytes.chunks(1), false), whole, "byte by byte");
    look(&rules, &whole);

    let mut again = Vec::new();
    whole.iter().for_each(|seen| seen.write(rules.role, &mut again));
    // What came in fragments goes out in one frame.
    let rules = Rules { max_message: most(&rules, state.has_deflate()), max_frame: usize::MAX, ..rules };
    let without_error = whole.iter().filter(|seen| !matches!(seen, Seen::Failed(_)));
    assert!(seen(rules, state, [&again[..]].into_iter(), false).iter().eq(without_error), "written again");
}

/// What an end saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Message { is_text: bool, is_compressed: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(u16),
}

/// What an end sees of these reads. With `is_slow` each pass ends after one event.
pub(crate) fn seen<'a>(
    rules: Rules,
    mut state: State,
    reads: impl Iterator<Item = &'a [u8]>,
    is_slow: bool,
) -> Vec<Seen> {
    let (mut all, mut kept, mut missing) = (Vec::new(), Vec::new(), 1);
    for read in reads {
        kept.extend_from_slice(read);
        let mut lacks = missing > read.len() && !is_slow;
        loop {
            let before = all.len();
            let was_over = state.is_over();
            let mut pass = Pass::new(&rules, state, &mut kept);
            while let Some(event) = pass.next().map(|event| event.map(Seen::from)).transpose() {
                let event = event.unwrap_or_else(|violation| Seen::Failed(violation.code.number()));
                assert!(!was_over, "{event:?} after the end");
                // What lacks bytes may be found wrong, not whole.
                assert!(!lacks || matches!(event, Seen::Failed(_)), "{event:?} before its bytes came");
                all.push(event);
                if is_slow {
                    break;
                }
            }
            let left: Left = pass.finish();
            assert!(left.missing > 0 && left.from <= left.to && left.to <= kept.len());
            kept.truncate(left.to);
            kept.drain(..left.from);
            (state, missing, lacks) = (State::from_words(left.state.to_words()), left.missing, false);
            if all.len() == before || !is_slow {
                break;
            }
        }
        assert!(kept.len() <= most(&rules, state.has_deflate()) + 130, "{} bytes are kept", kept.len());
        assert!(!state.is_over() || kept.is_empty(), "what follows the end is kept");
    }
    all
}

/// The most bytes of a message: compressed it may be longer than it is.
fn most(rules: &Rules, is_compressed: bool) -> usize {
    let Rules { max_message, max_fragments, .. } = *rules;
    if is_compressed { most_deflated(max_message, max_fragments as usize) } else { max_message }
}

/// What was seen is allowed.
fn look(rules: &Rules, all: &[Seen]) {
    for (nth, seen) in all.iter().enumerate() {
        let is_last = nth + 1 == all.len();
        match seen {
            Seen::Message { is_text, is_compressed, payload } => {
                assert!(payload.len() <= most(rules, *is_compressed));
                assert!(!is_text || *is_compressed || str::from_utf8(payload).is_ok());
            }
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= 125),
            Seen::Close(code, reason) => {
                assert!(is_last && reason.len() <= 123 && (code.is_some() || reason.is_empty()));
            }
            Seen::Failed(code) => assert!(is_last && matches!(code, 1002 | 1007 | 1008 | 1009), "{code}"),
        }
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Message { is_text, is_compressed, payload } => {
                Seen::Message { is_text, is_compressed, payload: payload.to_vec() }
            }
            Event::Turned { is_text, header, frame } => {
                let payload = frame[header..].to_vec();
                Seen::Message { is_text, is_compressed: false, payload }
            }
            Event::Ping(payload) => Seen::Ping(payload.to_vec()),
            Event::Pong(payload) => Seen::Pong(payload.to_vec()),
            Event::Close(code, reason) => Seen::Close(code.map(|code| code.number()), reason.to_owned()),
        }
    }
}

impl Seen {
    /// As it goes over the wire to an end of this role; a failure does not.
    fn write(&self, to: Role, out: &mut Vec<u8>) {
        let (opcode, is_compressed, mut payload) = match self.clone() {
            Seen::Message { is_text: true, is_compressed, payload } => (Opcode::Text, is_compressed, payload),
            Seen::Message { is_compressed, payload, .. } => (Opcode::Binary, is_compressed, payload),
            Seen::Ping(payload) => (Opcode::Ping, false, payload),
            Seen::Pong(payload) => (Opcode::Pong, false, payload),
            Seen::Close(code, mut reason) => {
                let code = code.map(u16::to_be_bytes);
                (
                    Opcode::Close,
                    false,
                    [code.as_ref().map_or(&[][..], |code| code), take(&mut reason).as_bytes()].concat(),
                )
            }
            Seen::Failed(_) => return,
        };
        let key = (to == Role::Server).then_some([7, 0, 0x80, payload.len() as u8]);
        let header = Header::new(opcode, payload.len(), key);
        out.extend_from_slice(if is_compressed { header.compressed() } else { header }.bytes());
        if let Some(key) = key {
            mask(&mut payload, key);
        }
        out.extend_from_slice(&payload);
    }
}
