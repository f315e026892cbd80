//! What is offered, answered and verified (RFC 7692, 5 and 7.1).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use wheelhouse_websocket::deflate::{Agreement, BadAnswer, Config};

const SHARED: Config = Config { level: 1, own_contexts: false, window_bits: 15 };
const OWN: Config = Config { level: 1, own_contexts: true, window_bits: 15 };

#[test]
fn defaults_are_level_1_and_nothing_kept() {
    assert_eq!(Config::default(), SHARED);
}

#[test]
fn first_acceptable_offer_is_answered() {
    let own_9 = Config { window_bits: 9, ..OWN };
    let own_12 = Config { window_bits: 12, ..OWN };
    for (config, offers, answer) in [
        (OWN, "permessage-deflate", "permessage-deflate"),
        (
            SHARED,
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        (
            OWN,
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            OWN,
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
        ),
        // Windows: the smaller of both wishes, and the client's only where it offered to be told.
        (
            OWN,
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=15",
        ),
        (OWN, "permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"),
        (
            own_12,
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=12",
        ),
        (own_12, "permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        (OWN, "permessage-deflate; client_max_window_bits", "permessage-deflate"),
        (OWN, "permessage-deflate; client_max_window_bits=15", "permessage-deflate"),
        (OWN, "permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"),
        (
            own_9,
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
        ),
        (
            own_12,
            "permessage-deflate; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=10",
        ),
        // All four, in any order, with any spaces, and quoted.
        (
            OWN,
            "\t permessage-deflate ;client_max_window_bits=\"11\" ; server_max_window_bits = \"1\\0\";client_no_context_takeover;server_no_context_takeover\t",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11",
        ),
        // Fallbacks, and other extensions in between.
        (
            OWN,
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9",
        ),
        (OWN, "permessage-deflate; later_invention, permessage-deflate", "permessage-deflate"),
        (
            OWN,
            "x-other; a=\"b, permessage-deflate; server_no_context_takeover\", , permessage-deflate",
            "permessage-deflate",
        ),
        (
            OWN,
            "permessage-deflate-2, x, permessage-deflate; server_no_context_takeover, permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
        ),
    ] {
        assert_eq!(answered(config, &[offers]).as_deref(), Some(answer), "{offers:?}");
    }
}

#[test]
fn offers_may_be_spread_over_header_lines() {
    let lines = ["x-other", "", "permessage-deflate; server_max_window_bits=8", "permessage-deflate"];
    assert_eq!(answered(OWN, &lines).as_deref(), Some("permessage-deflate"));
}

#[test]
fn malformed_unknown_doubled_and_out_of_bounds_are_declined() {
    let refused = [
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "client_no_context_takeover=",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=\"\"",
        "server_max_window_bits=8",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=09",
        "server_max_window_bits=+9",
        "server_max_window_bits=100",
        "server_max_window_bits=265",
        "server_max_window_bits=-9",
        "server_max_window_bits=9.0",
        "server_max_window_bits=9 9",
        "server_max_window_bits=\"9",
        "server_max_window_bits=9\"",
        "server_max_window_bits=\"9\"9",
        "server_max_window_bits=\"9\\\"",
        "server_max_window_bits=\" 9\"",
        "server_max_window_bits==9",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=",
        "Server_No_Context_Takeover",
        "unknown",
        "unknown=1",
        "",
        "; server_no_context_takeover",
        "=",
        "\u{e4}",
    ];
    for parameters in refused {
        let offer = format!("permessage-deflate; {parameters}");
        assert_eq!(answered(OWN, &[&offer]), None, "{offer:?}");
    }
    for offer in [
        "",
        ",",
        " , ,",
        "permessage-deflat",
        "permessage-deflate x",
        "permessage-deflate=1",
        "x-webkit-deflate-frame",
        "\"permessage-deflate\"",
    ] {
        assert_eq!(answered(OWN, &[offer]), None, "{offer:?}");
    }
    assert!(OWN.answer([&b"\xff\xfe; \xff=\xff, permessage-deflate; \xff"[..]].into_iter()).is_none());
}

#[test]
fn agreement_says_what_the_answer_says() {
    let config = Config { window_bits: 12, ..OWN };
    let offer =
        "permessage-deflate; client_max_window_bits; server_max_window_bits=10; client_no_context_takeover";
    let (agreed, _) = config.answer([offer.as_bytes()].into_iter()).unwrap();
    let expected = Agreement {
        server_no_context_takeover: false,
        client_no_context_takeover: true,
        server_max_window_bits: 10,
        client_max_window_bits: 12,
    };
    assert_eq!(agreed, expected);
    // A client that cannot be told may look back as far as it likes.
    let (agreed, _) = config.answer([&b"permessage-deflate"[..]].into_iter()).unwrap();
    assert_eq!((agreed.server_max_window_bits, agreed.client_max_window_bits), (12, 15));
}

#[test]
fn client_offers_what_it_wants() {
    let offer =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits";
    assert_eq!(SHARED.offer(), offer);
    assert_eq!(OWN.offer(), "permessage-deflate; client_max_window_bits");
    let small = Config { window_bits: 9, ..OWN };
    assert_eq!(small.offer(), "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9");
    assert_eq!(Config { window_bits: 0, ..OWN }.offer(), small.offer());
    assert_eq!(Config { window_bits: 99, ..OWN }.offer(), OWN.offer());
}

#[test]
fn answer_that_goes_with_the_offer_is_taken() {
    let small = Config { window_bits: 10, ..OWN };
    for (config, answer, agreed) in [
        (OWN, "permessage-deflate", (false, false, 15, 15)),
        (OWN, "permessage-deflate; server_no_context_takeover", (true, false, 15, 15)),
        (OWN, "permessage-deflate; client_no_context_takeover", (false, true, 15, 15)),
        (OWN, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8", (false, false, 8, 8)),
        (OWN, "permessage-deflate; client_max_window_bits=\"10\"", (false, false, 15, 10)),
        (SHARED, "permessage-deflate; server_no_context_takeover", (true, true, 15, 15)),
        (small, "permessage-deflate; server_max_window_bits=9", (false, false, 9, 10)),
    ] {
        let (server_none, client_none, server_bits, client_bits) = agreed;
        let agreed = Agreement {
            server_no_context_takeover: server_none,
            client_no_context_takeover: client_none,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        };
        assert_eq!(verified(config, &[answer]), Ok(Some(agreed)), "{answer:?}");
    }
    assert_eq!(verified(OWN, &[]), Ok(None));
    assert_eq!(verified(OWN, &["", " , "]), Ok(None));
}

#[test]
fn answer_to_something_else_is_an_error() {
    let small = Config { window_bits: 10, ..OWN };
    let not_offered = |element: &str| BadAnswer::NotOffered(element.into());
    let malformed = |element: &str| BadAnswer::Malformed(element.into());
    let too_large = |parameter| BadAnswer::TooLarge { parameter, chosen: 11, offered: 10 };
    let missing = |parameter, answer: &str| BadAnswer::Missing { parameter, answer: answer.into() };
    for (config, answer, error) in [
        (OWN, "x-other", not_offered("x-other")),
        (OWN, "permessage-deflate, x-other", not_offered("x-other")),
        (OWN, "permessage-deflate, permessage-deflate", not_offered("permessage-deflate")),
        (OWN, "permessage-deflate; x", malformed("permessage-deflate; x")),
        (
            OWN,
            "permessage-deflate; client_max_window_bits",
            malformed("permessage-deflate; client_max_window_bits"),
        ),
        (
            OWN,
            "permessage-deflate; server_max_window_bits=16",
            malformed("permessage-deflate; server_max_window_bits=16"),
        ),
        (SHARED, "permessage-deflate", missing("server_no_context_takeover", "permessage-deflate")),
        (small, "permessage-deflate", missing("server_max_window_bits", "permessage-deflate")),
        (small, "permessage-deflate; server_max_window_bits=11", too_large("server_max_window_bits")),
        (
            small,
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11",
            too_large("client_max_window_bits"),
        ),
    ] {
        assert_eq!(verified(config, &[answer]), Err(error), "{answer:?}");
    }
    let refused = verified(small, &["permessage-deflate; server_max_window_bits=11"]).unwrap_err();
    assert_eq!(refused.to_string(), "the server chose server_max_window_bits=11, but 10 was offered");
}

#[test]
fn every_client_of_ours_understands_every_server_of_ours() {
    let configs =
        || (8..=16).flat_map(|window_bits| [OWN, SHARED].map(|config| Config { window_bits, ..config }));
    for client in configs() {
        for server in configs() {
            let (theirs, answer) = server.answer([client.offer().as_bytes()].into_iter()).unwrap();
            let ours = verified(client, &[&answer]).unwrap().unwrap();
            assert_eq!(ours, theirs, "{client:?} {server:?} {answer}");
        }
    }
}

proptest! {
    #[test]
    fn no_header_is_too_strange(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = OWN.answer([&value[..]].into_iter());
        let _ = OWN.verify([&value[..]].into_iter());
    }

    #[test]
    fn no_parameter_is_too_strange(value in "permessage-deflate(;[ a-z_=\"\\\\0-9,]{0,20}){0,4}") {
        if let Some((_, answer)) = OWN.answer([value.as_bytes()].into_iter()) {
            prop_assert!(answer.starts_with("permessage-deflate"));
        }
    }
}

fn answered(config: Config, offers: &[&str]) -> Option<String> {
    config.answer(offers.iter().map(|offer| offer.as_bytes())).map(|(_, answer)| answer)
}

fn verified(config: Config, answer: &[&str]) -> Result<Option<Agreement>, BadAnswer> {
    config.verify(answer.iter().map(|value| value.as_bytes()))
}
