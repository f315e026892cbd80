//! As much of DER (X.690) as it takes to say what is wrong with a key or a certificate.

use rustls_pki_types::PrivateKeyDer;

/// The size of a key of RSA, in bits; none for other keys.
pub(super) fn rsa_bits(key: &PrivateKeyDer<'_>) -> Option<usize> {
    let key = match key {
        PrivateKeyDer::Pkcs1(key) => key.secret_pkcs1_der(),
        PrivateKeyDer::Pkcs8(key) => rsa_in_pkcs8(key.secret_pkcs8_der())?,
        _ => return None,
    };
    // RFC 8017, A.1.2: version and modulus come first.
    let (key, _) = read(key, SEQUENCE)?;
    let (_version, key) = read(key, INTEGER)?;
    let (modulus, _) = read(key, INTEGER)?;
    let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// Whether it is one sequence from its first to its last byte, as a certificate is.
pub(super) fn is_sequence(der: &[u8]) -> bool {
    read(der, SEQUENCE).is_some_and(|(_, rest)| rest.is_empty())
}

/// What PKCS#8 (RFC 5208, 5) wraps, where that is RSA's.
fn rsa_in_pkcs8(der: &[u8]) -> Option<&[u8]> {
    let (der, _) = read(der, SEQUENCE)?;
    let (_version, der) = read(der, INTEGER)?;
    let (algorithm, der) = read(der, SEQUENCE)?;
    let (name, _) = read(algorithm, OBJECT_IDENTIFIER)?;
    let (key, _) = read(der, OCTET_STRING)?;
    (name == RSA_ENCRYPTION).then_some(key)
}

/// What an element of that tag holds, and what follows it; none when there is another, or it is not whole.
fn read(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0xf))?;
            (digits.iter().fold(0, |len, &digit| len << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(len))?
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_anywhere_is_no_element() {
        let long = [&b"\x30\x82\x01\x00"[..], &[7; 256]].concat();
        assert_eq!(read(&long, SEQUENCE), Some((&[7; 256][..], &[][..])));
        for cut in 0..long.len() {
            assert_eq!(read(&long[..cut], SEQUENCE), None, "{cut}");
        }
        assert!(is_sequence(b"\x30\x01\0") && !is_sequence(b"\x30\x01\0\0") && !is_sequence(b"\x31\x01\0"));
        // Without an end, or with a length that nothing has.
        for bad in [&b"\x30\x80\0\0"[..], b"\x30\x85\0\0\0\0\0", b"\x30\x84\xff\xff\xff\xff\0"] {
            assert_eq!(read(bad, SEQUENCE), None);
        }
    }
}
