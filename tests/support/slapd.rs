//! OpenLDAP's server with crtauth's schema, on loopback ports of its own.

use std::path::PathBuf;

use crate::home::Home;
use crate::http::free_port;
use crate::process::{Running, run};
use crate::skip::needs;

/// A directory service under `dc=example,dc=com`, which only a bound reader may read.
#[derive(Debug)]
pub struct Slapd {
    /// For `ldap://`.
    pub port: u16,
    /// For `ldaps://`.
    pub tls_port: u16,
    folder: PathBuf,
    program: PathBuf,
    running: Option<Running>,
}

/// Who may read.
pub const READER: &str = "cn=reader,dc=example,dc=com";
/// Its password.
pub const PASSWORD: &str = "reader's password";

impl Slapd {
    /// Starts it with these entries (LDIF), below the base and its containers. None where there is no slapd.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(home: &Home, entries: &str) -> Option<Self> {
        let (program, openssl) = (needs("slapd")?, needs("openssl")?);
        let folder = home.join("slapd");
        std::fs::create_dir_all(folder.join("data")).expect("a folder for slapd");
        let ssl = |args: &str| {
            let _ = run(home.command(&openssl).args(args.split(' ')).current_dir(&folder)).ok();
        };
        let fresh = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        ssl(&format!("req -x509 {fresh} -subj /CN=test-ca -keyout ca.key -out ca.pem"));
        ssl(&format!("req -x509 {fresh} -subj /CN=other-ca -keyout other.key -out other-ca.pem"));
        let san = "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE";
        ssl(&format!(
            "req -x509 {fresh} -CA ca.pem -CAkey ca.key -subj /CN=ldap {san} -keyout s.key -out s.pem"
        ));
        let place = folder.display();
        let conf = format!(
            "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
attributetype ( 1.3.6.1.4.1.24552.500.1.1.1.13 NAME 'sshPublicKey' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.24552.500.1.1.2.0 NAME 'ldapPublicKey' SUP top AUXILIARY MAY ( sshPublicKey $ uid ) )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {place}/pid
TLSCertificateFile {place}/s.pem
TLSCertificateKeyFile {place}/s.key
database mdb
suffix dc=example,dc=com
rootdn cn=admin,dc=example,dc=com
directory {place}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn=\"{READER}\" read by * none
"
        );
        std::fs::write(folder.join("slapd.conf"), conf).expect("slapd.conf");
        let base = format!(
            "dn: dc=example,dc=com\nobjectClass: domain\ndc: example\n
dn: cn=users,dc=example,dc=com\nobjectClass: organizationalRole\ncn: users\n
dn: cn=groups,dc=example,dc=com\nobjectClass: organizationalRole\ncn: groups\n
dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\nuserPassword: {PASSWORD}\n
{entries}"
        );
        std::fs::write(folder.join("base.ldif"), base).expect("base.ldif");
        let add = needs("slapadd")?;
        let _ =
            run(home.command(add).args(["-f", "slapd.conf", "-l", "base.ldif"]).current_dir(&folder)).ok();
        let mut slapd = Self { port: free_port(), tls_port: free_port(), folder, program, running: None };
        slapd.resume(home);
        Some(slapd)
    }

    /// Starts it again on the same ports.
    ///
    /// # Panics
    /// If it does not listen.
    pub fn resume(&mut self, home: &Home) {
        let urls = format!("ldap://127.0.0.1:{} ldaps://127.0.0.1:{}", self.port, self.tls_port);
        let mut command = home.command(&self.program);
        command.args(["-d", "0", "-f", "slapd.conf", "-h", &urls]).current_dir(&self.folder);
        let mut running = Running::start(&mut command);
        let port = self.port;
        running.wait_for("slapd", |_| std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop));
        self.running = Some(running);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// A file that it was started with: `ca.pem` signed its certificate, `other-ca.pem` did not.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// An entry of a user with these keys.
#[must_use]
pub fn user(name: &str, keys: &[&str]) -> String {
    let keys: String = keys.iter().map(|key| format!("sshPublicKey: {}\n", key.trim())).collect();
    format!(
        "dn: uid={name},cn=users,dc=example,dc=com\nobjectClass: account\nobjectClass: posixAccount\n\
         objectClass: ldapPublicKey\nuid: {name}\ncn: {name}\nuidNumber: 1000\ngidNumber: 1000\n\
         homeDirectory: /nonexistent\n{keys}\n"
    )
}

/// An entry of a group with these members.
#[must_use]
pub fn group(name: &str, members: &[&str]) -> String {
    let members: String = members.iter().map(|member| format!("memberUid: {member}\n")).collect();
    format!(
        "dn: cn={name},cn=groups,dc=example,dc=com\nobjectClass: posixGroup\ncn: {name}\ngidNumber: 2000\n{members}\n"
    )
}
