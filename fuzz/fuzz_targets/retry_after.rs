#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    shiori_sdk::fuzzing::retry_after(input);
    shiori_worker::summarize::openai::fuzzing::retry_after(input);
});
