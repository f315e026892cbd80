//! What is around the clients: listeners, addresses, the index, what is dialled, adopted, taken out or watched, and the end.

use std::{
    io::{ErrorKind, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    rc::Rc,
    sync::mpsc,
    time::Duration,
};

use super::{Obedient, bench, lines, told};
use crate::{
    Adopt, Audience, CloseReason, ConnId, Connect, Engine, Framing, ListenerId, ReactorId, Tag,
    testing::Bench,
};

/// The peer and the listener that the handler sees.
fn who_is(bench: &mut Bench<Obedient>, id: ConnId) -> (Option<SocketAddr>, Option<ListenerId>) {
    let (told, answer) = mpsc::channel();
    let asked = bench.poster().post_to(id, move |_, conn, _| {
        told.send((conn.peer_addr(), conn.listener())).unwrap();
    });
    assert!(asked.is_ok());
    bench.run();
    answer.recv().unwrap()
}

#[test]
fn nobody_is_dialled_until_the_test_says_so() {
    let mut bench = bench();
    let client = bench.open(lines());
    for url in ["tcp://127.0.0.1:1", "tcp://name.invalid:2", "unix:/nowhere"] {
        bench.message(client, &*format!("dial {url}"));
    }
    let dialled = bench.dialled();
    let urls: Vec<(&str, Tag)> = dialled.iter().map(|one| (one.url.as_str(), one.tag)).collect();
    assert_eq!(
        urls,
        [("tcp://127.0.0.1:1", Tag(3)), ("tcp://name.invalid:2", Tag(3)), ("unix:/nowhere", Tag(3))]
    );
    assert!(bench.dialled().is_empty(), "told once");
    let [made, refused, forgotten] = [0, 1, 2].map(|n| dialled[n].id);
    assert!(bench.handle().is_open(made) && bench.session(made).is_none());
    assert_eq!(told(|| bench.input(made, b"x")), format!("connection {made}: it is not connected"));

    bench.connected(made);
    bench.message(made, "echo");
    assert_eq!(bench.output(made), b"echo");
    assert_eq!(who_is(&mut bench, made), (Some(([127, 0, 0, 1], 1).into()), None));

    bench.refuse(refused, ErrorKind::HostUnreachable.into());
    assert_eq!(bench.closed(refused), Some(&CloseReason::ConnectFailed));
    bench.turn(Duration::from_secs(10));
    assert_eq!(bench.closed(forgotten), Some(&CloseReason::ConnectTimeout));
    let told = told(|| bench.connected(forgotten));
    assert!(told.contains("not being dialled, or no longer"), "{told}");
    bench.handle().connect(crate::On::Any, Connect::to("tcp://127.0.0.1:4")).unwrap();
    assert_eq!(bench.dialled().len(), 1, "asked for from outside");
}

#[test]
fn clients_have_addresses_and_a_place_in_the_index() {
    let builder = Engine::builder().listen("tcp://127.0.0.1:0").listen("unix:/nowhere");
    let mut bench = Bench::with_options(builder, Obedient::new);
    let at = "[2001:db8::7]:1234".parse().unwrap();
    let ids = [
        bench.open_on(ListenerId(0)),
        bench.open_on(ListenerId(0)),
        bench.open_from(ListenerId(0), at),
        bench.open_on(ListenerId(1)),
        bench.open(lines()),
    ];
    let peers = ids.map(|id| who_is(&mut bench, id));
    let is_local = |(peer, _): (Option<SocketAddr>, _)| peer.is_some_and(|at| at.ip().is_loopback());
    assert!(is_local(peers[0]) && is_local(peers[1]) && peers[0].0 != peers[1].0);
    assert_eq!((peers[2].0, peers[3].0), (Some(at), None));
    assert_eq!(peers.iter().map(|(_, id)| id.unwrap().0).collect::<Vec<_>>(), [0, 0, 0, 1, 2]);
    assert_eq!(bench.handle().connections().collect::<Vec<_>>(), ids);
    bench.message(ids[4], "close");
    bench.input(ids[4], b"lost on the way\n");
    assert_eq!(bench.session(ids[4]), None);
    assert_eq!(bench.handle().connections().collect::<Vec<_>>(), ids[..4]);
    let next = bench.open_on(ListenerId(1));
    assert_eq!(bench.handle().connections().last(), Some(next), "the number that came free");
}

#[test]
fn listeners_of_one_framing_are_one_listener() {
    let mut bench = bench();
    let ids = [bench.open(lines()), bench.open(Framing::raw()), bench.open(lines())];
    bench.handle().broadcast(Audience::Listener(ListenerId(0)), "lines").unwrap();
    let heard = ids.map(|id| bench.output(id));
    assert_eq!(heard, [&b"lines\n"[..], b"", b"lines\n"]);
}

#[test]
fn in_a_drain_nobody_is_accepted_and_the_last_to_leave_ends_it() {
    let mut bench = bench();
    let (one, two) = (bench.open(lines()), bench.open(lines()));
    let (ended, handle) = (Rc::clone(&bench.handler().ended), bench.handle());
    handle.drain(Duration::from_secs(60));
    bench.message(one, "still served");
    assert_eq!(bench.output(one), b"still served\n");
    assert!(told(|| _ = bench.open(lines())).contains("the engine is stopping"));
    bench.eof(one);
    bench.turn(Duration::from_millis(59_999));
    assert_eq!(ended.borrow().len(), 1, "{ended:?}");
    bench.turn(Duration::from_millis(1));
    assert_eq!(bench.closed(two), Some(&CloseReason::Shutdown));
    assert_eq!(ended.borrow().last().unwrap(), "stopped");
}

#[test]
fn the_other_end_of_an_adopted_socket_is_the_tests_too() {
    let mut bench = bench();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (told, answer) = mpsc::channel();
    let adopt = Adopt::new(ours).framing(lines()).unread("he");
    let posted = bench.poster().post(ReactorId(0), move |_, reactor| {
        told.send(reactor.adopt(adopt).unwrap()).unwrap();
    });
    assert!(posted.is_ok());
    bench.run();
    let adopted = answer.recv().unwrap();
    bench.input(adopted, b"llo\n");
    assert_eq!(bench.output(adopted), b"hello\n");
    assert_eq!(bench.handle().connections().collect::<Vec<_>>(), [adopted]);
    bench.eof(adopted);
    assert_eq!(bench.closed(adopted), Some(&CloseReason::Peer { code: None }));
    assert_eq!(bench.handle().connections().count(), 0);
    drop(theirs);
}

#[test]
fn what_was_taken_out_is_nobodys_here() {
    let mut bench = bench();
    let client = bench.open(lines());
    let (told, answer) = mpsc::channel();
    let posted = bench.poster().post_to(client, move |_, conn, _| {
        assert!(conn.detach(move |detached| told.send(detached.unread).unwrap()));
    });
    assert!(posted.is_ok());
    bench.input(client, b"not a whole line");
    assert_eq!(answer.try_recv().unwrap(), b"");
    assert_eq!(bench.closed(client), Some(&CloseReason::Detached));
    assert!(!bench.output_ended(client) && !bench.output_reset(client), "it lives on elsewhere");
    bench.input(client, b" and the rest of it\n");
    assert_eq!((bench.output(client), bench.handle().connections().count()), (vec![], 0));
}

#[test]
fn a_watched_descriptor_is_a_real_one() {
    let mut bench = bench();
    let (mut here, there) = UnixStream::pair().unwrap();
    there.set_nonblocking(true).unwrap();
    let posted = bench.poster().post(ReactorId(0), |_, reactor| reactor.watch(there, Tag(5)).unwrap());
    assert!(posted.is_ok());
    bench.run();
    assert_eq!(bench.handler().ready, []);
    here.write_all(b"x").unwrap();
    assert_eq!(bench.handler().ready, [Tag(5)]);
    bench.run();
    assert_eq!(bench.handler().ready, [Tag(5)], "told once");
}
