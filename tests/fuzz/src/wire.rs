//! What an end sends, as the other end reads it that is not ours: it takes nothing that RFC 6455 does not allow.

use wheelhouse_websocket::deflate::Inflator;

use crate::{frames::Seen, head};

/// All that a connection was sent, and whether it is over by that.
#[derive(Debug)]
pub(crate) struct Sent {
    /// None while no WebSocket is open: nothing came yet, or an answer that is the last.
    pub(crate) frames: Option<Vec<Seen>>,
    pub(crate) is_over: bool,
}

/// Reads it; what is wrong, if anything is.
pub(crate) fn read(bytes: &[u8], is_head: bool) -> Result<Sent, String> {
    if bytes.is_empty() {
        return Ok(Sent { frames: None, is_over: false });
    }
    let head = head::read(bytes)?;
    if head.status != 101 {
        head::read_last(bytes, is_head)?;
        return Ok(Sent { frames: None, is_over: true });
    }
    let extensions = head.first("Sec-WebSocket-Extensions");
    let keeps_context = extensions.is_some_and(|value| !value.contains("server_no_context_takeover"));
    let inflator = extensions.map(|_| Inflator::new(15));
    let frames = Reader { inflator, keeps_context, is_masked: false }.all(head.body)?;
    let is_over = matches!(frames.last(), Some(Seen::Close(..)));
    Ok(Sent { frames: Some(frames), is_over })
}

/// Reads what a client sends when a WebSocket is open; `deflate` is whether its compressor remembers earlier messages, where
/// compression was agreed on. What is wrong, if anything is.
pub(crate) fn read_client(bytes: &[u8], deflate: Option<bool>) -> Result<Vec<Seen>, String> {
    let inflator = deflate.map(|_| Inflator::new(15));
    Reader { inflator, keeps_context: deflate.unwrap_or_default(), is_masked: true }.all(bytes)
}

struct Reader {
    inflator: Option<Inflator>,
    keeps_context: bool,
    is_masked: bool,
}

impl Reader {
    fn all(mut self, mut rest: &[u8]) -> Result<Vec<Seen>, String> {
        let mut frames = Vec::new();
        while !rest.is_empty() {
            if let Some(Seen::Close(..)) = frames.last() {
                return Err(format!("{} bytes behind the close frame", rest.len()));
            }
            let (frame, behind) = self.frame(rest)?;
            frames.push(frame);
            rest = behind;
        }
        Ok(frames)
    }

    /// The first frame, and what is behind it.
    fn frame<'a>(&mut self, bytes: &'a [u8]) -> Result<(Seen, &'a [u8]), String> {
        let (&[first, second], rest) = bytes.split_first_chunk().ok_or("half a header")?;
        if (second & 0x80 != 0) != self.is_masked {
            return Err("a client masks, a server does not".into());
        }
        let short = second & 0x7F;
        let (len, rest) = match short {
            126 => {
                let (len, rest) = rest.split_first_chunk().ok_or("half a length")?;
                (u64::from(u16::from_be_bytes(*len)), rest)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk().ok_or("half a length")?;
                (u64::from_be_bytes(*len), rest)
            }
            len => (len.into(), rest),
        };
        let least = [0, 126, 0x1_0000][usize::from(short.saturating_sub(125))];
        let (key, rest) = match self.is_masked {
            true => rest.split_first_chunk().ok_or("half a key")?,
            false => (&[0; 4], rest),
        };
        let payload = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
        let (payload, behind) = payload.filter(|_| len >= least).ok_or(format!("a length of {len}"))?;
        let payload: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();

        let (opcode, is_compressed) = (first & 0x0F, first & 0x40 != 0);
        if first & 0xB0 != 0x80 {
            return Err(format!(
                "a first byte of {first:#x}: the engine makes no fragments and knows no bits but one"
            ));
        }
        if opcode >= 8 && (is_compressed || len > 125) {
            return Err(format!("a control frame of {len} bytes, compressed or not: {is_compressed}"));
        }
        let message = if is_compressed { self.inflate(&payload)? } else { payload.clone() };
        let seen = match opcode {
            1 if str::from_utf8(&message).is_err() => return Err("text that is none".into()),
            1 | 2 => Seen::Message { is_text: opcode == 1, is_compressed: false, payload: message },
            8 => close(&payload)?,
            9 => Seen::Ping(message),
            10 => Seen::Pong(message),
            _ => return Err(format!("opcode {opcode}")),
        };
        Ok((seen, behind))
    }

    fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut message = Vec::new();
        let inflator = self.inflator.as_mut().ok_or("compressed, which was not agreed on")?;
        inflator
            .inflate(payload, self.keeps_context, 1 << 20, &mut message)
            .map_err(|error| error.to_string())?;
        Ok(message)
    }
}

/// RFC 6455, 7.4, and the registry of codes: what may be said at the end.
fn close(payload: &[u8]) -> Result<Seen, String> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Seen::Close(None, String::new()))
        } else {
            Err("half a code".into())
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(format!("code {code}"));
    }
    let reason = str::from_utf8(reason).map_err(|error| error.to_string())?;
    Ok(Seen::Close(Some(code), reason.to_owned()))
}
