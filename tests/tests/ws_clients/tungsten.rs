//! tungstenite as a client: every size, fragments, pings, subprotocols, closes from either end, refusals.

use std::net::TcpStream;

use tungstenite::{
    Error, Message, WebSocket,
    client::IntoClientRequest,
    protocol::{
        CloseFrame, WebSocketConfig,
        frame::{Frame, coding::CloseCode, coding::Data, coding::OpCode},
    },
};

use crate::{
    Server, Told,
    fixture::{Script, next},
    foreigners,
};

fn open(server: &Server<Script>, path: &str) -> Result<WebSocket<TcpStream>, Error> {
    let mut request = format!("ws://{}{path}", server.at()).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "superchat, chat".parse().unwrap());
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    match tungstenite::client::client_with_config(request, server.connect(), Some(config)) {
        Ok((socket, answer)) => {
            assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "chat");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn tungstenite_gets_back_what_it_sends_in_every_size() {
    // It knows no compression: a server that has it must do without.
    for deflates in [false, true] {
        let (server, _events) = foreigners(deflates);
        let mut socket = open(&server, "/talk").unwrap();
        for size in [0, 1, 125, 126, 127, 4096, 65_535, 65_536, 1 << 20] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 7 + at / 251) as u8).collect();
            for message in [Message::binary(bytes), Message::text("ä".repeat(size / 2))] {
                socket.send(message.clone()).unwrap();
                assert!(socket.read().unwrap() == message, "{size} bytes");
            }
        }
    }
}

#[test]
fn tungstenites_fragments_with_a_ping_between_them_become_one_message() {
    let (server, _events) = foreigners(false);
    let mut socket = open(&server, "/talk").unwrap();
    let piece =
        |bytes: &'static [u8], opcode, fin| Message::Frame(Frame::message(bytes, OpCode::Data(opcode), fin));
    socket.send(piece(b"gr\xc3", Data::Text, false)).unwrap();
    socket.send(Message::Ping("now".into())).unwrap();
    socket.send(piece(b"\xbc\xc3\x9f", Data::Continue, false)).unwrap();
    socket.send(piece(b"e", Data::Continue, true)).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("now".into()));
    assert_eq!(socket.read().unwrap(), Message::text("grüße"));
}

#[test]
fn tungstenite_is_told_our_code_and_reason_and_we_are_told_its() {
    let (server, events) = foreigners(false);
    let mut socket = open(&server, "/talk").unwrap();
    socket.send(Message::text("close 4001 that is all")).unwrap();
    let ours = CloseFrame { code: CloseCode::from(4001), reason: "that is all".into() };
    assert_eq!(socket.read().unwrap(), Message::Close(Some(ours)));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    drop(socket);
    assert_eq!([next(&events), next(&events)], [Told::chat(), Told::finished()]);
    let mut socket = open(&server, "/talk").unwrap();
    let theirs = CloseFrame { code: CloseCode::from(3001), reason: "done".into() };
    socket.close(Some(theirs)).unwrap();
    let Message::Close(Some(answer)) = socket.read().unwrap() else { panic!("no close came back") };
    assert_eq!(answer.code, CloseCode::from(3001));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    drop(socket);
    assert_eq!([next(&events), next(&events)], [Told::chat(), Told::closed(3001)]);
}

#[test]
fn tungstenite_reads_refusals_whole() {
    let (server, events) = foreigners(false);
    for (path, status) in [("/no", 403), ("/nowhere", 404), ("/health", 200)] {
        let Err(Error::Http(answer)) = open(&server, path) else { panic!("{path} was not refused") };
        assert_eq!(answer.status(), status);
        assert_eq!(next(&events), Told::refused());
    }
}
