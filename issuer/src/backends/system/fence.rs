//! Whether sshd holds a realm's account to its forced commands, by sshd's own words (`sshd -T -C user=…`).
//!
//! The drop-in says all of it, yet sshd takes the first value that it meets among its Match blocks: a block of the
//! administrator's that is read earlier wins. So what counts is what sshd says, not what we wrote.

use super::matches;
use crate::config::KeysBy;
use crate::names::RealmName;

/// A way past the forced command, or none in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The setting as sshd reads it.
    pub setting: String,
    /// What it allows.
    pub allows: &'static str,
    /// Whether it lets somebody do more than fetch a token; otherwise it keeps people out.
    pub opens: bool,
}

/// Keyword, what it must be, what else it would allow.
const MUST: [(&str, &str, &str); 16] = [
    ("trustedusercakeys", "none", "a certificate for the account gets a shell"),
    ("authenticationmethods", "publickey", "other ways to log in than a key"),
    ("pubkeyauthentication", "yes", "no way to log in by key"),
    ("passwordauthentication", "no", "passwords are asked for"),
    ("kbdinteractiveauthentication", "no", "passwords are asked for"),
    ("forcecommand", "none", "it comes before the line's own command, which knows the user"),
    ("chrootdirectory", "none", "the forced command is not found in there"),
    ("disableforwarding", "yes", "forwarding"),
    // Before OpenSSH 10.0 the line above left these two alone (CVE-2025-32728).
    ("allowagentforwarding", "no", "agent forwarding"),
    ("x11forwarding", "no", "X11 forwarding"),
    ("allowtcpforwarding", "no", "TCP forwarding"),
    ("allowstreamlocalforwarding", "no", "forwarding of unix sockets"),
    ("permittunnel", "no", "tunnels"),
    ("permittty", "no", "terminals"),
    ("permituserrc", "no", "~/.ssh/rc runs before the forced command"),
    ("permituserenvironment", "no", "~/.ssh/environment reaches the forced command"),
];

/// What a client must not be able to set for the forced command.
const DANGEROUS: [&str; 6] = ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV", "ENV", "GCONV_PATH"];

/// Where sshd's settings for the realm's account leave the fence open, or shut to all.
#[must_use]
pub fn gaps(settings: &[(String, String)], realm: &RealmName, keys: KeysBy) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let values = |name: &str| {
        settings.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>()
    };
    let mut must = |name: &str, wanted: &dyn Fn(&str) -> bool, allows: &'static str| {
        let found = values(name);
        if !(found.len() == 1 && found.iter().all(|v| wanted(v))) {
            let shown = if found.is_empty() { "-".to_owned() } else { found.join(" ") };
            gaps.push(Gap { setting: format!("{name} {shown}"), allows, opens: true });
        }
    };
    for (name, wanted, allows) in MUST {
        must(name, &|value| value == wanted, allows);
    }
    let accepted = |v: &str| !v.contains("-cert-v01@openssh.com");
    must("pubkeyacceptedalgorithms", &accepted, "certificates are accepted");
    match keys {
        KeysBy::File => {
            must(
                "authorizedkeysfile",
                &|v| v == ".ssh/authorized_keys",
                "keys of other files, without the forced command",
            );
            must("authorizedkeyscommand", &|v| v == "none", "keys of another command, without ours");
        }
        KeysBy::Command => {
            must("authorizedkeysfile", &|v| v == "none", "a line that is left in a file gets in");
            must(
                "authorizedkeyscommand",
                &|v| v.contains(" authorized-keys --dir "),
                "keys of another command, without ours",
            );
            must("authorizedkeyscommanduser", &|v| v == realm.as_str(), "the command runs as somebody else");
        }
    }
    for pattern in values("acceptenv").iter().flat_map(|v| v.split_whitespace()) {
        if DANGEROUS.iter().any(|name| matches(pattern.as_bytes(), name.as_bytes())) {
            let allows = "a client sets LD_PRELOAD or its like for the forced command";
            gaps.push(Gap { setting: format!("acceptenv {pattern}"), allows, opens: true });
        }
    }
    gaps.extend(shut_out(settings, realm));
    gaps
}

/// Lists of who may log in at all. Host parts are not looked at: they are the administrator's intent.
fn shut_out(settings: &[(String, String)], realm: &RealmName) -> Vec<Gap> {
    let named = |keyword: &str| {
        let lines = settings.iter().filter(move |(k, _)| k == keyword);
        lines
            .flat_map(|(_, v)| v.split_whitespace())
            .map(|p| p.split('@').next().unwrap_or(p))
            .collect::<Vec<_>>()
    };
    let is_ours =
        |patterns: &[&str]| patterns.iter().any(|p| matches(p.as_bytes(), realm.as_str().as_bytes()));
    let mut gaps = Vec::new();
    for (keyword, shuts) in
        [("allowusers", false), ("allowgroups", false), ("denyusers", true), ("denygroups", true)]
    {
        let patterns = named(keyword);
        if !patterns.is_empty() && is_ours(&patterns) == shuts {
            let allows = if shuts { "it keeps this realm out" } else { "it does not name this realm" };
            gaps.push(Gap { setting: format!("{keyword} {}", patterns.join(" ")), allows, opens: false });
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keys: KeysBy) -> Vec<(String, String)> {
        let mut all: Vec<_> = MUST.iter().map(|(k, v, _)| ((*k).to_owned(), (*v).to_owned())).collect();
        let rest: &[(&str, &str)] = match keys {
            KeysBy::File => {
                &[("authorizedkeysfile", ".ssh/authorized_keys"), ("authorizedkeyscommand", "none")]
            }
            KeysBy::Command => &[
                ("authorizedkeysfile", "none"),
                (
                    "authorizedkeyscommand",
                    "/usr/bin/seamless authorized-keys --dir /var/lib/seamless/corp %t %k",
                ),
                ("authorizedkeyscommanduser", "corp"),
            ],
        };
        let more = [
            ("pubkeyacceptedalgorithms", "ssh-ed25519,rsa-sha2-256"),
            ("acceptenv", "LANG"),
            ("acceptenv", "LC_*"),
        ];
        all.extend(rest.iter().chain(&more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        all
    }

    fn found(keys: KeysBy, name: &str, value: &str) -> Vec<Gap> {
        let mut all = settings(keys);
        all.retain(|(k, _)| k != name);
        all.push((name.to_owned(), value.to_owned()));
        gaps(&all, &"corp".parse().unwrap(), keys)
    }

    #[test]
    fn a_closed_fence_has_no_gaps() {
        for keys in [KeysBy::File, KeysBy::Command] {
            assert_eq!(gaps(&settings(keys), &"corp".parse().unwrap(), keys), []);
        }
    }

    #[test]
    fn each_setting_that_opens_it_is_named() {
        for (keys, name, value) in [
            (KeysBy::File, "trustedusercakeys", "/etc/ssh/ca.pub"),
            (KeysBy::File, "permituserenvironment", "yes"),
            (KeysBy::File, "permittty", "yes"),
            (KeysBy::File, "allowagentforwarding", "yes"),
            (KeysBy::File, "forcecommand", "/bin/sh"),
            (KeysBy::File, "authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"),
            (KeysBy::File, "authorizedkeyscommand", "/usr/bin/ldap-keys"),
            (KeysBy::File, "pubkeyacceptedalgorithms", "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519"),
            (KeysBy::File, "acceptenv", "*"),
            (KeysBy::File, "acceptenv", "LD_*"),
            (KeysBy::Command, "authorizedkeysfile", ".ssh/authorized_keys"),
            (KeysBy::Command, "authorizedkeyscommand", "none"),
            (KeysBy::Command, "authorizedkeyscommanduser", "root"),
        ] {
            let gaps = found(keys, name, value);
            assert!(
                gaps.len() == 1 && gaps[0].opens && gaps[0].setting == format!("{name} {value}"),
                "{name}: {gaps:?}"
            );
        }
        // An sshd that does not say is not trusted to mean well.
        assert_eq!(gaps(&[], &"corp".parse().unwrap(), KeysBy::File).len(), MUST.len() + 3);
    }

    #[test]
    fn lists_that_keep_the_realm_out_are_named() {
        for (name, value, count) in [
            ("allowusers", "ada bob", 1),
            ("allowusers", "ada corp@10.0.0.0/8", 0),
            ("allowusers", "c*", 0),
            ("denyusers", "corp", 1),
            ("denyusers", "ada", 0),
            ("allowgroups", "staff", 1),
        ] {
            let gaps = found(KeysBy::File, name, value);
            assert!(gaps.len() == count && gaps.iter().all(|g| !g.opens), "{name} {value}: {gaps:?}");
        }
    }
}
