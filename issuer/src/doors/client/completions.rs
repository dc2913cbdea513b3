//! `seamless completions`: a completion script for a shell, made from the definitions.

use crate::error::Result;

use crate::doors::output::write_out;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
bash:  seamless completions bash > ~/.local/share/bash-completion/completions/seamless
zsh:   seamless completions zsh > ~/.zfunc/_seamless
fish:  seamless completions fish > ~/.config/fish/completions/seamless.fish")]
pub(in crate::doors) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(args: Args, mut definition: clap::Command) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "seamless", &mut script);
    write_out(&String::from_utf8_lossy(&script));
    Ok(0)
}
