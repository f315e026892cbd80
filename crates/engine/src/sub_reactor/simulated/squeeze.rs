//! Compression (RFC 7692) by a deflate that is not the engine's.

use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    deflate::{core::CompressorOxide, core::create_comp_flags_from_zip_params, stream::deflate},
    inflate::stream::{InflateState, inflate},
};

/// What ends a flush, and is left out on the wire (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A message as a peer compresses it that forgets the last one.
pub(super) fn squeeze(body: &[u8]) -> Vec<u8> {
    if body.is_empty() {
        return vec![0];
    }
    let mut state = CompressorOxide::new(create_comp_flags_from_zip_params(1, -15, 0));
    let mut out = vec![0; body.len() + body.len() / 4 + 64];
    let done = deflate(&mut state, body, &mut out, MZFlush::Sync);
    assert_eq!((done.status, done.bytes_consumed), (Ok(MZStatus::Ok), body.len()));
    out.truncate(done.bytes_written - TAIL.len());
    out
}

/// What expands the messages of one connection.
pub(super) struct Expander {
    state: Box<InflateState>,
    /// Whether a message may lean on earlier ones.
    remembers: bool,
}

impl Expander {
    pub(super) fn new(remembers: bool) -> Expander {
        Expander { state: InflateState::new_boxed(DataFormat::Raw), remembers }
    }

    pub(super) fn expand(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        if !self.remembers {
            self.state.reset(DataFormat::Raw);
        }
        let payload = [payload, &TAIL].concat();
        let (mut read, mut out, mut part) = (0, Vec::new(), vec![0; 16 << 10]);
        loop {
            let done = inflate(&mut self.state, &payload[read..], &mut part, MZFlush::Sync);
            read += done.bytes_consumed;
            out.extend_from_slice(&part[..done.bytes_written]);
            match done.status {
                Ok(MZStatus::Ok) if read < payload.len() || done.bytes_written == part.len() => {}
                Ok(MZStatus::Ok) | Err(MZError::Buf) => return Ok(out),
                other => return Err(format!("a message does not inflate: {other:?}")),
            }
        }
    }
}
