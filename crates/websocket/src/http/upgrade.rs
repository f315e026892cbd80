//! Whether a request gets its WebSocket (RFC 6455, 4.2.1).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::http::{Refused, Request};

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

impl Upgrade {
    pub(super) fn of(request: &Request<'_>) -> Upgrade {
        // RFC 9110, 7.8: an Upgrade in a request of HTTP/1.0 is to be ignored.
        if request.is_http_1_0() || !request.has_member("Upgrade", "websocket") {
            return Upgrade::Unasked;
        }
        if request.method() != "GET" {
            return Upgrade::Faulty(Refused { status: 405, what: "a WebSocket is asked for by GET" });
        }
        if request.header("Sec-WebSocket-Version") != Some(b"13") {
            return Upgrade::Faulty(Refused { status: 426, what: "the version of WebSocket here is 13" });
        }
        let fault = if !request.has_member("Connection", "upgrade") {
            "an Upgrade that Connection does not name"
        } else if request.host().is_none() {
            "a WebSocket asked for from no host"
        } else if request.key().is_none() {
            "a Sec-WebSocket-Key that is not 16 bytes in base64"
        } else if request.has_body() {
            "a body where the frames should begin"
        } else {
            return Upgrade::Possible;
        };
        Upgrade::Faulty(Refused::bad(fault))
    }
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
