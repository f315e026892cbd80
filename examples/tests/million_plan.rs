//! What `million` plans: each limit of a machine, what it allows, and the command that lifts it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../million/plan.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod plan;

use crate::plan::{Machine, Plan, Transport, Wanted, shared_capacity, source};

/// A machine on which nothing stops a million.
fn roomy() -> Machine {
    Machine {
        cores: 2,
        files: 2_000_000,
        nr_open: 2_000_000,
        file_max: 10_000_000,
        files_in_use: 1_000,
        ports: 28_232,
        somaxconn: 4_096,
        watches: 5_000_000,
        packets: 10_000,
        tcp_pages: 1 << 22,
        conntrack: None,
        memory: 64 << 30,
        memory_available: 60 << 30,
    }
}

fn wanted(connections: u64) -> Wanted {
    Wanted { transport: Transport::Ws, connections: Some(connections), processes: 128, reactors: None }
}

fn limits(plan: &Plan) -> Vec<(&str, Option<u64>)> {
    plan.limits.iter().map(|limit| (limit.name, limit.allows)).collect()
}

#[test]
fn a_machine_with_room_has_a_million_in_one_server() {
    let plan = Plan::new(&roomy(), &wanted(1_000_000));
    assert_eq!((plan.connections, plan.servers, plan.clients, plan.reactors), (1_000_000, 1, 1, 2));
    assert_eq!(plan.sources, 102);
    assert_eq!(limits(&plan), []);
}

#[test]
fn twenty_thousand_files_a_process_take_several_and_stop_nothing() {
    let plan = Plan::new(&Machine { files: 20_000, ..roomy() }, &wanted(1_000_000));
    assert_eq!((plan.connections, plan.servers, plan.clients, plan.reactors), (1_000_000, 58, 51, 1));
    // Each client's connections come from addresses with 10,000 at most.
    assert!(plan.share(0, plan.connections) <= 10_000 * plan.sources);
    assert_eq!(limits(&plan), [("files per process (RLIMIT_NOFILE)", None)]);
    assert!(plan.limits[0].lift.contains("ulimit -n 1000080"), "{}", plan.limits[0].lift);
}

#[test]
fn servers_on_one_address_have_room_for_an_uneven_share() {
    for files in [300, 1_024, 20_000, 1_000_000] {
        let planned = shared_capacity(files, 80);
        let most = planned + planned / 10 + 5 * planned.isqrt() + 80;
        assert!(most <= files && planned > files / 3, "{planned} of {files}");
    }
    assert_eq!(shared_capacity(20_000, 72) / 100, 175);
    for (files, planned) in [(0, 0), (80, 0), (85, 0), (86, 1), (99, 8)] {
        assert_eq!(shared_capacity(files, 80), planned, "{files}");
    }
    // Over Unix sockets each has a path of its own, and no room is left empty.
    let plan = Plan::new(
        &Machine { files: 20_000, ..roomy() },
        &Wanted { transport: Transport::Unix, ..wanted(1_000_000) },
    );
    assert_eq!((plan.servers, plan.sources), (51, 0));
}

#[test]
fn each_limit_is_named_with_what_it_allows_and_what_lifts_it() {
    let cases: [(&str, Machine, u64, &str); 6] = [
        ("files per process (RLIMIT_NOFILE)", Machine { files: 300, ..roomy() }, 8_614, "ulimit -n "),
        (
            "fs.file-max",
            Machine { file_max: 103_560, ..roomy() },
            50_000,
            "sudo sysctl -w fs.file-max=2003560",
        ),
        (
            "fs.epoll.max_user_watches",
            Machine { watches: 402_048, ..roomy() },
            200_000,
            "sudo sysctl -w fs.epoll.max_user_watches=2002048",
        ),
        (
            "net.ipv4.ip_local_port_range (ports)",
            Machine { ports: 3, ..roomy() },
            62_500,
            "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
        ),
        (
            "net.netfilter.nf_conntrack_max",
            Machine { conntrack: Some((262_144, 144)), ..roomy() },
            262_000,
            "sudo sysctl -w net.netfilter.nf_conntrack_max=1000144",
        ),
        (
            "memory available (bytes)",
            Machine { memory: 4_000_000_000, memory_available: 4_400_000_000 + 5_000_000, ..roomy() },
            500_000,
            "memory",
        ),
    ];
    for (name, machine, allows, lift) in cases {
        let plan = Plan::new(&machine, &wanted(1_000_000));
        let met = plan.limits.iter().find(|limit| limit.name == name && limit.allows.is_some());
        let met = met.unwrap_or_else(|| panic!("{name} is not among {:?}", plan.limits));
        assert_eq!((met.allows, plan.connections), (Some(allows), allows), "{name}");
        assert!(met.lift.contains(lift), "{}", met.lift);
        assert!(met.needed > met.value, "{met:?}");
        // With what is needed it stops nothing any more.
        let lifted = match name {
            "files per process (RLIMIT_NOFILE)" => Machine { files: met.needed, ..machine },
            "fs.file-max" => Machine { file_max: met.needed, ..machine },
            "fs.epoll.max_user_watches" => Machine { watches: met.needed, ..machine },
            "net.ipv4.ip_local_port_range (ports)" => Machine { ports: met.needed, ..machine },
            "net.netfilter.nf_conntrack_max" => Machine { conntrack: Some((met.needed, 144)), ..machine },
            _ => Machine { memory_available: met.needed, ..machine },
        };
        assert_eq!(Plan::new(&lifted, &wanted(1_000_000)).connections, 1_000_000, "{name}");
    }
}

#[test]
fn what_only_costs_is_told_too_and_stops_nothing() {
    for (name, machine, needed, lift) in [
        (
            "net.core.netdev_max_backlog (packets)",
            Machine { packets: 1_000, ..roomy() },
            10_000,
            "sudo sysctl -w net.core.netdev_max_backlog=10000",
        ),
        (
            "net.core.somaxconn",
            Machine { somaxconn: 128, ..roomy() },
            4_096,
            "sudo sysctl -w net.core.somaxconn=4096",
        ),
        (
            "net.ipv4.tcp_mem (pages)",
            Machine { tcp_pages: 200_000, ..roomy() },
            250_000,
            "sudo sysctl -w net.ipv4.tcp_mem=\"125000 187500 250000\"",
        ),
    ] {
        let plan = Plan::new(&machine, &wanted(1_000_000));
        assert_eq!((plan.connections, limits(&plan)), (1_000_000, vec![(name, None)]));
        let met = &plan.limits[0];
        assert_eq!((met.needed, met.lift.as_str()), (needed, lift));
        assert!(!met.effect.is_empty(), "{name}");
    }
    // A few connections need no more than there is anywhere.
    let small = Machine { packets: 1_000, somaxconn: 128, tcp_pages: 2_000, ..roomy() };
    assert_eq!(limits(&Plan::new(&small, &wanted(64))), []);
    // Unix sockets send no packets.
    let over_unix = Wanted { transport: Transport::Unix, ..wanted(1_000_000) };
    assert_eq!(limits(&Plan::new(&Machine { packets: 1, tcp_pages: 1, ..roomy() }, &over_unix)), []);
}

#[test]
fn tls_takes_more_memory_and_has_fewer_connects_under_way() {
    let machine = Machine { memory: 4_000_000_000, memory_available: 2_405_000_000, ..roomy() };
    for (transport, connections, window) in [(Transport::Ws, 250_000, 2_048), (Transport::Wss, 100_000, 256)]
    {
        let plan = Plan::new(&machine, &Wanted { transport, ..wanted(1_000_000) });
        assert_eq!((plan.connections, plan.clients, plan.window), (connections, 1, window), "{transport}");
    }
}

#[test]
fn the_lowest_limit_counts_and_all_are_told() {
    let machine = Machine { file_max: 103_560, conntrack: Some((262_144, 144)), ..roomy() };
    let plan = Plan::new(&machine, &wanted(1_000_000));
    assert_eq!(plan.connections, 50_000);
    let both = [("fs.file-max", Some(50_000)), ("net.netfilter.nf_conntrack_max", Some(262_000))];
    assert_eq!(limits(&plan), both);
}

#[test]
fn all_means_as_many_as_the_first_limit_allows() {
    let all = Wanted { connections: None, ..wanted(0) };
    let plan = Plan::new(&Machine { conntrack: Some((262_144, 144)), ..roomy() }, &all);
    assert_eq!((plan.connections, limits(&plan).len()), (262_000, 1));
}

#[test]
fn a_machine_without_room_allows_nothing_and_does_not_panic() {
    let empty = Machine {
        cores: 1,
        files: 0,
        nr_open: 0,
        file_max: 0,
        files_in_use: 0,
        ports: 0,
        somaxconn: 0,
        watches: 0,
        packets: 0,
        tcp_pages: 0,
        conntrack: Some((0, 5)),
        memory: 0,
        memory_available: 0,
    };
    for transport in [Transport::Tcp, Transport::Tls, Transport::Unix, Transport::Ws, Transport::Wss] {
        for connections in [None, Some(1), Some(1_000_000)] {
            let plan = Plan::new(&empty, &Wanted { transport, connections, processes: 1, reactors: Some(1) });
            assert_eq!(plan.connections, 0);
            assert!(plan.limits.len() >= 3, "{:?}", plan.limits);
        }
    }
}

#[test]
fn shares_differ_by_one_and_sources_are_all_different() {
    let plan = Plan::new(&Machine { files: 20_000, ..roomy() }, &wanted(999_999));
    let shares: Vec<u64> = (0..plan.clients).map(|client| plan.share(client, 999_999)).collect();
    assert_eq!(shares.iter().sum::<u64>(), 999_999);
    assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
    let mut sources: Vec<_> = (0..62_500).map(source).collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 62_500);
    assert!(
        sources.iter().all(|[first, _, third, last]| (*first, *third > 0, *last > 0) == (127, true, true))
    );
}
