//! A git server over HTTP: stock `git http-backend` behind a check of the token.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::service::{Answer, Asked, Service};

/// Serves the bare repositories of a folder to whomever `accepts` likes the `Authorization` of. What git sends as a
/// password is shown to it as a bearer token.
#[must_use]
pub fn serve(folder: &Path, accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Service {
    let folder = folder.to_path_buf();
    Service::start(move |asked| {
        let authorization = asked.authorization().and_then(bearer);
        if authorization.is_some_and(|value| accepts(&value)) {
            backend(&folder, asked)
        } else {
            Answer::new(401, "who are you?\n")
                .with("WWW-Authenticate: Bearer realm=\"git\"")
                .with("WWW-Authenticate: Basic realm=\"git\"")
        }
    })
}

fn bearer(value: &str) -> Option<String> {
    let Some(basic) = value.strip_prefix("Basic ") else { return Some(value.to_owned()) };
    let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    Some(format!("Bearer {}", text.split_once(':')?.1))
}

/// CGI (RFC 3875), as far as git needs it.
fn backend(folder: &Path, asked: &Asked) -> Answer {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        // The folder may be another account's.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &asked.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", asked.body.len().to_string());
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        if let Some(value) = asked.header(name) {
            command.env(variable, value);
        }
    }
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("git http-backend starts");
    let mut stdin = child.stdin.take().expect("its standard input");
    let body = asked.body.clone();
    std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().expect("git http-backend ends").stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status =
        head.lines().find_map(|line| line.strip_prefix("Status: ")?.get(..3)?.parse().ok()).unwrap_or(200);
    head.lines()
        .filter(|line| !line.starts_with("Status:"))
        .fold(Answer::new(status, &output[end + 4..]), Answer::with)
}

/// A bare repository `NAME.git` with one commit, which holds the file `README` with this text.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn repository(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (work, bare) = (folder.join("work"), folder.join(format!("{name}.git")));
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(words)
            .current_dir(folder);
        let _ = crate::process::run(command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", folder)).ok();
    };
    git(&["init", "--quiet", "work"]);
    std::fs::write(work.join("README"), text).expect("write a file");
    git(&["-C", "work", "add", "README"]);
    git(&["-C", "work", "commit", "--quiet", "-m", "first"]);
    git(&["clone", "--quiet", "--bare", "work", &format!("{name}.git")]);
    bare
}
