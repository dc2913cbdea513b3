//! `seamless header`: prints the Authorization header for a service.

use zeroize::Zeroizing;

use crate::doors::output::write_out;
use crate::error::Result;

use super::asked::Asked;
use super::source::Source;
use super::url::Url;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Where to log in, and for which audience, stands in servers.toml, or is said by --login and what
goes with it. A service with neither is its own log-in server; none is asked for another.

  seamless header https://api.example.com | curl -H @- https://api.example.com/v1/me
  seamless header https://api.example.com --login corp@login.example.com -a https://api.example.com")]
pub(in crate::doors) struct Args {
    /// The service
    #[arg(value_name = "URL")]
    service: String,
    /// The log-in server, in place of what servers.toml says
    #[arg(long, value_name = "WHERE")]
    login: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let service: Url = args.service.parse()?;
    let source = match &args.login {
        Some(login) => Source::asked(login, &args.asked)?,
        None => Source::of(&service, &args.asked)?,
    };
    let token = source.token()?;
    write_out(&Zeroizing::new(format!("Authorization: {}\n", *token.authorization())));
    Ok(0)
}
