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
        let url = Url::parse(text, None)?;
        if url.target != "/" {
            let why = format!("a listener has no path: leave `{}` out", url.target);
            return Err(Error::bad_address(text, why));
        }
        Ok(url)
    }

    /// Reads whom to dial: `ws` and `wss` have the ports of HTTP where none is given.
    pub(crate) fn to_dial(text: &str) -> Result<Url> {
        let port = match text.split_once(':') {
            Some(("ws", _)) => Some(80),
            Some(("wss", _)) => Some(443),
            _ => None,
        };
        Url::parse(text, port)
    }

    fn parse(text: &str, default_port: Option<u16>) -> Result<Url> {
        let plain = |address| Url {
            address,
            is_websocket: false,
            is_tls: false,
            authority: String::new(),
            target: "/".to_owned(),
        };
        let (is_websocket, is_tls) = match text.split_once(':') {
            Some(("ws", _)) => (true, false),
            Some(("wss", _)) => (true, true),
            Some(("tls", _)) => (false, true),
            _ => return text.parse().map(plain),
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            let scheme = text.split(':').next().unwrap_or_default();
            Error::bad_address(text, format!("expected `{scheme}://host:port`"))
        })?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = target.split('#').next().unwrap_or_default();
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let with_port = match default_port {
            Some(port) if !has_port => format!("{authority}:{port}"),
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
        let url = Url::to_dial("wss://example.org/rooms?name=a#top").unwrap();
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
    fn a_bad_url_is_named_with_what_is_wrong() {
        for (text, wrong) in [
            ("ws://127.0.0.1", "no port"),
            ("ws:127.0.0.1:80", "ws://host:port"),
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
