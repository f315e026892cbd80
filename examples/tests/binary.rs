//! The calculator, spoken to byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use common::Server;

const ADD: u8 = 1;
const MULTIPLY: u8 = 2;
const TOTAL: u8 = 3;
const WRONG: u8 = 0xff;

fn frame(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, flags], &length[..], body].concat()
}

fn numbers(kind: u8, numbers: &[i64]) -> Vec<u8> {
    frame(kind, 0, &numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
}

/// Type, flags and body of the next answer.
fn hear(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).unwrap();
    let [kind, flags, length @ ..] = header;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    (kind, flags, body)
}

fn total(stream: &mut TcpStream) -> i64 {
    stream.write_all(&frame(TOTAL, 0, b"")).unwrap();
    let (kind, flags, body) = hear(stream);
    assert_eq!((kind, flags), (TOTAL, 0));
    i64::from_be_bytes(body.try_into().unwrap())
}

fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an end, and no reset");
    rest
}

#[test]
fn each_connection_has_its_own_total() {
    let server = Server::start("binary", &[]);
    let (mut one, mut other) = (server.connect(), server.connect());
    one.write_all(&[numbers(ADD, &[40, -1, 3]), numbers(MULTIPLY, &[2, 5])].concat()).unwrap();
    other.write_all(&numbers(ADD, &[])).unwrap();
    assert_eq!((total(&mut one), total(&mut other)), (420, 0));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn numbers_may_come_in_every_shape_and_cut_anywhere() {
    let server = Server::start("binary", &[]);
    let mut stream = server.connect();
    let shapes = [
        numbers(ADD, &[-2]),
        frame(ADD, 1, &(-2_i64).to_le_bytes()),
        frame(ADD, 2, &(-2_i16).to_be_bytes()),
        frame(ADD, 3, &[(-2_i16).to_le_bytes(), 300_i16.to_le_bytes()].concat()),
    ]
    .concat();
    stream.write_all(&shapes).unwrap();
    assert_eq!(total(&mut stream), 292);
    for byte in &shapes {
        stream.write_all(&[*byte]).unwrap();
        std::thread::yield_now();
    }
    assert_eq!(total(&mut stream), 584);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn what_cannot_be_done_is_told_before_the_end() {
    let server = Server::start("binary", &[]);
    for (wrong, why) in [
        (numbers(ADD, &[i64::MAX, 1]), "more than 64 bits hold"),
        (numbers(MULTIPLY, &[i64::MIN, -1]), "more than 64 bits hold"),
        (frame(9, 0, b""), "an unknown type"),
    ] {
        let mut stream = server.connect();
        stream.write_all(&[numbers(ADD, &[1]), wrong].concat()).unwrap();
        assert_eq!(hear(&mut stream), (WRONG, 0, why.as_bytes().to_vec()));
        assert_eq!(rest(&mut stream), b"");
    }
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_frame_against_the_protocol_ends_the_connection_behind_the_answers() {
    let server = Server::start("binary", &["--max", "16"]);
    for bad in [frame(ADD, 0, &[0; 24]), frame(ADD, 0, &[0; 7]), frame(ADD, 2, &[0; 3])] {
        let mut stream = server.connect();
        stream.write_all(&[numbers(ADD, &[5, 6]), frame(TOTAL, 0, b""), bad].concat()).unwrap();
        assert_eq!(hear(&mut stream), (TOTAL, 0, 11_i64.to_be_bytes().to_vec()));
        assert_eq!(rest(&mut stream), b"");
    }
    assert_eq!(server.stop().0, Some(0));
}
