//! What may become of a wish for a WebSocket (RFC 6455, 4.2.1).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::http::Refused;

/// What became of a wish for a WebSocket.
#[derive(Clone, Copy)]
pub(super) enum Upgrade {
    /// There was none.
    Unasked,
    /// It can be had.
    Possible,
    /// It cannot.
    Faulty(Refused),
}

/// Whether this is the base64 of 16 bytes.
pub(super) fn is_key(key: &str) -> bool {
    // Sixteen bytes leave four bits over, which some clients, and the example in RFC 6455, 11.3.1, do not
    // leave at zero.
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

    let mut bytes = [0; 18];
    key.len() == 24 && BASE64.decode_slice(key, &mut bytes) == Ok(16)
}
