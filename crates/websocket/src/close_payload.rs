//! A close frame's payload as it comes in.

use crate::{CloseCode, Violation};

/// What a close frame's payload says (RFC 6455, 5.5.1): nothing, or a code and a reason.
pub(crate) fn read(payload: &[u8]) -> Result<(Option<CloseCode>, &str), Violation> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok((None, "")),
            _ => Err(Violation::protocol("a close frame holds half a code")),
        };
    };
    let code = CloseCode::new(u16::from_be_bytes(code))
        .ok_or(Violation::protocol("a close frame holds a code that may not be sent"))?;
    match simdutf8::basic::from_utf8(reason) {
        Ok(reason) => Ok((Some(code), reason)),
        Err(_) => Err(Violation::invalid("a close frame's reason is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters_and_reads_back() {
        let mut buffer = [0; CloseCode::MAX_PAYLOAD];
        for ahead in 0..4 {
            let reason = format!("{}{}", "x".repeat(ahead), "𐍈".repeat(40));
            let payload = CloseCode::INTERNAL.payload(&reason, &mut buffer);
            let (code, cut) = read(payload).unwrap();
            assert_eq!(code, Some(CloseCode::INTERNAL));
            assert!(reason.starts_with(cut) && (120..=123).contains(&cut.len()));
        }
        assert_eq!(read(CloseCode::NORMAL.payload("", &mut buffer)), Ok((Some(CloseCode::NORMAL), "")));
    }

    #[test]
    fn half_a_code_a_forbidden_one_and_a_broken_reason_are_told_apart() {
        let code = |payload: &[u8]| read(payload).unwrap_err().code;
        assert_eq!(read(b""), Ok((None, "")));
        assert_eq!(code(b"\x03"), CloseCode::PROTOCOL);
        assert_eq!(code(b"\x03\xed"), CloseCode::PROTOCOL);
        assert_eq!(code(b"\x03\xe8\xff"), CloseCode::INVALID);
        assert_eq!(code(b"\x03\xed\xff"), CloseCode::PROTOCOL);
    }
}
