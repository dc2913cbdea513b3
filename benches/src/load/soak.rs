//! Hundreds of thousands of tokens through one `serve`: each is accounted for, and what the process holds stays what it
//! was.

mod client;
mod process;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seamless_bench::edge::Error;
use serde_json::Value;

use self::client::{Client, Door};
use self::process::{Held, Watch};
use crate::issuer::{Installed, Realm, Serve};
use crate::{number, say, ssh};

/// How much, in rounds after each of which the server rests.
struct Plan {
    rounds: usize,
    mints: usize,
    /// How often each token is shown to `/verify`.
    shown: usize,
    /// After each round: a thread for what blocks lives on for 10 s, and its stack counts.
    rest: Duration,
}

/// Log-ins at a time.
const LOGINS: usize = 16;

/// Every so many requests come with a token that somebody changed.
const CHANGED: usize = 10;

/// Rounds in which the process may still grow: its threads start, its caches and the allocator's arenas fill.
const WARM_UP: usize = 3;

/// What it may grow by afterwards, in bytes over the rest of the run. In the whole run one forgotten allocation of 16 bytes
/// a token comes to more.
const GROWTH: f64 = 2.0 * 1024.0 * 1024.0;

/// 200 000 mints and 2 000 000 verifications; short, a twentieth of that.
pub(crate) fn run(short: bool) -> Result<(), Error> {
    let (mints, rest) =
        if short { (1_000, Duration::from_millis(300)) } else { (20_000, Duration::from_secs(11)) };
    let plan = Plan { rounds: 10, mints, shown: 10, rest };
    let installed = Installed::new()?;
    let realm = installed.realm("soak", "jwt")?;
    let socket = installed.work.path().join("http.sock");
    let (tls, cert, key) = client::tls(installed.work.path())?;
    let unix = format!("unix:{}", socket.display());
    let words = ["--http", unix.as_str(), "--tls-cert", cert.as_str(), "--tls-key", key.as_str()];
    let serve = Serve::start(&installed, &realm, &words.map(OsStr::new))?;
    let doors = [Door::Unix(socket), Door::Tls(realm.http, tls)];

    let start = Instant::now();
    let watch = Watch::start(serve.id());
    let runtime = ssh::runtime()?;
    let mut seen = HashSet::new();
    let (mut rests, mut good, mut bad) = (Vec::new(), 0, 0);
    let mut tokens: Vec<String> = Vec::new();
    // In each round the tokens of the one before are shown while new ones are fetched.
    for round in 0..=plan.rounds {
        let last = round == plan.rounds;
        let (fetched, counted) = std::thread::scope(|scope| {
            let shown = scope.spawn(|| show(&doors, &tokens, plan.shown));
            let fetched = match last {
                true => Ok(Vec::new()),
                false => runtime.block_on(serve.login.tokens(plan.mints, LOGINS)),
            };
            (fetched, shown.join())
        });
        let counted = counted.map_err(|_| "a client broke")?.map_err(|e| format!("{e}\n{}", serve.said()))?;
        tokens = fetched?;
        good += counted.good;
        bad += counted.bad;
        for token in &tokens {
            if !seen.insert(jti(token)?) {
                return Err("two tokens with one jti".into());
            }
        }
        // Half a round's work is no measure of a round.
        if round > 0 && !last {
            let held = Held::at_rest(serve.id(), plan.rest, rests.first())?;
            say(&format!("{} tokens, {} verified: {held}", seen.len(), good + bad))?;
            rests.push(held);
        }
    }
    let took = start.elapsed().as_secs_f64();
    let peak = watch.end();

    let mut client = Client::open(&doors[0])?;
    let metrics = client.text("/metrics")?;
    drop(client);
    counted(&metrics, "seamless_mints_total{door=\"ssh\",outcome=\"ok\"}", seen.len())?;
    counted(&metrics, "seamless_verify_total{verdict=\"ok\"}", good)?;
    counted(&metrics, "seamless_verify_total{verdict=\"bad_signature\"}", bad)?;
    serve.stop()?;

    number("soak: tokens over ssh", as_f64(seen.len()), "", None);
    number("soak: verifications, one in ten of them over HTTPS", as_f64(good + bad), "", None);
    number("soak: it took", took, "s", None);
    let (warm, end) = (&rests[WARM_UP - 1], &rests[rests.len() - 1]);
    number("soak: memory at rest after the warm-up", warm.anonymous / MIB, "MiB", None);
    number("soak: memory at rest at the end", end.anonymous / MIB, "MiB", None);
    let growth = growth(&rests[WARM_UP - 1..]);
    number(
        "soak: growth after the warm-up (slope of the samples at rest)",
        growth / MIB,
        "MiB",
        Some(GROWTH / MIB),
    );
    number("soak: highest memory under load", peak / MIB, "MiB", None);
    number("soak: file handles at rest after the warm-up", as_f64(warm.handles), "", None);
    number("soak: file handles at rest at the end", as_f64(end.handles), "", Some(as_f64(warm.handles)));
    audit(&installed, &realm, &seen)?;
    if growth > GROWTH {
        return Err(
            format!("memory is not flat: it grew by {:.1} MiB after the warm-up", growth / MIB).into()
        );
    }
    if end.handles > warm.handles {
        return Err(format!("{} file handles at rest, {} before", end.handles, warm.handles).into());
    }
    Ok(())
}

const MIB: f64 = 1024.0 * 1024.0;

/// Requests by their answers.
struct Counted {
    good: usize,
    bad: usize,
}

/// Shows every token so often, one in ten over TLS. Good ones must be taken and changed ones refused, all of them.
fn show(doors: &[Door; 2], tokens: &[String], times: usize) -> Result<Counted, String> {
    const PLAIN: usize = 3;
    let (over_tls, plain) = tokens.split_at(tokens.len() / 10);
    let shares = plain.chunks(plain.len().div_ceil(PLAIN).max(1)).map(|share| (&doors[0], share));
    std::thread::scope(|scope| {
        let clients: Vec<_> = shares
            .chain([(&doors[1], over_tls)])
            .map(|(door, share)| {
                scope.spawn(move || ask(door, share, times).map_err(|error| error.to_string()))
            })
            .collect();
        let mut all = Counted { good: 0, bad: 0 };
        for client in clients {
            let counted = client.join().map_err(|_| "a client broke".to_owned())??;
            all.good += counted.good;
            all.bad += counted.bad;
        }
        Ok(all)
    })
}

fn ask(door: &Door, tokens: &[String], times: usize) -> Result<Counted, Error> {
    /// After so many requests a connection has done its work.
    const OF_A_CONNECTION: usize = 500;
    let mut counted = Counted { good: 0, bad: 0 };
    let mut client = Client::open(door)?;
    for (asked, token) in (0..times).flat_map(|_| tokens).enumerate() {
        if asked % OF_A_CONNECTION == OF_A_CONNECTION - 1 {
            client = Client::open(door)?;
        }
        let good = asked % CHANGED != 0;
        client.verify(token, good)?;
        *if good { &mut counted.good } else { &mut counted.bad } += 1;
    }
    Ok(counted)
}

/// Whether the server counted what we did.
fn counted(metrics: &str, name: &str, expected: usize) -> Result<(), Error> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    match value.and_then(|value| value.trim().parse::<usize>().ok()) {
        Some(value) if value == expected => Ok(()),
        other => Err(format!("{name}: {other:?}, and {expected} were made").into()),
    }
}

/// The log must verify, and name every token once.
fn audit(installed: &Installed, realm: &Realm, seen: &HashSet<String>) -> Result<(), Error> {
    let start = Instant::now();
    crate::issuer::run(&mut realm.verb(installed, &["audit", "verify"]))?;
    number("soak: `seamless audit verify` of the month", start.elapsed().as_secs_f64(), "s", None);
    let (mut size, mut left) = (0, seen.clone());
    for file in fs::read_dir(realm.dir.join("audit"))? {
        let text = fs::read_to_string(file?.path())?;
        size += text.len();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line)?;
            if record["action"] == "mint" {
                let jti = record["given"]["jti"].as_str().unwrap_or_default();
                if record["outcome"] != "ok" || !left.remove(jti) {
                    return Err(
                        format!("a record of a token that nobody got, or the second of one: {line}").into()
                    );
                }
            }
        }
    }
    if !left.is_empty() {
        return Err(format!("{} tokens without a record", left.len()).into());
    }
    number("soak: the month's audit log", size as f64 / MIB, "MiB", None);
    Ok(())
}

fn jti(token: &str) -> Result<String, Error> {
    let claims = token.split('.').nth(1).ok_or("no JWT")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    Ok(claims["jti"].as_str().ok_or("a JWT without jti")?.to_owned())
}

/// Bytes over all of the samples: the median slope between any two of them (Theil and Sen), so that one that is off
/// decides nothing.
fn growth(rests: &[Held]) -> f64 {
    let mut slopes = Vec::new();
    for (at, first) in rests.iter().enumerate() {
        for (further, second) in rests.iter().enumerate().skip(at + 1) {
            slopes.push((second.anonymous - first.anonymous) / as_f64(further - at));
        }
    }
    seamless_bench::meter::median(&mut slopes) * as_f64(rests.len() - 1)
}

fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(anonymous: f64) -> Held {
        Held { anonymous, handles: 9, threads: 4 }
    }

    #[test]
    fn a_leak_is_growth_and_a_bump_is_none() {
        let leak: Vec<Held> = (0..7).map(|n| held(1e6 + 5e5 * f64::from(n))).collect();
        assert!((growth(&leak) - 3e6).abs() < 1.0);
        let mut flat: Vec<Held> = (0..7).map(|_| held(1e6)).collect();
        flat[6] = held(9e6);
        assert!(growth(&flat).abs() < 1.0);
    }

    #[test]
    fn what_the_server_did_not_count_is_missed() {
        assert!(counted("a_total 3\n", "a_total", 3).is_ok());
        assert!(counted("a_total 2\n", "a_total", 3).is_err());
        assert!(counted("", "a_total", 3).is_err());
    }
}
