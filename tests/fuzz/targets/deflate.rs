#![no_main]
//! `make fuzz`: see `wheelhouse_fuzz::deflate`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| wheelhouse_fuzz::deflate(data));
