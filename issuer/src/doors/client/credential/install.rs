//! `seamless credential install` and `remove`: other programs are told to ask for tokens.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::doors::client::source::of_client;
use crate::doors::client::url::Url;
use crate::doors::output::{Out, note};
use crate::error::{Error, Result, io};

use super::edit::{self, Edit};
use super::{Helper, kubeconfig, servers};

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// git, over https
    Git,
    /// docker, podman, skopeo: one registry
    Docker,
    /// kubectl, helm, k9s: one cluster's API server
    Kube,
    /// servers.toml alone, for `seamless header` and `seamless curl`
    Service,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
It shows what it would write, asks, and writes it: an entry in servers.toml, which says where to
log in for this service, and what tells the program to ask. All else in those files stays. Said
again, it changes nothing.

  seamless credential install git --for https://git.example.com --login corp@login.example.com
  seamless credential install docker --for https://registry.example.com --login corp@login.example.com
  seamless credential install kube --for https://k8s.example.com:6443 --login corp@login.example.com
  seamless credential install service --for https://api.example.com --login https://login.example.com")]
pub(in crate::doors) struct Install {
    /// The program
    tool: Tool,
    /// The service that tokens are for
    #[arg(long = "for", value_name = "URL")]
    service: String,
    /// Where to log in [default: as it stands there, or the service itself]
    #[arg(long, value_name = "WHERE")]
    login: Option<String>,
    /// Who you are there [default: your name here]
    #[arg(long, short, value_name = "NAME")]
    user: Option<String>,
    /// Whom the tokens are for; may be repeated
    #[arg(long, short)]
    audience: Vec<String>,
    /// What they may do; may be repeated
    #[arg(long, short)]
    scope: Vec<String>,
    /// jwt or seamless [default: the server's]
    #[arg(long)]
    format: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The entry in servers.toml stays, for other programs; `seamless credential remove service --for URL` removes it.")]
pub(in crate::doors) struct Remove {
    /// The program
    tool: Tool,
    /// The service
    #[arg(long = "for", value_name = "URL")]
    service: String,
    #[command(flatten)]
    how: How,
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct How {
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// Show what would be written, and write nothing
    #[arg(long)]
    print: bool,
}

pub(super) fn install(_: Out, args: &Install) -> Result<u8> {
    let service: Url = args.service.parse()?;
    let login = args.login.as_deref();
    login.map(str::parse::<client::Destination>).transpose().map_err(of_client)?;
    let entry = servers::Entry {
        url: &service,
        login,
        user: args.user.as_deref(),
        audiences: &args.audience,
        scopes: &args.scope,
        format: args.format.as_deref(),
    };
    let mut edits =
        vec![Edit::of(client::servers::path().map_err(of_client)?, |text| servers::with(text, &entry))?];
    let link = match args.tool {
        Tool::Service => None,
        Tool::Git => Link::missing(Helper::Git)?,
        Tool::Docker => Link::missing(Helper::Docker)?,
        Tool::Kube => Link::missing(Helper::Kube)?,
    };
    edits.extend(edit_of(args.tool, &service, true)?);
    if let Some(link) = &link {
        note(&format!("seamless: link {} -> {}", link.at.display(), link.program.display()));
    }
    if edit::make(&edits, args.how.yes, args.how.print)? || link.is_some() && !args.how.print {
        if let Some(link) = link {
            link.make()?;
        }
        if args.tool == Tool::Kube {
            note(&format!(
                "seamless: use it: kubectl config set-context --current --user={}",
                kubeconfig::USER
            ));
        }
    }
    Ok(0)
}

pub(super) fn remove(_: Out, args: &Remove) -> Result<u8> {
    let service: Url = args.service.parse()?;
    let edit = match edit_of(args.tool, &service, false)? {
        Some(edit) => edit,
        None => {
            Edit::of(client::servers::path().map_err(of_client)?, |text| servers::without(text, &service))?
        }
    };
    edit::make(&[edit], args.how.yes, args.how.print)?;
    Ok(0)
}

/// The change to the program's own file; none where it has none.
fn edit_of(tool: Tool, service: &Url, come: bool) -> Result<Option<Edit>> {
    let edit = match tool {
        Tool::Service => return Ok(None),
        Tool::Git => Edit::of(git_file()?, |text| git(text, service, come)),
        Tool::Docker => Edit::of(docker_file()?, |text| docker(text, service, come)),
        Tool::Kube => Edit::of(kube_file()?, |text| match come {
            true => kubeconfig::with(text),
            false => kubeconfig::without(text),
        }),
    };
    edit.map(Some)
}

/// `credential.URL.helper`, by git itself on a copy: nobody else should write its files.
fn git(text: &str, service: &Url, come: bool) -> Result<String> {
    let file = tempfile::NamedTempFile::new().map_err(|e| io("make", &std::env::temp_dir(), &e))?;
    let failed = |e: &std::io::Error| io("write", file.path(), e);
    std::fs::write(file.path(), text).map_err(|e| failed(&e))?;
    let helper = format!("credential.{service}.helper");
    let by_path = format!("credential.{service}.useHttpPath");
    // What is kept elsewhere (`store`, `manager`) would keep our tokens too: an empty helper ends the list before ours.
    let ours = ["", "seamless"];
    let known = git_config(file.path(), &["--get-all", &helper])?.unwrap_or_default();
    let is_there = known.lines().eq(ours);
    if come && !is_there {
        git_config(file.path(), &["--unset-all", &helper])?;
        for value in ours {
            git_config(file.path(), &["--add", &helper, value])?;
        }
        if service.path() != "/" {
            // Else git names the host alone.
            git_config(file.path(), &["--replace-all", &by_path, "true"])?;
        }
    }
    if !come && is_there {
        git_config(file.path(), &["--unset-all", &helper])?;
        git_config(file.path(), &["--unset-all", &by_path])?;
        let section = format!("credential.{service}.");
        let names = git_config(file.path(), &["--name-only", "--list"])?.unwrap_or_default();
        if !names.lines().any(|name| name.starts_with(&section)) {
            // Older gits leave an empty one.
            git_config(file.path(), &["--remove-section", section.trim_end_matches('.')])?;
        }
    }
    std::fs::read_to_string(file.path()).map_err(|e| io("read", file.path(), &e))
}

/// `git config --file FILE WORDS`; none where there is nothing of that name.
fn git_config(file: &Path, words: &[&str]) -> Result<Option<String>> {
    let output = Command::new("git").args(["config", "--file"]).arg(file).args(words).output();
    let output = output.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::failed("there is no git on the PATH"),
        _ => Error::failed(format!("git does not start: {e}")),
    })?;
    match output.status.code() {
        Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        // 128 where there is no such section.
        Some(1 | 5) => Ok(None),
        Some(128) if words.first() == Some(&"--remove-section") => Ok(None),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Error::failed(format!("git does not read it: {}", said.lines().next().unwrap_or_default())))
        }
    }
}

/// `credHelpers` in docker's config.json.
fn docker(text: &str, service: &Url, come: bool) -> Result<String> {
    let bad = |why: &str| Error::failed(format!("it is {why}")).hint("mend it by hand; nothing was changed");
    if service.path() != "/" {
        return Err(Error::usage("a registry has no path").hint(format!("--for {}", service.origin())));
    }
    let mut file: Value = match text.trim() {
        "" => Value::Object(Map::new()),
        text => serde_json::from_str(text).map_err(|e| bad(&format!("no valid JSON: {e}")))?,
    };
    let before = file.clone();
    let map = file.as_object_mut().ok_or_else(|| bad("no JSON object"))?;
    let helpers = map.entry("credHelpers").or_insert_with(|| Value::Object(Map::new()));
    let helpers = helpers.as_object_mut().ok_or_else(|| bad("odd: its credHelpers are no object"))?;
    if come {
        helpers.insert(service.authority().to_owned(), Value::from("seamless"));
    } else if helpers.get(service.authority()).is_some_and(|helper| helper == "seamless") {
        helpers.shift_remove(service.authority());
    }
    if helpers.is_empty() {
        map.shift_remove("credHelpers");
    }
    if file == before {
        return Ok(text.to_owned());
    }
    // As it is written, and else as docker writes it.
    let first = text.lines().find(|line| line.starts_with([' ', '\t'])).unwrap_or("\t");
    let indent = first.split_at(first.len() - first.trim_start().len()).0;
    let mut out = Vec::new();
    let style = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut writer = serde_json::Serializer::with_formatter(&mut out, style);
    serde::Serialize::serialize(&file, &mut writer)
        .map_err(|e| bad(&format!("too odd to be written: {e}")))?;
    let end = if text.is_empty() || text.ends_with('\n') { "\n" } else { "" };
    String::from_utf8(out).map(|text| text + end).map_err(|_| bad("no text"))
}

/// Where git has the user's settings: ~/.gitconfig, or the one in ~/.config where that alone is there.
fn git_file() -> Result<PathBuf> {
    let (home, own) = (at_home(".gitconfig")?, config_home()?.join("git/config"));
    Ok(if !home.exists() && own.exists() { own } else { home })
}

fn docker_file() -> Result<PathBuf> {
    match set("DOCKER_CONFIG") {
        Some(folder) => Ok(folder.join("config.json")),
        None => at_home(".docker/config.json"),
    }
}

/// The first of KUBECONFIG, where kubectl writes too.
fn kube_file() -> Result<PathBuf> {
    let first =
        set("KUBECONFIG").and_then(|list| std::env::split_paths(&list).find(|path| path.as_os_str() != ""));
    first.map_or_else(|| at_home(".kube/config"), Ok)
}

fn config_home() -> Result<PathBuf> {
    set("XDG_CONFIG_HOME").map_or_else(|| at_home(".config"), Ok)
}

fn at_home(path: &str) -> Result<PathBuf> {
    set("HOME")
        .map(|home| home.join(path))
        .ok_or_else(|| Error::failed("HOME says nothing of where your files are"))
}

fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A name that the program is to go by. The Debian package has them; `cargo install` can't.
struct Link {
    at: PathBuf,
    program: PathBuf,
}

impl Link {
    /// What is not on the `PATH` yet, beside the program if that is, or else in ~/.local/bin.
    fn missing(helper: Helper) -> Result<Option<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = std::env::split_paths(&path).collect();
        if folders.iter().any(|folder| folder.join(helper.name()).is_file()) {
            return Ok(None);
        }
        let program =
            std::env::current_exe().map_err(|e| Error::internal(format!("which program is this? {e}")))?;
        let own = program.parent().map(Path::to_path_buf).unwrap_or_default();
        let writable = rustix::fs::access(&own, rustix::fs::Access::WRITE_OK).is_ok();
        let folder = if folders.contains(&own) && writable { own } else { at_home(".local/bin")? };
        Ok(Some(Self { at: folder.join(helper.name()), program }))
    }

    fn make(&self) -> Result<()> {
        if let Some(folder) = self.at.parent() {
            std::fs::create_dir_all(folder).map_err(|e| io("make", folder, &e))?;
            let path = std::env::var_os("PATH").unwrap_or_default();
            if !std::env::split_paths(&path).any(|known| known == folder) {
                note(&format!("seamless: put {} on your PATH: the helper is there", folder.display()));
            }
        }
        if self.at.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            std::fs::remove_file(&self.at).map_err(|e| io("replace", &self.at, &e))?;
        }
        std::os::unix::fs::symlink(&self.program, &self.at).map_err(|e| io("make", &self.at, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_keeps_what_else_it_has() {
        let registry: Url = "https://registry.example.com:5000".parse().unwrap();
        let file = "{\n  \"auths\": {\n    \"ghcr.io\": {\n      \"auth\": \"x\"\n    }\n  },\n  \"credsStore\": \"pass\"\n}";
        let with = docker(file, &registry, true).unwrap();
        let ours = ",\n  \"credHelpers\": {\n    \"registry.example.com:5000\": \"seamless\"\n  }\n}";
        assert_eq!(with, file.strip_suffix("\n}").unwrap().to_owned() + ours);
        assert_eq!(docker(&with, &registry, true).unwrap(), with);
        assert_eq!(docker(&with, &registry, false).unwrap(), file);
        let other = with.replace("\"seamless\"", "\"pass\"");
        assert_eq!(docker(&other, &registry, false).unwrap(), other, "somebody else's");
        assert!(docker("", &registry, true).unwrap().starts_with("{\n\t\"credHelpers\""));
        assert_eq!(docker("", &registry, false).unwrap(), "");
        for bad in ["{", "[]", "{\"credHelpers\": 3}"] {
            assert!(docker(bad, &registry, true).is_err(), "{bad}");
        }
        assert!(docker("", &"https://a/b".parse().unwrap(), true).is_err());
    }
}
