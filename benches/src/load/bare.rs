//! The least that an axum server can do: what `/verify` stands beside.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use seamless_bench::edge::Error;

/// Answers `/verify` with 200 and nothing else, on the runtime that `seamless serve` has.
pub(crate) fn serve(address: &str) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let router = Router::new().route("/verify", get(|| async { StatusCode::OK }));
        axum::serve(listener, router).await?;
        Ok(())
    })
}
