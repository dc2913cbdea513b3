#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seamless_fuzz::issuer_targets::ssh_original_command(data));
