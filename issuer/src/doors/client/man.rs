//! `seamless man`: the man pages, made from the definitions.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, io};

use crate::doors::output::write_out;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Read it: seamless man | man -l -")]
pub(in crate::doors) struct Args {
    /// Write one page a command into this folder
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(super) fn run(args: Args, mut command: clap::Command) -> Result<u8> {
    command.build();
    match args.to {
        None => write_out(&String::from_utf8_lossy(&page(&command, "seamless")?)),
        Some(dir) => {
            std::fs::create_dir_all(&dir).map_err(|e| io("make", &dir, &e))?;
            all(&command, "seamless", &dir)?;
        }
    }
    Ok(0)
}

fn all(command: &clap::Command, name: &str, dir: &Path) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page(command, name)?).map_err(|e| io("write", &path, &e))?;
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        all(sub, &format!("{name}-{}", sub.get_name()), dir)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    // clap wants a name that lives as long as the program; a page is made once a run.
    let man = clap_mangen::Man::new(command.clone().display_name(name.to_owned())).title(name.to_owned());
    man.render(&mut page).map_err(|e| Error::internal(format!("the man page can't be made: {e}")))?;
    Ok(page)
}
