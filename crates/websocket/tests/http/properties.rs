//! What holds of any bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use wheelhouse_websocket::http::{Answer, Hello, Request, accept_key, check_header, head_end, write_accept};

use crate::util::{UPGRADE, head};

/// All that can be asked of a request.
fn look_everywhere(request: &Request<'_>) {
    let _ = (request.target(), request.is_http_1_0(), request.origin(), request.is_same_origin(true));
    let _ = request.origin_is_one_of(&["https://a.example"]);
    let _ = (request.query("a"), request.cookie("a"), request.key(), request.has_body());
    let _ = (request.protocols().count(), request.extensions().count(), format!("{request:?}"));
    assert!(request.path().starts_with('/') || request.path() == "*");
    if request.is_upgrade() {
        assert!(request.key().is_some() && request.host().is_some() && !request.has_body());
        assert_eq!((request.method(), request.upgrade_fault()), ("GET", None));
    }
}

/// The first empty line, by looking at every byte.
fn plain_end(bytes: &[u8]) -> Option<usize> {
    let ends = |at: usize| match &bytes[at..] {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    };
    (0..bytes.len()).find_map(ends)
}

fn line_ends_and_letters() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a')], 0..40)
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..300), max in 0..10usize) {
        if let Ok(request) = Request::parse(&bytes, max) {
            look_everywhere(&request);
        }
        let _ = Hello::new("a", "/").unwrap().verify([0; 16], &bytes);
    }

    #[test]
    fn no_change_to_a_fine_request_makes_the_parser_panic(
        changes in vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b':')]), 0..6),
        more in vec("[ -~\u{e4}]{0,30}", 0..4),
    ) {
        let lines = more.iter().map(|line| format!("Cookie: {line}")).collect::<Vec<_>>();
        let lines = UPGRADE.into_iter().chain(lines.iter().map(String::as_str)).collect::<Vec<_>>();
        let mut bytes = head(&lines);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        match Request::parse(&bytes, 100) {
            Ok(request) => look_everywhere(&request),
            Err(refused) => prop_assert!(matches!(refused.status, 400 | 431 | 501 | 505)),
        }
    }

    #[test]
    fn a_head_ends_at_the_same_place_however_it_is_cut(
        bytes in line_ends_and_letters(),
        pieces in vec(1..8usize, 0..40),
    ) {
        let whole = plain_end(&bytes);
        prop_assert_eq!(head_end(&bytes, &mut 0), whole);

        let (mut searched, mut came, mut found) = (0, 0, None);
        for piece in pieces.into_iter().chain([bytes.len()]) {
            came = bytes.len().min(came + piece);
            found = found.or_else(|| head_end(&bytes[..came], &mut searched));
            prop_assert_eq!(found, whole.filter(|end| *end <= came));
            prop_assert!(searched <= came);
        }
    }

    #[test]
    fn what_parses_is_what_a_foreign_parser_reads(
        names in vec("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", 0..8),
        value in "[!-~]([ -~]{0,20}[!-~])?",
    ) {
        let lines = names.iter().map(|name| format!("X-{name}: {value}")).collect::<Vec<_>>();
        let lines = UPGRADE.into_iter().chain(lines.iter().map(String::as_str)).collect::<Vec<_>>();
        let bytes = head(&lines);
        let request = Request::parse(&bytes, 100).unwrap();
        prop_assert!(request.is_upgrade());
        for name in names {
            prop_assert_eq!(request.header(&format!("x-{name}")), Some(value.as_bytes()));
        }
    }

    #[test]
    fn a_query_comes_back_as_it_was_encoded(value in ".{0,20}", name in "[a-z]{1,5}") {
        let encoded = value.bytes().map(|byte| match byte {
            b' ' => "+".to_owned(),
            b'a'..=b'z' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        });
        let target = format!("/?0=1&{name}={}&{name}=2", encoded.collect::<String>());
        let bytes = head(&[&format!("GET {target} HTTP/1.1"), "Host: a"]);
        let request = Request::parse(&bytes, 100).unwrap();
        prop_assert!(request.query(&name).is_some_and(|found| found == value));
    }

    #[test]
    fn both_sides_understand_each_other(
        nonce in any::<[u8; 16]>(),
        host in "[a-z0-9.-]{1,20}(:[0-9]{1,4})?",
        target in "/[!-\"$-~]{0,30}",
        protocols in prop::collection::btree_set("[A-Za-z0-9._-]{1,10}", 0..4),
        value in "[ -~]{0,20}",
    ) {
        let mut hello = Hello::new(&host, &target).unwrap().extensions("x; y").unwrap().header("X", &value).unwrap();
        for protocol in &protocols {
            hello = hello.protocol(protocol).unwrap();
        }
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        hello.write(nonce, &mut asked);
        prop_assert_eq!(head_end(&asked, &mut 0), Some(asked.len()));

        let request = Request::parse(&asked, 100).unwrap();
        prop_assert!(request.is_upgrade());
        prop_assert_eq!((request.host(), request.target()), (Some(&host[..]), &target[..]));
        prop_assert!(request.protocols().eq(protocols.iter().map(String::as_str)));

        let chosen = request.protocols().last();
        write_accept(&mut answered, request.key().unwrap(), chosen, Some("x"), &[("X".into(), value)]);
        prop_assert_eq!(head_end(&answered, &mut 0), Some(answered.len()));
        let welcome = hello.verify(nonce, &answered).unwrap();
        prop_assert_eq!((welcome.subprotocol, welcome.extensions), (chosen, vec![&b"x"[..]]));
    }

    #[test]
    fn an_accept_is_one_head_whatever_it_is_given(
        protocol in any::<String>(), extensions in any::<String>(), name in any::<String>(), value in any::<String>(),
    ) {
        let mut out = Vec::new();
        write_accept(&mut out, "key", Some(&protocol), Some(&extensions), &[(name, value)]);
        prop_assert_eq!(head_end(&out, &mut 0), Some(out.len()));
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut headers);
        prop_assert_eq!(parsed.parse(&out), Ok(httparse::Status::Complete(out.len())));
        prop_assert_eq!(parsed.headers[2].value, &accept_key("key")[..]);
    }

    #[test]
    fn a_foreign_parser_reads_every_answer(
        status in any::<u16>(), name in ".{0,8}", value in ".{0,12}", mime in ".{0,12}",
        body in vec(any::<u8>(), 0..50), is_head in any::<bool>(),
    ) {
        let mut answer = Answer::new(status).body(&mime, body.clone());
        if check_header(&name, &value).is_ok() {
            answer = answer.header(&name, &value).unwrap();
        } else {
            prop_assert!(answer.clone().header(&name, &value).is_err());
        }
        let mut out = Vec::new();
        answer.write(&mut out, is_head);

        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut headers);
        let end = parsed.parse(&out).unwrap().unwrap();
        prop_assert_eq!(parsed.code, Some(answer.status()));
        let length = parsed.headers.iter().find(|header| header.name == "Content-Length").map(|header| header.value);
        match answer.status() {
            204 | 304 => prop_assert!(length.is_none() && end == out.len()),
            205 => prop_assert!(length == Some(b"0") && end == out.len()),
            _ => {
                prop_assert_eq!(length.map(<[u8]>::to_vec), Some(body.len().to_string().into_bytes()));
                prop_assert_eq!(&out[end..], if is_head { &[][..] } else { &body[..] });
            }
        }
    }
}
