//! git, docker and kubectl with tokens: stock git against `git http-backend`, the others by their documented protocols.

use std::sync::atomic::{AtomicUsize, Ordering};

use seamless_tests::git_http;
use seamless_tests::laptop::Laptop;
use seamless_tests::process::{Done, run, run_with};
use seamless_tests::skip::needs;
use serde_json::{Value, json};

const SERVICE: &str = "https://git.example.com";

/// A helper by its own name, as `credential install` links it.
fn helper(laptop: &Laptop, name: &str, action: &str, input: &str) -> Done {
    let program = laptop.home.join("bin").join(name);
    if !program.exists() {
        std::os::unix::fs::symlink(laptop.home.join("bin/seamless"), &program).expect("make a link");
    }
    let mut command = laptop.home.command(program);
    run_with(command.arg(action).env("USER", "ada"), input.as_bytes())
}

fn git_helper(laptop: &Laptop, action: &str, input: &str) -> Done {
    helper(laptop, "git-credential-seamless", action, input)
}

fn install(laptop: &Laptop, tool: &str, service: &str) -> Done {
    let login = laptop.login();
    run(&mut laptop.seamless(&["credential", "install", tool, "--for", service, "--login", &login, "--yes"]))
        .ok()
}

fn remove(laptop: &Laptop, tool: &str, service: &str) -> Done {
    run(&mut laptop.seamless(&["credential", "remove", tool, "--for", service, "--yes"])).ok()
}

/// git as ada calls it, with nobody to type anything.
fn git(laptop: &Laptop, words: &[&str]) -> Done {
    let mut command = laptop.home.command("git");
    run(command
        .args(words)
        .env("USER", "ada")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1"))
}

#[test]
fn git_clones_with_a_token_and_stores_none() {
    let laptop = Laptop::new("");
    if needs("git").is_none() {
        return;
    }
    let folder = laptop.home.join("tmp");
    let _ = git_http::repository(&folder, "notes", "hello\n");
    let http = laptop.served.http.clone();
    let server =
        git_http::serve(&folder, move |value| http.get("/verify", &[("Authorization", value)]).status == 200);
    // Somebody's helper, which would write the token into a file.
    laptop.home.write(".gitconfig", "[credential]\n\thelper = store\n[user]\n\tname = Ada\n");
    let url = format!("{}/notes.git", server.url());
    let _ = git(&laptop, &["clone", "-q", &url, "before"]).fails();
    let _ = install(&laptop, "git", &server.url());
    let _ = git(&laptop, &["clone", "-q", &url, "notes"]).ok();
    let file = std::fs::read_to_string(laptop.home.join("notes/README")).expect("the file");
    assert_eq!(file, "hello\n");
    let _ = git(&laptop, &["-C", "notes", "fetch", "-q"]).ok();
    assert!(!laptop.home.join(".git-credentials").exists(), "a token was stored");
    let config = std::fs::read_to_string(laptop.home.join(".gitconfig")).expect(".gitconfig");
    assert!(config.starts_with("[credential]\n\thelper = store\n[user]\n\tname = Ada\n"), "{config}");
    let again = install(&laptop, "git", &server.url());
    assert!(again.stdout.is_empty(), "{again}");
    let _ = remove(&laptop, "git", &server.url());
    let config = std::fs::read_to_string(laptop.home.join(".gitconfig")).expect(".gitconfig");
    assert_eq!(config, "[credential]\n\thelper = store\n[user]\n\tname = Ada\n");
    let _ = git(&laptop, &["-C", "notes", "fetch", "-q"]).fails();
}

#[test]
fn git_below_a_path_has_a_token_of_that_path() {
    let laptop = Laptop::new("");
    if needs("git").is_none() {
        return;
    }
    let folder = laptop.home.join("tmp");
    std::fs::create_dir(folder.join("team")).expect("make a folder");
    let _ = git_http::repository(&folder.join("team"), "notes", "hello\n");
    let server = git_http::serve(&folder, |_| true);
    let _ = install(&laptop, "git", &format!("{}/team", server.url()));
    let _ = git(&laptop, &["clone", "-q", &format!("{}/team/notes.git", server.url()), "notes"]).ok();
    let _ = git(&laptop, &["clone", "-q", &format!("{}/else/notes.git", server.url()), "other"]).fails();
    let shown: Vec<_> = server
        .asked()
        .into_iter()
        .filter(|asked| asked.authorization().is_some())
        .map(|asked| asked.path)
        .collect();
    assert!(!shown.is_empty() && shown.iter().all(|path| path.starts_with("/team/")), "{shown:?}");
}

#[test]
fn a_token_that_git_is_refused_with_is_forgotten() {
    let laptop = Laptop::new("");
    if needs("git").is_none() {
        return;
    }
    let folder = laptop.home.join("tmp");
    let _ = git_http::repository(&folder, "notes", "hello\n");
    let count = AtomicUsize::new(0);
    let server = git_http::serve(&folder, move |_| count.fetch_add(1, Ordering::SeqCst) > 0);
    let _ = install(&laptop, "git", &server.url());
    let url = format!("{}/notes.git", server.url());
    let _ = git(&laptop, &["clone", "-q", &url, "notes"]).fails();
    let _ = git(&laptop, &["clone", "-q", &url, "notes"]).ok();
    let tokens: std::collections::BTreeSet<_> =
        server.asked().iter().filter_map(|asked| asked.authorization().map(str::to_owned)).collect();
    assert_eq!(tokens.len(), 2, "the refused one, and another");
}

#[test]
fn gits_helper_answers_for_its_own_services() {
    let laptop = Laptop::new("");
    laptop.trusts(SERVICE, &[]);
    let ask = |more: &str| format!("protocol=https\nhost=git.example.com\n{more}\n");
    let answer = git_helper(&laptop, "get", &ask("")).ok().stdout;
    let lines: Vec<_> = answer.lines().collect();
    assert!(lines[0] == "username=ada" && lines[1].starts_with("password=ey"), "{answer}");
    let expiry = lines[2].strip_prefix("password_expiry_utc=").and_then(|at| at.parse::<u64>().ok());
    assert!(expiry.is_some_and(|at| at > seamless_tests::now()), "{answer}");
    let bearer = git_helper(&laptop, "get", &ask("capability[]=authtype\nwwwauth[]=Bearer x\n")).ok().stdout;
    assert!(bearer.starts_with("capability[]=authtype\nauthtype=Bearer\ncredential=ey"), "{bearer}");
    assert!(!bearer.contains("password="), "{bearer}");
    let basic =
        git_helper(&laptop, "get", &ask("capability[]=authtype\nwwwauth[]=Basic realm=x\n")).ok().stdout;
    assert!(basic.starts_with("username=ada\n"), "{basic}");
    // Nobody else's: not a look-alike, not another user, not another protocol.
    for other in [
        "protocol=https\nhost=evil.example.com\n\n",
        "protocol=https\nhost=git.example.com.evil.example\n\n",
        "protocol=https\nhost=git.example.com:8443\n\n",
        "protocol=https\nhost=evil.example@git.example.com\n\n",
        "protocol=https\nhost=git.example.com\nusername=bob\n\n",
        "protocol=http\nhost=git.example.com\n\n",
        "protocol=smtp\nhost=git.example.com\n\n",
        "protocol=cert\npath=x\n\n",
        "\n",
    ] {
        let done = git_helper(&laptop, "get", other).ok();
        assert_eq!(done.stdout, "", "{other}");
    }
    assert_eq!(git_helper(&laptop, "store", &ask("username=x\npassword=y\n")).ok().stdout, "");
    assert_eq!(git_helper(&laptop, "some-day", &ask("")).ok().stdout, "");
    assert_eq!(git_helper(&laptop, "get", &ask("")).ok().stdout, answer, "the kept one");
    let _ = git_helper(&laptop, "erase", &ask("")).ok();
    assert_ne!(git_helper(&laptop, "get", &ask("")).ok().stdout, answer);
    // The log-in is down: no other helper is asked, and nobody for a password.
    let (home, ..) = laptop.served.interrupt();
    drop(home);
    let mut command = laptop.home.command(laptop.home.join("bin/git-credential-seamless"));
    let _ = run(&mut laptop.home.seamless(["logout"])).ok();
    let done = run_with(command.arg("get").env("USER", "ada"), ask("").as_bytes()).fails();
    assert_eq!(done.stdout, "quit=1\n");
}

#[test]
fn dockers_protocol() {
    let laptop = Laptop::new("");
    let registry = "registry.example.com:5000";
    let docker = |action: &str, input: &str| helper(&laptop, "docker-credential-seamless", action, input);
    let _ = docker("get", registry).code(1).says("credentials not found in native keychain");
    let home_config = "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {\n\t\t\t\"auth\": \"c2VjcmV0\"\n\t\t}\n\t}\n}";
    laptop.home.write(".docker/config.json", home_config);
    let done = install(&laptop, "docker", &format!("https://{registry}"));
    assert!(
        !done.stdout.contains("c2VjcmV0") && done.stdout.contains("+\t\t\"registry.example.com:5000\""),
        "{done}"
    );
    let config = || -> Value {
        let text = std::fs::read_to_string(laptop.home.join(".docker/config.json")).expect("config.json");
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(
        config(),
        json!({"auths": {"ghcr.io": {"auth": "c2VjcmV0"}}, "credHelpers": {"registry.example.com:5000": "seamless"}})
    );
    let got = docker("get", registry).ok().json();
    assert_eq!((&got["ServerURL"], &got["Username"]), (&registry.into(), &"ada".into()));
    let token = got["Secret"].as_str().expect("a token").to_owned();
    let _ = laptop.served.verify(&token).status(200);
    let by_url = docker("get", &format!("https://{registry}\n")).ok().json();
    assert_eq!(by_url["Secret"], token.as_str());
    assert_eq!(docker("list", "").ok().json(), json!({"https://registry.example.com:5000": ""}));
    // What docker hands back after a log-in; and what is not ours to keep.
    let stored = |server: &str| json!({"ServerURL": server, "Username": "ada", "Secret": token}).to_string();
    assert_eq!(docker("store", &stored(registry)).ok().stdout, "");
    let _ = docker("store", &stored("ghcr.io")).code(1).says("keeps no passwords");
    let _ = docker("store", "no JSON").code(1);
    for other in [
        "registry.example.com",
        "ghcr.io",
        "http://registry.example.com:5000",
        "x@registry.example.com:5000",
        "",
    ] {
        let done = docker("get", other).code(1);
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("credentials not found in native keychain\n", "")
        );
    }
    let _ = docker("erase", registry).ok();
    assert_ne!(docker("get", registry).ok().json()["Secret"], token.as_str());
    let _ = docker("frobnicate", "").code(1);
    let _ = remove(&laptop, "docker", &format!("https://{registry}"));
    let text = std::fs::read_to_string(laptop.home.join(".docker/config.json")).expect("config.json");
    assert_eq!(text, home_config);
}

/// What kubectl sets in KUBERNETES_EXEC_INFO.
fn exec_info(server: &str, more: &Value) -> Value {
    let mut cluster = json!({"server": server});
    cluster.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({
        "kind": "ExecCredential",
        "apiVersion": "client.authentication.k8s.io/v1",
        "spec": {"cluster": cluster, "interactive": false},
    })
}

#[test]
fn kubectls_protocol() {
    let laptop = Laptop::new("");
    let server = "https://k8s.example.com:6443";
    let kubeconfig =
        "apiVersion: v1\nclusters: []\nkind: Config\nusers:\n- name: admin\n  user:\n    token: c2VjcmV0\n";
    laptop.home.write(".kube/config", kubeconfig);
    let done = install(&laptop, "kube", server);
    assert!(!done.stdout.contains("c2VjcmV0"), "{done}");
    let config = || std::fs::read_to_string(laptop.home.join(".kube/config")).expect("a kubeconfig");
    let with = config();
    assert!(
        with.contains("command: kubectl-seamless") && with.contains("provideClusterInfo: true"),
        "{with}"
    );
    assert!(with.ends_with("- name: admin\n  user:\n    token: c2VjcmV0\n"), "{with}");
    let kubectl = |info: &str| {
        let mut command = laptop.home.command(laptop.home.join("bin/kubectl-seamless"));
        run(command.env("USER", "ada").env("KUBERNETES_EXEC_INFO", info))
    };
    let answer = kubectl(&exec_info(server, &json!({})).to_string()).ok().json();
    assert_eq!(
        (&answer["apiVersion"], &answer["kind"]),
        (&"client.authentication.k8s.io/v1".into(), &"ExecCredential".into())
    );
    let token = answer["status"]["token"].as_str().expect("a token");
    let _ = laptop.served.verify(token).status(200);
    let expires = answer["status"]["expirationTimestamp"].as_str().expect("a time");
    assert!(expires.starts_with("20") && expires.contains('T') && expires.ends_with('Z'), "{expires}");
    let old = exec_info(server, &json!({})).to_string().replace("k8s.io/v1", "k8s.io/v1beta1");
    assert_eq!(kubectl(&old).ok().json()["apiVersion"], "client.authentication.k8s.io/v1beta1");
    // Another cluster of the same kubeconfig, or whoever answers for this one, gets nothing.
    let mut without = exec_info(server, &json!({}));
    without["spec"].as_object_mut().expect("an object").remove("cluster");
    for (info, says) in [
        (exec_info("https://other.example.com:6443", &json!({})), "servers.toml has no entry"),
        (exec_info("https://k8s.example.com", &json!({})), "servers.toml has no entry"),
        (exec_info("http://k8s.example.com:6443", &json!({})), "https"),
        (exec_info(server, &json!({"insecure-skip-tls-verify": true})), "certificate-authority"),
        (without, "provideClusterInfo"),
        (json!({"apiVersion": "client.authentication.k8s.io/v9", "spec": {}}), "v9"),
        (json!([]), "ExecCredential"),
    ] {
        let done = kubectl(&info.to_string()).fails();
        assert_eq!(done.stdout, "", "{done}");
        let _ = done.says(says);
    }
    let _ = run(&mut laptop.home.command(laptop.home.join("bin/kubectl-seamless")))
        .fails()
        .says("kubectl's to call");
    let _ = remove(&laptop, "kube", server);
    assert_eq!(config(), kubeconfig);
}

#[test]
fn an_installation_shows_asks_and_keeps_what_is_there() {
    let laptop = Laptop::new("");
    let service = "https://api.example.com";
    let words = ["credential", "install", "service", "--for", service, "--login", "corp@login.example.com"];
    let file = laptop.home.join(".config/seamless/servers.toml");
    let shown = run(laptop.seamless(&words).arg("--print")).ok();
    assert!(shown.stdout.contains("+url = \"https://api.example.com\"") && !file.exists(), "{shown}");
    let _ = run(&mut laptop.seamless(&words)).code(2).says("--yes");
    assert!(!file.exists());
    // Dotfiles are often links into a repository.
    let kept = laptop.home.write("dotfiles/servers.toml", "# mine\n");
    std::fs::create_dir_all(laptop.home.join(".config/seamless")).expect("make a folder");
    std::os::unix::fs::symlink(&kept, &file).expect("make a link");
    let _ = run(laptop.seamless(&words).arg("--yes")).ok();
    assert!(file.symlink_metadata().expect("the link").is_symlink());
    let text = std::fs::read_to_string(&kept).expect("the file");
    assert!(text.contains("# mine\n") && text.contains("login = \"corp@login.example.com\""), "{text}");
    let _ = run(laptop.seamless(&words).arg("--yes")).ok().says("nothing to change");
    let _ = remove(&laptop, "service", service);
    assert_eq!(std::fs::read_to_string(&kept).expect("the file").trim(), "# mine");
    // A file that others could have written says nothing here.
    laptop.trusts(service, &[]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&kept, mode).expect("set a mode");
    let _ = run(&mut laptop.seamless(&["header", service])).fails().says("chmod 600");
}

#[test]
fn an_installation_links_the_helper_where_nobody_has() {
    let laptop = Laptop::new("");
    let link = laptop.home.join("bin/docker-credential-seamless");
    assert!(!link.exists());
    let _ = install(&laptop, "docker", "https://registry.example.com");
    let program = std::fs::canonicalize(&link).expect("the link");
    assert_eq!(program, std::fs::canonicalize(laptop.home.join("bin/seamless")).expect("the program"));
    let done = run_with(laptop.home.command(&link).arg("get").env("USER", "ada"), b"registry.example.com");
    assert_eq!(done.ok().json()["Username"], "ada");
}
