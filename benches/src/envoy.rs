//! What a filter costs in Envoy: ours beside its native one, with one worker thread.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use seamless_bench::edge::{Error, Plan, Server, free_port, given, measure as measure_all, request};
use seamless_bench::meter::{Goal, median, print};

use crate::tokens::{AUDIENCE, ISSUER, SECRET, Tokens};

/// Measures all of them in one run.
pub fn measure(quick: bool) -> Result<(), Error> {
    let (envoy, filter) = (given("SEAMLESS_ENVOY")?, given("SEAMLESS_FILTER")?);
    let folder = tempfile::tempdir()?;
    let tokens = Tokens::mint()?;
    let seamless = format!("seamless {}", tokens.seamless);
    let (eddsa, hs256) = (format!("Bearer {}", tokens.eddsa), format!("Bearer {}", tokens.hs256));

    let secret = json!({"realm": "corp", "secrets": [{"value": SECRET}], "max_age": 3600});
    let keys = json!({
        "realm": "corp", "issuer": ISSUER, "audience": [AUDIENCE], "jwks": tokens.jwks,
    });
    let mut ruled = secret.clone();
    ruled["rules"] = fifty_rules();
    let plain = |config: &Value| ours(&filter, config);
    let start = |name, filters: Vec<Value>, authorization: Option<&str>| {
        let port = free_port()?;
        let config = folder.path().join(format!("{port}.json"));
        std::fs::write(&config, serde_json::to_vec(&bootstrap(port, filters))?)?;
        let mut command = Command::new(&envoy);
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "--config-path"]);
        command.arg(&config);
        Server::start(
            name,
            &mut command,
            port,
            request("/api/things", "api.example.com", authorization),
            &folder.path().join(format!("{port}.log")),
        )
    };

    let mut servers = vec![
        start("no filter", vec![], Some(&seamless))?,
        start("ours, seamless", vec![plain(&secret)], Some(&seamless))?,
        start("ours, seamless, 50 rules", vec![plain(&ruled)], Some(&seamless))?,
        start("ours, EdDSA", vec![plain(&keys)], Some(&eddsa))?,
        start("jwt_authn, HS256", vec![native(&tokens.jwks_secret)], Some(&hs256))?,
        start("jwt_authn, EdDSA", vec![native(&tokens.jwks)], Some(&eddsa))?,
    ];
    measure_all(&Plan::new(quick), &mut servers)?;

    let [none, seamless, rules, eddsa, hs256, native_eddsa] = servers.as_slice() else {
        return Err("six servers".into());
    };
    let added = |server: &Server| -> Vec<f64> {
        server.cpu_ns.iter().zip(&none.cpu_ns).map(|(with, without)| with - without).collect()
    };
    let (native, native_eddsa_added) = (added(hs256), added(native_eddsa));
    const HS256: &str = "native `jwt_authn`, HS256";
    print(
        "Envoy, CPU a request that our filter adds: `seamless`",
        &added(seamless),
        HS256,
        &native,
        Goal::Ratio(0.5),
    );
    print(
        "Envoy, CPU a request that our filter adds: `seamless`, 50 rules",
        &added(rules),
        HS256,
        &native,
        Goal::None,
    );
    print(
        "Envoy, CPU a request that our filter adds: JWT (EdDSA), seen before",
        &added(eddsa),
        HS256,
        &native,
        Goal::None,
    );
    print(
        "Envoy, CPU a request that our filter adds: JWT (EdDSA), seen before",
        &added(eddsa),
        "native `jwt_authn`, EdDSA",
        &native_eddsa_added,
        Goal::None,
    );
    print(
        "Envoy, CPU a request: our filter, `seamless`",
        &seamless.cpu_ns,
        "no filter",
        &none.cpu_ns,
        Goal::None,
    );
    for (name, server) in [
        ("no filter", none),
        ("our filter, `seamless`", seamless),
        ("our filter, `seamless`, 50 rules", rules),
        ("our filter, JWT (EdDSA), seen before", eddsa),
        (HS256, hs256),
        ("native `jwt_authn`, EdDSA", native_eddsa),
    ] {
        let rate = median(&mut server.rate.clone()).round();
        println!(
            "{}",
            json!({"name": format!("Envoy, one worker: {name}"), "count": rate, "unit": "requests/s"})
        );
    }
    Ok(())
}

fn ours(filter: &Path, config: &Value) -> Value {
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "seamless",
                "root_id": "seamless",
                "vm_config": {
                    "vm_id": "seamless",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": filter}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": config.to_string(),
                },
            },
        },
    })
}

fn native(jwks: &Value) -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"corp": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "local_jwks": {"inline_string": jwks.to_string()},
                "forward": true,
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}],
        },
    })
}

/// Rules of a site with many services; the request's own stands in their midst.
fn fifty_rules() -> Value {
    let mut rules: Vec<Value> = (0..49)
        .map(|at| json!({"path_prefix": format!("/service-{at}/v1"), "methods": ["GET", "POST"], "need": "required"}))
        .collect();
    rules.insert(25, json!({"path_prefix": "/api", "need": "required"}));
    json!({"rules": rules})
}

fn bootstrap(port: u16, mut filters: Vec<Value>) -> Value {
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    json!({"static_resources": {"listeners": [{
        "name": "http",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "http",
                "http_filters": filters,
                "route_config": {"virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{
                        "match": {"prefix": "/"},
                        "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}},
                    }],
                }]},
            },
        }]}],
    }]}})
}
