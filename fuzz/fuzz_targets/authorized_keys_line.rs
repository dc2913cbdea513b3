#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seamless_fuzz::issuer_targets::authorized_keys_line(data));
