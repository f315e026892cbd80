#![no_main]
//! `make fuzz`: see `wheelhouse_fuzz::frames`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| wheelhouse_fuzz::frames(data));
