//! The Debian package, in a Debian that boots: from `dpkg -i` to a token, an upgrade, and away again.
//!
//! Whatever becomes of the package, an administrator gets in by sshd, and nobody gets a shell as a realm's account.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use seamless_tests::debian::Debian;
use seamless_tests::home::{ED25519, Home, public};
use seamless_tests::http::free_port;
use seamless_tests::process::{Done, LIMIT, Running, run};
use seamless_tests::skip::{needs, skip};

/// Ada's `ssh` to an account of the host, with nothing but these keys.
const SSH: &str = "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=10";

/// sshd on a host with a certificate authority of its own, as many have.
const TRUSTED_CA: &str = "TrustedUserCAKeys /etc/ssh/user_ca.pub\n";

/// A Debian with an administrator, a person, and a certificate of the host's authority for each realm's account.
struct Host {
    debian: Debian,
}

impl Host {
    #[track_caller]
    fn boot() -> Option<Self> {
        let debian = Debian::boot()?;
        std::fs::write(debian.path("/etc/ssh/sshd_config.d/10-ca.conf"), TRUSTED_CA).expect("trust the CA");
        let _ = debian
            .sh("ssh-keygen -q -t ed25519 -N '' -f /srv/ca && cp /srv/ca.pub /etc/ssh/user_ca.pub
                 # Ids that no account outside has: a signal to all that is somebody's knows no borders.
                 for id in 59001:ada 59002:boss; do
                     name=${id#*:}
                     useradd --uid ${id%:*} --create-home --shell /bin/sh --password '*' $name
                     su - $name -c \"mkdir -m 700 .ssh; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519\"
                 done
                 cp /home/boss/.ssh/id_ed25519.pub /home/boss/.ssh/authorized_keys
                 chown boss: /home/boss/.ssh/authorized_keys
                 su - ada -c \"ssh-keygen -q -t ed25519 -N '' -f cert\"
                 ssh-keygen -q -s /srv/ca -I ada -n corp,acme /home/ada/cert.pub
                 chown ada: /home/ada/cert-cert.pub
                 read -r type key rest < /etc/ssh/ssh_host_ed25519_key.pub
                 echo \"127.0.0.1 $type $key\" > /etc/ssh/ssh_known_hosts
                 systemctl reload ssh")
            .ok();
        Some(Self { debian })
    }

    /// With the package.
    #[track_caller]
    fn with_package() -> Option<Self> {
        let host = Self::boot()?;
        host.install("SEAMLESS_DEB")?;
        Some(host)
    }

    /// With the package and the realm `corp`, in which ada has a key.
    #[track_caller]
    fn with_realm() -> Option<Self> {
        let host = Self::with_package()?;
        let _ = host.root("sudo seamless init corp --issuer http://127.0.0.1:8080/corp").ok();
        let _ = host.root("sudo seamless add corp /home/ada/.ssh/id_ed25519.pub --user ada").ok();
        Some(host)
    }

    /// `dpkg -i` of a package that `cargo xtask test --only package` has made.
    #[track_caller]
    fn install(&self, variable: &str) -> Option<Done> {
        self.debian.copy_in(&package(variable)?, "/srv/seamless.deb");
        Some(self.root("dpkg -i /srv/seamless.deb").ok())
    }

    fn root(&self, script: &str) -> Done {
        self.debian.sh(script)
    }

    /// `systemctl WORDS`, with what the unit said where it fails.
    fn systemctl(&self, words: &str) -> Done {
        self.root(&format!(
            "systemctl {words} || {{ journalctl --no-pager -n 50 -u 'seamless@*' >&2; exit 1; }}"
        ))
    }

    /// Ada's `ssh`.
    fn ada(&self, script: &str) -> Done {
        self.ssh_as("ada", script)
    }

    /// Somebody's `ssh`. While sshd reads its configuration anew, nobody listens for a moment.
    #[track_caller]
    fn ssh_as(&self, account: &str, script: &str) -> Done {
        for _ in 0..50 {
            let done = self.debian.sh_as(account, script);
            if !done.stderr.contains("Connection refused") {
                return done;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("sshd does not listen:\n{}", self.root("systemctl status ssh --no-pager"));
    }

    /// `ssh -T REALM@127.0.0.1 WORDS`, by ada's enrolled key.
    fn login(&self, realm: &str, words: &str) -> Done {
        self.ada(&format!("{SSH} -i .ssh/id_ed25519 -T {realm}@127.0.0.1 {words}"))
    }

    /// A token for ada, as its only line, which the realm's own store verifies.
    #[track_caller]
    fn gives_a_token(&self, realm: &str) -> String {
        let token = self.login(realm, "").ok().line();
        assert!(token.starts_with("ada."), "{token}");
        let verify = format!("sudo seamless verify --json --realm {realm} {token}");
        assert_eq!(self.root(&verify).ok().json()["subject"], "ada");
        token
    }

    /// Neither an enrolled key, nor a certificate of the host's authority, nor a line that somebody put into the
    /// account's authorized_keys gets anything out of the realm's account.
    #[track_caller]
    fn shuts_everybody_out_of(&self, realm: &str) {
        let _ = self.root(&format!(
            "home=/var/lib/seamless/{realm}
             [ ! -e $home/.ssh/authorized_keys ] || cat /home/ada/cert.pub >> $home/.ssh/authorized_keys"
        ));
        for key in ["-i .ssh/id_ed25519", "-i cert -o CertificateFile=cert-cert.pub", "-i cert"] {
            for words in ["", "id", "-N -o ExitOnForwardFailure=yes -L 9999:127.0.0.1:22"] {
                let done = self.ada(&format!("timeout 10 {SSH} {key} {realm}@127.0.0.1 {words}"));
                assert!(!done.stdout.contains("uid=") && !done.stdout.contains("ada."), "{done}");
                let _ = done.code(255);
            }
        }
    }

    /// The administrator gets in by key, and sshd would start again.
    #[track_caller]
    fn lets_the_administrator_in(&self) {
        let script = format!("{SSH} -T boss@127.0.0.1 id -un");
        assert_eq!(self.ssh_as("boss", &script).ok().line(), "boss");
        let _ = self.root("sshd -t").ok();
    }

    /// The realm as it lies on disk.
    fn holdings(&self, realm: &str) -> String {
        self.root(&format!(
            "cd /var/lib/seamless/{realm} && find . -type f ! -path './.ssh/*' ! -name 'realm.db-*' | sort"
        ))
        .ok()
        .stdout
    }

    fn is_there(&self, path: &str) -> bool {
        self.debian.path(path).symlink_metadata().is_ok()
    }
}

/// The package under this name.
fn package(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file());
    if path.is_none() {
        skip("no package; `cargo xtask test --only package` makes it");
    }
    path
}

#[test]
fn from_dpkg_to_a_token() {
    let Some(host) = Host::boot() else { return };
    let sshd = "cat /etc/ssh/sshd_config /etc/ssh/sshd_config.d/* | sha256sum; cat /etc/passwd";
    let before = host.root(sshd).ok().stdout;
    if host.install("SEAMLESS_DEB").is_none() {
        return;
    }
    assert_eq!(
        host.root(sshd).ok().stdout,
        before,
        "the package itself tells sshd nothing, and makes no account"
    );

    // By the names of helpers the program answers git, docker and kubectl, for whoever calls.
    let _ = host.ada("printf 'protocol=https\\nhost=x.example\\n\\n' | git-credential-seamless get").ok();
    let _ = host.ada("git-credential-seamless capability").ok().says("capability authtype");
    let _ = host.ada("docker-credential-seamless list").ok().says("{}");
    let _ = host.ada("kubectl-seamless").fails().says("kubectl's to call");

    let _ = host.root("sudo seamless init corp").ok().says("the realm corp is ready");
    let _ = host.root("sudo seamless add corp /home/ada/.ssh/id_ed25519.pub --user ada").ok();
    let _ = host.gives_a_token("corp");
    host.lets_the_administrator_in();
    assert!(host.login("corp", "id").fails().stdout.is_empty());
    let certificate = host.ada(&format!("{SSH} -i cert -o CertificateFile=cert-cert.pub corp@127.0.0.1 id"));
    assert!(certificate.code(255).stdout.is_empty(), "the fence holds");
    let _ = host.root("sudo seamless delete corp --yes").ok();
    host.lets_the_administrator_in();
}

#[test]
fn the_unit_serves_a_realm_and_is_allowed_little() {
    let Some(host) = Host::with_realm() else { return };
    let _ = host.systemctl("enable --now seamless@corp").ok();
    let token = host.login("corp", "token --format jwt").ok().line();
    let verify = format!(
        "issuer=http://127.0.0.1:8080/corp; seamless verify --jwks $issuer/.well-known/jwks.json \\
         --issuer $issuer --audience $issuer {token}"
    );
    let _ = host.root(&verify).ok().says("ada");
    let _ = host.root("sudo seamless doctor corp").ok();

    let show = "p=$(systemctl show -P MainPID seamless@corp)
        grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/$p/status | tr '\\t' ' '; id -u corp";
    let status = host.root(show).ok().stdout;
    let uid = status.lines().last().unwrap_or_default();
    assert!(status.contains(&format!("Uid: {uid} {uid} {uid} {uid}\n")), "{status}");
    for line in
        ["CapEff: 0000000000000000\n", "CapBnd: 0000000000000000\n", "NoNewPrivs: 1\n", "Seccomp: 2\n"]
    {
        assert!(status.contains(line), "{line}{status}");
    }
    // No line of systemd's on the unit, and an exposure of 1.5 of 10 at most.
    let verified = host.root("systemd-analyze verify --man=no seamless@corp.service").ok();
    assert!(verified.stdout.is_empty() && verified.stderr.is_empty(), "{verified}");
    let analyze = "systemd-analyze security --no-pager --offline=true --threshold=15";
    let _ =
        host.root(&format!("{analyze} /lib/systemd/system/seamless@.service")).ok().says("exposure level");

    // Another account of the host is no realm, and gets nothing among them.
    let _ = host.root("systemctl start seamless@ada").fails();
    assert!(!host.is_there("/var/lib/seamless/ada"));
    // SIGHUP is for the certificate: the process stays.
    let _ = host.systemctl("reload seamless@corp").ok();
    assert_eq!(host.root(show).ok().stdout, status);
    // A unix socket where the unit lets one be.
    let _ = host.root(
        "sed -i 's|^# http = .*|http = \"unix:/run/seamless/corp/http.sock\"|' /var/lib/seamless/corp/realm.toml
         systemctl restart seamless@corp",
    ).ok();
    let mode =
        host.root("stat -c '%a %U %G' /run/seamless/corp/http.sock /var/lib/seamless/corp").ok().stdout;
    assert_eq!(mode, "660 corp corp\n700 corp corp\n");
}

#[test]
fn an_upgrade_keeps_everything_running() {
    let Some(host) = Host::with_realm() else { return };
    let _ = host.root("sudo seamless init acme").ok();
    let _ = host.systemctl("enable --now seamless@corp").ok();
    let main = "systemctl is-active seamless@corp; systemctl show -P MainPID seamless@corp";
    let before = host.root(main).ok().stdout;
    let (token, drop_in) = (host.gives_a_token("corp"), "/etc/ssh/sshd_config.d/60-seamless-corp.conf");
    let fence = host.root(&format!("cat {drop_in}")).ok().stdout;

    // Somebody connects all the while, and is never refused.
    let knock = "touch /srv/knocking; count=0
        while [ -e /srv/knocking ]; do exec 3<>/dev/tcp/127.0.0.1/8080; count=$((count + 1)); sleep 0.01; done
        echo $count";
    let mut knocking = Running::start(&mut host.debian.command(["bash", "-euc", knock]));
    let installed = host.install("SEAMLESS_NEXT_DEB");
    let _ = host.root("rm /srv/knocking").ok();
    let knocks: u32 = knocking.wait_for("the count", |knocking| knocking.stdout().trim().parse().ok());
    assert!(knocks > 10, "{}", knocking.transcript());
    let Some(installed) = installed else { return };
    let _ = installed.says("corp: up to date, schema").says("acme: up to date, schema");
    let _ = host.root("dpkg-query -W seamless").ok().says("99.0-1");
    let after = host.root(main).ok().stdout;
    assert!(after.starts_with("active\n") && after != before, "restarted: {before}{after}");
    // What did not run still does not.
    let _ = host.root("systemctl is-active seamless@acme").fails();
    let _ = host.root(&format!("sudo seamless verify --realm corp {token}")).ok();
    let _ = host.gives_a_token("corp");
    assert_eq!(host.root(&format!("cat {drop_in}")).ok().stdout, fence);
    host.lets_the_administrator_in();
}

#[test]
fn removed_and_installed_again() {
    let Some(host) = Host::with_realm() else { return };
    let _ = host.root("sudo seamless init acme --keys command").ok();
    let _ = host.systemctl("enable --now seamless@corp").ok();
    let _ =
        host.root("ssh-keygen -q -t ed25519 -N '' -f /home/ada/other && chown ada: /home/ada/other*").ok();
    let _ = host.root("sudo seamless add acme /home/ada/other.pub --user ada").ok();
    let acme = format!("{SSH} -i other -T acme@127.0.0.1");
    assert!(host.ada(&acme).ok().line().starts_with("ada."));

    let _ = host.root("dpkg -r seamless").ok();
    let _ = host.root("systemctl is-active seamless@corp").fails();
    host.lets_the_administrator_in();
    // The fence stays; within it there is no program. Where sshd should ask that program, nobody gets in.
    let done = host.login("corp", "").fails();
    assert!(done.stdout.is_empty(), "{done}");
    let _ = host.ada(&acme).code(255);
    for realm in ["corp", "acme"] {
        let stranger = format!("{SSH} -i cert -o CertificateFile=cert-cert.pub {realm}@127.0.0.1 id");
        let _ = host.ada(&stranger).code(255);
    }
    // As does a start of sshd.
    let _ = host.root("systemctl restart ssh").ok();
    host.lets_the_administrator_in();

    let _ = host.install("SEAMLESS_DEB");
    let _ = host.gives_a_token("corp");
    assert!(host.ada(&acme).ok().line().starts_with("ada."));
    let _ = host.systemctl("start seamless@corp").ok();
}

#[test]
fn purged_and_installed_again() {
    let Some(host) = Host::with_realm() else { return };
    let _ = host.root("sudo seamless init acme --keys command").ok();
    let _ = host.systemctl("enable --now seamless@corp").ok();
    // Somebody else's, though it is named as ours are.
    let foreign = "/etc/ssh/sshd_config.d/60-seamless-proxy.conf";
    std::fs::write(host.debian.path(foreign), "X11Forwarding no\n").expect("write a drop-in");
    let held = host.holdings("corp");

    let said = host.root("dpkg -P seamless").ok();
    assert!(said.stderr.contains("the realms in /var/lib/seamless are kept"), "{said}");
    for realm in ["corp", "acme"] {
        assert!(!host.is_there(&format!("/etc/ssh/sshd_config.d/60-seamless-{realm}.conf")), "{realm}");
    }
    assert!(host.is_there(foreign));
    assert!(!host.is_there("/etc/systemd/system/multi-user.target.wants/seamless@corp.service"));
    host.lets_the_administrator_in();
    // sshd has been told.
    let settings = host.root("sshd -T -C user=corp,host=localhost,addr=127.0.0.1").ok().stdout;
    assert!(settings.contains("trustedusercakeys /etc/ssh/user_ca.pub"), "{settings}");
    host.shuts_everybody_out_of("corp");
    host.shuts_everybody_out_of("acme");
    // Not by PAM alone.
    let without = "/etc/ssh/sshd_config.d/05-no-pam.conf";
    let _ = host.root(&format!("echo 'UsePAM no' > {without}; systemctl reload ssh")).ok();
    host.shuts_everybody_out_of("corp");
    let _ = host.root(&format!("rm {without}; systemctl reload ssh")).ok();
    assert_eq!(host.holdings("corp"), held);
    // The attack is one: with its account open and no fence, the certificate gets a shell.
    let certificate = format!("{SSH} -i cert -o CertificateFile=cert-cert.pub corp@127.0.0.1 id");
    let _ = host.root("usermod --expiredate '' corp").ok();
    let _ = host.ada(&certificate).ok().says("uid=");
    let _ = host.root("usermod --expiredate 1 corp").ok();

    let _ = host.install("SEAMLESS_DEB");
    host.shuts_everybody_out_of("corp");
    let doctor = host.root("sudo seamless doctor corp").code(1);
    let doctor = doctor.says("the account corp is shut").says("mend: sudo seamless realm open corp");
    let told = "sshd is told nothing of this realm\n         mend: sudo seamless realm open corp";
    assert!(doctor.stdout.contains(told), "one call mends it: {doctor}");
    // A delete that can't be done must not leave it open.
    let busy = "setpriv --reuid corp --regid corp --clear-groups sleep 60 & seamless delete corp --yes";
    let _ = host.root(busy).fails().says("processes still run as corp");
    host.shuts_everybody_out_of("corp");
    let _ = host.root("sudo seamless realm open corp").ok().says("the realm corp is open");
    let _ = host.root("sudo seamless doctor corp").ok();
    let _ = host.gives_a_token("corp");
    let _ = host.ada(&certificate).code(255);
    host.shuts_everybody_out_of("acme");
    host.lets_the_administrator_in();
}

#[test]
fn a_purge_on_a_host_in_trouble() {
    let Some(host) = Host::with_realm() else { return };
    let drop_in = "/etc/ssh/sshd_config.d/60-seamless-corp.conf";
    // The account can't be shut, so its fence stays.
    let _ = host.root("mv /usr/sbin/usermod /usr/sbin/usermod.away; dpkg -P seamless").ok().says("stays");
    assert!(host.is_there(drop_in));
    let _ = host.ada(&format!("{SSH} -i cert -o CertificateFile=cert-cert.pub corp@127.0.0.1 id")).code(255);
    host.lets_the_administrator_in();

    // sshd would end on what the administrator is writing just now: it is not told to read it.
    let _ = host.root("mv /usr/sbin/usermod.away /usr/sbin/usermod").ok();
    let _ = host.install("SEAMLESS_DEB");
    let _ = host.root("echo 'Nonsense yes' >> /etc/ssh/sshd_config; dpkg -P seamless").ok();
    assert!(!host.is_there(drop_in));
    let _ = host.root("systemctl is-active ssh").ok();
    let _ = host.root("sed -i /Nonsense/d /etc/ssh/sshd_config").ok();
    host.lets_the_administrator_in();
    host.shuts_everybody_out_of("corp");
    // A name among the drop-ins that leads elsewhere is not followed.
    let _ = host.install("SEAMLESS_DEB");
    let _ = host
        .root(&format!("echo '# Written by `seamless init` for corp' > /srv/kept; ln -s /srv/kept {drop_in}"))
        .ok();
    let _ = host.root("dpkg -P seamless").ok();
    assert!(host.is_there("/srv/kept") && host.is_there(drop_in));
    host.lets_the_administrator_in();
}

/// Builds the image with storage of its own, and starts a realm's ssh server in a container of it, as `podman run` would.
const CONTAINER: &str = r#"
set -eu
work=$1 containerfile=$2 image=$3 key=$4 port=$5
buildah() {
    command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}
buildah bud --quiet --isolation chroot -t seamless -f "$containerfile" "$image"
buildah inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' seamless
container=$(buildah from seamless)
seamless() {
    buildah run --isolation chroot "$container" -- /usr/bin/seamless "$@"
}
seamless init --dir /var/lib/seamless/corp --format jwt --issuer https://login.example.com/corp
seamless add --dir /var/lib/seamless/corp - --user ada < "$key"
seamless serve corp --ssh "127.0.0.1:$port" --no-http
"#;

#[test]
fn the_image_serves_without_root_and_without_a_system() {
    let image = std::env::var_os("SEAMLESS_IMAGE");
    let (Some(image), Some(_)) = (image, needs("buildah")) else {
        skip("no image or no buildah; `cargo xtask test --only package --system` has both");
        return;
    };
    let home = Home::new();
    let (key, port) = (home.default_key(ED25519), free_port());
    let mut container = Command::new("unshare");
    container.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    container.args(["bash", "-c", CONTAINER, "container"]).arg(home.join("tmp"));
    container.arg(seamless_tests::root().join("packaging/Containerfile")).arg(image);
    container.arg(public(&key)).arg(port.to_string());
    let mut serve = Running::start(&mut container);
    serve.wait_for("the banner", |serve| serve.stdout().contains("get a token").then_some(()));
    assert!(serve.stdout().contains("65532:65532 [/usr/bin/seamless serve]"), "{}", serve.transcript());
    let mut login = home.command(home.join("bin/ssh"));
    login.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-T", "-p"]);
    login.arg(port.to_string()).arg("corp@127.0.0.1");
    assert!(run(&mut login).ok().line().starts_with("eyJ"));
}

#[test]
fn lintian_finds_no_error() {
    let (Some(lintian), Some(package)) = (needs("lintian"), package("SEAMLESS_DEB")) else { return };
    // It unpacks, and asks file(1) about each page: seconds, or many on a busy machine.
    let mut lintian = Command::new(lintian);
    lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(&package);
    let mut lintian = Running::start(&mut lintian);
    assert_eq!(lintian.wait(4 * LIMIT), Some(0), "{}", lintian.transcript());
    assert_eq!(lintian.stdout(), "");
    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(&package)).ok().stdout;
    for path in [
        "-rwxr-xr-x 0/0 ./usr/bin/seamless",
        "-rw-r--r-- 0/0 ./lib/systemd/system/seamless@.service",
        "-rw-r--r-- 0/0 ./usr/share/man/man1/seamless-serve.1.gz",
        "-rw-r--r-- 0/0 ./usr/share/man/man1/kubectl-seamless.1.gz",
        "-rw-r--r-- 0/0 ./usr/share/bash-completion/completions/seamless",
        "-rw-r--r-- 0/0 ./usr/share/zsh/vendor-completions/_seamless",
        "-rw-r--r-- 0/0 ./usr/share/fish/vendor_completions.d/seamless.fish",
        "-rw-r--r-- 0/0 ./usr/share/doc/seamless/copyright",
        "-rw-r--r-- 0/0 ./usr/share/doc/seamless/docs/install.md",
    ] {
        let words: Vec<&str> = path.split(' ').collect();
        let line = listed.lines().find(|line| line.ends_with(&format!(" {}", words[2])));
        let fields: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        assert_eq!(fields.get(..2), Some(&words[..2]), "{path}:\n{listed}");
    }
    for helper in ["git-credential-seamless", "docker-credential-seamless", "kubectl-seamless"] {
        assert!(listed.contains(&format!(" ./usr/bin/{helper} -> seamless\n")), "{helper}:\n{listed}");
    }
}
