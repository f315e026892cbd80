#![no_main]
//! `make fuzz`: see `wheelhouse_fuzz::client`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| wheelhouse_fuzz::client(data));
