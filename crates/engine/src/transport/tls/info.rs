use rustls::{
    ConnectionOutputs, HandshakeKind,
    crypto::Identity,
    enums::{ApplicationProtocol, ProtocolVersion},
};

/// A version of the protocol.
///
/// ```
/// use wheelhouse::{Action, Conn, Handler, TlsVersion};
/// # use wheelhouse::{Framing, Message, testing::Bench};
/// # struct Modern;
/// # impl Handler for Modern {
/// #     type Session = ();
/// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
///     match conn.tls() {
///         Some(tls) if tls.version() >= TlsVersion::Tls13 => Action::Continue,
///         _ => Action::Close, // older, or none at all
///     }
/// }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::new(|_| Modern);
/// let plain = bench.open(Framing::raw());
/// assert!(bench.closed(plain).is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// What a handshake agreed on.
///
/// ```
/// use std::{sync::mpsc::channel, time::Duration};
/// use wheelhouse::{Action, Conn, Connect, Engine, Handler, Listener, On, Tls, TlsClient};
/// # use wheelhouse::Message;
/// # use std::sync::mpsc::Sender;
/// # struct Secure(Sender<(bool, usize)>);
/// # impl Handler for Secure {
/// #     type Session = ();
/// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
///     if let Some(tls) = conn.tls() {
///         let is_for_us = tls.server_name() == Some("example.org");
///         let _ = self.0.send((is_for_us && !tls.is_resumed(), tls.peer_certificates().count()));
///     }
///     Action::Continue
/// }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
/// # let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
/// # let (sender, agreed) = channel();
/// # let listener = Listener::new("tls://127.0.0.1:0").tls(Tls::new(&*pem, key)?);
/// # let engine = Engine::builder().listen(listener).reactors(1).build(move |_| Secure(sender.clone()))?;
/// # let client = TlsClient::builder("example.org").roots(pem).build()?;
/// # let there = engine.addresses()[0].to_string().replace("tcp:", "tls:");
/// # engine.handle().connect(On::Any, Connect::to(there).tls(client))?;
/// # let _running = engine.start()?;
/// # let wait = Duration::from_secs(5);
/// # let mut both = [agreed.recv_timeout(wait)?, agreed.recv_timeout(wait)?];
/// # both.sort();
/// // One engine has both ends: the server shows a certificate, the client none.
/// assert_eq!(both, [(true, 0), (true, 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TlsInfo<'a> {
    version: TlsVersion,
    server_name: Option<&'a str>,
    outputs: &'a ConnectionOutputs,
}

impl<'a> TlsInfo<'a> {
    /// Nothing before the version is agreed.
    pub(super) fn new(outputs: &'a ConnectionOutputs, server_name: Option<&'a str>) -> Option<Self> {
        let version = match outputs.protocol_version()? {
            ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
            ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
            _ => return None,
        };
        Some(TlsInfo { version, server_name, outputs })
    }

    /// The version agreed on.
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// The application protocol agreed on (ALPN), such as `http/1.1`.
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.outputs.alpn_protocol().map(ApplicationProtocol::as_ref)
    }

    /// The name the client asked for, in lower case: of a server's connection what came (SNI), of a client's what was dialled.
    pub fn server_name(&self) -> Option<&'a str> {
        self.server_name
    }

    /// The certificates the peer showed, in DER, its own first. They have been verified.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let chain = self.outputs.peer_identity().and_then(|identity| match &**identity {
            Identity::X509(chain) => Some(chain),
            _ => None,
        });
        chain.into_iter().flat_map(|chain| {
            std::iter::once(&chain.end_entity)
                .chain(&chain.intermediates)
                .map(|certificate| certificate.as_ref())
        })
    }

    /// Whether an earlier session was resumed: no certificates were sent, and no signature made.
    pub fn is_resumed(&self) -> bool {
        matches!(
            self.outputs.handshake_kind(),
            Some(HandshakeKind::Resumed | HandshakeKind::ResumedWithHelloRetryRequest)
        )
    }
}
