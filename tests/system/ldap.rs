//! Keys from a directory service: a real slapd with crtauth's schema.

use seamless_tests::home::{ED25519, public};
use seamless_tests::login::{LoginRealm, Logins};
use seamless_tests::process::{Done, run};
use seamless_tests::slapd::{PASSWORD, READER, Slapd, group, user};

/// A realm that asks a directory service with these settings, and the service.
struct Stage {
    slapd: Slapd,
    logins: Logins,
}

fn settings(slapd: &Slapd, more: &str) -> String {
    format!(
        "[[sources]]\nkind = \"ldap\"\nbase_dn = \"dc=example,dc=com\"\nbind_dn = \"{READER}\"\n\
         password_file = \"ldap.password\"\nca_file = \"{}\"\ntimeout = \"2s\"\n{more}\n",
        slapd.file("ca.pem").display()
    )
}

fn secret(realm: &LoginRealm, name: &str, text: &str) {
    let path = realm.home.write(realm.dir.join(name), format!("{text}\n"));
    let _ = run(realm.home.command("chmod").arg("400").arg(path)).ok();
}

impl Stage {
    /// `more` may say `PORT` and `TLS`.
    fn start(password: &str, more: &str) -> Option<Self> {
        let realm = LoginRealm::new();
        let line = |name: &str| {
            let key = realm.home.key(name, ED25519);
            std::fs::read_to_string(public(&key)).expect("a public key")
        };
        let (ada, bob, cora) = (line("ada"), line("bob"), line("cora"));
        let entries = [
            user("ada", &[&ada]),
            // A second value is an error to the original.
            user("bob", &[&bob, "ssh-dss AAAA of old", &line("bob2")]),
            user("keyless", &[]),
            user("outsider", &[&cora]),
            group("ops", &["ada", "bob", "keyless"]),
            group("other", &["ada", "outsider"]),
        ];
        let slapd = Slapd::start(&realm.home, &entries.concat())?;
        secret(&realm, "ldap.password", password);
        let more = more.replace("PORT", &slapd.port.to_string()).replace("TLS", &slapd.tls_port.to_string());
        realm.append(&settings(&slapd, &more));
        Some(Self { slapd, logins: realm.serve() })
    }

    fn login(&self, user: &str, key: &str) -> Done {
        self.logins.login(user, &self.logins.served.home.join(key), &[])
    }
}

#[test]
fn users_log_in_by_http_and_by_ssh() {
    let Some(stage) = Stage::start(PASSWORD, "url = \"ldaps://127.0.0.1:TLS\"\ngroup = \"ops\"") else {
        return;
    };
    let token = stage.login("ada", "ada").ok().line();
    let verdict = stage.logins.served.verify(&token).status(200);
    assert_eq!(verdict.header("x-seamless-user"), Some("ada"));
    assert_eq!(verdict.header("x-seamless-groups"), Some("ops,other"));
    let _ = stage.login("bob", "bob").ok();
    let _ = stage.login("bob", "bob2").ok();
    // Over ssh the client says no name: the key does.
    let served = &stage.logins.served;
    let whoami = run(&mut served.ssh.ssh(&served.home, &served.home.join("bob2"), &["whoami"])).ok();
    assert!(whoami.stdout.contains("user    bob"), "{}", whoami.stdout);
    let doctor = run(&mut served.verb(&["doctor"]));
    assert!(doctor.stdout.contains("answers"), "{}", doctor.stdout);
}

/// Attack: learn from the answer who has an account, who a key, who is in the group.
#[test]
fn whoever_may_not_log_in_looks_unknown() {
    let Some(stage) = Stage::start(PASSWORD, "url = \"ldap://127.0.0.1:PORT\"\ngroup = \"ops\"") else {
        return;
    };
    let mut said = Vec::new();
    for (user, key) in
        [("nobody", "ada"), ("keyless", "ada"), ("outsider", "cora"), ("ADA", "ada"), ("ada", "bob")]
    {
        let done = stage.login(user, key).fails();
        said.push(done.stderr.replace(user, "NAME"));
    }
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
    // Names that would be a filter or another entry, were they not escaped.
    for user in ["*", "a*", "ada)(uid=*", "ada,cn=users", "a\\2a", "uid=ada"] {
        let _ = stage.login(user, "ada").fails();
    }
    assert!(stage.login("ada", "ada").ok().line().starts_with("eyJ"), "and it still answers");
}

#[test]
fn a_service_that_is_down_is_named_and_comes_back() {
    let Some(mut stage) = Stage::start(PASSWORD, "url = \"ldap://127.0.0.1:PORT\"") else { return };
    let _ = stage.login("ada", "ada").ok();
    stage.slapd.stop();
    let _ = stage.login("ada", "ada").fails().says("the trouble is on this side");
    let line = stage.logins.served.wait_for_line("the reason", |line| line.contains("ldap ldap://"));
    assert!(line.contains("no connection"), "{line}");
    let doctor = run(&mut stage.logins.served.verb(&["doctor"])).fails();
    assert!(doctor.stdout.contains("until it answers, nobody"), "{}", doctor.stdout);
    stage.slapd.resume(&stage.logins.served.home);
    let _ = stage.login("ada", "ada").ok();
}

/// The original does not look at the answer to its bind, and goes on as anybody.
#[test]
fn a_wrong_password_is_an_error() {
    let Some(mut stage) = Stage::start("wrong", "url = \"ldap://127.0.0.1:PORT\"") else { return };
    let _ = stage.login("ada", "ada").fails().says("the trouble is on this side");
    let line = stage.logins.served.wait_for_line("the reason", |line| line.contains("the bind failed"));
    assert!(!line.contains("wrong"), "{line}");
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    for url in ["ldap://127.0.0.1:PORT", "ldaps://127.0.0.1:TLS"] {
        let realm = LoginRealm::new();
        let key = realm.home.key("ada", ED25519);
        let line = std::fs::read_to_string(public(&key)).expect("a public key");
        let Some(slapd) = Slapd::start(&realm.home, &user("ada", &[&line])) else { return };
        secret(&realm, "ldap.password", PASSWORD);
        let url = url.replace("PORT", &slapd.port.to_string()).replace("TLS", &slapd.tls_port.to_string());
        realm.append(&settings(&slapd, &format!("url = \"{url}\"")).replace("/ca.pem", "/other-ca.pem"));
        let mut logins = realm.serve();
        let _ = logins.login("ada", &key, &[]).fails().says("the trouble is on this side");
        let _ = logins.served.wait_for_line("the reason", |line| line.contains("no connection"));
    }
}
