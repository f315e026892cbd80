#![no_main]
//! `make fuzz`: see `wheelhouse_fuzz::server`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| wheelhouse_fuzz::server(data));
