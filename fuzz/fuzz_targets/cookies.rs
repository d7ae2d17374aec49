#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    shiori_sdk::fuzzing::cookies(input);
    shiori_server::fuzzing::cookies(input);
});
