//! Public keys by the million: valid for enrolling, with no private half anywhere.
//!
//! Only the standard library, since `cargo xtask keys` is made of this file too.

use std::fmt::Write as _;
use std::io::{self, Write};

/// How the keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `user,key` under a header, as `seamless key import` reads it.
    Csv,
    /// Lines of authorized_keys, with the user's name before the `@` of the comment.
    AuthorizedKeys,
}

/// Writes keys `first..first + count`, dealt out to `users` names in turn.
///
/// # Errors
/// As writing fails.
pub fn write(out: &mut dyn Write, form: Form, first: u64, count: u64, users: u64) -> io::Result<()> {
    if form == Form::Csv {
        writeln!(out, "user,key")?;
    }
    for n in first..first.saturating_add(count) {
        let (key, user) = (line(n), user(n % users.max(1)));
        match form {
            Form::Csv => writeln!(out, "{user},{key} {user}@test")?,
            Form::AuthorizedKeys => writeln!(out, "{key} {user}@test")?,
        }
    }
    Ok(())
}

/// The name of the nth user.
#[must_use]
pub fn user(n: u64) -> String {
    format!("user-{n:07}")
}

/// `ssh-ed25519 AAAA…` of the nth key, always the same.
///
/// sshd and seamless take any 32 bytes for one; only a signature would have to be by a point of the curve.
#[must_use]
pub fn line(n: u64) -> String {
    const HEAD: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";
    let mut blob = HEAD.to_vec();
    let mut state = n.wrapping_mul(4);
    for _ in 0..4 {
        blob.extend(mixed(state).to_be_bytes());
        state = state.wrapping_add(1);
    }
    let mut text = "ssh-ed25519 ".to_owned();
    for three in blob.chunks_exact(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for shift in [18, 12, 6, 0] {
            let _ = text.write_char(digit(bits >> shift & 63));
        }
    }
    text
}

/// Of RFC 4648 section 4. 51 bytes need no padding.
fn digit(six_bits: u32) -> char {
    let at = usize::try_from(six_bits).unwrap_or_default();
    let table = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char::from(table.get(at).copied().unwrap_or_default())
}

/// splitmix64: no two inputs give the same, so no two keys are the same.
const fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
