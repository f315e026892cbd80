//! What a listener or one who dials is given: an address, and what is spoken there.

use crate::{Address, Error, Result};

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) address: Address,
    /// `ws://` or `wss://`.
    pub(crate) is_websocket: bool,
    /// `tls://` or `wss://`.
    pub(crate) is_tls: bool,
    /// Host and port as written, where there are any.
    pub(crate) authority: String,
    /// Path and query; `/` where none are given.
    pub(crate) target: String,
}

impl Url {
    /// Reads what is listened on.
    pub(crate) fn to_listen(text: &str) -> Result<Url> {
        let url = Url::parse(text, false)?;
        if url.target != "/" {
            let why = format!("a listener has no path: leave `{}` out", url.target);
            return Err(Error::bad_address(text, why));
        }
        Ok(url)
    }

    /// Reads whom to dial: `ws` and `wss` have the ports of HTTP where none is given.
    pub(crate) fn to_dial(text: &str) -> Result<Url> {
        Url::parse(text, true)
    }

    fn parse(text: &str, dials: bool) -> Result<Url> {
        let plain = |address| Url {
            address,
            is_websocket: false,
            is_tls: false,
            authority: String::new(),
            target: "/".to_owned(),
        };
        let Some((scheme, rest)) = text.split_once(':') else { return text.parse().map(plain) };
        // In any case: RFC 3986, 3.1.
        let scheme = scheme.to_ascii_lowercase();
        let (is_websocket, is_tls, port) = match &*scheme {
            "ws" => (true, false, Some(80)),
            "wss" => (true, true, Some(443)),
            "tls" => (false, true, None),
            _ => return text.parse().map(plain),
        };
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(Error::bad_address(text, format!("expected `{scheme}://host:port`")));
        };
        // A server is never told of it (RFC 6455, 3).
        if let Some(at) = rest.find('#') {
            return Err(Error::bad_address(text, format!("it has a fragment: leave `{}` out", &rest[at..])));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let with_port = match port {
            Some(port) if dials && !has_port => format!("{authority}:{port}"),
            _ => authority.to_owned(),
        };
        let address = format!("tcp://{with_port}").parse().map_err(|error| match error {
            Error::BadAddress { why, .. } => {
                Error::bad_address(text, why.replace("tcp://", &format!("{scheme}://")))
            }
            other => other,
        })?;
        Ok(Url { address, is_websocket, is_tls, authority: authority.to_owned(), target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_and_asked_for_is_read_off_the_url() {
        let url = Url::to_dial("wss://example.org/rooms?name=a").unwrap();
        assert_eq!(url.address, Address::Name { host: "example.org".into(), port: 443 });
        assert!(url.is_websocket && url.is_tls);
        assert_eq!((&*url.authority, &*url.target), ("example.org", "/rooms?name=a"));
        let url = Url::to_dial("ws://[::1]?x").unwrap();
        assert_eq!((url.address.to_string(), &*url.target), ("tcp://[::1]:80".into(), "/?x"));
        let url = Url::to_listen("tls://127.0.0.1:0").unwrap();
        assert!(url.is_tls && !url.is_websocket);
        assert_eq!(Url::to_listen("unix:/a/b").unwrap().address.to_string(), "unix:/a/b");
    }

    #[test]
    fn a_scheme_means_the_same_in_any_case_and_what_follows_it_stays_as_it_is() {
        for (written, same) in [
            ("WS://Example.org/Rooms?A", "ws://Example.org/Rooms?A"),
            ("Wss://[::1]", "wss://[::1]"),
            ("TLS://a:1", "tls://a:1"),
            ("Tcp://a:1", "tcp://a:1"),
            ("UNIX:/A/b", "unix:/A/b"),
        ] {
            assert_eq!(Url::to_dial(written).unwrap(), Url::to_dial(same).unwrap());
        }
        assert_eq!(Url::to_listen("Inherited:1").unwrap(), Url::to_listen("inherited:1").unwrap());
    }

    #[test]
    fn a_fragment_is_refused_by_its_name_whoever_is_given_it() {
        for text in ["ws://h#top", "wss://h:1/#top", "ws://h/a?b#top", "WS://h:1#top", "tls://h:1/#top"] {
            for read in [Url::to_dial, Url::to_listen] {
                let error = read(text).unwrap_err().to_string();
                assert!(error.contains(text) && error.contains("leave `#top` out"), "{text}: {error}");
            }
        }
        assert!(Url::to_dial("ws://h/#").is_err() && Url::to_dial("ws://h/%23top").is_ok());
    }

    #[test]
    fn a_bad_url_is_named_with_what_is_wrong() {
        for (text, wrong) in [
            ("ws://127.0.0.1", "no port"),
            ("ws:127.0.0.1:80", "ws://host:port"),
            ("WS:a://127.0.0.1:80", "ws://host:port"),
            ("WSX://127.0.0.1:80", "unknown scheme `WSX`"),
            ("wss://127.0.0.1:99999", "bad port `99999`"),
            ("ws://127.0.0.1:80/chat", "leave `/chat` out"),
        ] {
            let error = Url::to_listen(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn user_names_and_passwords_are_refused_as_what_they_are() {
        for text in [
            "ws://u:p@h",
            "ws://u:p@h/",
            "wss://u@h:1",
            "ws://u:p@[::1]:1/a",
            "tls://u:p@127.0.0.1:1",
            "ws://@h",
        ] {
            for read in [Url::to_dial, Url::to_listen] {
                let error = read(text).unwrap_err().to_string();
                assert!(
                    error.contains(text) && error.contains("user names and passwords are not taken"),
                    "{error}"
                );
            }
        }
        assert!(Url::to_dial("ws://h/a@b?c@d").is_ok());
    }
}
