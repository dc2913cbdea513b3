//! The keys of whoever starts `serve`: files whose private half lies beside them, and a local agent's keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::names::UserName;
use crate::public_key::PublicKey;
use crate::services::enrol::{self, Found};
use crate::services::hosting;

/// The keys of whoever started us.
pub(super) struct Own {
    pub(super) found: Vec<Found>,
    /// The private key files that ssh tries without being told.
    pub(super) tried: Vec<PathBuf>,
}

/// Files whose private half lies beside them, and a local agent's keys.
pub(super) async fn own_keys() -> Own {
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
pub(super) fn own_name() -> String {
    let name = hosting::own_account_name().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    if name.parse::<UserName>().is_ok() { name } else { "me".to_owned() }
}
