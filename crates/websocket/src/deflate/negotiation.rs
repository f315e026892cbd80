use std::fmt::Write;

use super::extension::{self, ClientBits, Parameters};

/// What this end wants of permessage-deflate.
///
/// ```
/// use wheelhouse_websocket::deflate::Config;
///
/// let server = Config { own_contexts: true, window_bits: 12, ..Config::default() };
/// let offers = ["permessage-deflate; server_max_window_bits=10, permessage-deflate"];
/// let (agreed, answer) = server.answer(offers.iter().map(|offer| offer.as_bytes())).unwrap();
/// assert_eq!(answer, "permessage-deflate; server_max_window_bits=10");
/// assert_eq!(agreed.server_max_window_bits, 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The trouble taken to compress, from 0 (none: stored as it is) over 1 (fast) to 9 (slow). 1 by
    /// default.
    pub level: u32,
    /// Whether each connection keeps its contexts between messages, with memory of its own
    /// ([`deflate`](super)). False by default: nothing is kept in either direction.
    pub own_contexts: bool,
    /// The largest window that either end is to look back through, as a power of two: 9 to 15, 15 by
    /// default. Values out of bounds count as the nearest within.
    pub window_bits: u8,
}

/// What both ends agreed on for a connection (RFC 7692, 7.1).
///
/// ```
/// use wheelhouse_websocket::deflate::{Config, Deflator, Inflator};
///
/// let offers = [&b"permessage-deflate; server_max_window_bits=10"[..]];
/// let (agreed, _) = Config::default().answer(offers.into_iter()).unwrap();
/// let mut deflator = Deflator::new(agreed.server_max_window_bits, 1); // a server's
/// let mut inflator = Inflator::new(agreed.client_max_window_bits);
/// let (mut compressed, mut message) = (Vec::new(), Vec::new());
/// deflator.deflate(b"Hello", !agreed.server_no_context_takeover, &mut compressed);
/// inflator.inflate(&compressed, !agreed.client_no_context_takeover, 1024, &mut message).unwrap();
/// assert_eq!((agreed.server_max_window_bits, &message[..]), (10, &b"Hello"[..]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The server's messages do not refer to the ones before them.
    pub server_no_context_takeover: bool,
    /// The client's messages do not refer to the ones before them.
    pub client_no_context_takeover: bool,
    /// How far the server's messages refer back, as a power of two: 8 to 15.
    pub server_max_window_bits: u8,
    /// How far the client's messages refer back, as a power of two: 8 to 15.
    pub client_max_window_bits: u8,
}

/// A server's answer that does not go with the offer: the client has to fail the connection (RFC 7692, 5.1).
///
/// ```
/// use wheelhouse_websocket::deflate::{BadAnswer, Config};
///
/// let client = Config { window_bits: 10, ..Config::default() };
/// let answer = b"permessage-deflate; server_no_context_takeover; server_max_window_bits=12";
/// let error = client.verify([&answer[..]].into_iter()).unwrap_err();
/// assert!(matches!(error, BadAnswer::TooLarge { chosen: 12, offered: 10, .. }));
/// assert_eq!(error.to_string(), "the server chose server_max_window_bits=12, but 10 was offered");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// An extension that was not offered, or permessage-deflate twice.
    #[error("the server chose {0:?}, which was not offered")]
    NotOffered(String),
    /// Parameters that are unknown, doubled or out of bounds.
    #[error("the server answered {0:?}, which makes no sense")]
    Malformed(String),
    /// A parameter that has to come back with every answer that accepts the offer.
    #[error("the server chose {answer:?} without {parameter}, which was asked for")]
    Missing {
        /// Its name.
        parameter: &'static str,
        /// What the server chose.
        answer: String,
    },
    /// A window larger than was offered.
    #[error("the server chose {parameter}={chosen}, but {offered} was offered")]
    TooLarge {
        /// Whose window.
        parameter: &'static str,
        /// The server's choice, 8 to 15.
        chosen: u8,
        /// The offer's bound, 9 to 14.
        offered: u8,
    },
}

impl Default for Config {
    fn default() -> Config {
        Config { level: 1, own_contexts: false, window_bits: LARGEST }
    }
}

impl Config {
    /// The server's choice among the offers in the values of Sec-WebSocket-Extensions, in their order: the
    /// first that is acceptable, with the value of the answer's header. None when there is none: the
    /// connection goes uncompressed then.
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::Config;
    ///
    /// // The first offer is none that zlib can meet; the second one is.
    /// let offers = b"permessage-deflate; server_max_window_bits=8, permessage-deflate";
    /// let (agreed, answer) = Config::default().answer([&offers[..]].into_iter()).unwrap();
    /// assert_eq!(answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    /// assert!(agreed.client_no_context_takeover);
    /// assert_eq!(Config::default().answer([&b"x-webkit-deflate-frame"[..]].into_iter()), None);
    /// ```
    ///
    /// Other extensions are passed by, and so are offers with parameters that are malformed, unknown, doubled or
    /// out of bounds, or with `server_max_window_bits=8`, which zlib does not have.
    pub fn answer<'a>(&self, offers: impl Iterator<Item = &'a [u8]>) -> Option<(Agreement, String)> {
        offers
            .flat_map(extension::elements)
            .filter(|element| extension::is_deflate(element))
            .filter_map(|element| Parameters::of(element).ok())
            .find_map(|offer| self.accept(offer))
    }

    /// The client's offer: the value of its Sec-WebSocket-Extensions.
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::Config;
    ///
    /// let client = Config { own_contexts: true, ..Config::default() };
    /// assert_eq!(client.offer(), "permessage-deflate; client_max_window_bits");
    /// ```
    pub fn offer(&self) -> String {
        let bits = self.bits();
        header(Parameters {
            server_no_context_takeover: !self.own_contexts,
            client_no_context_takeover: !self.own_contexts,
            server_max_window_bits: (bits < LARGEST).then_some(bits),
            client_max_window_bits: Some(if bits < LARGEST {
                ClientBits::AtMost(bits)
            } else {
                ClientBits::Any
            }),
        })
    }

    /// The client's look at the server's answer to its [`offer`](Self::offer), in the values of
    /// Sec-WebSocket-Extensions: none when the server chose no extension.
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::Config;
    ///
    /// let client = Config::default();
    /// assert_eq!(client.verify([].into_iter()), Ok(None));
    ///
    /// let answer: &[u8] = b"permessage-deflate; server_no_context_takeover; server_max_window_bits=10";
    /// let agreed = client.verify([answer].into_iter()).unwrap().unwrap();
    /// assert_eq!(agreed.server_max_window_bits, 10);
    /// assert!(agreed.client_no_context_takeover); // one may always do without
    /// ```
    ///
    /// # Errors
    ///
    /// The answer is not one to the offer.
    pub fn verify<'a>(&self, answer: impl Iterator<Item = &'a [u8]>) -> Result<Option<Agreement>, BadAnswer> {
        let mut agreed = None;
        for element in answer.flat_map(extension::elements) {
            if agreed.is_some() || !extension::is_deflate(element) {
                return Err(BadAnswer::NotOffered(text(element)));
            }
            let chosen = Parameters::of(element).map_err(|_| BadAnswer::Malformed(text(element)))?;
            agreed = Some(self.check(chosen, element)?);
        }
        Ok(agreed)
    }

    fn accept(&self, offer: Parameters) -> Option<(Agreement, String)> {
        if offer.server_max_window_bits == Some(8) {
            return None;
        }
        let bits = self.bits();
        let server_bits = offer.server_max_window_bits.unwrap_or(LARGEST).min(bits);
        // A client that did not offer it cannot be told (7.1.2.2).
        let client_bits = match offer.client_max_window_bits {
            None => LARGEST,
            Some(ClientBits::Any) => bits,
            Some(ClientBits::AtMost(offered)) => offered.min(bits),
        };
        let agreed = Agreement {
            server_no_context_takeover: offer.server_no_context_takeover || !self.own_contexts,
            client_no_context_takeover: offer.client_no_context_takeover || !self.own_contexts,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        };
        let must_tell_server_bits = offer.server_max_window_bits.is_some() || server_bits < LARGEST;
        let answer = header(Parameters {
            server_no_context_takeover: agreed.server_no_context_takeover,
            client_no_context_takeover: agreed.client_no_context_takeover,
            server_max_window_bits: must_tell_server_bits.then_some(server_bits),
            client_max_window_bits: (client_bits < LARGEST).then_some(ClientBits::AtMost(client_bits)),
        });
        Some((agreed, answer))
    }

    fn check(&self, chosen: Parameters, element: &[u8]) -> Result<Agreement, BadAnswer> {
        let bits = self.bits();
        let missing = |parameter| BadAnswer::Missing { parameter, answer: text(element) };

        if !self.own_contexts && !chosen.server_no_context_takeover {
            return Err(missing(extension::SERVER_NO_CONTEXT_TAKEOVER));
        }
        let server_bits = match chosen.server_max_window_bits {
            None if bits < LARGEST => return Err(missing(extension::SERVER_MAX_WINDOW_BITS)),
            None => LARGEST,
            Some(chosen) => within(extension::SERVER_MAX_WINDOW_BITS, chosen, bits)?,
        };
        let client_bits = match chosen.client_max_window_bits {
            None => bits,
            Some(ClientBits::AtMost(chosen)) => within(extension::CLIENT_MAX_WINDOW_BITS, chosen, bits)?,
            Some(ClientBits::Any) => return Err(BadAnswer::Malformed(text(element))), // 7.1.2.2
        };
        Ok(Agreement {
            server_no_context_takeover: chosen.server_no_context_takeover,
            client_no_context_takeover: chosen.client_no_context_takeover || !self.own_contexts,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        })
    }

    fn bits(&self) -> u8 {
        self.window_bits.clamp(9, LARGEST)
    }
}

/// The window of an end that says nothing of it (7.1.2).
const LARGEST: u8 = 15;

fn within(parameter: &'static str, chosen: u8, offered: u8) -> Result<u8, BadAnswer> {
    if chosen <= offered { Ok(chosen) } else { Err(BadAnswer::TooLarge { parameter, chosen, offered }) }
}

fn header(parameters: Parameters) -> String {
    let mut header = String::from(extension::NAME);
    let mut put = |name: &str, value: Option<u8>| {
        header.push_str("; ");
        header.push_str(name);
        if let Some(value) = value {
            let _ = write!(header, "={value}"); // a String takes everything
        }
    };
    if parameters.server_no_context_takeover {
        put(extension::SERVER_NO_CONTEXT_TAKEOVER, None);
    }
    if parameters.client_no_context_takeover {
        put(extension::CLIENT_NO_CONTEXT_TAKEOVER, None);
    }
    if let Some(bits) = parameters.server_max_window_bits {
        put(extension::SERVER_MAX_WINDOW_BITS, Some(bits));
    }
    match parameters.client_max_window_bits {
        None => {}
        Some(ClientBits::Any) => put(extension::CLIENT_MAX_WINDOW_BITS, None),
        Some(ClientBits::AtMost(bits)) => put(extension::CLIENT_MAX_WINDOW_BITS, Some(bits)),
    }
    header
}

fn text(element: &[u8]) -> String {
    String::from_utf8_lossy(element).into_owned()
}
