#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shiori_sdk::fuzzing::envelope(input));
