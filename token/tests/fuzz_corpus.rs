//! Replays the seed corpus of the fuzz targets, on a stable compiler.

// Helpers may too; clippy.toml's leave reaches functions marked #[test] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "chap", feature = "eddsa", feature = "es256"))]

#[allow(unreachable_pub)]
#[path = "../../fuzz/src/token_targets.rs"]
mod token_targets;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let mut count = 0;
    for file in files {
        let data = std::fs::read(file.unwrap().path()).unwrap();
        body(&data);
        // What a fuzzer would try first.
        for end in [0, data.len() / 2, data.len().saturating_sub(1)] {
            body(&data[..end]);
        }
        count += 1;
    }
    assert!(count >= 20, "{count} files in {folder}");
}

#[test]
fn seamless() {
    replay("seamless", token_targets::seamless);
}

#[test]
fn chap() {
    replay("chap", token_targets::chap);
}

#[test]
fn jwt() {
    replay("jwt", token_targets::jwt);
}

#[test]
fn jwks() {
    replay("jwks", token_targets::jwks);
}

#[test]
fn rules() {
    replay("rules", token_targets::rules);
}
