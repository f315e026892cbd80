//! Files that are no certificate and no key, as OpenSSL makes them and as people mangle them: each is told by its name and by
//! what is wrong with it.

use std::{path::Path, process::Command};

use tempfile::TempDir;
use wheelhouse::{Error, Tls, TlsClient};

use crate::pki::{Pem, localhost};

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        let Pem { certificate, key } = localhost();
        files.write("site.pem", certificate);
        files.write("site.key", key);
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Runs OpenSSL there.
    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let out = command.args(arguments.split(' ')).current_dir(self.0.path()).output().expect("openssl");
        assert!(out.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Asserts that the second of two files is what a listener is refused for, and how that is told.
    #[track_caller]
    fn assert_told(&self, certificate: &str, key: &str, part: &str, why: &str) {
        let path = |name: &str| self.0.path().join(name);
        let error = Tls::builder().certificate_files(path(certificate), path(key)).build().unwrap_err();
        let Error::BadTls { part: found, why: because } = &error else { panic!("{error}") };
        assert_eq!(because, why);
        let named = |name: &&str| *found == format!("{part} ({})", Path::new(&path(name)).display());
        assert!([certificate, key].iter().any(named), "{found}");
    }
}

#[test]
fn a_key_that_is_encrypted_is_told_to_be() {
    let files = Files::new();
    files.openssl("ec -in site.key -aes128 -passout pass:secret -out old.key");
    files.openssl("pkcs8 -topk8 -in site.key -passout pass:secret -out new.key");
    for key in ["old.key", "new.key"] {
        let why = "the key is encrypted; expected it in plain PEM";
        files.assert_told("site.pem", key, "key of certificate 1", why);
    }
}

#[test]
fn a_key_of_rsa_is_told_to_be_too_short_with_its_size() {
    let files = Files::new();
    files.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out new.key");
    files.openssl("rsa -in new.key -traditional -out old.key");
    for key in ["new.key", "old.key"] {
        let why = "a key of RSA with 1024 bits; expected 2048 to 8192";
        files.assert_told("site.pem", key, "key of certificate 1", why);
    }
}

#[test]
fn what_is_mangled_between_and_around_pems_lines_is_told() {
    let files = Files::new();
    let Pem { certificate, key } = localhost();
    let (head, end) = ("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n");
    for (text, why) in [
        (format!("{head}???\n{end}"), "not PEM: what stands between its lines is not base64"),
        (certificate.replace(end, ""), "not PEM: no line `-----END CERTIFICATE-----` ends it"),
        (
            format!("{head}cnViYmlzaCwgYnV0IGluIGJhc2U2NA==\n{end}"),
            "certificate 1 in it is none that can be read: something else stands between its PEM lines",
        ),
        (
            format!("{certificate}{head}cnViYmlzaCwgYnV0IGluIGJhc2U2NA==\n{end}"),
            "certificate 2 in it is none that can be read: something else stands between its PEM lines",
        ),
        (
            key.replace("PRIVATE KEY", "CERTIFICATE"),
            "certificate 1 in it is none that can be read: BadEncoding",
        ),
    ] {
        files.write("bad.pem", &text);
        files.assert_told("bad.pem", "site.key", "certificate 1", why);
        let roots = TlsClient::builder("localhost").roots(text).build().unwrap_err().to_string();
        assert!(roots.ends_with(why), "{roots}");
    }
    let middle = key.len() / 2;
    files.write("bad.key", &[&key[..middle], "!", &key[middle + 1..]].concat());
    let why = "not PEM: what stands between its lines is not base64";
    files.assert_told("site.pem", "bad.key", "key of certificate 1", why);
    files.write("other.key", &certificate.replace("CERTIFICATE", "PRIVATE KEY"));
    let why = "not a key of RSA, ECDSA or Ed25519, or a broken one";
    files.assert_told("site.pem", "other.key", "key of certificate 1", why);
}
