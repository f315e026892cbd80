//! The far side of TLS: rustls of another version than the engine's, which seals what a script says and opens what comes back.
//!
//! The randomness of TLS is nobody's to seed, so that what goes over the wire differs from one run of a seed to the next. Its
//! lengths do not (the keys are Ed25519's, whose signatures all have one), and nothing here depends on more than those: a
//! world with TLS goes the same way each time, byte for byte only for those who look inside.

use std::{
    io::{Read, Write},
    sync::{Arc, OnceLock},
};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use rustls_stable::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    client::Resumption,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::{random::Random, web::Role};
use crate::{Tls, TlsClient};

/// What both ends of a world's TLS connections are set to.
pub(super) struct Keys {
    pub(super) tls: Tls,
    pub(super) client: TlsClient,
    their_client: Arc<ClientConfig>,
    their_server: Arc<ServerConfig>,
}

impl Keys {
    pub(super) fn draw(random: &mut Random) -> Keys {
        let (certificate, key) = pem();
        let der = || CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let mut roots = RootCertStore::empty();
        roots.add(der()).expect("a root");
        let versions = random.pick(&VERSIONS);
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).expect("versions");
        let mut their_client = builder.with_root_certificates(roots).with_no_client_auth();
        their_client.resumption = Resumption::disabled();
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).expect("versions").with_no_client_auth();
        Keys {
            tls: Tls::new(&*certificate, &*key).expect("a certificate"),
            client: TlsClient::builder("localhost").roots(&*certificate).build().expect("a root"),
            their_client: Arc::new(their_client),
            their_server: Arc::new(builder.with_single_cert(vec![der()], private).expect("a key")),
        }
    }
}

const VERSIONS: [&[&SupportedProtocolVersion]; 3] = [&[&TLS12, &TLS13], &[&TLS12], &[&TLS13]];

/// A certificate for `localhost` that is its own root, and its key.
fn pem() -> (String, String) {
    static MADE: OnceLock<(String, String)> = OnceLock::new();
    let make = || {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.serial_number = Some(SerialNumber::from(1));
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    };
    MADE.get_or_init(make).clone()
}

/// What a peer does about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// Ends without a goodbye.
    Truncates,
    /// Ends as soon as it likes, in the middle of a handshake or of what it says.
    Leaves,
    /// Has never heard of TLS.
    Plain,
    /// Sends a record that cannot be opened, when it has said so much of its script.
    Garbles(usize),
}

/// One connection's far side.
pub(super) struct Seal {
    session: Connection,
    pub(super) manner: Manner,
    /// All that is for the reactor, from the first byte on.
    pub(super) stream: Vec<u8>,
    /// How much of the script is in it.
    pub(super) given: usize,
    /// From the reactor, and on its way.
    coming: Vec<u8>,
    /// So much of what it takes next was heard before TLS began, and so much behind that is not sealed.
    heard: usize,
    unsealed: usize,
    /// It has said that nothing follows, and has heard that.
    pub(super) said_goodbye: bool,
    pub(super) heard_goodbye: bool,
    /// What was not as it should be.
    pub(super) fault: Option<String>,
}

impl Seal {
    /// `preface` goes in front, as it is.
    pub(super) fn new(random: &mut Random, keys: &Keys, role: Role, script: &[u8], preface: usize) -> Seal {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut session: Connection = match role {
            Role::Client => {
                ClientConnection::new(Arc::clone(&keys.their_client), name).expect("a client").into()
            }
            Role::Server => ServerConnection::new(Arc::clone(&keys.their_server)).expect("a server").into(),
        };
        session.set_buffer_limit(None);
        let manner = match random.below(12) {
            0 => Manner::Truncates,
            1 => Manner::Leaves,
            2 => Manner::Plain,
            3 => Manner::Garbles(preface + random.below(script.len() - preface + 1)),
            _ => Manner::Honest,
        };
        let mut seal = Seal {
            session,
            manner,
            stream: script[..preface].to_vec(),
            given: preface,
            coming: Vec::new(),
            heard: 0,
            unsealed: 0,
            said_goodbye: false,
            heard_goodbye: false,
            fault: None,
        };
        seal.flush();
        seal
    }

    /// It begins in mid-life: behind so many bytes that are heard already, and so many that are not sealed.
    pub(super) fn begin_behind(&mut self, heard: usize, unsealed: usize) {
        (self.heard, self.unsealed) = (heard, unsealed);
    }

    /// Whether it breaks the rules of TLS: then the alert that says so is the last that it hears.
    pub(super) fn may_break(&self) -> bool {
        matches!(self.manner, Manner::Plain | Manner::Garbles(_))
    }

    /// Whether its bytes may be said.
    pub(super) fn is_ready(&self) -> bool {
        !self.session.is_handshaking() || self.manner == Manner::Plain
    }

    /// The next bytes of the script go out.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.given += bytes.len();
        if self.manner == Manner::Plain {
            return self.stream.extend_from_slice(bytes);
        }
        self.session.writer().write_all(bytes).expect("room");
        self.flush();
    }

    /// Sends what cannot be opened, when its time has come; nothing follows that.
    pub(super) fn garble(&mut self, all: usize) {
        if matches!(self.manner, Manner::Garbles(at) if self.given >= at) && self.given < all + 1 {
            self.stream.extend([23, 3, 3, 0, 40]);
            self.stream.extend([7; 40]);
            self.given = all;
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        if self.manner == Manner::Honest {
            self.session.send_close_notify();
            self.flush();
            self.said_goodbye = true;
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.coming.extend_from_slice(bytes);
    }

    /// So many bytes of what is on its way arrive; what they hold. Nothing is answered where the peer has ended.
    pub(super) fn open(&mut self, n: usize, answers: bool) -> Vec<u8> {
        let known = n.min(self.heard);
        self.heard -= known;
        let bytes: Vec<u8> = self.coming.drain(..(n - known).min(self.coming.len())).collect();
        let (unsealed, mut rest) = bytes.split_at(bytes.len().min(self.unsealed));
        self.unsealed -= unsealed.len();
        let mut plain = unsealed.to_vec();
        if self.manner == Manner::Plain {
            return plain;
        }
        while !rest.is_empty() && self.fault.is_none() {
            if self.heard_goodbye {
                self.fault = Some(format!("{} B behind the goodbye", rest.len()));
                break;
            }
            if let Err(error) = self.session.read_tls(&mut rest) {
                self.fault = Some(error.to_string());
                break;
            }
            match self.session.process_new_packets() {
                Ok(state) => self.heard_goodbye = state.peer_has_closed(),
                // It says what is wrong with ours.
                Err(rustls_stable::Error::AlertReceived(_)) => rest = &[],
                Err(error) => self.fault = Some(error.to_string()),
            }
            // Also what came in front of an alert; the end of it is an error or none.
            let _ = self.session.reader().read_to_end(&mut plain);
        }
        if answers {
            self.flush();
        }
        plain
    }

    fn flush(&mut self) {
        while self.manner != Manner::Plain && self.session.wants_write() {
            self.session.write_tls(&mut self.stream).expect("room");
        }
    }
}
