//! Replays the seed corpus of the fuzz targets, on a stable compiler.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(unreachable_pub)]
#[path = "../../fuzz/src/crtauth_targets.rs"]
mod crtauth_targets;

fn replay(target: &str, least: usize, body: fn(&[u8])) {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder}: {e}")) {
        let data = std::fs::read(file.unwrap().path()).unwrap();
        body(&data);
        // What a fuzzer would try first.
        let step = (data.len() / 64).max(1);
        for at in (0..data.len()).step_by(step) {
            body(&data[..at]);
            let mut changed = data.clone();
            changed[at] ^= 0x02;
            body(&changed);
        }
        count += 1;
    }
    assert!(count >= least, "{count} files in {folder}");
}

#[test]
fn chap_request() {
    replay("chap_request", 20, crtauth_targets::chap_request);
}

#[test]
fn chap_response() {
    replay("chap_response", 10, crtauth_targets::chap_response);
}

#[test]
fn chap_challenge() {
    replay("chap_challenge", 15, crtauth_targets::chap_challenge);
}

#[test]
fn agent_reply() {
    replay("agent_reply", 5, crtauth_targets::agent_reply);
}
