//! `kubectl-seamless`: kubectl's exec credential plugin (client.authentication.k8s.io).

use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::doors::client::source::Source;
use crate::doors::client::url::Url;
use crate::doors::output::{time, write_out};
use crate::error::{Error, Result};

/// Where kubectl says what it wants.
const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";

/// The versions that look alike as far as they matter here.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

#[derive(Deserialize)]
struct ExecCredential {
    #[serde(rename = "apiVersion")]
    version: String,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    interactive: bool,
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Cluster {
    server: String,
    #[serde(default, rename = "insecure-skip-tls-verify")]
    insecure: bool,
}

pub(super) fn run(_: &str) -> Result<u8> {
    let asked = std::env::var(EXEC_INFO).map_err(|_| {
        Error::usage("kubectl-seamless is kubectl's to call")
            .hint("seamless credential install kube --for URL --login WHERE tells it to")
    })?;
    write_out(&answer(&asked)?);
    Ok(0)
}

fn answer(asked: &str) -> Result<Zeroizing<String>> {
    let ExecCredential { version, spec } =
        serde_json::from_str(asked).map_err(|_| Error::usage(format!("{EXEC_INFO} is no ExecCredential")))?;
    if !VERSIONS.contains(&version.as_str()) {
        return Err(Error::usage(format!("kubectl asks in version {version:?}, which is not known here"))
            .hint(format!("in the kubeconfig: apiVersion: {}", VERSIONS.first().unwrap_or(&""))));
    }
    // By an argument in the kubeconfig the token of one cluster could be sent to another.
    let cluster = spec.cluster.ok_or_else(|| {
        Error::usage("kubectl doesn't say for which cluster")
            .hint("in the kubeconfig: provideClusterInfo: true")
    })?;
    let url: Url = cluster.server.parse()?;
    if cluster.insecure && !url.is_loopback() {
        return Err(Error::usage(format!(
            "insecure-skip-tls-verify would hand the token to whoever answers for {url}"
        ))
        .hint("certificate-authority-data names the authority to trust"));
    }
    let (source, _) = Source::listed(&url)?.ok_or_else(|| {
        Error::failed(format!("servers.toml has no entry for {url}"))
            .hint(format!("seamless credential install kube --for {url} --login WHERE"))
    })?;
    let token = source.silent(!spec.interactive).token()?;
    let mut status = json!({ "token": token.access_token.as_str() });
    if let (Some(at), Some(status)) = (token.expires_at, status.as_object_mut()) {
        status.insert("expirationTimestamp".to_owned(), time(at).into());
    }
    let answer = json!({ "apiVersion": version, "kind": "ExecCredential", "status": status });
    Ok(Zeroizing::new(format!("{answer}\n")))
}
