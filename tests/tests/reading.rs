//! Every byte of input reaches the handler once and in order, however it is cut, held up or left over.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
};

use wheelhouse::{
    Action, CloseReason, Closed, Conn, Decoded, Framing, Handler, Input, Listener, Message, Output, Payload,
    Protocol, ProtocolError, Refusal,
};
use wheelhouse_tests::{
    Bench, Event, LIMIT, Pattern, Script, Server, connect, connect_small, one_listener, one_reactor,
    read_exactly, read_to_end,
};

fn lines(max: usize) -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(max))
}

// ---- cuts

#[test]
fn bytes_that_come_one_by_one_are_all_there() {
    let bench = Bench::raw(|_| Script::echo());
    let (mut stream, _) = bench.connect();
    for byte in Pattern::new(1).take(2000) {
        stream.write_all(&[byte]).unwrap();
        assert_eq!(read_exactly(&mut stream, 1), [byte]);
    }
}

#[test]
fn lines_that_come_byte_by_byte_are_whole() {
    let bench = Bench::start(one_listener(lines(80)), |_| Script::echo());
    let (mut stream, id) = bench.connect();
    for byte in b"a line of text that is longer than what fits inside a connection\r\n\nx\n" {
        stream.write_all(&[*byte]).unwrap();
        // One segment each, and one read each.
        bench.settle();
    }
    assert_eq!(bench.message(id), b"a line of text that is longer than what fits inside a connection");
    assert_eq!(bench.message(id), b"");
    assert_eq!(bench.message(id), b"x");
}

#[test]
fn lines_are_the_same_wherever_segments_cut_them() {
    let text = b"one\r\ntwo is longer than fourteen bytes\n\n\r\nfour\rfive\n6\n";
    let whole = ["one", "two is longer than fourteen bytes", "", "", "four\rfive", "6"];
    let bench = Bench::start(one_listener(lines(80)), |_| Script::new());
    let (mut stream, id) = bench.connect();
    for cut in 0..=text.len() {
        let (first, second) = text.split_at(cut);
        stream.write_all(first).unwrap();
        if !first.is_empty() {
            // Until the first part has been read.
            let far = (cut + text.len() * cut) as u64;
            wheelhouse_tests::until("the first part is read", || {
                bench.poster().stats().total().bytes_in >= far
            });
        }
        stream.write_all(second).unwrap();
        for line in whole {
            assert_eq!(String::from_utf8(bench.message(id)).unwrap(), line, "cut at {cut}");
        }
    }
}

/// Has so many bytes echoed through kernel buffers of that size on all four ends.
#[track_caller]
fn echo_through(buffers: usize, total: usize) {
    let builder = one_reactor().receive_buffer(buffers).send_buffer(buffers);
    let bench = Bench::start(builder, |_| Script::echo().quiet());
    let mut stream = connect_small(bench.addr(), buffers);
    let mut writer = stream.try_clone().unwrap();
    let written = std::thread::spawn(move || {
        for piece in Pattern::new(4).take(total).chunks(3001) {
            writer.write_all(piece).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let came = read_to_end(&mut stream);
    written.join().unwrap();
    assert_eq!(came.len(), total);
    Pattern::new(4).check(&came);
}

#[test]
fn bytes_come_back_whole_through_the_smallest_kernel_buffers() {
    // Not many: a window smaller than a segment makes the kernel's own persist timer the clock, 200 ms a piece.
    echo_through(256, 6 << 10);
}

#[test]
fn a_megabyte_comes_back_whole_through_small_kernel_buffers() {
    echo_through(8 << 10, 1 << 20);
}

// ---- leftovers

/// Takes frames of exactly `n` bytes, and tells of each.
struct Frames {
    size: usize,
    told: Sender<Vec<u8>>,
}

impl Handler for Frames {
    type Session = ();

    fn on_data(&mut self, _: &mut Conn<'_>, (): &mut (), input: &mut Input<'_>) -> Action {
        while input.len() >= self.size {
            self.told.send(input.take_mut(self.size).to_vec()).unwrap();
        }
        Action::Continue
    }

    fn on_message(&mut self, _: &mut Conn<'_>, (): &mut (), _: Message<'_>) -> Action {
        unreachable!("on_data is ours")
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        self.told.send(closed.reason().to_string().into_bytes()).unwrap();
    }
}

const SIZES: [usize; 9] =
    [1, 14, 15, 1000, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 200 << 10, (1 << 20) - 10];

/// Sends in pieces of uneven sizes.
fn drip(mut stream: &TcpStream, bytes: &[u8], step: usize) {
    for (n, piece) in bytes.chunks(step).enumerate() {
        stream.write_all(piece).unwrap();
        if n % 16 == 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_on_data_leaves_is_offered_again_in_front_of_what_comes_next() {
    for size in SIZES {
        let (told, tells): (_, Receiver<Vec<u8>>) = channel();
        let server = Server::start(one_reactor(), move |_| Frames { size, told: told.clone() });
        for step in [size / 3 + 1, size.saturating_sub(1).max(1), size, size + 1, 3 * size + 1] {
            let frames = if size > 100_000 { 3 } else { 7 };
            let stream = connect(server.addr());
            let sent = Pattern::new(step as u64).take(size * frames);
            drip(&stream, &sent, step);
            for frame in sent.chunks(size) {
                assert!(tells.recv_timeout(LIMIT).unwrap() == frame, "size {size}, step {step}");
            }
            drop(stream);
            assert_eq!(tells.recv_timeout(LIMIT).unwrap(), b"closed by the peer");
        }
    }
}

#[test]
fn an_unfinished_frame_is_dropped_with_its_connection_and_its_memory_given_back() {
    let (told, tells): (_, Receiver<Vec<u8>>) = channel();
    let server = Server::start(one_reactor(), move |_| Frames { size: 300_000, told: told.clone() });
    for size in [10, 1000, 100_000, 299_999] {
        let mut stream = connect(server.addr());
        stream.write_all(&vec![0; size]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(tells.recv_timeout(LIMIT).unwrap(), b"closed by the peer");
    }
    wheelhouse_tests::until("the memory is back", || server.poster().stats().total().buffered == 0);
}

/// Four bytes of length, then the body.
struct Lengths;

impl Protocol for Lengths {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let Some(length) = input.peek().first_chunk::<4>() else { return Ok(Decoded::Need(4)) };
        let length = u32::from_be_bytes(*length) as usize;
        if input.len() < 4 + length {
            return Ok(Decoded::Need(4 + length));
        }
        input.skip(4);
        Ok(Decoded::Message(Message::binary(input.take_mut(length))))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        out.put(&(payload.bytes().len() as u32).to_be_bytes());
        out.body(payload);
        Ok(())
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

#[test]
fn messages_of_every_size_are_whole_however_they_drip() {
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::custom(Lengths));
    let bench = Bench::start(one_listener(listener), |_| Script::new());
    for step in [1, 3, 1000, 65_536, 1 << 20] {
        let (stream, id) = bench.connect();
        let mut pattern = Pattern::new(step as u64);
        let sizes = SIZES.iter().copied().chain([0]).filter(|size| size / step < 20_000);
        let bodies: Vec<Vec<u8>> =
            sizes.flat_map(|size| [size, 0, size]).map(|size| pattern.take(size)).collect();
        let all: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
        std::thread::scope(|scope| {
            let stream = &stream;
            scope.spawn(move || drip(stream, &all, step));
            for body in &bodies {
                assert!(bench.message(id) == *body, "step {step}, body of {}", body.len());
            }
        });
    }
}

// ---- limits

#[test]
fn input_that_nobody_takes_is_bounded() {
    let builder = one_reactor().inbound_limit(10_000);
    let (told, tells): (_, Receiver<Vec<u8>>) = channel();
    let server = Server::start(builder, move |_| Frames { size: 10_000, told: told.clone() });
    let mut stream = connect(server.addr());
    stream.write_all(&[1; 10_000]).unwrap();
    assert_eq!(tells.recv_timeout(LIMIT).unwrap().len(), 10_000, "as much as the limit is allowed");
    drop(stream);
    assert_eq!(tells.recv_timeout(LIMIT).unwrap(), b"closed by the peer");

    let bench = Bench::start(one_listener(lines(1 << 26)).inbound_limit(10_000), |_| Script::new());
    let (mut stream, id) = bench.connect();
    let _ = stream.write_all(&[b'x'; 200_000]);
    assert_eq!(bench.closed(id).reason, CloseReason::InboundOverflow);
    assert!(wheelhouse_tests::is_reset(&mut stream));
    wheelhouse_tests::until("the memory is back", || bench.poster().stats().total().buffered == 0);
}

#[test]
fn a_message_that_announces_more_than_the_limit_is_not_waited_for() {
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::custom(Lengths));
    let bench = Bench::start(one_listener(listener).inbound_limit(100_000), |_| Script::new());
    let (mut stream, id) = bench.connect();
    stream.write_all(&framed(&vec![1; 90_000])).unwrap();
    assert_eq!(bench.message(id).len(), 90_000);
    stream.write_all(&0xffff_ffff_u32.to_be_bytes()).unwrap();
    assert_eq!(bench.closed(id).reason, CloseReason::InboundOverflow);
}

#[test]
fn a_line_over_the_maximum_closes_with_the_reason_behind_the_answers_given_before() {
    for long in [&b"seventeen bytes!!\n"[..], b"seventeen bytes!!", &[b'x'; 100_000]] {
        let bench = Bench::start(one_listener(lines(16)), |_| Script::echo());
        let (mut stream, id) = bench.connect();
        stream.write_all(&[b"sixteen bytes ok\nand\n", long].concat()).unwrap();
        assert_eq!(read_to_end(&mut stream), b"sixteen bytes ok\nand\n", "FIN, not a reset");
        drop(stream);
        let gone = bench.closed(id);
        assert_eq!(gone.reason, CloseReason::Protocol);
        assert_eq!(gone.error.as_deref(), Some("a line of more than 16 B"));
        let messages = bench.stop().iter().filter(|event| matches!(event, Event::Message(..))).count();
        assert_eq!(messages, 2);
    }
}

/// Puts other bytes in the place of its input.
struct Swapper(Sender<usize>);

impl Swapper {
    fn swap(&self, input: &mut Input<'_>) {
        self.0.send(input.len()).unwrap();
        *input = Input::new(Box::leak(Box::new([0; 100])));
    }
}

impl Handler for Swapper {
    type Session = ();

    fn on_data(&mut self, _: &mut Conn<'_>, _: &mut (), input: &mut Input<'_>) -> Action {
        self.swap(input);
        Action::Continue
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        unreachable!("nothing is a message")
    }
}

impl Protocol for Swapper {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        self.swap(input);
        Ok(Decoded::Need(1))
    }

    fn encode(&self, _: &Payload<'_>, _: &mut Output<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

#[test]
fn input_that_was_put_in_anothers_place_uses_up_nothing() {
    for is_raw in [true, false] {
        let (told, lengths) = channel();
        let framing = if is_raw { Framing::raw() } else { Framing::custom(Swapper(told.clone())) };
        let listener = Listener::new("tcp://127.0.0.1:0").framing(framing);
        let builder = one_listener(listener);
        let server = Server::start(builder, move |_| Swapper(told.clone()));
        let mut stream = connect(server.addr());
        for sent in 1..=3 {
            stream.write_all(b"x").unwrap();
            assert_eq!(lengths.recv_timeout(LIMIT), Ok(sent), "raw: {is_raw}");
        }
    }
}
