//! `seamless authorized-keys`: what sshd's AuthorizedKeysCommand prints for an offered key.
//!
//! It also runs for keys that nobody has proven, so it opens the store read-only and writes nothing.

use base64::Engine as _;

use crate::error::{Error, Result};
use crate::realm::Access;
use crate::services::hosting;

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
    let algorithm = rest.first().map(String::as_str).unwrap_or_default();
    // Nothing printed is "no such key".
    if let Some(line) = hosting::line_of(&realm, algorithm, &blob)? {
        write_out(&format!("{line}\n"));
    }
    Ok(0)
}
