//! Windows smaller than deflate's largest: Python's websockets says what it saw offered and answered, and inflates with
//! zlib's window of that size.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    sync::mpsc::{Receiver, channel},
    thread,
};

use wheelhouse::{Action, Connect, Deflate, Engine, Framing, Listener, On, WebSocket};

use crate::{
    Script,
    fixture::{next, serve, tell},
    peers::{Program, installed, script},
};

fn socket(deflate: Deflate) -> Framing {
    Framing::websocket(WebSocket::new().deflate(deflate.threshold(0)))
}

/// A running script of ours, what it is told and what it says.
fn python(arguments: &[&str]) -> (Program, Receiver<String>) {
    let mut program = Program::start(installed("venv/bin/python"), |command| {
        command.arg(script("windows.py")).args(arguments).stdin(Stdio::piped()).stderr(Stdio::inherit())
    });
    let out = BufReader::new(program.child.stdout.take().unwrap());
    let (told, lines) = channel();
    thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| tell(&told, line)));
    (program, lines)
}

/// What a listener answers to offers of windows, the server's and the client's, once messages went there and back.
fn answers(deflate: Deflate, offers: &[&str]) -> Vec<String> {
    let listener = Listener::new("ws://127.0.0.1:0").framing(socket(deflate));
    let server = serve(Engine::builder().listen(listener).reactors(1), |_| {
        Script::<()>::new().message(|conn, (), message| {
            conn.send(message);
            Action::Continue
        })
    });
    let (mut program, lines) = python(&["client", &format!("ws://{}", server.at())]);
    let mut asked = program.child.stdin.take().unwrap();
    let ask = |offer: &&str| {
        writeln!(asked, "{offer}").unwrap();
        next(&lines)
    };
    offers.iter().map(ask).collect()
}

/// What every answer begins with where nobody has contexts of their own.
const FORGETS: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn a_listeners_window_is_told_to_those_who_can_be_told_and_kept_for_all() {
    let found =
        answers(Deflate::new().window_bits(10), &["- -", "- any", "- 12", "- 9", "9 any", "15 -", "8 any"]);
    let expected = [
        format!("{FORGETS}; server_max_window_bits=10"),
        format!("{FORGETS}; server_max_window_bits=10; client_max_window_bits=10"),
        format!("{FORGETS}; server_max_window_bits=10; client_max_window_bits=10"),
        format!("{FORGETS}; server_max_window_bits=10; client_max_window_bits=9"),
        format!("{FORGETS}; server_max_window_bits=9; client_max_window_bits=10"),
        format!("{FORGETS}; server_max_window_bits=10"),
        "-".to_owned(), // zlib has no such window: uncompressed
    ];
    assert_eq!(found, expected);
}

#[test]
fn contexts_of_ones_own_have_the_window_too() {
    let found = answers(Deflate::new().window_bits(9).own_contexts(4), &["- any", "- -"]);
    let window = "permessage-deflate; server_max_window_bits=9";
    assert_eq!(found, [format!("{window}; client_max_window_bits=9"), window.to_owned()]);
}

#[test]
fn without_a_wish_only_what_was_asked_for_is_said_of_windows() {
    let found = answers(Deflate::new(), &["- any", "11 11"]);
    assert_eq!(
        found,
        [FORGETS.to_owned(), format!("{FORGETS}; server_max_window_bits=11; client_max_window_bits=11")]
    );
}

#[test]
fn who_dials_offers_its_window_for_both_directions_and_keeps_to_what_is_answered() {
    for (bits, own, windows, expected) in [
        (10, 0, ["-", "-"], "server_max_window_bits=10; client_max_window_bits=10"),
        (12, 0, ["9", "11"], "server_max_window_bits=9; client_max_window_bits=11"),
        (9, 1, ["-", "-"], "server_max_window_bits=9; client_max_window_bits=9"),
    ] {
        let (_program, lines) = python(&["server", windows[0], windows[1]]);
        let url = format!("ws://127.0.0.1:{}", next(&lines));
        let (told, heard) = channel();
        let server = serve(Engine::builder().reactors(1), move |_| {
            let told = told.clone();
            Script::<()>::new().message(move |_, (), message| {
                tell(&told, message.text().unwrap().to_owned());
                Action::Continue
            })
        });
        let deflate = Deflate::new().window_bits(bits).own_contexts(own);
        server.handle.connect(On::Any, Connect::to(url).framing(socket(deflate))).unwrap();
        let forgets = if own == 0 { FORGETS } else { "permessage-deflate" };
        let offered = format!("{forgets}; server_max_window_bits={bits}; client_max_window_bits={bits}");
        assert_eq!(next(&lines), offered);
        assert_eq!(next(&lines), format!("{forgets}; {expected}"));
        let id = server.handle.connections().next().expect("a connection");
        let far_apart: String = (0..4000).map(|at: u32| format!("{:x}", at * at * 31 + at / 7)).collect();
        for message in [far_apart.repeat(8), "short".to_owned(), far_apart.repeat(2)] {
            server.handle.send(id, message.clone()).unwrap();
            assert!(next(&heard) == message);
        }
    }
}
