//! Keys from folders and pages, by HTTP and through sshd.

use std::path::PathBuf;
use std::time::Duration;

use seamless_tests::home::{ED25519, Home, RSA, public};
use seamless_tests::http::free_port;
use seamless_tests::login::LoginRealm;
use seamless_tests::process::{Running, run};
use seamless_tests::skip::needs;
use seamless_tests::sshd::HostRealm;

#[test]
fn a_folder_as_crtauth_has_it() {
    let realm = LoginRealm::new();
    let (ada, bob) = (realm.home.key("ada", ED25519), realm.home.key("bob", RSA));
    let keys = realm.home.join("keys");
    std::fs::create_dir(&keys).expect("a folder of keys");
    std::fs::copy(public(&ada), keys.join("ada.pub")).expect("ada's key");
    std::fs::copy(public(&bob), keys.join("bob_id_rsa.pub")).expect("bob's key");
    realm.append(&format!(
        "[[sources]]\nkind = \"directory\"\npath = \"{}\"\ngroups = [\"staff\"]\n",
        keys.display()
    ));
    let logins = realm.serve();
    let token = logins.login("ada", &ada, &[]).ok().line();
    let verdict = logins.served.verify(&token).status(200);
    assert_eq!(verdict.header("x-seamless-groups"), Some("staff"));
    let _ = logins.login("bob", &bob, &[]).ok();
    let _ = logins.login("bob", &ada, &[]).fails();
    // Attack: take bob's file for one's own by a name that reads like its beginning.
    let _ = logins.login("bob_id_rsa", &bob, &[]).fails();
    // A file that is taken away counts at once.
    std::fs::remove_file(keys.join("ada.pub")).expect("take it away");
    let _ = logins.login("ada", &ada, &[]).fails();
    // Who is locked in the store is locked.
    let _ = run(&mut logins.served.verb(&["add", &public(&ada).display().to_string(), "--user", "bob"])).ok();
    let _ = run(&mut logins.served.verb(&["user", "lock", "bob", "--yes"])).ok();
    let _ = logins.login("bob", &bob, &[]).fails();
}

#[test]
fn sshd_asks_the_running_serve() {
    let Some(mut realm) = HostRealm::init(&["--keys", "command", "--format", "jwt"], "") else { return };
    let (ada, bob) = (realm.home.key("ada", ED25519), realm.home.key("bob", ED25519));
    let _ = realm.enrol("bob", &bob, &[]);
    let text = std::fs::read_to_string(realm.file("realm.toml")).expect("realm.toml");
    realm.plant(
        "realm.toml",
        &format!("{text}\n[[sources]]\nkind = \"directory\"\npath = \"keys\"\n"),
        0o600,
    );
    let line = std::fs::read_to_string(public(&ada)).expect("ada's public key");
    realm.plant("keys/ada.pub", &line, 0o600);
    let _ = realm.reloading(&["sync"]);

    // Nobody to ask: those enrolled here go on.
    let _ = realm.login(&ada, &["whoami"]).fails();
    let _ = realm.login(&bob, &["whoami"]).ok();
    let at = format!("127.0.0.1:{}", free_port());
    let mut serve = Running::start(&mut realm.verb(&["serve", "--no-ssh", "--http", &at]));
    serve.wait_for("serve", |serve| serve.stdout().contains("http").then_some(()));
    let whoami = realm.login(&ada, &["whoami"]).ok();
    assert!(whoami.stdout.contains("user    ada"), "{}", whoami.stdout);
    let token = realm.login(&ada, &[]).ok().line();
    assert!(token.starts_with("eyJ"), "{token}");
    std::fs::remove_file(realm.file("keys/ada.pub")).expect("take it away");
    let _ = realm.login(&ada, &["whoami"]).fails();
    let _ = realm.login(&bob, &["whoami"]).ok();
}

/// `openssl s_server -HTTP`: each file is an answer with its status line.
struct Pages {
    folder: PathBuf,
    port: u16,
    server: Option<Running>,
}

impl Pages {
    fn start(home: &Home) -> Option<Self> {
        let openssl = needs("openssl")?;
        let folder = home.join("pages");
        std::fs::create_dir(&folder).expect("a folder for pages");
        let fresh = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        let san = "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE";
        for args in [
            format!("req -x509 {fresh} -subj /CN=test-ca -keyout ca.key -out ca.pem"),
            format!(
                "req -x509 {fresh} -CA ca.pem -CAkey ca.key -subj /CN=pages {san} -keyout s.key -out s.pem"
            ),
        ] {
            let _ = run(home.command(&openssl).args(args.split(' ')).current_dir(&folder)).ok();
        }
        let mut pages = Self { folder, port: free_port(), server: None };
        pages.resume(home);
        Some(pages)
    }

    fn resume(&mut self, home: &Home) {
        let mut command = home.command(needs("openssl").expect("it was there"));
        command.args(["s_server", "-HTTP", "-quiet", "-cert", "s.pem", "-key", "s.key", "-accept"]);
        command.arg(format!("127.0.0.1:{}", self.port)).current_dir(&self.folder);
        let mut server = Running::start(&mut command);
        let port = self.port;
        server.wait_for("pages", |_| std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop));
        self.server = Some(server);
    }

    fn answer(&self, name: &str, head: &str, body: &str) {
        let text = format!("HTTP/1.0 {head}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{body}");
        std::fs::write(self.folder.join(name), text).expect("an answer");
    }
}

#[test]
fn pages_are_kept_for_a_while_and_no_longer() {
    let realm = LoginRealm::new();
    let (old, new) = (realm.home.key("old", ED25519), realm.home.key("new", ED25519));
    let newer = realm.home.key("newer", ED25519);
    let line = |key| std::fs::read_to_string(public(key)).expect("a public key");
    let Some(mut pages) = Pages::start(&realm.home) else { return };
    pages.answer("ada.keys", "200 OK\r\nETag: \"1\"", &line(&new));
    pages.answer("eve.keys", "200 OK", &line(&new));
    realm.append(&format!(
        "[[sources]]\nkind = \"url\"\nurl = \"https://127.0.0.1:{}/{{user}}.keys\"\nfresh = \"2s\"\nstale = \"10s\"\n",
        pages.port
    ));
    // A user that the realm knows, whose own key was taken away.
    let add = [&public(&old).display().to_string(), "--user", "ada"];
    let verb = |words: &[&str]| run(&mut seamless_tests::realm::verb(&realm.home, &realm.dir, words)).ok();
    let _ = verb(&[&["add"], &add[..]].concat());
    let _ = verb(&["key", "remove", &realm.home.fingerprint(&old), "--yes"]);
    let logins = realm.serve_with(|command| command.env("SSL_CERT_FILE", pages.folder.join("ca.pem")));

    let _ = logins.login("ada", &new, &[]).ok();
    let _ = logins.login("eve", &new, &[]).fails();
    // Changed: heard of as soon as it is no longer fresh.
    pages.answer("ada.keys", "200 OK\r\nETag: \"2\"", &line(&newer));
    std::thread::sleep(Duration::from_millis(2500));
    let _ = logins.login("ada", &new, &[]).fails();
    let _ = logins.login("ada", &newer, &[]).ok();
    // Not changed: kept for as long again.
    pages.answer("ada.keys", "304 Not Modified", "");
    std::thread::sleep(Duration::from_millis(2500));
    let _ = logins.login("ada", &newer, &[]).ok();
    // Down: what is known is good for a while, and then it is an error that says so.
    pages.server = None;
    std::thread::sleep(Duration::from_millis(2500));
    let _ = logins.login("ada", &newer, &[]).ok();
    std::thread::sleep(Duration::from_millis(8500));
    let _ = logins.login("ada", &newer, &[]).fails().says("the trouble is on this side");
    // Gone: whoever took it away is heard.
    pages.answer("ada.keys", "404 Not Found", "");
    pages.resume(&logins.served.home);
    let _ = logins.login("ada", &newer, &[]).fails().says("knows none");
}
