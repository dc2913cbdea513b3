//! `seamless authorized-keys`: what sshd's AuthorizedKeysCommand prints for an offered key.
//!
//! It also runs for keys that nobody has proven, so it opens the store read-only and writes nothing.

use base64::Engine as _;

use crate::backends::store::Fingerprint;
use crate::backends::system::{accounts, sshd};
use crate::error::{Error, Result};
use crate::realm::Access;

use super::Context;
use super::output::write_out;
use super::target::Entered;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
sshd is told so by the drop-in that `seamless init --keys command` writes:
  AuthorizedKeysCommand /usr/bin/seamless authorized-keys --dir DIR %t %k")]
pub(super) struct Args {
    /// The realm, and the offered key's type and base64 form
    #[arg(value_name = "[REALM] TYPE KEY", num_args = 2..=3, required = true)]
    words: Vec<String>,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    let (place, rest) = context.words(&args.words, 2)?;
    let realm = match context.enter(&place, Access::Read, None)? {
        Entered::Here(realm) => realm,
        Entered::Elsewhere(code) => return Ok(code),
    };
    let blob = rest.get(1).and_then(|key| base64::engine::general_purpose::STANDARD.decode(key).ok());
    let blob = blob.ok_or_else(|| Error::usage("the key is not base64"))?;
    let key = realm.store.key(&Fingerprint::of(&blob))?;
    // Nothing printed is "no such key"; an expired one is left to the line's own expiry and to the mint.
    if let Some(key) = key.filter(|k| Some(k.algorithm.as_str()) == rest.first().map(String::as_str)) {
        let line = sshd::authorized_keys_line(&accounts::installed_binary()?, &realm.dir, &key)?;
        write_out(&format!("{line}\n"));
    }
    Ok(0)
}
