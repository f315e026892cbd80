mod networks;

use std::ops::Range;

use proptest::{collection::vec, prelude::*, sample::Index};
use proxy_header::{ProxiedAddress, ProxyHeader, Tlv};

use super::*;

const MAX_TCP4: &[u8] = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
const MAX_TCP6: &[u8] = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                          ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
const MAX_UNKNOWN: &[u8] = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

/// Source and destination of IPv4 and IPv6, ports 56324 and 443.
const INET: &[u8] = b"\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb";
const INET6: &[u8] =
    b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\xdc\x04\x01\xbb";
const MAPPED: &[u8] =
    b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\xa8\0\x01\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\xa8\0\x0b\xdc\x04\x01\xbb";

/// ALPN, authority, checksum, no-op, unique id, TLS with a certificate's name inside, and a name space
/// (PROXY protocol, 2.2.1 to 2.2.7).
const TLVS: &[u8] =
    b"\x01\0\x02h2\x02\0\x0bexample.com\x03\0\x04\x12\x34\x56\x78\x04\0\x03\0\0\0\x05\0\x02id\
                      \x20\0\x1b\x01\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x09localhost\x30\0\x04blue";

fn binary(version_and_command: u8, family: u8, block: &[&[u8]]) -> Vec<u8> {
    let block = block.concat();
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &len, &block].concat()
}

/// A header of version 2 up to its length, which says `len`.
fn head(version_and_command: u8, family: u8, len: u16) -> Vec<u8> {
    [SIGNATURE, &[version_and_command, family], &len.to_be_bytes()].concat()
}

/// Good headers, each with the client it names.
fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let (v4, v6) = (Some("192.168.0.1:56324"), Some("[2001:db8::1]:56324"));
    let mapped = Some("[::ffff:192.168.0.1]:56324");
    let lines: [(&[u8], _); 12] = [
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", v4),
        (MAX_TCP4, Some("255.255.255.255:65535")),
        (MAX_TCP6, Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
        (b"PROXY TCP6 2001:db8::1 fd00::2 56324 443\r\n", v6),
        (b"PROXY TCP6 2001:0DB8:0:0:0000:0:0:1 :: 56324 443\r\n", v6),
        (b"PROXY TCP6 ::ffff:192.168.0.1 ::ffff:192.168.0.11 56324 443\r\n", mapped),
        (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Some("0.0.0.0:0")),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN \r\n", None),
        (MAX_UNKNOWN, None),
        (b"PROXY UNKNOWN TCP4 1.2.3.4\r5 \n\xff\0 \r\r\n", None),
        (b"PROXY UNKNOWN PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", None),
    ];
    let unix = [b'/'; 216];
    let longest = vec![0; MAX_HEADER - FIXED - INET.len()];
    let binaries = [
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x00, &[TLVS]), None),
        (binary(0x20, 0x11, &[]), None),
        (binary(0x20, 0x11, &[INET]), None),
        (binary(0x20, 0x21, &[b"short"]), None),
        (binary(0x20, 0xf7, &[b"anything"]), None),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x00, &[INET, TLVS]), None),
        (binary(0x21, 0x01, &[]), None),
        (binary(0x21, 0x02, &[TLVS]), None),
        (binary(0x21, 0x10, &[&INET[..8]]), None),
        (binary(0x21, 0x11, &[INET]), v4),
        (binary(0x21, 0x11, &[INET, TLVS]), v4),
        (binary(0x21, 0x11, &[INET, b"no TLV"]), v4),
        (binary(0x21, 0x11, &[INET, &longest]), v4),
        (binary(0x21, 0x12, &[INET]), None),
        (binary(0x21, 0x20, &[&INET6[..32]]), None),
        (binary(0x21, 0x21, &[INET6]), v6),
        (binary(0x21, 0x21, &[INET6, TLVS]), v6),
        (binary(0x21, 0x21, &[MAPPED]), mapped),
        (binary(0x21, 0x22, &[INET6, TLVS]), None),
        (binary(0x21, 0x30, &[&unix]), None),
        (binary(0x21, 0x31, &[&unix]), None),
        (binary(0x21, 0x32, &[&unix, TLVS]), None),
    ];
    lines.map(|(line, client)| (line.to_vec(), client)).into_iter().chain(binaries).collect()
}

#[test]
fn every_header_is_read_whole_and_incomplete_at_every_byte_before() {
    assert_eq!([MAX_TCP4.len(), MAX_TCP6.len(), MAX_UNKNOWN.len()], [56, 104, 107]);
    for (header, client) in headers() {
        for at in 0..header.len() {
            let (prefix, shown) = (&header[..at], header.escape_ascii());
            assert_eq!(parse(prefix).unwrap(), Header::Incomplete, "{at} bytes of {shown}");
        }
        let client = client.map(|client| client.parse().unwrap());
        let whole = Header::Complete { len: header.len(), client };
        for tail in [&b""[..], b"\n", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", &header, &[0xff; 2 * MAX_HEADER]] {
            let bytes = [&header, tail].concat();
            assert_eq!(parse(&bytes).unwrap(), whole, "{}", header.escape_ascii());
        }
    }
}

#[test]
fn an_ipv4_mapped_client_stays_as_it_is_named() {
    for header in [
        b"PROXY TCP6 ::ffff:192.168.0.1 ::ffff:192.168.0.11 56324 443\r\n".to_vec(),
        binary(0x21, 0x21, &[MAPPED]),
    ] {
        let Header::Complete { client: Some(SocketAddr::V6(client)), .. } = parse(&header).unwrap() else {
            panic!("no IPv6 client in {}", header.escape_ascii());
        };
        assert_eq!(client.ip().to_ipv4_mapped(), Some(Ipv4Addr::new(192, 168, 0, 1)));
    }
}

/// Incomplete up to `bytes[..at]`, an error that says `what` with `bytes[..=at]` and ever after.
#[track_caller]
fn fails_at(bytes: &[u8], at: usize, what: &str) {
    let shown = bytes.escape_ascii();
    for len in 0..=at {
        assert_eq!(parse(&bytes[..len]).unwrap(), Header::Incomplete, "{len} bytes of {shown}");
    }
    let padded = [bytes, &[b'\n'; MAX_HEADER + 1]].concat();
    for len in [at + 1, bytes.len(), bytes.len() + 1, padded.len()] {
        let error = parse(&padded[..len]).expect_err(&format!("{len} bytes of {shown}"));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let said = error.to_string();
        assert!(len != at + 1 || said.contains(what), "{len} bytes of {shown}: {said}");
    }
}

#[test]
fn what_does_not_begin_with_a_header_fails_at_its_first_wrong_byte() {
    let start = "begins with neither";
    fails_at(b"\x16\x03\x01\x02\0\x01", 0, "signature of version 2: `\\x16`");
    fails_at(b"GET / HTTP/1.1\r\n", 0, "`G`");
    fails_at(b"proxy TCP4", 0, start);
    fails_at(b" PROXY TCP4", 0, start);
    fails_at(b"POST / HTTP/1.1\r\n", 1, "`PO`");
    fails_at(b"PRI * HTTP/2.0\r\n", 2, start);
    fails_at(b"PROXYx", 5, start);
    fails_at(b"PROXY\tTCP4", 5, start);
    fails_at(b"PROXY\r\n", 5, start);
    fails_at(b"\r\n\r\n\r\n", 4, "`\\r\\n\\r\\n\\r`");
    fails_at(b"\r\n\r\n\0\r\nQUIT\r", 11, start);
}

#[test]
fn a_malformed_line_fails_as_soon_as_that_is_certain() {
    let family = "the family is none of TCP4, TCP6 and UNKNOWN";
    fails_at(b"PROXY  TCP4 1.2.3.4 5.6.7.8 9 10\r\n", 6, family);
    fails_at(b"PROXY UDP4 1.2.3.4 5.6.7.8 9 10\r\n", 7, family);
    fails_at(b"PROXY UDP4 ", 7, "`UD`");
    fails_at(b"PROXY tcp4 1.2.3.4 5.6.7.8 9 10\r\n", 6, family);
    fails_at(b"PROXY TCP5 1.2.3.4 5.6.7.8 9 10\r\n", 9, family);
    fails_at(b"PROXY TCP4\r\n", 10, family);
    fails_at(b"PROXY UNKNOWNS\r\n", 13, family);
    fails_at(b"PROXY UNKNOWN\n", 13, family);
    fails_at(b"PROXY \r\n", 6, family);
    let single = "a single CR or LF";
    fails_at(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\n", 31, single);
    fails_at(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\rGET", 32, single);
    fails_at(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\r\n", 32, single);
    fails_at(b"PROXY TCP4 1.2.3.4\n5.6.7.8 9 10\r\n", 18, single);
    fails_at(b"PROXY UNKNOWN\r \n", 14, single);
}

#[test]
fn a_line_is_not_waited_for_beyond_its_greatest_length() {
    let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
    fails_at(&endless, 106, "no CRLF in the first 107 B: `PROXY UNKNOWN x");
    let endless = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
    fails_at(&endless, 106, "no CRLF in the first 107 B");
    for (spaces, fits) in [(91, true), (92, false)] {
        let line = [b"PROXY UNKNOWN ", &vec![b' '; spaces][..], b"\r\n"].concat();
        assert_eq!(parse(&line).is_ok(), fits, "{} B", line.len());
    }
    let cr_last = [b"PROXY UNKNOWN ", &[b' '; 92][..], b"\r\n"].concat();
    fails_at(&cr_last, 106, "no CRLF in the first 107 B");
}

#[test]
fn a_field_that_is_not_what_it_should_be_is_named_with_its_bytes() {
    let address = |text| format!("address is not of its family: `{text}`");
    let port = |text| format!("port is not 0 to 65535: `{text}`");
    for (fields, what) in [
        ("TCP4 ::1 5.6.7.8 9 10", address("::1")),
        ("TCP4 1.2.3.4 ::1 9 10", address("::1")),
        ("TCP6 1.2.3.4 ::1 9 10", address("1.2.3.4")),
        ("TCP6 ::1 1.2.3.4 9 10", address("1.2.3.4")),
        ("TCP4 01.2.3.4 5.6.7.8 9 10", address("01.2.3.4")),
        ("TCP4 1.2.3 5.6.7.8 9 10", address("1.2.3")),
        ("TCP4 1.2.3.256 5.6.7.8 9 10", address("1.2.3.256")),
        ("TCP4 1.2.3.4:9 5.6.7.8 9 10", address("1.2.3.4:9")),
        ("TCP4 localhost 5.6.7.8 9 10", address("localhost")),
        ("TCP6 [::1] ::1 9 10", address("[::1]")),
        ("TCP6 fe80::1%eth0 ::1 9 10", address("fe80::1%eth0")),
        ("TCP6 ::1::2 ::1 9 10", address("::1::2")),
        ("TCP6 00001:: ::1 9 10", address("00001::")),
        ("TCP4 1.2.3.4  5.6.7.8 9 10", address("")),
        ("TCP4 1.2.3.4 5.6.7.8  9 10", port("")),
        ("TCP4 1.2.3.4 5.6.7.8 9\t10", port("9\\t10")),
        ("TCP4 ", address("")),
        ("TCP4 1.2.3.4", address("")),
        ("TCP4 1.2.3.4 5.6.7.8", port("")),
        ("TCP4 1.2.3.4 5.6.7.8 9", port("")),
        ("TCP4 1.2.3.4 5.6.7.8 9 ", port("")),
        ("TCP4 1.2.3.4 5.6.7.8 65536 10", port("65536")),
        ("TCP4 1.2.3.4 5.6.7.8 9 65536", port("65536")),
        ("TCP4 1.2.3.4 5.6.7.8 99999999999999999999 10", port("99999999999999999999")),
        ("TCP4 1.2.3.4 5.6.7.8 +9 10", port("+9")),
        ("TCP4 1.2.3.4 5.6.7.8 09 10", port("09")),
        ("TCP4 1.2.3.4 5.6.7.8 00 10", port("00")),
        ("TCP4 1.2.3.4 5.6.7.8 9 -1", port("-1")),
        ("TCP4 1.2.3.4 5.6.7.8 9 10 ", "more than two addresses and two ports: ``".into()),
        ("TCP4 1.2.3.4 5.6.7.8 9 10 11", "more than two addresses and two ports: `11`".into()),
        ("TCP4 1.2.3.4 5.6.7.8 9 ١٠", port("\\xd9\\xa1\\xd9\\xa0")),
    ] {
        let line = format!("PROXY {fields}\r\n").into_bytes();
        fails_at(&line, line.len() - 1, &what);
    }
    fails_at(b"PROXY TCP4 1.2.3.\xff 5.6.7.8 9 10\r\n", 32, "not ASCII: `TCP4 1.2.3.\\xff 5.6.7.8 9 10`");
    // Which of the two it is, is said as well.
    let said = |line: &[u8]| parse(line).unwrap_err().to_string();
    assert!(said(b"PROXY TCP4 1.2.3.4 x 9 10\r\n").contains("the destination address"));
    assert!(said(b"PROXY TCP4 x 1.2.3.4 9 10\r\n").contains("the source address"));
    assert!(said(b"PROXY TCP4 1.2.3.4 1.2.3.4 x 10\r\n").contains("the source port"));
    assert!(said(b"PROXY TCP4 1.2.3.4 1.2.3.4 9 x\r\n").contains("the destination port"));
}

#[test]
fn a_malformed_binary_header_fails_at_the_byte_that_says_so() {
    for version in [0x00, 0x11, 0x31, 0xf1] {
        fails_at(&head(version, 0x11, 12), 12, "the version behind the signature is not 2");
    }
    for command in 2..=15 {
        fails_at(&head(0x20 | command, 0x11, 12), 12, &format!("unknown command {command}: "));
    }
    for family in [0x40, 0x51, 0xf2, 0xff] {
        fails_at(&head(0x21, family, 12), 13, &format!("unknown address family {:#x}: ", family >> 4));
    }
    for family in [0x03, 0x13, 0x2f, 0x34] {
        fails_at(&head(0x21, family, 300), 13, &format!("unknown transport {:#x}: ", family & 0x0f));
    }
    for (family, needed) in [(0x10, 8), (0x11, 12), (0x12, 12), (0x20, 32), (0x21, 36), (0x22, 36)]
        .into_iter()
        .chain([0x30, 0x31, 0x32].map(|family| (family, 216)))
    {
        for len in [0, needed - 1] {
            let what =
                format!("an address block of {len} B where family {family:#04x} needs {needed} B: `\\r\\n");
            fails_at(&head(0x21, family, len), 15, &what);
        }
    }
}

#[test]
fn a_header_longer_than_the_bound_fails_before_it_comes() {
    let most = u16::try_from(MAX_HEADER - FIXED).unwrap();
    for command in [0x20, 0x21] {
        assert_eq!(parse(&head(command, 0x11, most)).unwrap(), Header::Incomplete);
        fails_at(&head(command, 0x11, most + 1), 15, "a header of 4097 B; at most 4096 B: `\\r\\n");
        fails_at(&head(command, 0x11, u16::MAX), 15, "a header of 65551 B; at most 4096 B");
    }
}

#[test]
fn a_message_shows_few_of_the_bytes_and_none_of_them_raw() {
    let error = parse(&[0x1b; 5000]).unwrap_err().to_string();
    assert!(error.ends_with(&format!("`{}`...", r"\x1b".repeat(48))), "{error}");
    let error = parse(&[0x1b; 48]).unwrap_err().to_string();
    assert!(error.ends_with(r"\x1b`"), "{error}");
    let error = parse(b"\x1b\n\"\xff").unwrap_err().to_string();
    assert!(error.ends_with(r#"`\x1b\n\"\xff`"#), "{error}");
}

/// What the answer is, without the words of an error.
fn verdict(bytes: &[u8]) -> Option<Header> {
    parse(bytes).ok()
}

fn address() -> impl Strategy<Value = IpAddr> {
    let v6 = prop_oneof![
        any::<[u8; 16]>().prop_map(Ipv6Addr::from),
        any::<[u8; 4]>().prop_map(|v4| Ipv4Addr::from(v4).to_ipv6_mapped())
    ];
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), v6.prop_map(IpAddr::from)]
}

/// Source and destination of one family.
fn proxied() -> impl Strategy<Value = ProxiedAddress> {
    (address(), address(), any::<[u16; 2]>(), any::<bool>()).prop_map(|(source, other, ports, stream)| {
        let destination = match (source, other) {
            (IpAddr::V4(_), IpAddr::V6(ip)) => IpAddr::V4(ip.to_ipv4().unwrap_or(Ipv4Addr::LOCALHOST)),
            (IpAddr::V6(_), IpAddr::V4(ip)) => IpAddr::V6(ip.to_ipv6_compatible()),
            (_, ip) => ip,
        };
        let make = if stream { ProxiedAddress::stream } else { ProxiedAddress::datagram };
        make(SocketAddr::new(source, ports[0]), SocketAddr::new(destination, ports[1]))
    })
}

/// Bytes that come far: noise, noise behind a good start, and a good header with a few bytes changed.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let good: Vec<Vec<u8>> = headers().into_iter().map(|(header, _)| header).collect();
    let starts: Vec<&[u8]> = vec![
        b"",
        LINE_START,
        b"PROXY TCP4 ",
        b"PROXY UNKNOWN ",
        SIGNATURE,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0",
    ];
    let noise =
        |len: Range<usize>| vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n 0.:"[..])], len);
    prop_oneof![
        (prop::sample::select(starts), noise(0..300)).prop_map(|(start, rest)| [start, &rest].concat()),
        noise(MAX_HEADER..MAX_HEADER + 10),
        (prop::sample::select(good), vec((any::<Index>(), any::<u8>()), 0..4), noise(0..20)).prop_map(
            |(mut header, changes, tail)| {
                for (at, byte) in changes {
                    let at = at.index(header.len());
                    header[at] = byte;
                }
                [header, tail].concat()
            }
        ),
    ]
}

proptest! {
    #[test]
    fn no_input_panics_and_no_answer_changes_with_what_follows(
        bytes in nearly(), cut in any::<Index>(), tail in vec(any::<u8>(), 0..200), pad in any::<u8>(),
    ) {
        let early = verdict(&bytes[..cut.index(bytes.len() + 1)]);
        let answer = verdict(&bytes);
        prop_assert!(early == Some(Header::Incomplete) || early == answer);
        let longer = verdict(&[&bytes[..], &tail].concat());
        prop_assert!(answer == Some(Header::Incomplete) || answer == longer);
        if let Some(Header::Complete { len, .. }) = answer {
            prop_assert!(len <= bytes.len() && len <= MAX_HEADER);
            prop_assert_eq!(verdict(&bytes[..len]), answer);
        }
        // A start that leaves it open is decided by the time the bound is there, whatever comes.
        let mut full = bytes;
        full.resize(full.len().max(MAX_HEADER), pad);
        prop_assert_ne!(verdict(&full), Some(Header::Incomplete));
        if let Err(error) = parse(&full) {
            prop_assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().len() < 400);
        }
    }

    #[test]
    fn headers_of_a_foreign_writer_come_back_as_written(
        proxied in prop::option::of(proxied()), tlvs in vec(vec(any::<u8>(), 0..200), 0..8),
        cut in any::<Index>(), tail in vec(any::<u8>(), 0..50),
    ) {
        let is_stream = proxied.as_ref().is_some_and(|p| p.protocol == proxy_header::Protocol::Stream);
        let client = proxied.as_ref().filter(|_| is_stream).map(|proxied| proxied.source);
        let local = proxied.is_none();
        let mut header = proxied.map_or_else(ProxyHeader::with_local, ProxyHeader::with_address);
        let mut written = Vec::new();
        if is_stream || local {
            let mut line = [0; MAX_LINE];
            let len = header.encode_to_slice_v1(&mut line).unwrap();
            written.push(line[..len].to_vec());
        }
        for (kind, value) in (0xe0..).zip(&tlvs) {
            header.append_tlv(Tlv::Custom(kind, value.into()));
        }
        let mut block = [0; MAX_HEADER];
        let len = header.encode_to_slice_v2(&mut block).unwrap();
        written.push(block[..len].to_vec());
        for header in written {
            prop_assert_eq!(verdict(&header[..cut.index(header.len())]), Some(Header::Incomplete));
            let whole = Header::Complete { len: header.len(), client };
            prop_assert_eq!(verdict(&[header, tail.clone()].concat()), Some(whole));
        }
    }
}
