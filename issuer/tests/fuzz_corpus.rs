//! Replays the seed corpus of the issuer's fuzz targets, on a stable compiler.

#![cfg(feature = "issuer")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(unreachable_pub)]
#[path = "../../fuzz/src/issuer_targets.rs"]
mod issuer_targets;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder}: {e}")) {
        let data = std::fs::read(file.unwrap().path()).unwrap();
        for end in 0..=data.len() {
            body(&data[..end]);
        }
        for at in 0..data.len() {
            let mut changed = data.clone();
            changed[at] ^= 0x20;
            body(&changed);
        }
        count += 1;
    }
    assert!(count >= 20, "{count} files in {folder}");
}

#[test]
fn authorized_keys_line() {
    replay("authorized_keys_line", issuer_targets::authorized_keys_line);
}

#[test]
fn ssh_original_command() {
    replay("ssh_original_command", issuer_targets::ssh_original_command);
}
