//! `seamless serve`: a realm's own ssh server and its HTTP endpoints; at the first start, the realm as well.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::backends::store::Fingerprint;
use crate::config::{self, Digest, Format, KeysBy};
use crate::doors::{http, ssh};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::names::{RealmName, UserName};
use crate::public_key::PublicKey;
use crate::realm::{Access, Realm};
use crate::services::enrol::{self, Found};
use crate::services::init::{self, Plan};
use crate::services::{hosting, keys};

use super::Context;
use super::output::{note, warn, write_out};
use super::target::{Place, data_dir};

const SSH: &str = "127.0.0.1:2222";
const HTTP: &str = "127.0.0.1:8080";

/// How many ports after a taken default are tried.
const NEXT_PORTS: u16 = 50;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Without a realm it serves `demo`, made in your data directory at the first start with your own ssh keys. Ctrl-C ends it.
On loopback and on a unix socket HTTP is plain; any other address wants --tls-cert and --tls-key, or --behind-proxy.")]
pub(super) struct Args {
    /// The realm [default: demo]
    realm: Option<String>,
    /// Where the ssh server listens [default: 127.0.0.1:2222, or the next free port]
    #[arg(long, value_name = "ADDR", conflicts_with = "no_ssh")]
    ssh: Option<String>,
    /// Where HTTP listens: an address or unix:PATH [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDR|unix:PATH", conflicts_with = "no_http")]
    http: Option<String>,
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal(format!("the runtime does not start: {e}")))?;
    runtime.block_on(serve(context, place.dir(), &args))?;
    Ok(0)
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

async fn serve(context: &Context, dir: &Path, args: &Args) -> Result<()> {
    let configured = if dir.join(config::FILE).exists() { Some(config::Config::load(dir)?) } else { None };
    let settings = configured.as_ref().map(|c| c.serve.clone()).unwrap_or_default();
    let behind_proxy =
        if args.behind_proxy.is_empty() { settings.behind_proxy.clone() } else { args.behind_proxy.clone() };

    let http_at = args.http.clone().or(settings.http);
    let ssh_at = args.ssh.clone().or(settings.ssh);
    let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(cert, key)| http::TlsFiles { cert, key });
    let http = if args.no_http {
        None
    } else {
        Some(bind_http(http_at.as_deref(), tls.is_some(), &behind_proxy).await?)
    };
    let ssh = if args.no_ssh { None } else { Some(bind_ssh(ssh_at.as_deref()).await?) };

    let fresh = configured.is_none();
    let http_addr = http.as_ref().and_then(Bound::address);
    let realm = Arc::new(match configured {
        Some(_) => Realm::open(dir, Access::Write, context.clock.clone())?,
        None => make(context, dir, http_addr, tls.is_some())?,
    });
    // An operator's realm without keys is the operator's business.
    let own = own_keys().await;
    let new = if fresh || keys::list(&realm, None)?.is_empty() {
        enrol::enrol(&realm, &own_name().parse()?, &own.found)?
    } else {
        Vec::new()
    };

    let metrics = Arc::new(Metrics::new());
    let _ = realm.metrics.set(Arc::clone(&metrics));
    let (stop, stopped) = watch::channel(false);
    let mut banner = Banner::new(&realm, own, &new, fresh)?;
    let mut doors = tokio::task::JoinSet::new();
    if let Some(listener) = ssh {
        let address = listener.local_addr().map_err(|e| Error::internal(format!("the ssh listener: {e}")))?;
        banner.ssh = Some((address, known_hosts(&realm, address)?));
        let log = |line: &str| write_out(&format!("{line}\n"));
        doors.spawn(ssh::server::serve(
            Arc::clone(&realm),
            listener,
            ssh::server::Limits::default(),
            log,
            stopped.clone(),
        ));
    }
    if let Some(bound) = http {
        let scheme = if tls.is_some() { "https" } else { "http" };
        banner.http = Some(match &bound {
            Bound::Tcp(_, address) => (format!("{scheme}://{address}"), None),
            Bound::Unix(_, path) => ("http://localhost".to_owned(), Some(path.clone())),
        });
        let options = http::Options {
            tls,
            behind_proxy,
            limits: http::Limits::default(),
            metrics: Arc::clone(&metrics),
            log: Arc::new(|line: &str| note(&format!("seamless: {line}"))),
        };
        doors.spawn(http::serve(Arc::clone(&realm), bound.into_listener(), options, stopped));
    }
    write_out(&banner.text());
    if banner.empty && banner.ssh.is_some() {
        warn("no ssh key was found in ~/.ssh or in the agent, so nobody can log in yet");
        note(&format!(
            "seamless: hint: make one: ssh-keygen -t ed25519; then: seamless add --dir {} ~/.ssh/id_ed25519.pub --user {}",
            realm.dir.display(),
            own_name()
        ));
    }

    let ended = tokio::select! {
        () = interrupted() => Ok(()),
        // A door ends by itself only when it can't go on.
        Some(ended) = doors.join_next() => ended.unwrap_or_else(|e| Err(Error::internal(format!("a door broke: {e}")))),
    };
    let _ = stop.send(true);
    while doors.join_next().await.is_some() {}
    if ended.is_ok() {
        write_out("stopped\n");
    }
    ended
}

/// SIGINT or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => (),
        _ = term.recv() => (),
    }
}

enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(tokio::net::UnixListener, PathBuf),
}

impl Bound {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(..) => None,
        }
    }

    fn into_listener(self) -> http::Listener {
        match self {
            Self::Tcp(listener, _) => http::Listener::Tcp(listener),
            Self::Unix(listener, _) => http::Listener::Unix(listener),
        }
    }
}

async fn bind_http(named: Option<&str>, tls: bool, behind_proxy: &[IpNet]) -> Result<Bound> {
    if let Some(path) = named.and_then(|n| n.strip_prefix("unix:")) {
        let path = std::path::absolute(path).map_err(|e| crate::error::io("find", Path::new(path), &e))?;
        return Ok(Bound::Unix(http::bind_unix(&path)?, path));
    }
    let address = address(named.unwrap_or(HTTP), "--http")?;
    if !address.ip().is_loopback() && !tls && behind_proxy.is_empty() {
        return Err(Error::usage(format!("plain HTTP on {address} would carry tokens in the clear"))
            .hint("add --tls-cert and --tls-key, or --behind-proxy CIDR for the proxy that does TLS"));
    }
    let listener = bind(address, named.is_some(), "--http").await?;
    let address = listener.local_addr().map_err(|e| Error::internal(format!("the HTTP listener: {e}")))?;
    Ok(Bound::Tcp(listener, address))
}

async fn bind_ssh(named: Option<&str>) -> Result<TcpListener> {
    bind(address(named.unwrap_or(SSH), "--ssh")?, named.is_some(), "--ssh").await
}

fn address(text: &str, option: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| {
        Error::usage(format!("{:?} is not an address and port", crate::names::shorten(text)))
            .hint(format!("such as {option} 127.0.0.1:8080"))
    })
}

/// A taken port that was named is an error; a taken default gives way to the next free one.
async fn bind(address: SocketAddr, named: bool, option: &str) -> Result<TcpListener> {
    let mut at = address;
    loop {
        match TcpListener::bind(at).await {
            Ok(listener) => return Ok(listener),
            Err(e)
                if e.kind() == std::io::ErrorKind::AddrInUse
                    && !named
                    && at.port() < address.port() + NEXT_PORTS =>
            {
                at.set_port(at.port() + 1);
            }
            Err(e) => {
                let reason = match e.kind() {
                    std::io::ErrorKind::AddrInUse => "the port is taken".to_owned(),
                    std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                    std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
                    _ => e.to_string(),
                };
                return Err(Error::failed(format!("can't listen on {at}: {reason}"))
                    .hint(format!("name another: {option} ADDR")));
            }
        }
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
        None => HTTP.to_owned(),
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

/// The keys of whoever started us.
struct Own {
    found: Vec<Found>,
    /// The private key files that ssh tries without being told.
    tried: Vec<PathBuf>,
}

/// Files whose private half lies beside them, and a local agent's keys.
async fn own_keys() -> Own {
    // ssh looks into the account's home, whatever HOME says; people look where HOME says.
    let homes = [hosting::own_home(), std::env::var_os("HOME").map(PathBuf::from)];
    let [account_home, env_home] = homes.clone();
    let tried = identities_of_ssh(account_home.or(env_home).as_deref()).await;
    // A forwarded agent's keys are somebody else's machine's.
    let mut found =
        if std::env::var_os("SSH_CONNECTION").is_none() { agent_keys().await } else { Vec::new() };
    found.extend(tried.iter().filter_map(|path| enrol::of_file(&public_file(path))));
    found.extend(homes.iter().flatten().flat_map(|home| enrol::in_folder(&home.join(".ssh"))));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|one| seen.insert(one.key.fingerprint));
    Own { found, tried }
}

/// The identity files that `ssh -G` names for our server.
async fn identities_of_ssh(home: Option<&Path>) -> Vec<PathBuf> {
    let output = tokio::process::Command::new("ssh")
        .args(["-G", "-p", "2222", "127.0.0.1"])
        .kill_on_drop(true)
        .output();
    let Ok(Ok(output)) = tokio::time::timeout(Duration::from_secs(2), output).await else {
        return Vec::new();
    };
    let path = |line: &str| {
        let value = line.strip_prefix("identityfile ")?;
        match value.strip_prefix("~/") {
            Some(rest) => home.map(|home| home.join(rest)),
            None => Some(PathBuf::from(value)),
        }
    };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(path).collect()
}

fn public_file(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

async fn agent_keys() -> Vec<Found> {
    use russh::keys::agent::{AgentIdentity, client::AgentClient};
    let ask = async {
        let mut agent = AgentClient::connect_env().await.ok()?;
        agent.request_identities().await.ok()
    };
    let Ok(Some(identities)) = tokio::time::timeout(Duration::from_secs(2), ask).await else {
        return Vec::new();
    };
    let found = |identity: AgentIdentity| match identity {
        AgentIdentity::PublicKey { key, comment } => {
            let blob = key.to_bytes().ok()?;
            Some(Found { key: PublicKey::from_wire(&blob, &comment, "an agent's key").ok()?, file: None })
        }
        _ => None,
    };
    identities.into_iter().filter_map(found).collect()
}

/// Who started us, as a user name.
fn own_name() -> String {
    let name = hosting::own_account_name().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    if name.parse::<UserName>().is_ok() { name } else { "me".to_owned() }
}

/// Writes the known_hosts file that the printed lines use.
fn known_hosts(realm: &Realm, address: SocketAddr) -> Result<PathBuf> {
    let key = ssh::server::host_key(&realm.dir)?;
    let hosts: &[&str] = if address.ip().is_loopback() {
        &["127.0.0.1", "localhost", "::1"]
    } else {
        &["127.0.0.1", "localhost"]
    };
    let mut text = String::new();
    for host in hosts.iter().map(ToString::to_string).chain([address.ip().to_string(), hosting::host_name()])
    {
        let line = ssh::server::known_hosts_line(key.public_key(), &host, address.port());
        if !text.contains(&line) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    hosting::write_known_hosts(realm, &text)
}

struct Banner {
    head: String,
    name: RealmName,
    /// Whether the realm has no keys at all.
    empty: bool,
    /// The private key that ssh must be told of.
    identity: Option<PathBuf>,
    ssh: Option<(SocketAddr, PathBuf)>,
    http: Option<(String, Option<PathBuf>)>,
}

impl Banner {
    fn new(realm: &Realm, own: Own, new: &[Fingerprint], fresh: bool) -> Result<Self> {
        let made = if fresh { "made" } else { "is" };
        let mut head = format!(
            "seamless {}: the realm {} {made} in {}\nissuer  {}\n",
            env!("CARGO_PKG_VERSION"),
            realm.name,
            realm.dir.display(),
            realm.config.issuer
        );
        for one in own.found.iter().filter(|one| new.contains(&one.key.fingerprint)) {
            let place = one.file.as_ref().map_or_else(|| "the agent".to_owned(), |f| f.display().to_string());
            head.push_str(&format!("enrolled  {}  {}  from {place}\n", one.key.fingerprint, own_name()));
        }
        // Our server can't see an authenticator's touch and refuses such keys, so another one is offered first.
        let mut mine = enrol::enrolled(realm, own.found)?;
        mine.retain(|one| !one.key.is_sk());
        let private = |one: &Found| one.file.as_ref().map(|f| f.with_extension(""));
        let without_words = |one: &Found| private(one).is_none_or(|p| own.tried.contains(&p));
        let identity = if mine.iter().any(without_words) { None } else { mine.first().and_then(private) };
        let empty = keys::list(realm, None)?.is_empty();
        Ok(Self { head, name: realm.name.clone(), empty, identity, ssh: None, http: None })
    }

    fn text(&self) -> String {
        let mut text = self.head.clone();
        if let Some((address, _)) = &self.ssh {
            text.push_str(&format!("ssh     {address}\n"));
        }
        match &self.http {
            Some((_, Some(path))) => text.push_str(&format!("http    unix:{}\n", path.display())),
            Some((base, None)) => text.push_str(&format!("http    {base}\n")),
            None => (),
        }
        text.push_str("\nPaste into another terminal:\n");
        let mut number = 0;
        let mut line = |title: &str, command: String| {
            number += 1;
            text.push_str(&format!("{number}. {title}\n{command}\n"));
        };
        if let Some((address, known_hosts)) = &self.ssh {
            let host =
                if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
            let identity = self
                .identity
                .as_ref()
                .map(|p| format!("-i {} ", quote(&p.display().to_string())))
                .unwrap_or_default();
            let known = quote(&format!("UserKnownHostsFile={}", quote_for_ssh(known_hosts)));
            line(
                "get a token",
                format!(
                    "TOKEN=$(ssh -T -p {} {identity}-o {known} -o StrictHostKeyChecking=yes {}@{host})",
                    address.port(),
                    self.name
                ),
            );
        }
        if let Some((base, socket)) = &self.http {
            let socket = socket
                .as_ref()
                .map(|p| format!("--unix-socket {} ", quote(&p.display().to_string())))
                .unwrap_or_default();
            // By standard input: an argument could be read by every user of this machine.
            let call = |token: &str, options: &str| {
                format!(
                    "printf 'Authorization: Bearer %s' \"{token}\" | curl -sS {options}{socket}-H @- {base}/verify"
                )
            };
            line("a call that is accepted, and who it speaks for", call("$TOKEN", ""));
            line("a call that is refused", call("x$TOKEN", "-i "));
        }
        text.push('\n');
        text
    }
}

/// A shell word.
fn quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%=:,".contains(&b);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// ssh splits the value of UserKnownHostsFile at spaces.
fn quote_for_ssh(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(' ') { format!("\"{text}\"") } else { text }
}
