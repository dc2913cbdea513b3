//! `/verify` beside a bare axum route that answers 200, over connections that are kept.

use std::process::Command;

use seamless_bench::edge::{Error, Plan, Server, free_port, measure as measure_all, request};
use seamless_bench::meter::{Goal, print};

use crate::issuer::{Installed, run};
use crate::rate;

/// Connections, each with one request on its way.
const CONNECTIONS: usize = 32;

/// 0.8 times as many requests a second are 1.25 times the time.
const GOAL: f64 = 1.25;

/// Measures both formats in one run.
pub(crate) fn measure(quick: bool) -> Result<(), Error> {
    let installed = Installed::new()?;
    let mut servers = vec![bare(&installed)?];
    for (name, format, scheme) in [("seamless", "seamless", "seamless"), ("jwt", "jwt", "Bearer")] {
        let realm = installed.realm(name, format)?;
        let token = run(&mut realm.verb(&installed, &["token", "--user", "ada"]))?;
        let asked =
            request("/verify", &realm.http.to_string(), Some(&format!("{scheme} {}", token.trim_end())));
        let mut command = realm.verb(&installed, &["serve", "--no-ssh", "--http", &realm.http.to_string()]);
        let log = installed.work.path().join(format!("{name}.log"));
        servers.push(Server::start(name, &mut command, realm.http.port(), asked, &log)?);
    }
    // Whoever shows no token has to be refused, or what is measured is a server that looks at none.
    for server in &servers[1..] {
        server.refuses(&request("/verify", &format!("127.0.0.1:{}", server.port()), None))?;
    }
    let (rounds, requests) = if quick { (5, 10_000) } else { (21, 60_000) };
    measure_all(&Plan { rounds, requests, connections: CONNECTIONS }, &mut servers)?;
    let [bare, seamless, jwt] = servers.as_slice() else { return Err("three servers".into()) };
    let each = |server: &Server| -> Vec<f64> { server.rate.iter().map(|rate| 1e9 / rate).collect() };
    const BARE: &str = "a bare axum route";
    print("`/verify` of `seamless`, a request", &each(seamless), BARE, &each(bare), Goal::Ratio(GOAL));
    print("`/verify` of a JWT (EdDSA), a request", &each(jwt), BARE, &each(bare), Goal::Ratio(GOAL));
    print("`/verify` of `seamless`, CPU a request", &seamless.cpu_ns, BARE, &bare.cpu_ns, Goal::None);
    print("`/verify` of a JWT (EdDSA), CPU a request", &jwt.cpu_ns, BARE, &bare.cpu_ns, Goal::None);
    rate("`/verify` of `seamless`", &each(seamless), "requests/s");
    rate("`/verify` of a JWT (EdDSA)", &each(jwt), "requests/s");
    rate("a bare axum route", &each(bare), "requests/s");
    Ok(())
}

fn bare(installed: &Installed) -> Result<Server, Error> {
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", &address]);
    let log = installed.work.path().join("bare.log");
    Server::start("bare", &mut command, port, request("/verify", &address, None), &log)
}
