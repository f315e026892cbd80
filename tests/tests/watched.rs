//! Descriptors that are no connections: a reactor tells of them, and closes them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    fs::File,
    io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use fixture::*;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    unistd,
};
use wheelhouse::{ConnId, Engine, Error, On, Reactor, ReactorId, Tag, TimerKind};
use wheelhouse_tests::blow_up;

fn engine() -> wheelhouse::Builder {
    Engine::builder().reactors(1)
}

/// A pipe whose reading end does not block.
fn quick_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    (reader, writer)
}

/// Everything that is there.
fn drain(fd: BorrowedFd<'_>) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 64]);
    loop {
        match unistd::read(fd, &mut buffer) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(nix::Error::EAGAIN) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

/// An engine that reads what it is told of, and tells it with the tag.
fn telling() -> (Server<Script>, Receiver<(Tag, Vec<u8>)>) {
    let (told, events) = channel();
    let server = serve(engine(), move |_| {
        let told = told.clone();
        Script::new().ready(move |_, tag, fd| tell(&told, (tag, drain(fd))))
    });
    (server, events)
}

/// Whether nobody holds the reading end any more.
fn is_closed(writer: &mut PipeWriter) -> bool {
    writer.write(b"?").is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// How often the reactor goes round while nothing happens.
fn spins(server: &Server<Script>) -> u64 {
    let turns = || server.handle.stats().total().turns;
    let before = turns();
    thread::sleep(Duration::from_millis(100));
    turns() - before
}

#[test]
fn whatever_becomes_readable_is_told_with_its_tag() {
    let (server, events) = telling();
    let (reader, mut writer) = quick_pipe();
    server.handle.watch(On::Any, reader, Tag(1)).unwrap();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    server.handle.watch(On::Reactor(ReactorId(0)), ours, Tag(2)).unwrap();
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK).unwrap();
    let soon = Expiration::OneShot(TimeSpec::from_duration(Duration::from_millis(1)));
    timer.set(soon, TimerSetTimeFlags::empty()).unwrap();
    let timer: OwnedFd = timer.as_fd().try_clone_to_owned().unwrap();
    writer.write_all(b"pipe").unwrap();
    assert_eq!(next(&events), (Tag(1), b"pipe".to_vec()));
    theirs.send(b"datagram").unwrap();
    assert_eq!(next(&events), (Tag(2), b"datagram".to_vec()));
    server.handle.watch(On::Any, timer, Tag(3)).unwrap();
    assert_eq!(next(&events), (Tag(3), 1_u64.to_ne_bytes().to_vec()));
    for n in 0..100_u8 {
        writer.write_all(&[n]).unwrap();
        assert_eq!(next(&events), (Tag(1), vec![n]));
    }
}

#[test]
fn what_was_there_before_is_told_too() {
    let (server, events) = telling();
    let (reader, mut writer) = quick_pipe();
    writer.write_all(b"early").unwrap();
    server.handle.watch(On::Any, reader, Tag(1)).unwrap();
    assert_eq!(next(&events), (Tag(1), b"early".to_vec()));
}

#[test]
fn what_is_left_unread_is_not_told_again_and_keeps_nobody_busy() {
    let (told, events) = channel();
    let server = serve(engine(), move |_| {
        let told = told.clone();
        Script::<()>::new().ready(move |_, tag, _| tell(&told, tag))
    });
    let (reader, mut writer) = quick_pipe();
    server.handle.watch(On::Any, reader, Tag(1)).unwrap();
    writer.write_all(b"unread").unwrap();
    next(&events);
    assert!(spins(&server) < 20);
    assert!(events.try_recv().is_err());
    writer.write_all(b"more").unwrap();
    assert_eq!(next(&events), Tag(1));
}

#[test]
fn the_other_ends_hang_up_is_told_and_keeps_nobody_busy() {
    let (server, events) = telling();
    let (reader, writer) = quick_pipe();
    server.handle.watch(On::Any, reader, Tag(1)).unwrap();
    drop(writer);
    assert_eq!(next(&events), (Tag(1), vec![]));
    assert!(spins(&server) < 20);
}

#[test]
fn one_can_be_given_up_amid_its_own_event_and_is_closed_when_that_is_over() {
    let (told, events) = channel();
    let server = serve(engine(), move |_| {
        let told = told.clone();
        Script::<()>::new().ready(move |reactor, tag, fd| {
            let counts = (reactor.unwatch(tag), reactor.unwatch(tag), reactor.unwatch(Tag(99)));
            // Until the callback returns it is there.
            tell(&told, (counts, drain(fd)));
        })
    });
    let (reader, mut writer) = quick_pipe();
    server.handle.watch(On::Any, reader, Tag(1)).unwrap();
    writer.write_all(b"last").unwrap();
    assert_eq!(next(&events), ((1, 0, 0), b"last".to_vec()));
    eventually("it is closed", || is_closed(&mut writer));
    assert!(events.try_recv().is_err());
}

#[test]
fn two_with_one_tag_are_both_told_and_given_up_together() {
    let (server, events) = telling();
    let pipes = [quick_pipe(), quick_pipe()];
    let mut writers = pipes.map(|(reader, writer)| {
        server.handle.watch(On::Any, reader, Tag(5)).unwrap();
        writer
    });
    for writer in &mut writers {
        writer.write_all(b"x").unwrap();
        assert_eq!(next(&events), (Tag(5), b"x".to_vec()));
    }
    assert_eq!(server.ask(0, |_, reactor| reactor.unwatch(Tag(5))), 2);
    assert!(writers.iter_mut().all(is_closed));
}

#[test]
fn one_given_up_is_not_told_of_though_its_event_had_come_already() {
    for _ in 0..20 {
        let (told, events) = channel();
        let server = serve(engine(), move |_| {
            let (told, mut writers) = (told.clone(), Vec::new());
            Script::<()>::new().ready(move |reactor, tag, _| {
                let other = if tag == Tag(1) { Tag(2) } else { Tag(1) };
                assert_eq!(reactor.unwatch(other), 1);
                // Whatever takes its place was not meant.
                let (reader, writer) = pipe().unwrap();
                reactor.watch(reader, Tag(3)).unwrap();
                writers.push(writer);
                tell(&told, tag);
            })
        });
        let pipes = [quick_pipe(), quick_pipe()];
        let mut writers = pipes.into_iter().zip([Tag(1), Tag(2)]).map(|((reader, writer), tag)| {
            server.handle.watch(On::Any, reader, tag).unwrap();
            writer
        });
        let mut writers = [writers.next().unwrap(), writers.next().unwrap()];
        // Both in one batch.
        let blocked = server.block(0);
        writers.iter_mut().for_each(|writer| writer.write_all(b"x").unwrap());
        drop(blocked);
        next(&events);
        eventually("the event of the other was dropped", || server.handle.stats().total().stale_events == 1);
        server.stop();
        assert_eq!(events.try_iter().collect::<Vec<_>>(), []);
    }
}

#[test]
fn given_up_it_is_silent_though_its_owner_kept_a_duplicate() {
    let (server, events) = telling();
    let (reader, mut writer) = quick_pipe();
    let kept = reader.try_clone().unwrap();
    server.handle.watch(On::Any, reader.try_clone().unwrap(), Tag(1)).unwrap();
    server.handle.watch(On::Any, reader, Tag(2)).unwrap();
    writer.write_all(b"x").unwrap();
    // Two descriptors of one pipe: each is told, and one of them finds it.
    let mut told = next_n(&events, 2);
    told.sort_by_key(|(tag, _)| tag.0);
    assert_eq!([told[0].0, told[1].0], [Tag(1), Tag(2)]);
    assert_eq!(told.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), 1);
    assert_eq!(server.ask(0, |_, reactor| (reactor.unwatch(Tag(1)), reactor.unwatch(Tag(2)))), (1, 1));
    writer.write_all(b"y").unwrap();
    server.ask(0, |_, _| ());
    let stale = server.handle.stats().total().stale_events;
    server.stop();
    assert!(events.try_recv().is_err());
    assert_eq!(stale, 0, "not even the kernel tells of it");
    assert_eq!(drain(kept.as_fd()), b"y");
}

#[test]
fn a_regular_file_comes_back_with_its_descriptor_named() {
    let (server, _events) = telling();
    let path = std::env::current_exe().unwrap();
    let file = File::open(path).unwrap();
    let raw = file.as_raw_fd();
    let back = server.handle.watch(On::Any, file, Tag(1)).unwrap_err();
    let check = |error: &Error| {
        let text = error.to_string();
        assert!(text.contains(&format!("descriptor {raw}:")), "{text}");
        let Error::CannotWatch { fd, source } = error else { panic!("{text}") };
        assert_eq!((*fd, source.raw_os_error()), (raw, Some(libc::EPERM)));
    };
    check(&back.error);
    let back =
        server.ask(0, move |_, reactor: &mut Reactor<'_>| reactor.watch(back.what, Tag(1)).unwrap_err());
    check(&back.error);
    assert_eq!(server.ask(0, |_, reactor| reactor.unwatch(Tag(1))), 0);
    assert!(File::from(back.what).read(&mut [0; 4]).is_ok_and(|n| n == 4), "it is still good");
}

#[test]
fn what_is_not_taken_comes_back_with_the_reason() {
    let server = serve(engine().mailbox(16), |_| Script::<()>::new());
    let (reader, mut writer) = quick_pipe();
    let back = server.handle.watch(On::Reactor(ReactorId(7)), reader, Tag(1)).unwrap_err();
    assert!(matches!(back.error, Error::BadOption { option: "on", .. }), "{back}");
    let blocked = server.block(0);
    for _ in 0..16 {
        assert!(server.poster.post(ReactorId(0), |_, _| ()).is_ok());
    }
    let back = server.handle.watch(On::Any, back.what, Tag(1)).unwrap_err();
    assert!(matches!(back.error, Error::MailboxFull { .. }), "{back}");
    drop(blocked);
    server.handle.shutdown();
    let back = server.handle.watch(On::Any, back.what, Tag(1)).unwrap_err();
    assert!(matches!(back.error, Error::Stopping), "{back}");
    writer.write_all(b"mine").unwrap();
    assert_eq!(drain(back.what.as_fd()), b"mine");
}

#[test]
fn all_are_closed_when_the_engine_has_stopped() {
    alone("all_are_closed_when_the_engine_has_stopped", || {
        let before = descriptors();
        let (server, events) = telling();
        let mut writers = Vec::new();
        for n in 0..50 {
            let (reader, writer) = quick_pipe();
            server.handle.watch(On::Any, reader, Tag(n)).unwrap();
            writers.push(writer);
        }
        writers[0].write_all(b"x").unwrap();
        next(&events);
        // One that is still on its way.
        let blocked = server.block(0);
        let (reader, writer) = quick_pipe();
        server.handle.watch(On::Any, reader, Tag(50)).unwrap();
        writers.push(writer);
        server.handle.shutdown();
        drop(blocked);
        server.stop();
        assert!(writers.iter_mut().all(is_closed));
        drop(writers);
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_panic_over_one_is_told_and_it_is_watched_on() {
    let (told, events) = channel();
    let server = serve(engine(), move |_| {
        let (told, panics) = (told.clone(), told.clone());
        Script::<()>::new()
            .ready(move |_, _, fd| match &drain(fd)[..] {
                b"panic" => blow_up("over a descriptor"),
                other => tell(&told, String::from_utf8(other.to_vec()).unwrap()),
            })
            .panic(move |text| tell(&panics, format!("panic {text}")))
    });
    let (reader, mut writer) = quick_pipe();
    server.handle.watch(On::Any, reader, Tag(1)).unwrap();
    writer.write_all(b"panic").unwrap();
    assert_eq!(next(&events), "panic over a descriptor");
    writer.write_all(b"fine").unwrap();
    assert_eq!(next(&events), "fine");
}

#[test]
fn what_it_says_can_be_sent_on_to_a_connection_in_the_same_turn() {
    let server = serve(local().reactors(1), |_| {
        Script::<()>::new().ready(|reactor, tag, fd| {
            let bytes = drain(fd);
            let id: ConnId = tag.conn_id().unwrap();
            assert!(!reactor.conn(id).unwrap().send(bytes).is_refused());
        })
    });
    let mut client = server.connect();
    echo(&mut client, b"hello");
    let id = server.handle.connections().next().unwrap();
    let (reader, mut writer) = quick_pipe();
    server.handle.watch(On::Owner(id), reader, id).unwrap();
    writer.write_all(b"news").unwrap();
    expect(&mut client, b"news");
}

#[test]
fn the_places_of_what_a_callback_asks_for_come_back() {
    let server = serve(engine().mailbox(16), |spot| {
        let handle = spot.handle();
        Script::<()>::new().reactor_timer(move |reactor, _| {
            let on = On::Reactor(reactor.id());
            let watch = || handle.watch(on, quick_pipe().0, Tag(1)).is_ok();
            // One place may be taken by what this test asks meanwhile.
            assert!((15..=16).contains(&(0..20).filter(|_| watch()).count()), "as many as there are places");
        })
    });
    for _ in 0..50 {
        server.ask(0, |_, reactor| reactor.set_timer(TimerKind(1), Duration::ZERO));
        eventually("all of them were taken", || server.ask(0, |_, reactor| reactor.unwatch(Tag(1))) >= 15);
    }
    let total = server.handle.stats().total();
    assert_eq!(total.panics, 0);
}

#[test]
fn thousands_may_come_and_go() {
    let (server, events) = telling();
    server.ask(0, |_, reactor| {
        for n in 0..5000 {
            let (reader, writer) = quick_pipe();
            reactor.watch(reader, Tag(n)).unwrap();
            assert_eq!(reactor.unwatch(Tag(n)), 1);
            drop(writer);
        }
    });
    let (reader, mut writer) = quick_pipe();
    server.handle.watch(On::Any, reader, Tag(1)).unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(next(&events), (Tag(1), b"x".to_vec()));
}
