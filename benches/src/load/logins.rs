//! Tokens over ssh: the embedded server beside OpenSSH's sshd with a forced command.

use std::collections::HashSet;
use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use seamless_bench::edge::{Error, cpu};
use seamless_bench::meter::{Goal, median, print};
use token::{Digest, MaxAge, Scratch, Secret, Verifier};
use tokio::runtime::Runtime;

use crate::issuer::{Installed, Realm, Serve};
use crate::ssh::{Login, runtime};
use crate::sshd::{Keys, Sshd, line};
use crate::{number, rate};

/// Connections at a time: enough to keep both cores busy, and less than one address may hold.
const AT_A_TIME: usize = 40;

/// Measures both in one run.
pub(crate) fn measure(quick: bool) -> Result<(), Error> {
    let (rounds, ours, theirs) = if quick { (3, 500, 30) } else { (9, 2_000, 100) };
    let installed = Installed::new()?;
    let realm = installed.realm("corp", "seamless")?;
    let serve = Serve::start(&installed, &realm, &[])?;
    let keys = installed.work.path().join("authorized_keys");
    fs::write(&keys, line(&installed, &realm)?)?;
    let sshd = Sshd::start(&installed, &realm, &Keys::File(&keys))?;
    let judge = Judge::of(&realm)?;
    let runtime = runtime()?;

    sample(&runtime, &serve.login, &judge, ours / 4)?;
    sample(&runtime, &sshd.login, &judge, theirs / 4)?;
    let (mut a, mut b, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let ours_first = round % 2 == 0;
        if !ours_first {
            b.push(sample(&runtime, &sshd.login, &judge, theirs)?);
        }
        let before = cpu(serve.id())?;
        a.push(sample(&runtime, &serve.login, &judge, ours)?);
        spent.push((cpu(serve.id())? - before) / ours as f64);
        if ours_first {
            b.push(sample(&runtime, &sshd.login, &judge, theirs)?);
        }
    }
    // 20 times as many is a twentieth of the time.
    print(
        "a token over ssh: `seamless serve`",
        &a,
        "OpenSSH's sshd with our forced command",
        &b,
        Goal::Ratio(0.05),
    );
    rate("tokens over ssh: `seamless serve`", &a, "a second");
    rate("tokens over ssh: sshd with our forced command", &b, "a second");
    number("`seamless serve`: its CPU time of a token over ssh", median(&mut spent) / 1e6, "ms", None);
    serve.stop()
}

/// Nanoseconds of a token, each of which is looked at afterwards.
fn sample(runtime: &Runtime, login: &Login, judge: &Judge, count: usize) -> Result<f64, Error> {
    let start = Instant::now();
    let tokens = runtime.block_on(login.tokens(count, AT_A_TIME))?;
    let took = start.elapsed().as_secs_f64() * 1e9 / count as f64;
    judge.all(&tokens, count)?;
    Ok(took)
}

/// Looks at tokens of the `seamless` format with the realm's own secret.
struct Judge(Verifier);

impl Judge {
    fn of(realm: &Realm) -> Result<Self, Error> {
        let mut secrets = Vec::new();
        for file in fs::read_dir(realm.dir.join("signing"))? {
            let path = file?.path();
            if path.extension().is_some_and(|end| end == "secret") {
                let mut bytes = fs::read(&path)?;
                // One final newline is no part of it.
                bytes.pop_if(|last| *last == b'\n');
                secrets.push(Secret::new(&bytes, Digest::Sha1)?);
            }
        }
        Ok(Self(Verifier::new(&realm.name).with_secrets(secrets, MaxAge::default())))
    }

    /// That many, all good and all ada's.
    fn all(&self, tokens: &[String], count: usize) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut scratch = Scratch::new();
        // Two of the same second are the same.
        for token in tokens.iter().collect::<HashSet<_>>() {
            match self.0.verify(token.as_bytes(), now, &mut scratch) {
                Ok(identity) if identity.subject() == "ada" => {}
                _ => return Err(format!("`{token}` does not verify").into()),
            }
        }
        if tokens.len() == count { Ok(()) } else { Err(format!("{} tokens of {count}", tokens.len()).into()) }
    }
}
