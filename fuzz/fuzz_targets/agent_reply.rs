#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seamless_fuzz::crtauth_targets::agent_reply(data));
