//! `seamless add --github` and `--url`, against a real https server with a certificate authority of its own.

use std::path::PathBuf;
use std::process::Command;

use seamless_tests::home::Home;
use seamless_tests::http::free_port;
use seamless_tests::keys;
use seamless_tests::process::{Done, Running, run};
use seamless_tests::realm::verb;
use seamless_tests::skip::needs;
use serde_json::Value;

/// `openssl s_server -HTTP`: each file is an answer with its status line.
struct Site {
    home: Home,
    realm: PathBuf,
    base: String,
    _server: Running,
}

impl Site {
    fn start() -> Option<Self> {
        let openssl = needs("openssl")?;
        let home = Home::new();
        let realm = home.join("demo");
        let _ = run(home.seamless(["init", "--dir"]).arg(&realm)).ok();
        let folder = home.join("site");
        std::fs::create_dir(&folder).expect("a folder for the site");
        let ssl = |args: &str| {
            let mut command = home.command(&openssl);
            let _ = run(command.args(args.split(' ')).current_dir(&folder)).ok();
        };
        let fresh = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        ssl(&format!("req -x509 {fresh} -subj /CN=test-ca -keyout ca.key -out ca.pem"));
        let san = "-addext subjectAltName=IP:127.0.0.1,DNS:localhost -addext basicConstraints=CA:FALSE";
        ssl(&format!(
            "req -x509 {fresh} -CA ca.pem -CAkey ca.key -subj /CN=localhost {san} -keyout s.key -out s.pem"
        ));
        let port = free_port();
        let mut server = home.command(&openssl);
        server.args(["s_server", "-HTTP", "-quiet", "-cert", "s.pem", "-key", "s.key", "-accept"]);
        let server = Running::start(server.arg(format!("127.0.0.1:{port}")).current_dir(&folder));
        let site = Self { home, realm, base: format!("https://127.0.0.1:{port}"), _server: server };
        site.answer("up.keys", "200 OK", "text/plain", &keys::line(99));
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(site);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("openssl s_server does not listen");
    }

    fn answer(&self, name: &str, status: &str, kind: &str, body: &str) {
        let text = format!("HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}");
        std::fs::write(self.home.join("site").join(name), text).expect("an answer");
    }

    fn redirect(&self, name: &str, to: &str) {
        let text = format!("HTTP/1.0 302 Found\r\nLocation: {to}\r\nConnection: close\r\n\r\n");
        std::fs::write(self.home.join("site").join(name), text).expect("an answer");
    }

    fn add(&self, words: &[&str]) -> Command {
        let mut command = verb(&self.home, &self.realm, &["key", "add"]);
        command.args(words).env("SSL_CERT_FILE", self.home.join("site/ca.pem"));
        command
    }

    fn github(&self, name: &str, words: &[&str]) -> Done {
        run(self.add(&["--github", name, "--github-at", &self.base]).args(words))
    }

    fn url(&self, path: &str, words: &[&str]) -> Done {
        run(self.add(&["--url", &format!("{}/{path}", self.base), "--user", "eve"]).args(words))
    }

    fn list(&self) -> Vec<Value> {
        let list = run(&mut verb(&self.home, &self.realm, &["key", "list", "--json"])).ok().json();
        list.as_array().expect("a list").clone()
    }
}

fn fingerprint(home: &Home, n: u64) -> String {
    home.fingerprint(&home.write("tmp/key.pub", keys::line(n)))
}

#[test]
fn keys_of_github_are_shown_asked_for_and_pinned() {
    let Some(site) = Site::start() else { return };
    let body = format!("{}\n{}\n", keys::line(1), keys::line(2));
    site.answer("ada.keys", "200 OK", "text/plain; charset=utf-8", &body);
    let (one, two) = (fingerprint(&site.home, 1), fingerprint(&site.home, 2));

    // Nobody is asked here, so nothing is done; the fingerprints are shown all the same.
    let _ = site.github("ada", &[]).code(2).says(&one).says(&two).says("say --yes");
    assert!(site.list().is_empty());
    // A key that is not there fails the whole.
    let _ =
        site.github("ada", &["--fingerprint", &one, "--fingerprint", &fingerprint(&site.home, 7)]).code(1);
    assert!(site.list().is_empty());
    let _ = site.github("ada", &["--fingerprint", &one]).ok().says(&format!("{one} is enrolled for ada"));
    let listed = site.list();
    assert_eq!(listed.len(), 1, "only the pinned one: {listed:?}");
    assert_eq!((&listed[0]["source"], &listed[0]["user"]), (&"github:ada".into(), &"ada".into()));

    let _ = site.github("ada", &["--yes", "--user", "lovelace"]).code(1).says("already belongs to ada");
    assert_eq!(site.list().len(), 1, "all of them or none");
    let _ = site.github("ada", &["--yes"]).ok().says("there already").says(&format!("{two} is enrolled"));

    // What GitHub shows later changes nothing by itself.
    site.answer("ada.keys", "200 OK", "text/plain", &keys::line(3));
    let _ = run(&mut verb(&site.home, &site.realm, &["doctor"]));
    assert_eq!(site.list().len(), 2);
    let log =
        std::fs::read_dir(site.realm.join("audit")).expect("the log").flatten().next().expect("a month");
    let log = std::fs::read_to_string(log.path()).expect("the log");
    assert_eq!(log.matches("\"source\":\"github:ada\"").count(), 2, "{log}");
}

#[test]
fn what_is_no_list_of_keys_is_refused_in_one_line() {
    let Some(site) = Site::start() else { return };
    let page = "<!DOCTYPE html><html>Sign in</html>";
    site.answer("page.keys", "200 OK", "text/html; charset=utf-8", page);
    site.answer("sly.keys", "200 OK", "text/plain", page);
    site.answer("empty.keys", "200 OK", "text/plain", "");
    site.answer("gone.keys", "404 Not Found", "text/plain", "Not Found");
    site.answer("ill.keys", "500 Oops", "text/plain", "");
    site.answer("weak.keys", "200 OK", "text/plain", "ssh-dss AAAAB3NzaC1kc3MA\n");
    site.answer("long.keys", "200 OK", "text/plain", &format!("{}\n", keys::line(1)).repeat(900));
    for (name, code, said) in [
        ("page", 1, "a web page"),
        ("sly", 1, "a web page"),
        ("empty", 1, "empty at GitHub has no keys"),
        ("gone", 1, "GitHub has no user gone"),
        ("ill", 1, "it answered 500"),
        ("weak", 1, "is a DSA key"),
        ("long", 1, "over 64 KiB"),
        ("../ada", 2, "is not a name of GitHub's"),
        ("ada.keys?x=", 2, "is not a name of GitHub's"),
    ] {
        let done = site.github(name, &["--yes"]).code(code).says(said);
        assert_eq!(done.stderr.matches("error:").count(), 1, "{done}");
    }
    assert!(site.list().is_empty());
    // GitHub is nowhere but at home and at GitHub.
    let _ = run(&mut site.add(&["--github", "ada", "--github-at", "https://192.0.2.1", "--yes"])).code(2);
}

#[test]
fn redirects_leave_no_origin_and_http_is_refused() {
    let Some(site) = Site::start() else { return };
    site.redirect("same", "/up.keys");
    site.redirect("full", &format!("{}/up.keys", site.base));
    site.redirect("other", &format!("{}/up.keys", site.base.replace("127.0.0.1", "localhost")));
    site.redirect("plain", &format!("{}/up.keys", site.base.replace("https", "http")));
    site.redirect("evil", "//192.0.2.1/up.keys");
    site.redirect("circle", "/circle");
    let listed = |words: &[&str]| site.url(words[0], &["--yes"]);
    let _ = listed(&["same"]).ok();
    let _ = listed(&["full"]).ok().says("there already");
    assert_eq!(site.list()[0]["source"], format!("{}/same", site.base));
    for (path, said) in
        [("other", "redirects to"), ("plain", "redirects to"), ("evil", "redirects to"), ("circle", "circle")]
    {
        let _ = site.url(path, &["--yes"]).code(1).says(said);
    }
    let plain = site.base.replace("https", "http");
    let _ = run(&mut site.add(&["--url", &plain, "--user", "eve", "--yes"])).code(2).says("over https only");
    let _ = run(&mut site.add(&["--url", "https://ada:secret@127.0.0.1/", "--user", "eve"]))
        .code(2)
        .says("password");
    let _ = run(&mut site.add(&["--url", &site.base])).code(2).says("--user");
    // A query may hold a secret: it is sent, and kept nowhere.
    let _ = site.url("nothing?token=hush", &["--yes"]).fails();
    let _ = site.url("up.keys", &["--yes"]).ok();
    assert!(!format!("{:?}", site.list()).contains("hush"));
    // Whoever is not vouched for is not heard.
    let mut stranger = site.add(&["--url", &format!("{}/up.keys", site.base), "--user", "mallory", "--yes"]);
    let done = run(stranger.env_remove("SSL_CERT_FILE")).code(1);
    assert!(done.stderr.to_lowercase().contains("certificate"), "{done}");
    assert_eq!(site.list().len(), 1);
}
