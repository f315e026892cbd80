#![no_main]
//! `make fuzz`: see `wheelhouse_fuzz::handshake`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| wheelhouse_fuzz::handshake(data));
