#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seamless_fuzz::token_targets::chap(data));
