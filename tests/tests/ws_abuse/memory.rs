//! What large messages leave behind when everybody has gone: no more than a reactor keeps for the next ones.

use wheelhouse::{Deflate, Engine, WebSocket};
use wheelhouse_tests::Dice;

use crate::{
    fixture::{alone, eventually},
    listener, silent,
    wire::{BINARY, Client, frame, wait_until_empty},
};

/// As one compressed frame.
fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut deflate = flate2::Compress::new(flate2::Compression::fast(), false);
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + 1000);
    deflate.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
    assert_eq!(deflate.total_in() as usize, payload.len());
    out.truncate(out.len() - 4);
    frame(0xc0 | BINARY, &out)
}

#[test]
fn large_compressed_messages_leave_nothing_large_behind_whether_they_are_taken_or_refused() {
    const NAME: &str =
        "memory::large_compressed_messages_leave_nothing_large_behind_whether_they_are_taken_or_refused";
    const LARGE: usize = 36 << 20;
    alone(NAME, || {
        let socket = WebSocket::new().max_message(40 << 20).deflate(Deflate::new());
        let server = silent(Engine::builder().listen(listener(socket).water_marks(0, 1 << 20, 64 << 20)));
        let at = server.at();
        let deflates = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let mut noise = Dice::new(1);
        // The first one pays for the compressors.
        let mut client = Client::open_with(at, deflates);
        client.write(&compressed(&noise.bytes(100_000)));
        client.read();
        let before = resident();

        client.write(&compressed(&noise.bytes(LARGE)));
        client.read();
        drop(client);
        let mut bomb = Client::open_with(at, deflates);
        bomb.write(&compressed(&vec![0; 41 << 20]));
        bomb.expect_close(1009);
        drop(bomb);

        wait_until_empty(&server.handle);
        // What is kept for others is at most 4 MiB each, of three places; fragments of the allocator beside it.
        eventually("their memory is back", || resident() < before + (24 << 20));
    });
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
