//! Whom the load goes to: where that is, and what is spoken there.

use rustls_stable::pki_types::ServerName;
use wheelhouse::Address;
use wheelhouse_examples::{AnyError, BadUsage};

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// What is dialled: bytes are all that the engine carries here.
    dial: String,
    pub(crate) address: Address,
    /// Whom the server's certificate has to be for; none without TLS.
    pub(crate) name: Option<ServerName<'static>>,
    /// Host and path of a WebSocket; none where bytes are sent as they are.
    pub(crate) websocket: Option<(String, String)>,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Target, AnyError> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let scheme = &*scheme.to_ascii_lowercase();
        if !["ws", "wss", "tls"].contains(&scheme) {
            return Ok(Target { dial: url.to_owned(), address: url.parse()?, name: None, websocket: None });
        }
        if scheme == "tls" {
            let dial = format!("tcp://{rest}");
            let address = dial.parse()?;
            return Ok(Target { dial, name: Some(name(&address, url)?), address, websocket: None });
        }
        if let Some(at) = rest.find('#') {
            return Err(BadUsage(format!("address `{url}`: leave the fragment `{}` out", &rest[at..])).into());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if url.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
            return Err(BadUsage(format!("address `{url}`: a space or a control character")).into());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let dial = match (has_port, scheme) {
            (true, _) => format!("tcp://{host}"),
            (false, "ws") => format!("tcp://{host}:80"),
            (false, _) => format!("tcp://{host}:443"),
        };
        let address = dial.parse()?;
        let name = if scheme == "wss" { Some(name(&address, url)?) } else { None };
        Ok(Target { dial, address, name, websocket: Some((host.to_owned(), path)) })
    }

    pub(crate) fn dial(&self) -> &str {
        &self.dial
    }

    pub(crate) fn is_websocket(&self) -> bool {
        self.websocket.is_some()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.name.is_some()
    }
}

/// Whom a server there shows a certificate for.
fn name(address: &Address, url: &str) -> Result<ServerName<'static>, AnyError> {
    match address {
        Address::Tcp(to) => Ok(ServerName::from(to.ip())),
        Address::Name { host, .. } => ServerName::try_from(host.clone())
            .map_err(|_| BadUsage(format!("address `{url}`: nobody has a certificate for that name")).into()),
        _ => Err(BadUsage(format!("address `{url}`: no host")).into()),
    }
}
