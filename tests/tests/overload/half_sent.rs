//! 15,000 peers that send the beginning of a message, and no more.

use std::{io::Write as _, net::TcpStream};

use crate::{
    CONNECTION, QUEUE, SLACK, alone_with, crowd::Crowd, fixture::expect, in_the_end, quiet::Quiet,
    remote::Remote,
};

const PEERS: usize = 15_000;
/// For them, the quiet, and whatever else this process has open.
const DESCRIPTORS: u64 = 15_200;
const HALF: usize = 3_000;
/// The storage that so much is kept in.
const KEPT: usize = 4_096;
const MEMORY: usize = 16 << 20;

/// The first bytes of a message whose rest is [`rest`].
fn half(framing: &str) -> Vec<u8> {
    let length = 2 * HALF as u32;
    match framing {
        "lines" => vec![b'x'; HALF],
        _ => [&length.to_be_bytes()[..], &[b'x'; HALF - 4]].concat(),
    }
}

fn rest(framing: &str) -> Vec<u8> {
    match framing {
        "lines" => b"yz\n".to_vec(),
        _ => vec![b'x'; HALF + 4],
    }
}

fn of_a_byte(framing: &str) {
    let _alone = alone_with(DESCRIPTORS);
    let mut remote = Remote::start(&format!("framing={framing}"));
    let quiet = Quiet::start(&mut remote);
    let mut crowd = Crowd::of(PEERS, &mut remote);
    let idle = remote.grown();
    assert!(idle <= PEERS * CONNECTION + SLACK, "{idle} B for {PEERS} idle connections");
    // A length of 4 bytes, of which the first is zero; or a line's first letter.
    let first: &[u8] = if framing == "lines" { b"x" } else { &[0] };
    crowd.say(first);
    in_the_end("all has been read", || remote.unanswered() == PEERS);
    quiet.are_served();
    assert_eq!(remote.count("buffered"), 0, "a byte is kept inside the connection");
    let grown = remote.grown();
    assert!(grown <= idle + SLACK / 4, "{grown} B, and before the first byte it was {idle}");
    assert!(remote.closed().is_empty(), "{:?}", remote.closed());
    // Each of them can still finish its message.
    let (end, echoed): (&[u8], &[u8]) =
        if framing == "lines" { (b"yz\n", b"xyz\n") } else { (&[0, 0, 2, 7, 8], &[0, 0, 0, 2, 7, 8]) };
    for client in crowd.clients.iter_mut().step_by(100) {
        client.set_nonblocking(false).unwrap();
        client.write_all(end).unwrap();
        expect(client, echoed);
    }
    quiet.were_served();
    remote.stop();
}

#[test]
fn lines_of_a_byte_take_no_buffer_memory() {
    of_a_byte("lines");
}

#[test]
fn messages_of_which_a_byte_has_come_take_no_buffer_memory() {
    of_a_byte("lengths");
}

/// How many stay: the memory is used up to the last piece.
const STAY: usize = MEMORY / KEPT;

/// Half a message from each; the memory stays within its bound all the time.
fn say_half(crowd: &mut [TcpStream], framing: &str, remote: &mut Remote) {
    let (half, bound) = (half(framing), MEMORY + PEERS * CONNECTION + SLACK);
    for some in crowd.chunks_mut(1_000) {
        some.iter_mut().for_each(|client| client.write_all(&half).unwrap());
        let (buffered, grown) = (remote.count("buffered"), remote.grown());
        assert!(buffered <= MEMORY as u64, "{buffered} B of buffers");
        assert!(grown <= bound, "{grown} B instead of at most {bound}");
    }
}

/// All but those who fit in have given way, and for that reason.
fn only_who_fits_in_stays(crowd: &Crowd, remote: &mut Remote) {
    in_the_end("who must give way has", || remote.count("connections") <= (STAY + Quiet::N) as u64);
    let closed = remote.closed();
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!(closed["MemoryPressure"], (PEERS - STAY) as u64, "nobody goes who need not");
    assert_eq!(crowd.open().iter().filter(|&&is_open| is_open).count(), STAY);
}

fn of_kilobytes(framing: &str) {
    let _alone = alone_with(DESCRIPTORS);
    let mut remote = Remote::start(&format!("framing={framing} gives_way=greatest buffer_memory={MEMORY}"));
    let quiet = Quiet::start(&mut remote);
    let mut crowd = Crowd::of(PEERS, &mut remote);
    say_half(&mut crowd.clients, framing, &mut remote);
    only_who_fits_in_stays(&crowd, &mut remote);
    quiet.are_served();
    let whole = [half(framing), rest(framing)].concat();
    let is_open = crowd.open();
    let stay = crowd.clients.iter_mut().zip(is_open).filter(|(_, is_open)| *is_open);
    for (client, _) in stay.step_by(64) {
        client.set_nonblocking(false).unwrap();
        client.write_all(&rest(framing)).unwrap();
        expect(client, &whole);
    }
    drop(crowd);
    in_the_end("the buffers are given back", || remote.count("buffered") == 0);
    in_the_end("the memory goes back", || remote.grown() <= SLACK);
    quiet.were_served();
    remote.stop();
}

#[test]
fn half_lines_take_the_buffer_memory_and_no_more() {
    of_kilobytes("lines");
}

#[test]
fn half_messages_take_the_buffer_memory_and_no_more() {
    of_kilobytes("lengths");
}

#[test]
fn whoever_holds_memory_keeps_it_where_the_asking_give_way() {
    let _alone = alone_with(DESCRIPTORS);
    let mut remote = Remote::start(&format!("framing=lines gives_way=asking buffer_memory={MEMORY}"));
    let quiet = Quiet::start(&mut remote);
    let mut crowd = Crowd::of(PEERS, &mut remote);
    let early = STAY - 1;
    say_half(&mut crowd.clients[..early], "lines", &mut remote);
    in_the_end("all is kept", || remote.count("buffered") == (early * KEPT) as u64);
    say_half(&mut crowd.clients[early..], "lines", &mut remote);
    only_who_fits_in_stays(&crowd, &mut remote);
    let open = crowd.open();
    assert!(open[..early].iter().all(|&is_open| is_open), "one that held memory was closed");
    quiet.were_served();
    remote.stop();
}

/// A message's size is announced, and five bytes are all that comes.
#[test]
fn announced_sizes_take_the_buffer_memory_and_no_more() {
    const ANNOUNCED: usize = (1 << 20) - 4;
    let _alone = alone_with(DESCRIPTORS);
    const ANNOUNCE: usize = 1_500;
    let mut remote = Remote::start(&format!("framing=lengths gives_way=greatest buffer_memory={MEMORY}"));
    let quiet = Quiet::start(&mut remote);
    let mut crowd = Crowd::of(ANNOUNCE, &mut remote);
    crowd.say(&(ANNOUNCED as u32).to_be_bytes());
    in_the_end("all have announced", || remote.unanswered() == 4 * ANNOUNCE);
    // What is allocated for them beside their storage.
    let bound = MEMORY + ANNOUNCE * (CONNECTION + QUEUE) + SLACK;
    crowd.say(b"x");
    let mut looks = 0;
    in_the_end("all has been read", || {
        let (buffered, grown) = (remote.count("buffered"), remote.grown());
        assert!(buffered <= MEMORY as u64, "{buffered} B of buffers");
        assert!(grown <= bound, "{grown} B instead of at most {bound}");
        looks += 1;
        looks > 20 && remote.unanswered() == 5 * ANNOUNCE
    });
    let closed = remote.closed();
    assert!(closed.keys().all(|reason| reason == "MemoryPressure"), "{closed:?}");
    quiet.were_served();
    remote.stop();
}

#[test]
fn the_memory_goes_back_though_the_connections_stay() {
    let _alone = alone_with(DESCRIPTORS);
    let mut remote = Remote::start("framing=lines");
    let quiet = Quiet::start(&mut remote);
    let mut crowd = Crowd::of(PEERS, &mut remote);
    crowd.say(&half("lines"));
    in_the_end("all is kept", || remote.count("buffered") == (PEERS * KEPT) as u64);
    assert!(remote.grown() >= PEERS * HALF);
    crowd.say(&rest("lines"));
    in_the_end("the buffers are given back", || remote.count("buffered") == 0);
    in_the_end("the memory goes back", || remote.grown() <= PEERS * CONNECTION + SLACK);
    assert_eq!(remote.count("connections"), (PEERS + Quiet::N) as u64);
    quiet.were_served();
    remote.stop();
}
