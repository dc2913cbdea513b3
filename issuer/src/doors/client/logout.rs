//! `seamless logout`: forgets kept tokens.

use client::Cache;
use serde_json::json;

use crate::doors::output::Out;
use crate::error::Result;

use super::source::of_client;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Without WHERE all tokens that are kept are forgotten:

  seamless logout
  seamless logout https://login.example.com

What was handed out lives on until it lapses; on the server `seamless token revoke` ends it.")]
pub(in crate::doors) struct Args {
    /// The log-in server whose tokens to forget [default: all]
    #[arg(value_name = "WHERE")]
    login: Option<String>,
}

pub(super) fn run(out: Out, args: &Args) -> Result<u8> {
    let login = args.login.as_deref().map(str::parse).transpose().map_err(of_client)?;
    let count = Cache::open(None).and_then(|cache| cache.forget_all(login.as_ref())).map_err(of_client)?;
    out.print(&json!({ "forgotten": count }), || match count {
        0 => "no token was kept".to_owned(),
        1 => "one token is forgotten".to_owned(),
        count => format!("{count} tokens are forgotten"),
    });
    Ok(0)
}
