//! A service that greets whoever has a token.
//!
//! Set `SEAMLESS_SECRET`, then: `curl -H "Authorization: seamless $(ssh -T corp@login.example.com)" localhost:3000/hello`

use axum::Router;
use axum::routing::get;
use seamless_tower::token::{Digest, MaxAge, Secret, Verifier};
use seamless_tower::{Identity, SeamlessLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = Secret::new(std::env::var("SEAMLESS_SECRET")?.as_bytes(), Digest::Sha1)?;
    let verifier = Verifier::new("corp").with_secrets(vec![secret], MaxAge::default());
    let app = Router::new()
        .route("/hello", get(async |identity: Identity| format!("hello {}\n", identity.subject())))
        .layer(SeamlessLayer::new(verifier));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
