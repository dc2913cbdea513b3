//! One connection: who it proved to be, and what it is answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Error, Pty};
use ssh_key::{Algorithm, Certificate, PublicKey};
use zeroize::Zeroizing;

use super::Log;
use super::protocol::{is_accepted, is_security_key};
use crate::backends::audit::Door;
use crate::backends::store::Fingerprint;
use crate::clock::random;
use crate::doors::blocking;
use crate::doors::slots::Progress;
use crate::error::Kind;
use crate::names::UserName;
use crate::realm::Realm;
use crate::services::mint::Caller;
use crate::services::session::{self, Reply};

/// Session channels at a time on one connection, and in its whole life.
const CHANNELS: usize = 4;
const CHANNELS_IN_ALL: usize = 256;

/// The longest command. The service has the same limit; a longer one need not be carried there.
const COMMAND: usize = 8 * 1024;

/// ssh's number for standard error (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// The handler of one connection.
pub(super) struct Visitor {
    realm: Arc<Realm>,
    log: Log,
    address: IpAddr,
    progress: Arc<Progress>,
    standing: Standing,
    channels: HashMap<ChannelId, Terminal>,
    opened: usize,
}

/// What the connection has proved. Set in `auth_publickey` alone: there, and not when a key is offered,
/// the library has verified the signature.
enum Standing {
    /// Nothing yet.
    Unproven,
    /// A key that may ask for tokens.
    Caller(Arc<Caller>),
    /// A security key: told why it gets nothing, since a refused log-in could not say so.
    SecurityKey(String),
}

/// The store could not say whose a key is.
struct LookupFailed;

/// How an open channel wants its lines.
#[derive(Clone, Copy)]
enum Terminal {
    Absent,
    Present,
}

impl Visitor {
    pub(super) fn new(realm: Arc<Realm>, log: Log, address: IpAddr, progress: Arc<Progress>) -> Self {
        Self {
            realm,
            log,
            address,
            progress,
            standing: Standing::Unproven,
            channels: HashMap::new(),
            opened: 0,
        }
    }

    /// The user a key would speak for here. The look-up is made whatever the login name and the kind of
    /// key are, so that neither tells by its time. A failure is in the log already.
    async fn candidate(
        &self,
        login: &str,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Option<UserName>, LookupFailed> {
        let Ok(blob) = key.to_bytes() else { return Ok(None) };
        let (realm, address) = (Arc::clone(&self.realm), self.address);
        match blocking(move || session::candidate(&realm, &blob, Some(address))).await {
            Ok(user) => Ok(user.filter(|_| login == self.realm.name.as_str() && is_accepted(key, algorithm))),
            Err(error) => {
                (self.log)(&format!("seamless: error: can't look an ssh key up: {error}"));
                Err(LookupFailed)
            }
        }
    }

    /// Writes the audit record of a proven key that gets nothing.
    async fn record_refusal(&self, key: &PublicKey, reason: &'static str) {
        let Ok(blob) = key.to_bytes() else { return };
        let (realm, address) = (Arc::clone(&self.realm), self.address);
        let written = blocking(move || {
            session::refused(&realm, &blob, Some(address), reason);
            Ok(())
        });
        if let Err(error) = written.await {
            (self.log)(&format!("seamless: error: can't record a refusal: {error}"));
        }
    }

    async fn refuse(&self, key: &PublicKey, reason: &'static str) -> Result<Auth, Error> {
        self.record_refusal(key, reason).await;
        Ok(Auth::reject())
    }

    /// Runs the one command of a channel, prints what it says and closes.
    async fn run(
        &mut self,
        channel: ChannelId,
        command: Option<&[u8]>,
        to: &mut Session,
    ) -> Result<(), Error> {
        let Some(terminal) = self.channels.remove(&channel) else {
            return to.channel_failure(channel);
        };
        to.channel_success(channel)?;
        let reply = self.answer(command).await;
        if let Some(line) = &reply.log {
            (self.log)(line);
        }
        if !reply.stdout.is_empty() {
            to.data(channel, terminal.lines(&reply.stdout))?;
        }
        if !reply.stderr.is_empty() {
            to.extended_data(channel, STDERR, terminal.lines(&reply.stderr))?;
        }
        to.eof(channel)?;
        to.exit_status_request(channel, u32::from(reply.exit))?;
        to.close(channel)
    }

    async fn answer(&self, command: Option<&[u8]>) -> Reply {
        let caller = match &self.standing {
            Standing::Caller(caller) => Arc::clone(caller),
            Standing::SecurityKey(algorithm) => {
                return refusal(
                    Kind::Policy,
                    &format!("this server can't check the touch of a security key ({algorithm})"),
                    "log in through sshd, which checks it, or with another key",
                );
            }
            // The library lets nobody open a channel before that; if it did, there is nothing to say.
            Standing::Unproven => {
                return refusal(Kind::Policy, "no key was proven", "log in with an enrolled key");
            }
        };
        if command.is_some_and(|c| c.len() > COMMAND) {
            return refusal(
                Kind::Usage,
                "the command is longer than 8 KiB",
                "`help` lists what can be asked",
            );
        }
        let (realm, command) = (Arc::clone(&self.realm), command.map(<[u8]>::to_vec));
        let answered = blocking(move || Ok(session::answer(&realm, &caller, command.as_deref()))).await;
        answered.unwrap_or_else(|error| {
            let id = random().map(u32::from_be_bytes).unwrap_or_default();
            let message = format!("the issuer could not answer (id {id:08x})");
            Reply {
                log: Some(format!("seamless: error: id {id:08x}: a session over ssh: {error}")),
                ..refusal(error.kind(), &message, "try again; the issuer's log says more under that id")
            }
        })
    }
}

impl Handler for Visitor {
    type Error = Error;

    /// Says whether a key is worth proving, so that the client can skip the others of its agent. Who holds
    /// somebody's public key can ask this of every ssh server; a login name tells nothing here.
    async fn auth_publickey_offered(
        &mut self,
        login: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        Ok(match self.candidate(login, offer.public_key, offer.algorithm).await {
            Ok(Some(_)) => Auth::Accept,
            Ok(None) | Err(LookupFailed) => Auth::reject(),
        })
    }

    async fn auth_publickey(&mut self, login: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        // Asked again: between the offer and its proof a key can be removed.
        let user = match self.candidate(login, key.public_key, key.algorithm).await {
            Ok(Some(user)) => user,
            Ok(None) => return self.refuse(key.public_key, "not a key of an active user").await,
            Err(LookupFailed) => return self.refuse(key.public_key, "the realm could not be read").await,
        };
        if is_security_key(key.public_key) {
            self.record_refusal(key.public_key, "the touch of a security key can't be checked").await;
            self.standing = Standing::SecurityKey(key.algorithm.to_string());
            return Ok(Auth::Accept);
        }
        let Ok(blob) = key.public_key.to_bytes() else {
            return Ok(Auth::reject());
        };
        self.standing = Standing::Caller(Arc::new(Caller {
            user,
            key: Some(Fingerprint::of(&blob)),
            door: Door::SshOwn,
            address: Some(self.address),
        }));
        Ok(Auth::Accept)
    }

    /// The offer of a certificate looks like that of its key, so it may come this far.
    async fn auth_openssh_certificate(
        &mut self,
        _login: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Error> {
        let key = PublicKey::new(certificate.public_key().clone(), "");
        self.refuse(&key, "a certificate, not a key").await
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Error> {
        self.progress.proved();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        if self.channels.len() >= CHANNELS || self.opened >= CHANNELS_IN_ALL {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.opened += 1;
        self.channels.insert(channel.id(), Terminal::Absent);
        reply.accept().await;
        // `channel` is dropped: kept and unread, its queue would fill and stop the connection.
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.run(channel, None, session).await
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.run(channel, Some(command), session).await
    }

    /// Granted, since `ssh -tt` gives up where it is refused. All there is to a terminal is its line ends.
    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        match self.channels.get_mut(&channel) {
            Some(terminal) => {
                *terminal = Terminal::Present;
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    // An unanswered request leaves the client waiting: sftp for ever.

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(channel)
    }

    // All else the library refuses unless a handler says otherwise: every other method, every other kind of
    // channel, agent, TCP and socket forwarding.
}

impl Terminal {
    fn lines(self, text: &str) -> Vec<u8> {
        match self {
            Self::Absent => text.as_bytes().to_vec(),
            Self::Present => Zeroizing::new(text.replace("\r\n", "\n")).replace('\n', "\r\n").into_bytes(),
        }
    }
}

fn refusal(kind: Kind, error: &str, hint: &str) -> Reply {
    Reply {
        stdout: Zeroizing::default(),
        stderr: format!("seamless: error: {error}\nseamless: hint: {hint}\n"),
        exit: kind.exit_code(),
        log: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::config::KeysBy;
    use crate::services::fixture::{NOW, Watched, realm};
    use crate::services::keys::{self, Conditions};
    use crate::services::users;

    fn key(number: u8) -> PublicKey {
        use ssh_key::public::{Ed25519PublicKey, KeyData};
        PublicKey::new(KeyData::Ed25519(Ed25519PublicKey([number; 32])), "")
    }

    /// Attack: tell by what a refusal costs whether a name or a key is known here (CVE-2016-20012).
    #[tokio::test]
    async fn an_offer_costs_one_look_up_whatever_is_known() {
        let (_parent, clock, mut realm) = realm(KeysBy::File);
        let enrolled = |number: u8, conditions: Conditions, user: &str| {
            let blob = key(number).to_bytes().unwrap();
            let key = crate::public_key::PublicKey::from_wire(&blob, "", "key").unwrap();
            keys::add(&realm, &user.parse().unwrap(), &key, &conditions, "file").unwrap();
        };
        enrolled(1, Conditions::default(), "ada");
        enrolled(2, Conditions { expires_at: Some(NOW + 5), ..Conditions::default() }, "ada");
        enrolled(3, Conditions { from: vec!["10.0.0.0/8".into()], ..Conditions::default() }, "bob");
        enrolled(4, Conditions::default(), "eve");
        users::lock(&realm, &"eve".parse().unwrap()).unwrap();
        clock.set(NOW + 10);

        let store = Watched::over(&realm);
        let asked = store.asked();
        realm.store = Box::new(store);
        let records = realm.audit.verify().unwrap().records;
        let realm = Arc::new(realm);
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let visitor = Visitor::new(Arc::clone(&realm), Arc::new(|_| ()), loopback, Arc::default());
        let sha1 = Algorithm::Rsa { hash: None };
        for (login, number, algorithm, user) in [
            ("corp", 1, &Algorithm::Ed25519, Some("ada")),
            // It is told so once its key is proven, and not before.
            ("corp", 4, &Algorithm::Ed25519, Some("eve")),
            ("corp", 2, &Algorithm::Ed25519, None),
            ("corp", 3, &Algorithm::Ed25519, None),
            ("corp", 9, &Algorithm::Ed25519, None),
            ("corp", 1, &sha1, None),
            ("corp", 9, &sha1, None),
            ("root", 1, &Algorithm::Ed25519, None),
            ("root", 9, &Algorithm::Ed25519, None),
            ("ada", 1, &Algorithm::Ed25519, None),
            ("nobody-here", 9, &Algorithm::Ed25519, None),
        ] {
            let before = asked.load(Ordering::SeqCst);
            let found = visitor.candidate(login, &key(number), algorithm).await;
            let found = found.ok().flatten().map(|user| user.to_string());
            assert_eq!(found.as_deref(), user, "{login} {number}");
            assert_eq!(asked.load(Ordering::SeqCst) - before, 1, "{login} {number}");
        }
        assert_eq!(realm.audit.verify().unwrap().records, records, "an offer is not recorded");
    }

    #[test]
    fn a_terminal_gets_carriage_returns() {
        assert_eq!(Terminal::Absent.lines("a\nb\n"), b"a\nb\n");
        assert_eq!(Terminal::Present.lines("a\nb\r\n"), b"a\r\nb\r\n");
    }

    #[test]
    fn a_refusal_says_nothing_on_stdout() {
        let reply = refusal(Kind::Policy, "no", "do");
        assert_eq!((reply.stdout.as_str(), reply.exit), ("", 3));
        assert_eq!(reply.stderr, "seamless: error: no\nseamless: hint: do\n");
    }
}
