use crate::{Error, Result, proxy_protocol::TrustedNetworks};

fn trusted(networks: &[&str]) -> Result<TrustedNetworks> {
    TrustedNetworks::parse(&networks.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

#[track_caller]
fn holds(networks: &[&str], inside: &[&str], outside: &[&str]) {
    let trusted = trusted(networks).unwrap();
    for (ips, expected) in [(inside, true), (outside, false)] {
        for ip in ips {
            assert_eq!(trusted.contains(ip.parse().unwrap()), expected, "{ip} in {networks:?}");
        }
    }
}

#[test]
fn a_network_holds_its_first_and_last_address_and_none_beside_them() {
    holds(&["10.0.0.0/8"], &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0", "::10.0.0.0"]);
    holds(&["192.0.2.7"], &["192.0.2.7"], &["192.0.2.6", "192.0.2.8", "::1"]);
    holds(&["192.0.2.6/31"], &["192.0.2.6", "192.0.2.7"], &["192.0.2.5", "192.0.2.8"]);
    holds(&["192.0.2.7/32"], &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
    holds(&["::1"], &["::1"], &["::", "::2", "127.0.0.1", "0.0.0.1"]);
    holds(&["fd00::/8"], &["fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], &["fe00::", "fcff::"]);
    holds(&["2001:db8::8/125"], &["2001:db8::8", "2001:db8::f"], &["2001:db8::7", "2001:db8::10"]);
    holds(&["0.0.0.0/0"], &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::", "::1"]);
    holds(&["::/0"], &["::", "fd00::1"], &["127.0.0.1", "::ffff:127.0.0.1"]);
    holds(&["10.0.0.0/8", "::1"], &["10.1.2.3", "::1"], &["11.1.2.3", "::2"]);
}

#[test]
fn an_ipv4_mapped_address_counts_as_ipv4_in_the_list_and_in_the_question() {
    holds(
        &["10.0.0.0/8"],
        &["::ffff:10.0.0.0", "::ffff:10.255.255.255"],
        &["::ffff:11.0.0.0", "::ffff:9.0.0.0"],
    );
    let mapped = &["::ffff:10.0.0.0/104", "::ffff:192.0.2.7"];
    holds(mapped, &["10.255.255.255", "::ffff:10.0.0.0", "192.0.2.7"], &["11.0.0.0", "192.0.2.8"]);
    holds(&["::ffff:0:0/96"], &["1.2.3.4", "::ffff:1.2.3.4"], &["::1", "::1.2.3.4"]);
}

#[test]
fn a_bad_network_is_named_with_what_is_allowed() {
    for bad in [
        "",
        " ",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/08",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "10.0.0.0/256",
        "10.0.0.0/255.0.0.0",
        "010.0.0.0/8",
        "10.0.0/8",
        "10/8",
        " 10.0.0.0/8",
        "10.0.0.0/8 ",
        "10.1.2.3/8",
        "192.0.2.7/31",
        "fd00::1/8",
        "::1/129",
        "::1/0",
        "[::1]",
        "fe80::1%eth0",
        "localhost",
        "127.0.0.1:80",
        "10.0.0.0-10.0.0.9",
        "::ffff:10.0.0.1/104",
        "*",
    ] {
        // A good one beside it does not make up for it.
        for networks in [&[bad][..], &["10.0.0.0/8", bad]] {
            let error = trusted(networks).expect_err(bad);
            let Error::BadOption { option: "proxy_protocol", value, allowed } = &error else {
                panic!("{bad}: {error:?}");
            };
            assert_eq!(value, &format!("`{bad}`"));
            assert!(allowed.contains("10.0.0.0/8"), "{allowed}");
        }
    }
}

#[test]
fn nobody_to_trust_is_an_error() {
    let error = trusted(&[]).unwrap_err().to_string();
    let said =
        "option `proxy_protocol`: an empty list is not allowed; allowed: at least one address or network";
    assert!(error.starts_with(said), "{error}");
}
