//! stub
use crate::error::Result;
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {}
pub(super) fn run(_context: &super::Context, _args: Args) -> Result<u8> { Ok(0) }
