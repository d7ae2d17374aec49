#![no_main]

libfuzzer_sys::fuzz_target!(
    |input: &[u8]| shiori_worker::summarize::openai::fuzzing::model_answer(input)
);
