//! `seamless serve`: a realm's own ssh server and its HTTP endpoints; at the first start, the realm as well.

mod banner;
mod own_keys;
mod restart;
mod sockets;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::config::{self, Config, Digest, Format, KeysBy};
use crate::doors::{http, local, ssh};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::names::RealmName;
use crate::realm::{Access, Realm};
use crate::services::init::{self, Plan};
use crate::services::{enrol, hosting, keys};

use self::banner::Banner;
use self::own_keys::{own_keys, own_name};
use self::restart::{Asked, Program, Signals};
use self::sockets::{At, Door, Handed, Socket};
use super::Context;
use super::output::{note, warn, write_out};
use super::target::{Place, data_dir};

const SSH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2222);
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Without a realm it serves `demo`, made in your data directory at the first start with your own ssh keys. Ctrl-C ends it.
On loopback and on a unix socket HTTP is plain; any other address wants --tls-cert and --tls-key, or --behind-proxy.
A changed certificate is read within seconds, and at once on SIGHUP. On SIGUSR2 it starts itself anew, with its settings
read again and the program as it is installed by then, and refuses no connection meanwhile.
A service manager may hand over the sockets (sd_listen_fds), keep them over a restart, and is told when it is ready.")]
pub(super) struct Args {
    /// The realm [default: demo]
    realm: Option<String>,
    /// Where the ssh server listens [default: 127.0.0.1:2222, or the next free port]
    #[arg(long, value_name = "ADDR", conflicts_with = "no_ssh")]
    ssh: Option<String>,
    /// Where HTTP listens: an address or unix:PATH; may be repeated [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDR|unix:PATH", conflicts_with = "no_http")]
    http: Vec<String>,
    /// No ssh server; the system's sshd does it
    #[arg(long)]
    no_ssh: bool,
    /// No HTTP
    #[arg(long)]
    no_http: bool,
    /// The TLS certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Only these proxies may connect, and their X-Forwarded-For counts; may be repeated
    #[arg(long, value_name = "CIDR")]
    behind_proxy: Vec<IpNet>,
}

pub(super) fn run(context: &Context, args: Args) -> Result<u8> {
    if args.no_ssh && args.no_http {
        return Err(Error::usage("--no-ssh and --no-http leave nothing to serve"));
    }
    let place = place(context, &args)?;
    context.become_account(&place)?;
    // Now, since it may have been replaced by the time that it is wanted.
    let program = Program::this(context)?;
    let handed = Handed::over()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal(format!("the runtime does not start: {e}")))?;
    let ended = runtime.block_on(serve(context, place.dir(), &args, handed, &program));
    drop(runtime);
    match ended? {
        Ended::Stopped => Ok(0),
        Ended::Replaced(sockets) => Err(program.replace_this(&sockets)),
    }
}

/// How `serve` ended.
enum Ended {
    /// For good.
    Stopped,
    /// For a new one, which is to have the sockets.
    Replaced(Vec<Socket>),
}

/// The realm to serve; one of our own may still have to be made.
fn place(context: &Context, args: &Args) -> Result<Place> {
    if let Some(home) = &context.target.realm_home {
        return Ok(Place::Dir(home.clone()));
    }
    let named = args.realm.clone().or_else(|| {
        let from_env = std::env::var("SEAMLESS_REALM").ok().filter(|v| !v.is_empty());
        if context.target.dir.is_some() || from_env.is_some() { None } else { Some("demo".to_owned()) }
    });
    let Some(named) = named else { return context.place(None) };
    let name: RealmName = named.parse()?;
    match context.place(args.realm.as_deref().or(Some("demo"))) {
        Err(_) if context.target.dir.is_none() => Ok(Place::Dir(data_dir()?.join(name.as_str()))),
        found => found,
    }
}

async fn serve(
    context: &Context,
    dir: &Path,
    args: &Args,
    mut handed: Handed,
    program: &Program,
) -> Result<Ended> {
    let mut signals = Signals::listen()?;
    let configured = if dir.join(config::FILE).exists() { Some(Config::load(dir)?) } else { None };
    let settings = Settings::of(args, configured.as_ref())?;
    let mut sockets = Vec::new();
    if !args.no_http {
        sockets.extend(handed.sockets(Door::Http, &settings.http, HTTP)?);
        for socket in &sockets {
            settings.check(&socket.at)?;
        }
    }
    if !args.no_ssh {
        sockets.extend(handed.sockets(Door::Ssh, &settings.ssh, SSH)?);
    }
    drop(handed);
    let tls = settings.tls.clone().map(http::Tls::load).transpose()?.map(Arc::new);

    let fresh = configured.is_none();
    let first_http = sockets.iter().find_map(|s| match (s.door, &s.at) {
        (Door::Http, At::Tcp(address)) => Some(*address),
        _ => None,
    });
    let realm = Arc::new(match configured {
        Some(_) => Realm::open(dir, Access::Write, context.clock.clone())?,
        None => make(context, dir, first_http, tls.is_some())?,
    });
    // A realm whose keys were taken out stays as it is: what lies at home may be why.
    let own = own_keys().await;
    let totals = keys::totals(&realm)?;
    let new = if fresh || (totals.keys == 0 && totals.users == 0) {
        enrol::enrol(&realm, &own_name().parse()?, &own.found)?
    } else {
        Vec::new()
    };

    let metrics = Arc::new(Metrics::new());
    let _ = realm.metrics.set(Arc::clone(&metrics));
    local::serve(&realm)?;
    let (stop, stopped) = watch::channel(false);
    let mut banner = Banner::new(&realm, own, &new, fresh)?;
    let log: http::Log = Arc::new(|line: &str| note(&format!("seamless: {line}")));
    let mut doors = tokio::task::JoinSet::new();
    for socket in sockets.iter().filter(|s| s.door == Door::Ssh) {
        let At::Tcp(address) = socket.at else { continue };
        banner.ssh.get_or_insert((address, banner::known_hosts(&realm, address)?));
        let log = |line: &str| write_out(&format!("{line}\n"));
        let limits = ssh::server::Limits::default();
        doors.spawn(ssh::server::serve(Arc::clone(&realm), socket.ssh()?, limits, log, stopped.clone()));
    }
    let http: Vec<&Socket> = sockets.iter().filter(|s| s.door == Door::Http).collect();
    if !http.is_empty() {
        let scheme = if tls.is_some() { "https" } else { "http" };
        banner.http = http.iter().map(|s| (scheme, s.at.clone())).collect();
        let listeners = http.iter().map(|s| s.http()).collect::<Result<_>>()?;
        let options = http::Options {
            tls: tls.clone(),
            behind_proxy: settings.behind_proxy,
            limits: http::Limits::default(),
            metrics: Arc::clone(&metrics),
            log: Arc::clone(&log),
        };
        doors.spawn(http::serve(Arc::clone(&realm), listeners, options, stopped));
    }
    // It goes with the runtime.
    let following = tls.clone().map(|tls| tokio::spawn(tls.follow(Arc::clone(&log))));
    write_out(&banner.text());
    if banner.empty && banner.ssh.is_some() {
        warn("no ssh key was found in ~/.ssh or in the agent, so nobody can log in yet");
        note(&format!(
            "seamless: hint: make one: ssh-keygen -t ed25519; then: seamless add --dir {} ~/.ssh/id_ed25519.pub --user {}",
            realm.dir.display(),
            own_name()
        ));
    }
    sockets::keep(&sockets);
    let status = format!("serving {}", realm.name);
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);

    let ended = loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break Ok(false),
                Asked::Reload => {
                    let _ = restart::reloading();
                    reload(tls.as_deref(), &log);
                    let _ = sd_notify::notify(&[NotifyState::Ready]);
                }
                Asked::Restart => match program.check(dir) {
                    Ok(()) => break Ok(true),
                    Err(error) => log(&format!("error: not started anew, this one goes on: {error}")),
                },
            },
            // A door ends by itself only when it can't go on.
            Some(ended) = doors.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break Err(error),
                Err(error) => break Err(Error::internal(format!("a door broke: {error}"))),
            },
        }
    };
    let _ = match &ended {
        Ok(true) => restart::reloading(),
        _ => sd_notify::notify(&[NotifyState::Stopping]),
    };
    let _ = stop.send(true);
    while doors.join_next().await.is_some() {}
    if let Some(following) = following {
        following.abort();
    }
    if ended? {
        write_out("starting anew\n");
        return Ok(Ended::Replaced(sockets));
    }
    sockets::forget(&sockets);
    write_out("stopped\n");
    Ok(Ended::Stopped)
}

/// What the command line says, and realm.toml where it says nothing.
struct Settings {
    ssh: Vec<At>,
    http: Vec<At>,
    tls: Option<http::TlsFiles>,
    behind_proxy: Vec<IpNet>,
}

impl Settings {
    fn of(args: &Args, configured: Option<&Config>) -> Result<Self> {
        let file = configured.map(|c| c.serve.clone()).unwrap_or_default();
        let http = if args.http.is_empty() { file.http } else { args.http.clone() };
        let ssh = args.ssh.clone().or(file.ssh);
        let named = args.tls_cert.clone().zip(args.tls_key.clone());
        let tls = named.or(file.tls_cert.zip(file.tls_key));
        let mut settings = Self {
            ssh: ssh.iter().map(|text| sockets::address(text, Door::Ssh)).collect::<Result<_>>()?,
            http: Vec::new(),
            tls: tls.map(|(cert, key)| http::TlsFiles { cert, key }),
            behind_proxy: if args.behind_proxy.is_empty() {
                file.behind_proxy
            } else {
                args.behind_proxy.clone()
            },
        };
        for text in &http {
            let at = sockets::address(text, Door::Http)?;
            // Before anything listens there.
            settings.check(&at)?;
            if !settings.http.contains(&at) {
                settings.http.push(at);
            }
        }
        Ok(settings)
    }

    fn check(&self, at: &At) -> Result<()> {
        match at {
            At::Tcp(address)
                if !address.ip().is_loopback() && self.tls.is_none() && self.behind_proxy.is_empty() =>
            {
                Err(Error::usage(format!("plain HTTP on {address} would carry tokens in the clear"))
                    .hint("add --tls-cert and --tls-key, or --behind-proxy CIDR for the proxy that does TLS"))
            }
            _ => Ok(()),
        }
    }
}

/// SIGHUP.
fn reload(tls: Option<&http::Tls>, log: &http::Log) {
    match tls.map(http::Tls::reload) {
        Some(Ok(())) => log("http: the certificate was read anew"),
        Some(Err(error)) => log(&format!("error: http: the certificate stays the old one: {error}")),
        None => log("nothing to reload: no certificate; realm.toml is read at a restart (SIGUSR2)"),
    }
}

/// A realm of one's own: JWT first, its issuer URL where its HTTP was first served.
fn make(context: &Context, dir: &Path, http: Option<SocketAddr>, tls: bool) -> Result<Realm> {
    let last = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let name: RealmName = last.parse().map_err(|e: Error| {
        e.hint("a realm is named after its directory; make it by: seamless init NAME --dir DIR")
    })?;
    let host = match http {
        Some(address) if address.ip().is_unspecified() => {
            format!("{}:{}", hosting::host_name(), address.port())
        }
        Some(address) => address.to_string(),
        None => HTTP.to_string(),
    };
    let secure = tls || !config::is_loopback_authority(&host);
    let plan = Plan {
        issuer: format!("{}://{host}/{name}", if secure { "https" } else { "http" }),
        name,
        format: Format::Jwt,
        digest: Digest::Sha1,
        keys: KeysBy::File,
        secret: None,
    };
    init::create(dir, &plan, context.clock.clone())
}
